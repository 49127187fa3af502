"""The geometry that 3D Slicer gives a file, compared with SimpleITK, tag by tag and format by format."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from onemark import LandmarkSet, LandmarkTable, open_cohort, read_landmarks, write_landmarks
from onemark.data.images.itk import read_geometry
from onemark.types import UserError

sitk = pytest.importorskip("SimpleITK")
SIZE = (24, 32)
PIXELS = [(0.0, 0.0), (31.0, 23.0), (12.25, 5.5)]
WHOLE = {
    "PixelSpacing": ["0.2", "0.1"],
    "ImagerPixelSpacing": ["0.4", "0.3"],
    "NominalScannedPixelSpacing": ["0.6", "0.5"],
}
PLACE = {
    "ImagePositionPatient": ["10", "20", "30"],
    "ImageOrientationPatient": ["0", "1", "0", "0", "0", "-1"],
    "SpacingBetweenSlices": "8",
}
KINDS = [
    "ComputedRadiographyImageStorage",
    "DigitalXRayImageStorageForPresentation",
    "DigitalXRayImageStorageForProcessing",
    "DigitalMammographyXRayImageStorageForPresentation",
    "DigitalIntraOralXRayImageStorageForPresentation",
    "XRayAngiographicImageStorage",
    "XRayRadiofluoroscopicImageStorage",
    "CTImageStorage",
    "MRImageStorage",
    "SecondaryCaptureImageStorage",
    "UltrasoundImageStorage",
    "VLPhotographicImageStorage",
    "PositronEmissionTomographyImageStorage",
    "RTImageStorage",
    "EnhancedXAImageStorage",
    "NuclearMedicineImageStorage",
]
ENHANCED = [
    "EnhancedCTImageStorage",
    "EnhancedMRImageStorage",
    "EnhancedXAImageStorage",
    "XRay3DAngiographicImageStorage",
    "BreastTomosynthesisImageStorage",
    "MultiFrameGrayscaleWordSecondaryCaptureImageStorage",
]


def ramp(kind: Any = np.uint8) -> NDArray[Any]:
    return np.arange(SIZE[0] * SIZE[1]).reshape(SIZE).astype(kind)


def dicom(path: Path, kind: str, **tags: Any) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = getattr(uid, kind), "1.2.3"
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    file.Rows, file.Columns = SIZE
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit, file.PixelRepresentation = 15, 0
    for tag, value in tags.items():
        setattr(file, tag, value)
    file.PixelData = ramp(np.uint16).tobytes()
    with pydicom.config.disable_value_validation():
        file.save_as(path)
    return path


def assert_as_itk(path: Path) -> None:
    """Every pixel is where SimpleITK has it, and comes back from there."""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    image = sitk.ReadImage(str(path))
    ours = read_geometry(path)
    for xy in PIXELS:
        place = image.TransformContinuousIndexToPhysicalPoint([*xy, 0.0][: image.GetDimension()])
        np.testing.assert_allclose(ours.to_mm(xy), [*place, 0.0][:3], atol=1e-6)
        np.testing.assert_allclose(ours.to_pixel(place, "p"), xy, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tags", [{}, PLACE], ids=["flat", "placed"])
def test_dicom_kind_by_kind(tmp_path: Path, kind: str, tags: dict[str, Any]) -> None:
    if kind == "NuclearMedicineImageStorage" and tags:
        pytest.skip("ITK takes its place from a sequence of detectors")
    for number, chosen in enumerate(
        itertools.chain.from_iterable(itertools.combinations(WHOLE, n) for n in range(4))
    ):
        file = dicom(tmp_path / f"{number}.dcm", kind, **{name: WHOLE[name] for name in chosen}, **tags)
        assert_as_itk(file)


@pytest.mark.parametrize("kind", ENHANCED)
@pytest.mark.parametrize("shared", [True, False])
def test_enhanced_dicom_of_one_frame(tmp_path: Path, kind: str, shared: bool) -> None:
    frame, both = Dataset(), Dataset()
    measures, plane, position = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = WHOLE["PixelSpacing"]
    plane.ImageOrientationPatient = PLACE["ImageOrientationPatient"]
    position.ImagePositionPatient = PLACE["ImagePositionPatient"]
    groups = both if shared else frame
    groups.PixelMeasuresSequence, groups.PlaneOrientationSequence = [measures], [plane]
    frame.PlanePositionSequence = [position]
    sequences = {"SharedFunctionalGroupsSequence": [both], "PerFrameFunctionalGroupsSequence": [frame]}
    assert_as_itk(dicom(tmp_path / "e.dcm", kind, NumberOfFrames="1", **sequences))


@pytest.mark.parametrize(
    "tags",
    [
        {"ImagerPixelSpacing": ["0", "0"]},
        {"ImagerPixelSpacing": ["0.2", "0"]},
        {"ImagerPixelSpacing": ["-1", "-2"]},
        {"ImagerPixelSpacing": "0.3"},
        {"ImagerPixelSpacing": ["0.3", "0.4", "0.5"]},
        {"ImagerPixelSpacing": None},
        {"ImagePositionPatient": ["1", "2"]},
        {"ImageOrientationPatient": ["0"] * 6},
        {"ImageOrientationPatient": ["0", "1", "0"]},
        {"ImageOrientationPatient": ["2", "0", "0", "0", "2", "0"]},
        {"ImageOrientationPatient": ["1", "0", "0", "0.5", "0.5", "0"]},
    ],
)
def test_odd_values_count_as_for_itk(tmp_path: Path, tags: dict[str, Any]) -> None:
    assert_as_itk(dicom(tmp_path / "o.dcm", "ComputedRadiographyImageStorage", **tags))


def test_an_empty_pixel_spacing_of_a_secondary_capture(tmp_path: Path) -> None:
    tags = {"PixelSpacing": None, "NominalScannedPixelSpacing": ["0.6", "0.5"]}
    assert_as_itk(dicom(tmp_path / "s.dcm", "SecondaryCaptureImageStorage", **tags))


def raster(suffix: str, dpi: tuple[float, float] | None = None) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        Image.fromarray(ramp()).save(path, **({"dpi": dpi} if dpi else {}))

    save.suffix = suffix  # type: ignore[attr-defined]
    return save


def jfif(unit: int, x: int, y: int) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        raster(".jpg", (300, 300))(path)
        data = bytearray(path.read_bytes())
        at = data.find(b"JFIF\0") + 7
        data[at : at + 5] = bytes([unit, x >> 8, x & 255, y >> 8, y & 255])
        path.write_bytes(data)

    save.suffix = ".jpg"  # type: ignore[attr-defined]
    return save


def tiff(**options: Any) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        tifffile.imwrite(path, ramp(), **options)

    save.suffix = ".tif"  # type: ignore[attr-defined]
    return save


INCH = {"resolution": (100, 50), "resolutionunit": "inch"}


def preview_first(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(ramp()[::2, ::2], subfiletype=1)
        file.write(ramp(), **INCH)


PICTURES = [
    *(raster(".jpg", (dpi, dpi)) for dpi in (72, 96, 150, 300)),
    raster(".jpg"),
    raster(".jpg", (72, 100)),
    *(jfif(*values) for values in [(0, 300, 300), (2, 300, 200), (3, 300, 300), (1, 0, 5), (1, 1, 1)]),
    *(raster(suffix, dpi) for suffix in (".png", ".bmp", ".jp2") for dpi in (None, (254, 254))),
    tiff(),
    *(tiff(resolution=(100, 50), resolutionunit=unit) for unit in ("none", "inch", "centimeter")),
    tiff(resolution=(100, 50), resolutionunit=None, metadata=None),
    tiff(resolution=(0, 0), resolutionunit="inch"),
    tiff(imagej=True, resolution=(10, 5), metadata={"unit": "mm"}),
]


@pytest.mark.parametrize("save", PICTURES)
def test_pictures(tmp_path: Path, save: Callable[[Path], None]) -> None:
    path = tmp_path / f"p{save.suffix}"  # type: ignore[attr-defined]
    save(path)
    assert_as_itk(path)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_turned_tiff_lies_where_itk_puts_its_pixels(tmp_path: Path, turn: int) -> None:
    path = tmp_path / "t.tif"
    picture = np.random.default_rng(0).integers(0, 255, SIZE).astype(np.uint8)
    tifffile.imwrite(path, picture, extratags=[(274, "H", 1, turn, True)], **INCH)
    image = sitk.ReadImage(str(path))
    read = sitk.GetArrayFromImage(image)
    read = read[..., 0] if read.ndim == 3 else read
    for x, y in ((3, 5), (30, 2)):
        index = image.TransformPhysicalPointToIndex(read_geometry(path).to_mm((x, y))[:2])
        assert read[index[1], index[0]] == picture[y, x]


def test_a_tiff_that_starts_with_its_preview(tmp_path: Path) -> None:
    path = tmp_path / "t.tif"
    preview_first(path)
    image = sitk.ReadImage(str(path))
    assert image.GetSize() == (16, 12)
    # The middle of the preview is the middle of the picture.
    middle = image.TransformContinuousIndexToPhysicalPoint((7.5, 5.5))
    np.testing.assert_allclose(read_geometry(path).to_pixel(middle, "p"), (15.5, 11.5))


def test_markups_use_itks_place_whatever_spacing_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "xrays"
    folder.mkdir()
    file = dicom(folder / "p.dcm", "ComputedRadiographyImageStorage", **WHOLE)
    table = LandmarkTable.from_sets([LandmarkSet("p.dcm", ("s",), np.array([[20.0, 10.0]]))])
    for spacing in (None, 0.07):
        cohort = open_cohort(folder, spacing_mm=spacing)
        (written,) = write_landmarks(table, tmp_path / "p.mrk.json", cohort=cohort, overwrite=True)
        place = sitk.ReadImage(str(file)).TransformIndexToPhysicalPoint((20, 10, 0))
        assert f"{place[0]!r}"[:6] in written.read_text()
        foreign = tmp_path / "p.dcm.mrk.json"
        foreign.write_text(
            '{"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": '
            f'[{{"label": "s", "position": {list(place)}}}]}}]}}'
        )
        np.testing.assert_allclose(read_landmarks(foreign, cohort)["p.dcm"].xy, [(20, 10)])
        np.testing.assert_allclose(read_landmarks(written)["p.dcm"].xy, [(20, 10)])


def test_points_off_the_plane_are_refused(tmp_path: Path) -> None:
    path = dicom(tmp_path / "p.dcm", "CTImageStorage", **WHOLE)
    with pytest.raises(UserError, match=r"point lies 20 mm off the plane"):
        read_geometry(path).to_pixel((0, 10, 20), "point")
