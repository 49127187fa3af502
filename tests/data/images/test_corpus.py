"""Every DICOM file in pydicom's wheel: read, with pixels as computed otherwise, or refused as expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, apply_rescale, apply_voi_lut

from onemark.data.images.read import read_header, read_radiograph
from onemark.types import UserError

ROOT = Path(pydicom.__file__).parent / "data"
NO_PICTURE = "it has no Rows and Columns"
TOO_SMALL = "which is no radiograph"
FRAMES = "onemark takes one image per file"
NO_KIND = "is no PNG, JPEG"
REFUSED = {
    "chrJapMulti.dcm": "without pixel data",
    "chrJapMultiExplicitIR6.dcm": "without pixel data",
    "chrKoreanMulti.dcm": "without pixel data",
    "JPEG2000-embedded-sequence-delimiter.dcm": "where its header says 256 x 1024",
    "MR_truncated.dcm": "is damaged or cut off; export it again",
    "examples_ybr_color.dcm": FRAMES,
    "crayons.icc": NO_KIND,
    "README": NO_KIND,
    "zipMR.gz": NO_KIND,
}
NOT_PICTURES = (
    "ExplVR_",
    "UN_sequence",
    "empty_charset",
    "meta_missing",
    "nested_priv",
    "no_meta",
    "priv_SQ",
    "reportsi",
    "rtplan",
    "rtstruct",
    "test-SR",
    "waveform",
    "chrSQ",
    "DICOMDIR",
    "IM0000",
    "fall",
    "hotiron",
    "hotmetal",
    "pet",
    "spring",
    "summer",
    "winter",
)
SMALL = ("JPEGLSNear", "SC_rgb_small", "badVR", "rtdose")


def files() -> list[Path]:
    kinds = (".py", ".pyc", ".json", ".txt", ".md", ".dump")
    return sorted(path for path in ROOT.rglob("*") if path.is_file() and path.suffix not in kinds)


def refusal(name: str) -> str:
    """Words of the sentence that refuses a file; empty for one that is read."""
    if name in REFUSED:
        return REFUSED[name]
    if name.endswith("2frame.dcm"):
        return FRAMES
    if name.startswith(SMALL):
        return TOO_SMALL
    return NO_PICTURE if name.startswith(NOT_PICTURES) and name != "ExplVR_BigEnd.dcm" else ""


def computed(path: Path, notes: tuple[str, ...]) -> NDArray[Any]:
    """`[H, W]` in [0, 1], by pydicom's own functions and full percentiles."""
    dataset = pydicom.dcmread(path, force=True)
    try:
        stored = dataset.pixel_array
    except RuntimeError:
        stored = imagecodecs.jpeg_decode(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
    if stored.ndim == 3:
        values = stored[..., :3].astype(float) @ [0.299, 0.587, 0.114]
    else:
        values = apply_rescale(stored, dataset).astype(float)
        if not any("hides the picture" in note for note in notes):
            values = apply_voi_lut(values, dataset).astype(float)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            values = values.max() + values.min() - values
        values = without_padding(dataset, stored, values)
    low, high = np.percentile(values, (0.5, 99.5))
    low, high = (low, high) if high > low else (values.min(), values.max())
    return np.clip((values - low) / (high - low), 0, 1)


def without_padding(dataset: Any, stored: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    if "PixelPaddingValue" in dataset:
        padding = stored == dataset.PixelPaddingValue
        if padding.any() and not padding.all():
            values[padding] = values[~padding].min()
    return values


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_every_file_of_the_wheel(path: Path) -> None:
    words = refusal(path.name)
    if words:
        with pytest.raises(UserError, match=words) as caught:
            read_radiograph(path)
        assert str(path) in str(caught.value)
        return
    radiograph = read_radiograph(path)
    assert read_header(path) == (radiograph.size, radiograph.spacing)
    np.testing.assert_allclose(radiograph.pixels, computed(path, radiograph.notes), atol=0.01)
