from __future__ import annotations

import io
import math
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from onemark.data.images.kinds import is_image_name
from onemark.data.images.read import read_decoded, read_header, read_radiograph, read_size
from onemark.data.images.spacing import from_dpi
from onemark.types import UserError

Ramp = NDArray[np.uint8]


def assert_is_ramp(path: Path, ramp: Ramp, tolerance: float = 0.02) -> None:
    """The file gives the ramp, scaled; and the header the same size as the pixels."""
    radiograph = read_radiograph(path)
    low, high = np.percentile(ramp, (0.5, 99.5))
    expected = np.clip((ramp - low) / (high - low), 0, 1)
    assert radiograph.pixels.dtype == np.float32
    assert radiograph.pixels.flags.c_contiguous
    assert radiograph.name == path.name
    np.testing.assert_allclose(radiograph.pixels, expected, atol=tolerance)
    assert read_size(path) == radiograph.size == (40, 60)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jpg"])
def test_eight_bit_grey(tmp_path: Path, ramp: Ramp, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(ramp).save(path, **({"quality": 98} if suffix == ".jpg" else {}))
    assert_is_ramp(path, ramp)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_colour_modes_become_grey(tmp_path: Path, ramp: Ramp, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(ramp).convert(mode).save(path)
    assert_is_ramp(path, ramp, 0.05)


def test_transparent_pixels_keep_their_grey(tmp_path: Path, ramp: Ramp) -> None:
    Image.fromarray(np.dstack([ramp, ramp, ramp, np.zeros_like(ramp)])).save(tmp_path / "a.png")
    assert_is_ramp(tmp_path / "a.png", ramp)


def test_green_weighs_more_than_blue(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :20, 1] = 200
    pixels[:, 20:40, 2] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    row = read_radiograph(tmp_path / "a.png").pixels[0]
    assert row[0] == 1.0
    assert 0.1 < row[30] < 0.3
    assert row[50] == 0.0


def test_sixteen_bit_png_keeps_its_depth(tmp_path: Path) -> None:
    deep = (np.arange(40 * 60, dtype=np.uint16) + 30_000).reshape(40, 60)
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert len(np.unique(read_radiograph(tmp_path / "a.png").pixels)) > 2_000


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "uint32", "float32", "float64"])
def test_tiff_number_types(tmp_path: Path, ramp: Ramp, kind: str) -> None:
    values = ramp.astype(kind) - 100 if kind == "int16" else ramp.astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert_is_ramp(tmp_path / "a.tif", ramp, 1e-5)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "jpeg"])
def test_tiff_compressions(tmp_path: Path, ramp: Ramp, compression: str) -> None:
    tifffile.imwrite(tmp_path / "a.tiff", ramp, compression=compression, tile=(16, 16))
    assert_is_ramp(tmp_path / "a.tiff", ramp, 0.05)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("channels", [3, 4])
def test_tiff_colour_becomes_grey(tmp_path: Path, ramp: Ramp, planar: str, channels: int) -> None:
    values = np.repeat(ramp[..., None], channels, axis=2)
    values[..., 3:] = 7
    if planar == "separate":
        values = np.moveaxis(values, -1, 0)
    extra = ["unassalpha"] if channels == 4 else None
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", planarconfig=planar, extrasamples=extra)
    assert_is_ramp(tmp_path / "a.tif", ramp)


def test_tiff_palette(tmp_path: Path, ramp: Ramp) -> None:
    grey = np.linspace(0, 65535, 256).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", ramp, photometric="palette", colormap=np.stack([grey[::-1]] * 3))
    assert_is_ramp(tmp_path / "a.tif", 255 - ramp)


def test_tiff_where_white_is_zero_is_inverted(tmp_path: Path, ramp: Ramp) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp, photometric="miniswhite")
    assert_is_ramp(tmp_path / "a.tif", 255 - ramp)


def test_tiff_with_alpha_beside_grey(tmp_path: Path, ramp: Ramp) -> None:
    values = np.dstack([ramp, 255 - ramp])
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", extrasamples=["unassalpha"])
    assert_is_ramp(tmp_path / "a.tif", ramp)


def test_tiff_with_jpeg_colours(tmp_path: Path, ramp: Ramp) -> None:
    values = np.repeat(ramp[..., None], 3, axis=2)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", compression="jpeg")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].photometric.name == "YCBCR"
    assert_is_ramp(tmp_path / "a.tif", ramp, 0.05)


COLOURS = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_tiff_of_other_colours_is_what_pillow_makes_of_it(
    tmp_path: Path, mode: str, compression: str | None
) -> None:
    Image.fromarray(COLOURS).convert(mode).save(tmp_path / "a.tif", compression=compression)
    with Image.open(tmp_path / "a.tif") as image:
        reference = np.asarray(image.convert("RGB").convert("L"), float)
    np.testing.assert_allclose(read_decoded(tmp_path / "a.tif").values, reference, atol=2)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_of_inks_in_16_bits_and_planes(tmp_path: Path, planar: str) -> None:
    inks = np.asarray(Image.fromarray(COLOURS).convert("CMYK")).astype(np.uint16) * 257
    # Half of the colour's strength in black as well, which Pillow's own conversion never has.
    inks[..., 3] = 20_000
    light = (65535 - inks[..., :3].astype(float)) @ (0.299, 0.587, 0.114) * (1 - 20_000 / 65535)
    stored = np.moveaxis(inks, -1, 0) if planar == "separate" else inks
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="separated", planarconfig=planar)
    np.testing.assert_allclose(read_decoded(tmp_path / "a.tif").values, light, atol=1)


def test_tiff_of_colours_that_are_not_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOURS, photometric="cielab")
    assert "as CIELAB, not as grey, RGB, YCbCr or CMYK; save it as grey" in one_sentence(path)
    five = np.dstack([COLOURS, COLOURS])[..., :5]
    tifffile.imwrite(path, five, photometric="separated", extratags=[(332, 3, 1, 2, True)])
    assert "stores 5 inks" in one_sentence(path)
    Image.fromarray(COLOURS).convert("YCbCr").save(path)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["YCbCrSubSampling"].overwrite((2, 2))
    assert "subsampled YCbCr without JPEG" in one_sentence(path)


def test_tiff_with_two_levels(tmp_path: Path, ramp: Ramp) -> None:
    Image.fromarray(ramp > 120).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_radiograph(tmp_path / "a.tif").pixels, ramp > 120)


def test_a_cameras_jpeg_with_a_preview_behind_it(tmp_path: Path, ramp: Ramp) -> None:
    preview = Image.fromarray(ramp[::2, ::2])
    Image.fromarray(ramp).save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[preview], quality=98)
    assert_is_ramp(tmp_path / "a.jpg", ramp)


def test_tiff_thumbnails_do_not_count_as_pages(tmp_path: Path, ramp: Ramp) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(ramp)
        file.write(ramp[::2, ::2], subfiletype=1)
    assert_is_ramp(tmp_path / "a.tif", ramp)


def test_content_decides_and_not_the_suffix(tmp_path: Path, ramp: Ramp) -> None:
    Image.fromarray(ramp).save(tmp_path / "a.jpg", format="PNG")
    assert_is_ramp(tmp_path / "a.jpg", ramp)


def test_exif_orientation_is_not_applied(tmp_path: Path, ramp: Ramp) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(ramp).save(tmp_path / "a.jpg", exif=exif, quality=98)
    assert_is_ramp(tmp_path / "a.jpg", ramp)


def test_outliers_do_not_eat_the_contrast(tmp_path: Path, ramp: Ramp) -> None:
    values = ramp.astype(np.float32)
    values[0, 0], values[-1, -1] = 1e6, -1e6
    tifffile.imwrite(tmp_path / "a.tif", values)
    pixels = read_radiograph(tmp_path / "a.tif").pixels
    assert 0.45 < pixels[20, 30] < 0.55
    assert pixels.min() == 0.0
    assert pixels.max() == 1.0


def test_a_tiny_bright_spot_on_black_is_not_constant(tmp_path: Path) -> None:
    values = np.zeros((40, 60), np.uint8)
    values[3, 4] = 255
    Image.fromarray(values).save(tmp_path / "a.png")
    pixels = read_radiograph(tmp_path / "a.png").pixels
    assert pixels[3, 4] == 1.0
    assert pixels.sum() == 1.0


def test_name_is_what_the_caller_says(tmp_path: Path, ramp: Ramp) -> None:
    Image.fromarray(ramp).save(tmp_path / "a.png")
    assert read_radiograph(tmp_path / "a.png", "sub/a.png").name == "sub/a.png"


def test_names_of_radiographs() -> None:
    assert all(map(is_image_name, ["a.PNG", "b.JPeG", "c.tif", "d.dcm", "e.bmp"]))
    assert not any(map(is_image_name, ["png", "a.csv", "a.png.txt", "b.gif"]))


# Spacing


def save_with_dpi(path: Path, ramp: Ramp, dpi: tuple[float, float]) -> Path:
    Image.fromarray(ramp).save(path, dpi=dpi)
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_believable_resolution_tags_become_spacing(tmp_path: Path, ramp: Ramp, suffix: str) -> None:
    path = save_with_dpi(tmp_path / f"a{suffix}", ramp, (254, 127))
    expected = pytest.approx((0.1, 0.2), rel=1e-3)
    assert read_radiograph(path).spacing == expected
    assert read_header(path).spacing == expected


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize(
    "dpi", [(72, 72), (96, 96), (150, 150), (300, 300), (254, 300), (5, 5), (20_000, 20_000)]
)
def test_default_and_impossible_resolutions_are_not_believed(
    tmp_path: Path, ramp: Ramp, suffix: str, dpi: tuple[float, float]
) -> None:
    assert read_radiograph(save_with_dpi(tmp_path / f"a{suffix}", ramp, dpi)).spacing is None


def test_resolution_tags_of_zero(tmp_path: Path, ramp: Ramp) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp, resolution=((0, 1), (0, 1)), resolutionunit="INCH")
    assert read_header(tmp_path / "a.tif").spacing is None
    assert from_dpi(0.0, 0.0) is None
    assert from_dpi(math.nan, 254.0) is None


def test_no_tags_no_spacing(tmp_path: Path, ramp: Ramp) -> None:
    for name in ("a.png", "a.jpg", "a.tif", "a.bmp"):
        Image.fromarray(ramp).save(tmp_path / name)
        assert read_header(tmp_path / name).spacing is None


def test_tiff_per_centimetre_and_without_unit(tmp_path: Path, ramp: Ramp) -> None:
    tifffile.imwrite(tmp_path / "cm.tif", ramp, resolution=(80, 100), resolutionunit="CENTIMETER")
    tifffile.imwrite(tmp_path / "none.tif", ramp, resolution=(80, 100), resolutionunit="NONE")
    assert read_header(tmp_path / "cm.tif").spacing == pytest.approx((0.125, 0.1))
    assert read_header(tmp_path / "none.tif").spacing is None


@pytest.mark.parametrize(("unit", "per_unit"), [("mm", 10.0), ("cm", 100.0), ("um", 0.01), ("micron", 0.01)])
def test_imagej_calibration(tmp_path: Path, ramp: Ramp, unit: str, per_unit: float) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", ramp, imagej=True, resolution=(per_unit, per_unit), metadata={"unit": unit}
    )
    assert read_header(tmp_path / "a.tif").spacing == pytest.approx((0.1, 0.1), rel=1e-4)


@pytest.mark.parametrize(("unit", "per_unit"), [("inch", 72), ("inch", 300), ("cm", 118.11)])
def test_imagej_keeps_default_resolutions_that_are_not_believed(
    tmp_path: Path, ramp: Ramp, unit: str, per_unit: float
) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", ramp, imagej=True, resolution=(per_unit, per_unit), metadata={"unit": unit}
    )
    assert read_header(tmp_path / "a.tif").spacing is None


@pytest.mark.parametrize(
    ("given", "expected"), [(0.2, (0.2, 0.2)), ((0.2, 0.3), (0.2, 0.3)), ([1, 2], (1.0, 2.0))]
)
def test_a_given_spacing_overrides_the_file(
    tmp_path: Path, ramp: Ramp, given: object, expected: object
) -> None:
    path = save_with_dpi(tmp_path / "a.png", ramp, (254, 254))
    assert read_radiograph(path, spacing_mm=given).spacing == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given", [0, -1, float("nan"), float("inf"), (0.1,), (0.1, 0.1, 0.1), "wide", ("a", "b")]
)
def test_a_given_spacing_must_be_positive_numbers(tmp_path: Path, ramp: Ramp, given: object) -> None:
    Image.fromarray(ramp).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="one or two positive numbers"):
        read_radiograph(tmp_path / "a.png", spacing_mm=given)  # type: ignore[arg-type]


# Bad files: each is one sentence that names the file


def one_sentence(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_radiograph(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) - len(str(path)) < 260
    return message


def png_of(ramp: Ramp) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(ramp).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_cut_off_files(tmp_path: Path, suffix: str, kept: float) -> None:
    whole = tmp_path / f"whole{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    Image.fromarray(noise).save(whole)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole.read_bytes()[: int(kept * whole.stat().st_size)])
    assert "damaged or cut off" in one_sentence(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".dcm", ""])
def test_zero_bytes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.touch()
    assert "empty (0 bytes)" in one_sentence(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_rubbish(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"this is a text, not a picture")
    assert "no PNG, JPEG, JPEG 2000, WebP, BMP, TIFF or DICOM" in one_sentence(path)


@pytest.mark.parametrize(
    "start",
    [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"BM" + bytes(12) + b"\x28\0\0\0",
        b"II*\0",
        b"MM\0*",
        b"II+\0",
    ],
)
def test_a_right_start_and_rubbish_behind(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(start + bytes(range(256)))
    assert "damaged or cut off" in one_sentence(path)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_every_pixel_the_same(tmp_path: Path, value: int) -> None:
    Image.fromarray(np.full((40, 60), value, np.uint8)).save(tmp_path / "a.png")
    assert "same value in every pixel" in one_sentence(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 15)])
def test_too_small(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(size[::-1], np.uint8))
    assert f"only {size[0]} x {size[1]} px" in one_sentence(tmp_path / "a.png")
    assert f"only {size[0]} x {size[1]} px" in one_sentence(tmp_path / "a.tif")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(tmp_path: Path, ramp: Ramp, value: float) -> None:
    values = ramp.astype(np.float32)
    values[11, 13] = value
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert "not finite numbers" in one_sentence(tmp_path / "a.tif")


def test_complex_numbers(tmp_path: Path, ramp: Ramp) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp.astype(np.complex64))
    assert "complex numbers" in one_sentence(tmp_path / "a.tif")


def test_bad_tiffs_print_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0" + bytes(range(256)))
    code = (
        "import sys; from onemark.data.images.read import read_radiograph\n"
        "try: read_radiograph(sys.argv[1])\n"
        "except ValueError: pass"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.tif"], capture_output=True, text=True, check=True
    )
    assert done.stdout + done.stderr == ""


def test_pages_of_a_tiff(tmp_path: Path, ramp: Ramp) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for _ in range(3):
            file.write(ramp)
    assert "3 pages; onemark takes one image per file" in one_sentence(tmp_path / "a.tif")


def test_pages_of_an_imagej_stack(tmp_path: Path, ramp: Ramp) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([ramp] * 4), imagej=True)
    assert "4 pages" in one_sentence(tmp_path / "a.tif")


def test_frames_of_an_animated_png(tmp_path: Path, ramp: Ramp) -> None:
    frames = [Image.fromarray(ramp), Image.fromarray(ramp[::-1])]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    assert "2 frames" in one_sentence(tmp_path / "a.png")


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [9_000, 40_000])
def test_absurdly_large_files_are_refused_before_decoding(tmp_path: Path, side: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_claiming(side, side))
    assert "onemark scale" in one_sentence(path)


def test_absurdly_large_tiff(tmp_path: Path, ramp: Ramp) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ramp)
    with tifffile.TiffFile(path, mode="r+") as file:
        for tag in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[tag].overwrite(60_000)
    assert "60000 x 60000 px" in one_sentence(path)


def test_missing_and_folder(tmp_path: Path) -> None:
    assert "is not there" in one_sentence(tmp_path / "gone.png")
    assert "is a folder" in one_sentence(tmp_path)


def test_memory_and_permission(tmp_path: Path, ramp: Ramp, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_of(ramp))

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Image, "open", fail)
    error: Exception = MemoryError()
    assert "does not fit into the memory" in one_sentence(path)
    error = PermissionError(13, "Permission denied")
    assert "may not be read" in one_sentence(path)


def test_header_of_a_bad_file_is_a_user_error_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"a\.png"):
        read_size(tmp_path / "a.png")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A file of each kind."""
    where = tmp_path_factory.mktemp("samples")
    noise = np.random.default_rng(0).integers(0, 255, (32, 48), np.uint8)
    for name in ("a.png", "a.jpg", "a.bmp"):
        Image.fromarray(noise).save(where / name)
    tifffile.imwrite(where / "a.tif", noise, compression="zlib", tile=(16, 16))
    return {path.name: path.read_bytes() for path in where.iterdir()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damage_is_a_user_error_or_no_matter(
    tmp_path: Path, samples: dict[str, bytes], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(samples)))
    content = bytearray(samples[name])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / name
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    pixels, message = outcome(path)
    if pixels is None:
        assert message.startswith(str(path))
        assert "\n" not in message
    else:
        assert np.isfinite(pixels).all()
        assert (pixels.min(), pixels.max()) == (0.0, 1.0)


def outcome(path: Path) -> tuple[NDArray[np.float32] | None, str]:
    try:
        return read_radiograph(path).pixels, ""
    except UserError as error:
        return None, str(error)


def test_a_jpeg_without_its_end_marker(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray((np.indices((40, 64)).sum(0) * 2).astype(np.uint8)).save(path)
    whole = read_radiograph(path)
    for lost in (1, 2):
        (tmp_path / "b.jpg").write_bytes(path.read_bytes()[:-lost])
        found = read_radiograph(tmp_path / "b.jpg")
        np.testing.assert_array_equal(found.pixels, whole.pixels)
        assert "lacks the end marker" in found.notes[0]


def test_a_rotation_flag_is_said(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.jpg"
    Image.fromarray((np.indices((40, 64)).sum(0) * 2).astype(np.uint8)).save(path, exif=exif)
    found = read_radiograph(path)
    assert found.size == (40, 64)
    assert "rotation flag" in found.notes[0]


def test_the_physical_size_of_ome(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    sizes = {
        "PhysicalSizeX": 0.14,
        "PhysicalSizeXUnit": "mm",
        "PhysicalSizeY": 150.0,
        "PhysicalSizeYUnit": "µm",
    }
    picture = np.indices((40, 64)).sum(0).astype(np.uint16)
    tifffile.imwrite(path, picture, ome=True, metadata={"axes": "YX", **sizes})
    assert read_radiograph(path).spacing == pytest.approx((0.14, 0.15))


def test_a_tiff_with_a_palette_of_two_colours(tmp_path: Path) -> None:
    picture = np.indices((40, 64)).sum(0) % 7 < 3
    path = tmp_path / "a.tif"
    colours = (320, "H", 6, (0, 65535) * 3, True)
    tifffile.imwrite(path, picture, photometric="minisblack", bitspersample=1, extratags=[colours])
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        data[file.pages[0].tags["PhotometricInterpretation"].valueoffset] = 3
    path.write_bytes(data)
    np.testing.assert_array_equal(read_radiograph(path).pixels, picture)
