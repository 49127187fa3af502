from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid

from onemark.data.cohort import open_cohort
from onemark.data.images.read import read_header, read_radiograph, read_size
from onemark.types import UserError

Make = Callable[..., Path]


@pytest.fixture
def dicom(tmp_path: Path, ramp: NDArray[np.uint8]) -> Make:
    """Writes a computed radiography file; keyword arguments are DICOM tags, None takes one away."""

    def make(name: str = "a.dcm", values: NDArray[Any] | None = None, **tags: Any) -> Path:
        pixels = (ramp.astype(np.uint16) * 16) if values is None else values
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        file = FileDataset(name, {}, file_meta=meta, preamble=b"\0" * 128)
        file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        file.Rows, file.Columns = pixels.shape[-2:]
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated = file.BitsStored = 8 * pixels.itemsize
        file.HighBit, file.PixelRepresentation = file.BitsStored - 1, int(pixels.dtype.kind == "i")
        file.PixelData = pixels.tobytes()
        for tag, value in tags.items():
            if value is None:
                delattr(file, tag)
            else:
                setattr(file, tag, value)
        file.save_as(tmp_path / name)
        return tmp_path / name

    return make


def expected(ramp: NDArray[np.uint8]) -> NDArray[np.floating]:
    low, high = np.percentile(ramp, (0.5, 99.5))
    return np.clip((ramp - low) / (high - low), 0, 1)


def test_pixels_size_and_name(dicom: Make, ramp: NDArray[np.uint8]) -> None:
    path = dicom()
    radiograph = read_radiograph(path)
    np.testing.assert_allclose(radiograph.pixels, expected(ramp), atol=1e-4)
    assert read_size(path) == radiograph.size == (40, 60)
    assert radiograph.spacing is None


def test_signed_values_and_rescale(dicom: Make, ramp: NDArray[np.uint8]) -> None:
    values = ramp.astype(np.int16) - 120
    path = dicom(values=values, RescaleSlope="-2", RescaleIntercept="10")
    np.testing.assert_allclose(read_radiograph(path).pixels, expected(255 - ramp), atol=1e-4)


def test_monochrome1_is_inverted(dicom: Make, ramp: NDArray[np.uint8]) -> None:
    path = dicom(PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_allclose(read_radiograph(path).pixels, expected(255 - ramp), atol=1e-4)


def test_monochrome1_is_inverted_after_the_window(dicom: Make, ramp: NDArray[np.uint8]) -> None:
    # The window cuts off everything above 500 of 0...4000: after the inversion that is black, not white.
    path = dicom(PhotometricInterpretation="MONOCHROME1", WindowCenter="250", WindowWidth="500")
    pixels = read_radiograph(path).pixels
    assert pixels[0, 0] == 1.0
    assert (pixels[:, 20:] == 0.0).all()


def test_the_first_window_counts(dicom: Make, ramp: NDArray[np.uint8]) -> None:
    pixels = read_radiograph(dicom(WindowCenter=["250", "9000"], WindowWidth=["500", "100"])).pixels
    assert (pixels[:, 20:] == 1.0).all()
    assert 0.0 < pixels[0, 4] < 1.0


def test_voi_lut_sequence(dicom: Make, ramp: NDArray[np.uint8]) -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.LUTData = np.arange(256, dtype=np.uint16)[::-1].tobytes()
    path = dicom(values=ramp, VOILUTSequence=[table])
    np.testing.assert_allclose(read_radiograph(path).pixels, expected(255 - ramp), atol=1e-4)


def test_an_empty_window_counts_as_none(dicom: Make, ramp: NDArray[np.uint8]) -> None:
    path = dicom(WindowCenter="", WindowWidth="")
    np.testing.assert_allclose(read_radiograph(path).pixels, expected(ramp), atol=1e-4)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_eat_the_contrast(
    dicom: Make, ramp: NDArray[np.uint8], photometric: str
) -> None:
    values = ramp.astype(np.uint16)
    values[:10] = 65535
    path = dicom(values=values, PixelPaddingValue=65535, PhotometricInterpretation=photometric)
    pixels = read_radiograph(path).pixels
    assert (pixels[:10] == 0.0).all()
    assert 0.4 < pixels[30, 30] < 0.6


def test_colour_screenshots_become_grey(dicom: Make, ramp: NDArray[np.uint8]) -> None:
    path = dicom(values=ramp)
    file = pydicom.dcmread(path)
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PlanarConfiguration = 3, "RGB", 0
    file.PixelData = np.repeat(ramp[..., None], 3, axis=2).tobytes()
    file.save_as(path)
    np.testing.assert_allclose(read_radiograph(path).pixels, expected(ramp), atol=1e-4)


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({"PixelSpacing": ["0.2", "0.1"]}, (0.1, 0.2)),
        ({"ImagerPixelSpacing": ["0.2", "0.1"]}, (0.1, 0.2)),
        ({"PixelSpacing": ["0.2", "0.1"], "ImagerPixelSpacing": ["0.5", "0.5"]}, (0.1, 0.2)),
        ({"NominalScannedPixelSpacing": ["0.3", "0.3"]}, (0.3, 0.3)),
        ({"PixelSpacing": ["0", "0"], "ImagerPixelSpacing": ["0.5", "0.4"]}, (0.4, 0.5)),
        ({"PixelSpacing": ""}, None),
    ],
)
def test_spacing_tags(dicom: Make, tags: dict[str, Any], spacing: tuple[float, float] | None) -> None:
    path = dicom(**tags)
    assert read_radiograph(path).spacing == spacing
    assert read_header(path).spacing == spacing


def test_a_given_spacing_overrides_the_tags(dicom: Make) -> None:
    assert read_radiograph(dicom(PixelSpacing=["1", "1"]), spacing_mm=0.5).spacing == (0.5, 0.5)


def test_files_without_a_suffix_are_found_by_their_preamble(dicom: Make, tmp_path: Path) -> None:
    for name in ("IM000001", "1.2.840.113619.2.5", "plain.dcm", "DICOMDIR"):
        dicom(name)
    (tmp_path / "README").write_text("no image " * 50)
    (tmp_path / "notes.1").write_text("no image")
    assert set(open_cohort(tmp_path).names) == {"IM000001", "1.2.840.113619.2.5", "plain.dcm"}
    assert open_cohort(tmp_path)["IM000001"].size == (40, 60)


def test_a_file_without_the_preamble_but_with_the_suffix(dicom: Make) -> None:
    path = dicom()
    path.write_bytes(path.read_bytes()[132:])
    assert read_radiograph(path).size == (40, 60)


def error_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_radiograph(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_several_frames(dicom: Make) -> None:
    path = dicom(values=np.zeros((3, 40, 60), np.uint8), NumberOfFrames=3)
    assert "3 frames; onemark takes one image per file" in error_of(path)


def test_no_pixels(dicom: Make) -> None:
    assert "without pixel data" in error_of(dicom(PixelData=None))


def test_no_image_at_all(dicom: Make) -> None:
    path = dicom(Rows=None, Columns=None, PixelData=None)
    assert "no DICOM image" in error_of(path)
    with pytest.raises(UserError, match="no DICOM image"):
        read_size(path)


def test_rubbish_with_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(b"this is a text, not a picture" * 20)
    assert "a.dcm" in error_of(path)


def test_cut_off(dicom: Make) -> None:
    path = dicom()
    path.write_bytes(path.read_bytes()[:-500])
    assert "damaged or cut off" in error_of(path)


@pytest.mark.parametrize("width", ["0", "0.9", "-5"])
def test_an_impossible_window_is_passed_over_and_named(
    dicom: Make, ramp: NDArray[np.uint8], width: str
) -> None:
    radiograph = read_radiograph(dicom(WindowCenter="10", WindowWidth=width))
    np.testing.assert_allclose(radiograph.pixels, expected(ramp), atol=1e-4)
    assert len(radiograph.notes) == 1
    assert f"without its DICOM tag WindowWidth: it is {width}" in radiograph.notes[0]


def test_every_pixel_padding(dicom: Make) -> None:
    path = dicom(values=np.full((40, 60), 7, np.uint16), PixelPaddingValue=7)
    assert "same value in every pixel" in error_of(path)


def test_without_pydicom_the_message_names_the_extra(dicom: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dicom()
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert "pip install onemark[dicom]" in error_of(path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_pixels(dicom: Make, ramp: NDArray[np.uint8], syntax: UID) -> None:
    path = dicom()
    file = pydicom.dcmread(path)
    file.compress(syntax)
    file.save_as(path)
    np.testing.assert_allclose(read_radiograph(path).pixels, expected(ramp), atol=1e-4)


def test_a_compression_without_its_decoder_names_the_extra(
    dicom: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dicom()
    file = pydicom.dcmread(path)
    file.compress(JPEG2000Lossless)
    file.save_as(path)
    decoder = pydicom.pixels.get_decoder(JPEG2000Lossless)
    monkeypatch.setattr(decoder, "_available", {})
    assert "compressed as JPEG 2000" in error_of(path)
    assert "pip install onemark[dicom]" in error_of(path)


def test_a_compression_that_nobody_knows(dicom: Make) -> None:
    path = dicom()
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = UID("1.2.3.4")
    file.save_as(path, enforce_file_format=False, implicit_vr=False, little_endian=True)
    assert "which pydicom does not know" in error_of(path)


def test_a_bare_dataset_without_file_meta(dicom: Make, ramp: NDArray[np.uint8], tmp_path: Path) -> None:
    file = pydicom.dcmread(dicom())
    del file.file_meta
    file.preamble = None
    path = tmp_path / "bare.dcm"
    file.save_as(path, enforce_file_format=False, implicit_vr=True, little_endian=True)
    assert path.read_bytes()[128:132] != b"DICM"
    np.testing.assert_allclose(read_radiograph(path).pixels, expected(ramp), atol=1e-4)


def test_palette_colours(dicom: Make, ramp: NDArray[np.uint8]) -> None:
    table = (np.arange(256, dtype=np.uint16)[::-1] * 257).tobytes()
    names = ("Red", "Green", "Blue")
    tags: dict[str, Any] = {f"{name}PaletteColorLookupTableData": table for name in names}
    tags |= {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in names}
    path = dicom(values=ramp, PhotometricInterpretation="PALETTE COLOR", **tags)
    np.testing.assert_allclose(read_radiograph(path).pixels, expected(255 - ramp), atol=1e-4)


# Whole pictures that other readers refuse


def test_compressed_pixels_without_their_closing_delimiter(dicom: Make, ramp: NDArray[np.uint8]) -> None:
    path = dicom()
    file = pydicom.dcmread(path)
    file.compress(RLELossless, generate_instance_uid=False)
    file.save_as(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"\xfe\xff\xdd\xe0")])
    np.testing.assert_allclose(read_radiograph(path).pixels, expected(ramp), atol=1e-4)


def test_padding_of_signed_pixels_that_is_written_without_sign(dicom: Make, ramp: NDArray[np.uint8]) -> None:
    values = ramp.astype(np.int16)
    values[:, :5] = -2000
    path = dicom(values=values)
    file = pydicom.dcmread(path)
    file.add(DataElement(0x00280120, "US", 65536 - 2000))
    file.save_as(path)
    pixels = read_radiograph(path).pixels
    assert (pixels[:, :5] == 0).all()
    assert pixels[:, 5:].mean() > 0.4


@pytest.mark.parametrize(
    ("tags", "spacing", "words"),
    [
        ({"PixelSpacing": ["1", "1"]}, None, "1 mm is a placeholder"),
        ({"PixelSpacing": ["80", "80"]}, None, "longer than 1.5 m"),
        ({"ImagerPixelSpacing": ["0.2", "0.1"]}, (0.1, 0.2), "at the detector"),
        (
            {
                "ImagerPixelSpacing": ["0.15", "0.15"],
                "EstimatedRadiographicMagnificationFactor": "1.5",
            },
            (0.15, 0.15),
            "magnification factor of 1.5 a pixel is 0.1 mm at the patient",
        ),
    ],
)
def test_what_the_mm_are_worth_is_said(
    dicom: Make, tags: dict[str, Any], spacing: tuple[float, float] | None, words: str
) -> None:
    radiograph = read_radiograph(dicom(**tags))
    assert radiograph.spacing == spacing
    assert words in " ".join(radiograph.notes)


def test_enhanced_dicom_of_one_frame(dicom: Make, ramp: NDArray[np.uint8]) -> None:
    measures, values, window, shared = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = ["0.2", "0.1"]
    values.RescaleSlope, values.RescaleIntercept = "2", "-10"
    window.WindowCenter, window.WindowWidth = "150", "200"
    shared.PixelMeasuresSequence = [measures]
    shared.PixelValueTransformationSequence = [values]
    shared.FrameVOILUTSequence = [window]
    path = dicom(values=ramp, NumberOfFrames="1", SharedFunctionalGroupsSequence=[shared])
    radiograph = read_radiograph(path)
    assert radiograph.spacing == (0.1, 0.2)
    shown = np.clip(ramp.astype(float) * 2 - 10, 150 - 0.5 - 99.5, 150 - 0.5 + 99.5)
    np.testing.assert_allclose(radiograph.pixels, expected(shown), atol=1e-3)
