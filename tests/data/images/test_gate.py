"""What comes out of a decoder is checked, and what would take too much is refused before it is decoded."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from onemark.data.cohort import open_cohort
from onemark.data.images.read import read_header, read_radiograph
from onemark.progress import SKIPPED, Progress
from onemark.types import UserError

Ramp = NDArray[np.uint8]
Folder = Callable[..., Path]


def sentence(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_radiograph(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


def patched(path: Path, marker: bytes, at: int, data: bytes) -> Path:
    """The file with these bytes `at` behind the first `marker`."""
    content = bytearray(path.read_bytes())
    start = content.index(marker) + at
    content[start : start + len(data)] = data
    path.write_bytes(content)
    return path


def dicom(path: Path, values: NDArray[np.uint16], **tags: object) -> Path:
    """A computed radiography file."""
    file = pydicom.dataset.FileDataset("a", {}, preamble=b"\0" * 128)
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = "1.2.3"
    file.Rows, file.Columns = values.shape[-2:]
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
    file.PixelData = values.tobytes()
    for tag, value in tags.items():
        setattr(file, tag, value)
    file.save_as(path)
    return path


# --- TIFF --------------------------------------------------------------------------------------------------


def test_directories_in_a_ring_end(tmp_path: Path, ramp: Ramp) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ramp)
    with tifffile.TiffFile(path) as file:
        first = file.pages[0].offset
        end = first + 2 + 12 * len(file.pages[0].tags)
    content = bytearray(path.read_bytes())
    content[end : end + 4] = struct.pack("<I", first)
    path.write_bytes(content)
    assert "in a circle" in sentence(path)


@pytest.mark.parametrize("marked", [0, 1])
def test_a_preview_before_the_picture_is_passed_over(tmp_path: Path, ramp: Ramp, marked: int) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(ramp[::2, ::2], subfiletype=marked)
        file.write(ramp)
    assert read_header(tmp_path / "a.tif").size == read_radiograph(tmp_path / "a.tif").size == (40, 60)


def test_two_full_pages_of_other_shapes_are_refused(tmp_path: Path, ramp: Ramp) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(ramp)
        file.write(ramp[:, :50])
    assert "holds 2 pages" in sentence(tmp_path / "a.tif")
    with pytest.raises(UserError, match="holds 2 pages"):
        read_header(tmp_path / "a.tif")


def test_a_jpeg_tile_may_not_claim_another_size(tmp_path: Path, ramp: Ramp) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp, compression="jpeg")
    path = patched(tmp_path / "a.tif", b"\xff\xc0", 5, struct.pack(">HH", 60_000, 60_000))
    assert "60000 x 60000 px where its header says 60 x 40" in sentence(path)


@pytest.mark.parametrize("tag", ["TileWidth", "SamplesPerPixel"])
def test_samples_are_counted_before_they_are_decoded(tmp_path: Path, ramp: Ramp, tag: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.dstack([ramp] * 3), tile=(16, 16), photometric="rgb")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags[tag].overwrite(60_000)
        file.pages[0].tags["TileLength"].overwrite(60_000)
    assert "more than the 256 MiB" in sentence(tmp_path / "a.tif")


def test_a_directory_of_countless_numbers_is_refused(tmp_path: Path) -> None:
    count = 6_000_000
    tags = [(256, 4, 1, 40), (257, 4, 1, 40), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, count, 200), (278, 4, 1, 40), (279, 4, count, 200)]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    (tmp_path / "a.tif").write_bytes(head.ljust(200, b"\0") + bytes(4 * count))
    assert "countless pieces" in sentence(tmp_path / "a.tif")


# --- DICOM -------------------------------------------------------------------------------------------------


def test_frames_that_the_file_does_not_tell(tmp_path: Path, ramp: Ramp) -> None:
    path = dicom(tmp_path / "a.dcm", np.stack([ramp.astype(np.uint16)] * 2))
    assert "2 frames" in sentence(path)


def test_a_deflated_file_is_inflated_to_a_bound(tmp_path: Path, ramp: Ramp) -> None:
    path = dicom(tmp_path / "a.dcm", ramp.astype(np.uint16))
    plain = path.read_bytes()
    syntax = b"1.2.840.10008.1.2.1\0"
    end = plain.index(syntax) + len(syntax)
    meta = plain[: end - len(syntax) - 2] + struct.pack("<H", 22) + b"1.2.840.10008.1.2.1.99"
    for name, body in (("good.dcm", plain[end:]), ("bomb.dcm", plain[end:] + bytes(129 << 20))):
        packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        length = struct.pack("<I", struct.unpack_from("<I", meta, 140)[0] + 2)
        head = meta[:140] + length + meta[144:] if meta[132:136] == b"\x02\0\0\0" else meta
        (tmp_path / name).write_bytes(head + packer.compress(body) + packer.flush())
    assert read_radiograph(tmp_path / "good.dcm").size == (40, 60)
    assert "inflates to more than 128 MiB" in sentence(tmp_path / "bomb.dcm")


@pytest.mark.parametrize(
    ("tag", "raw", "note"),
    [
        ("ImagerPixelSpacing", b"unknown ", "ImagerPixelSpacing: it says 'unknown'"),
        ("ImagerPixelSpacing", b"0.139   ", "ImagerPixelSpacing: it is not two positive numbers"),
        ("NumberOfFrames", b"??      ", "NumberOfFrames: it says '??'"),
        ("RescaleSlope", b"0       ", "RescaleSlope: it is 0"),
    ],
)
def test_an_unusable_optional_tag_is_passed_over(
    tmp_path: Path, ramp: Ramp, tag: str, raw: bytes, note: str
) -> None:
    value = {"ImagerPixelSpacing": ["1.1", "2.22"]}.get(tag, "12345678")
    path = dicom(tmp_path / "a.dcm", ramp.astype(np.uint16), **{tag: value})
    patched(path, b"1.1\\2.22" if isinstance(value, list) else b"12345678", 0, raw)
    radiograph = read_radiograph(path)
    assert radiograph.size == (40, 60)
    assert radiograph.spacing is None
    assert [one for one in radiograph.notes if one.endswith(note)]


def test_a_decimal_comma_is_a_number(tmp_path: Path, ramp: Ramp) -> None:
    path = dicom(tmp_path / "a.dcm", ramp.astype(np.uint16), PixelSpacing=["0.25", "0.50"])
    radiograph = read_radiograph(patched(path, b"0.25\\0.50", 0, b"0,25\\0,50"))
    assert radiograph.spacing == (0.5, 0.25)
    assert radiograph.notes == ()


def test_a_window_that_hides_the_picture_gives_way_to_the_next(tmp_path: Path, ramp: Ramp) -> None:
    values = ramp.astype(np.uint16) * 16
    windows = {"WindowCenter": ["60000", "400"], "WindowWidth": ["10", "800"]}
    later = read_radiograph(dicom(tmp_path / "a.dcm", values, **windows))
    only = read_radiograph(dicom(tmp_path / "b.dcm", values, WindowCenter="400", WindowWidth="800"))
    none = read_radiograph(dicom(tmp_path / "c.dcm", values, WindowCenter="60000", WindowWidth="10"))
    np.testing.assert_array_equal(later.pixels, only.pixels)
    assert "through a later window" in later.notes[0]
    np.testing.assert_array_equal(none.pixels, read_radiograph(dicom(tmp_path / "d.dcm", values)).pixels)
    assert "with all its values" in none.notes[0]


def test_a_note_that_many_files_share_is_said_once(tmp_path: Path, ramp: Ramp) -> None:
    for number in range(3):
        dicom(tmp_path / f"{number}.dcm", ramp.astype(np.uint16), WindowCenter="60000", WindowWidth="10")
    events: list[Progress] = []
    assert len(list(open_cohort(tmp_path).readable(sink=events.append))) == 3
    said = [event.message for event in events if event.message]
    assert len(said) == 2
    assert said[0].startswith(f"{tmp_path / '0.dcm'} is shown with all its values")
    assert "2 more" in said[1]


# --- other pictures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_png_of_several_channels_keeps_16_bits(tmp_path: Path, ramp: Ramp, channels: int) -> None:
    deep = ramp.astype(np.uint16) + 30_000
    values = np.dstack([deep] * channels)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    Image.fromarray(deep).save(tmp_path / "grey.png")
    found = read_radiograph(tmp_path / "a.png").pixels
    np.testing.assert_allclose(found, read_radiograph(tmp_path / "grey.png").pixels, atol=1e-4)


@pytest.mark.parametrize(("kind", "options"), [("WEBP", {"lossless": True}), ("JPEG2000", {})])
def test_webp_and_jpeg_2000(tmp_path: Path, ramp: Ramp, kind: str, options: dict[str, object]) -> None:
    Image.fromarray(ramp).save(tmp_path / "a", kind, **options)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    found = read_radiograph(tmp_path / "a")
    np.testing.assert_allclose(found.pixels, read_radiograph(tmp_path / "a.png").pixels, atol=0.02)
    assert read_header(tmp_path / "a").size == (40, 60)


def test_a_jpeg_2000_that_claims_to_be_huge(tmp_path: Path, ramp: Ramp) -> None:
    Image.fromarray(ramp).save(tmp_path / "a.j2k", "JPEG2000", no_jp2=True)
    path = patched(tmp_path / "a.j2k", b"\xff\x4f\xff\x51", 8, struct.pack(">II", 60_000, 60_000))
    assert "onemark scale" in sentence(path)


def test_a_jpeg_of_countless_scans(tmp_path: Path, ramp: Ramp) -> None:
    stream = io.BytesIO()
    Image.fromarray(ramp).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    scan = data[data.rindex(b"\xff\xda") : -2]
    (tmp_path / "a.jpg").write_bytes(data[:-2] + scan * 200 + b"\xff\xd9")
    assert "scans" in sentence(tmp_path / "a.jpg")


def test_values_at_the_ends_of_float_stay_finite(tmp_path: Path, ramp: Ramp) -> None:
    tifffile.imwrite(tmp_path / "a.tif", (ramp.astype(np.float32) - 120) * np.float32(2.6e36))
    pixels = read_radiograph(tmp_path / "a.tif").pixels
    assert np.isfinite(pixels).all()
    assert (pixels.min(), pixels.max()) == (0.0, 1.0)


# --- the folder --------------------------------------------------------------------------------------------


def test_content_decides_what_the_suffix_does_not(folder: Folder, ramp: Ramp) -> None:
    where = folder("a.png")
    for name in ("b.jpg_large", "c.jfif", "d.weird", "e"):
        Image.fromarray(ramp).save(where / name, "JPEG")
    bare = dicom(where / "f", ramp.astype(np.uint16)).read_bytes()
    (where / "f").write_bytes(bare[bare.index(b"\x08\0\x16\0") :])
    (where / "g.weird").write_bytes(b"no picture" * 50)
    (where / "table.csv").write_text("image,landmark,x,y\n")
    cohort = open_cohort(where)
    assert cohort.names == ("a.png", "b.jpg_large", "c.jfif", "d.weird", "e", "f")
    assert [one.size for one in cohort] == [(40, 60)] * 6
    assert len(cohort.left_out) == 1
    assert cohort.left_out[0].startswith("1 files in")
    assert cohort.left_out[0].endswith("g.weird")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_pipes_are_left_out_and_named(folder: Folder) -> None:
    where = folder("a.png")
    os.mkfifo(where / "b.png")
    os.mkfifo(where / "config.json")
    os.mkfifo(where / "c")
    cohort = open_cohort(where)
    assert cohort.names == ("a.png",)
    assert len(cohort.left_out) == 1
    assert cohort.left_out[0].startswith(SKIPPED)
    assert "b.png is left out: it is a pipe or a device" in cohort.left_out[0]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_followed_unless_told_otherwise(folder: Folder) -> None:
    elsewhere, where = folder("b.png", where="elsewhere"), folder("a.png")
    (where / "link").symlink_to(elsewhere, target_is_directory=True)
    (where / "c.png").symlink_to(elsewhere / "b.png")
    assert open_cohort(where).names == ("a.png", "c.png", "link/b.png")
    without = open_cohort(where, follow_links=False)
    assert without.names == ("a.png",)
    assert "2 files in" in without.left_out[0]
    assert "are links, which are not followed" in without.left_out[0]


def test_deep_json_beside_radiographs_stops_nothing(folder: Folder) -> None:
    where = folder("a.png", "sub/b.png")
    (where / "sub" / "config.json").write_text("[" * 100_000)
    assert open_cohort(where).names == ("a.png", "sub/b.png")
