"""DICOM through pydicom, an extra: `pip install onemark[dicom]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onemark.data.images.header import Header, check_size, several_pages
from onemark.data.images.intensity import grey
from onemark.data.images.spacing import Spacing
from onemark.types import UserError

# The first that is there counts: calibrated to the patient, measured at the detector, told by a film scanner.
_SPACING_TAGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_HEADER_TAGS = ["Rows", "Columns", "NumberOfFrames", *_SPACING_TAGS]


def read_header(path: Path) -> Header:
    """Size and spacing without decoding. Raises UserError without the file's name; pydicom's errors pass."""
    dataset = _pydicom().dcmread(path, force=True, stop_before_pixels=True, specific_tags=_HEADER_TAGS)
    return Header(_size(dataset), _spacing(dataset))


def read_values(path: Path) -> tuple[NDArray[Any], Spacing | None]:
    """The values `[H, W]` after modality LUT and VOI LUT, MONOCHROME1 inverted last, and the spacing.

    Pixels with the padding value (outside the exposed field) become the darkest value.

    Raises:
        UserError: pydicom is missing, several frames, no pixels, an unusable window; without the file's name.
    """
    dataset = _pydicom().dcmread(path, force=True)
    check_size(*_size(dataset))
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise several_pages(frames, "frames")
    if "PixelData" not in dataset:
        raise UserError("is a DICOM file without pixel data; remove it from the folder")
    _check_decoder(dataset)
    return _displayed(dataset), _spacing(dataset)


def _pydicom() -> Any:
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise UserError("is a DICOM file and needs pydicom: pip install onemark[dicom]") from None
    return pydicom


def _size(dataset: Any) -> tuple[int, int]:
    rows, columns = dataset.get("Rows"), dataset.get("Columns")
    if not rows or not columns:
        raise UserError("is no DICOM image (it has no Rows and Columns); remove it from the folder")
    return int(rows), int(columns)


def _check_decoder(dataset: Any) -> None:
    pydicom = _pydicom()
    meta = dataset.file_meta
    if "TransferSyntaxUID" not in meta:
        implicit = dataset.original_encoding[0]
        meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
        )
    syntax = meta.TransferSyntaxUID
    try:
        available = pydicom.pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        raise UserError(
            f"is compressed as {syntax.name}, which pydicom does not know; save it uncompressed"
        ) from None
    if not available:
        raise UserError(f"is compressed as {syntax.name} and needs a decoder: pip install onemark[dicom]")


def _displayed(dataset: Any) -> NDArray[Any]:
    pixels = _pydicom().pixels
    stored = dataset.pixel_array
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = pixels.apply_color_lut(stored, dataset)
    if stored.ndim == 3:
        return grey(stored)
    values = pixels.apply_modality_lut(stored, dataset)
    if _has_voi(dataset):
        values = pixels.apply_voi_lut(values, dataset)
    values = np.asarray(values, np.float32)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        values = values.max() + values.min() - values
    return _without_padding(dataset, stored, values)


def _has_voi(dataset: Any) -> bool:
    if dataset.get("VOILUTSequence"):
        return True
    width, centre = (dataset.get(tag) for tag in ("WindowWidth", "WindowCenter"))
    if width in (None, "") or centre in (None, ""):
        return False
    if float(np.atleast_1d(width)[0]) <= 0:
        raise UserError(
            f"has a WindowWidth of {width}, which must be above 0; correct or remove that DICOM tag"
        )
    return True


def _without_padding(dataset: Any, stored: NDArray[Any], values: NDArray[np.float32]) -> NDArray[np.float32]:
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return values
    last = dataset.get("PixelPaddingRangeLimit", first)
    padding = (stored >= min(first, last)) & (stored <= max(first, last))
    if padding.all():
        return values
    values[padding] = values[~padding].min()
    return values


def _spacing(dataset: Any) -> Spacing | None:
    for tag in _SPACING_TAGS:
        value = dataset.get(tag)
        if value is not None and len(value) == 2 and all(float(mm) > 0 for mm in value):
            # DICOM says rows first: the distance down, then the distance across.
            return float(value[1]), float(value[0])
    return None
