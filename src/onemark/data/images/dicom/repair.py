"""Whole pictures in DICOM files that pydicom and its decoders refuse."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from onemark.data.images.codestream import JP2, JPEG, JPEG2000
from onemark.data.images.dicom.tags import Tags
from onemark.data.images.stream import BoundedReader

_CLOSING = b"\xfe\xff\xdd\xe0\0\0\0\0"


def closed(stream: BoundedReader) -> BoundedReader:
    """The file with the delimiter that ends compressed pixels, which some programs leave out."""
    stream.seek(0)
    return BoundedReader(io.BytesIO(stream.read() + _CLOSING), Path(stream.name))


def decode_otherwise(tags: Tags, size: tuple[int, int]) -> NDArray[Any] | None:
    """What imagecodecs makes of a compressed frame, `[H, W]` or `[H, W, 3]`; None where it cannot either."""
    from pydicom.encaps import generate_frames

    if not tags.dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return None
    frame = next(generate_frames(tags.dataset.PixelData, number_of_frames=1))
    for decode in _decoders(frame):
        try:
            values = np.asarray(decode(frame))
        except Exception:  # each decoder has its own kinds; the first one's error is what counts
            continue
        if values.shape[:2] == size and values.ndim in (2, 3):
            return _signed(tags, values)
    return None


def _decoders(frame: bytes) -> tuple[Any, ...]:
    if frame.startswith(JPEG):
        return imagecodecs.jpeg8_decode, imagecodecs.ljpeg_decode, imagecodecs.jpegls_decode
    return (imagecodecs.jpeg2k_decode,) if frame.startswith((JP2, JPEG2000)) else ()


def _signed(tags: Tags, values: NDArray[Any]) -> NDArray[Any]:
    """The values with their sign, which JPEG streams do not hold."""
    bits = int(tags.number("BitsStored") or 0)
    if tags.number("PixelRepresentation") != 1 or values.dtype.kind != "u" or not 1 < bits <= 16:
        return values
    half = 1 << (bits - 1)
    return np.where(values < half, values, values.astype(np.int32) - 2 * half).astype(np.int32)
