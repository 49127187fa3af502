"""DICOM through pydicom, an extra: `pip install onemark[dicom]`."""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onemark.data.images.codestream import check_codestream
from onemark.data.images.dicom import space
from onemark.data.images.dicom.identity import Identity
from onemark.data.images.dicom.repair import closed, decode_otherwise
from onemark.data.images.dicom.tags import Tags
from onemark.data.images.dicom.window import modality_values, show
from onemark.data.images.header import (
    Decoded,
    Header,
    check_bytes,
    check_samples,
    check_size,
    several_pages,
)
from onemark.data.images.intensity import grey
from onemark.data.images.itk import Geometry
from onemark.data.images.limits import current_limits
from onemark.data.images.stream import BoundedReader
from onemark.types import UserError

_HEADER_TAGS = ["Rows", "Columns", "NumberOfFrames", *space.TAGS]
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_META_GROUP, _PIXEL_GROUP, _UNDEFINED = 0x0002, 0x7FE0, 0xFFFFFFFF
_LONGEST = {_META_GROUP: 1 << 16, 0x0008: 1 << 20, 0x0028: 1 << 20}
"""Group of tags -> most bytes of a value that is read for every picture."""
_MAX_FRAGMENTS = 100_000
_CALLS = 200_000
_ITEM = b"\xfe\xff\x00\xe0"
# pydicom converts colours in float32.
_COLOUR_WORK = 8


def read_header(stream: BoundedReader) -> Header:
    """Size and spacing without decoding. Raises UserError without the file's name; pydicom's errors pass."""
    return _header(Tags(_read(stream, _stops_at_pixels, _HEADER_TAGS)))


def read_geometry(stream: BoundedReader) -> Geometry:
    """Where ITK shows the file, by its own choice of tags. Raises as `read_header` does."""
    return space.itk_geometry(Tags(_read(stream, _stops_at_pixels, _HEADER_TAGS)))


def read_identity(stream: BoundedReader) -> Identity:
    """The UID of the image, and no other tag. Raises as `read_header` does."""
    return Identity.of(Tags(_read(stream, _stops_at_pixels, ["SOPInstanceUID"])).word("SOPInstanceUID"))


def read_values(stream: BoundedReader) -> Decoded:
    """The values after modality LUT and VOI LUT, MONOCHROME1 inverted last, and the header.

    Pixels with the padding value (outside the exposed field) become the darkest value.

    Raises:
        UserError: pydicom is missing, several frames, no pixels, too large; without the file's name.
    """
    dataset = _read(stream, _stops_nowhere)
    if _lacks_pixels(dataset) and _is_compressed(dataset):
        dataset = _read(closed(stream), _stops_nowhere)
    tags = Tags(dataset)
    header = _header(tags)
    check_size(*header.size)
    _check_frames(tags)
    if _lacks_pixels(dataset):
        raise UserError("is a DICOM file without pixel data; remove it from the folder")
    _check_decoder(dataset)
    _check_pixels(tags, header.size)
    return Decoded(header, _displayed(tags, header.size), tuple(tags.notes))


def _lacks_pixels(dataset: Any) -> bool:
    return not any(name in dataset for name in _PIXELS)


def _is_compressed(dataset: Any) -> bool:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    return bool(syntax is not None and not syntax.is_private and syntax.is_encapsulated)


def _header(tags: Tags) -> Header:
    space.flatten(tags)
    size = tags.size()
    return Header(size, space.measured_spacing(tags, size))


def _pydicom() -> Any:
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise UserError("is a DICOM file and needs pydicom: pip install onemark[dicom]") from None
    # What matters of a damaged file is said in our own words, once.
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    return pydicom


def _read(stream: BoundedReader, stop_when: Any, tags: list[str] | None = None) -> Any:
    most = current_limits().file
    if stream.size > most:
        raise UserError(f"is a DICOM file of more than {most >> 20} MiB; scale it down with `onemark scale`")
    read_partial = _pydicom().filereader.read_partial
    source = _inflated(stream)
    source.calls = _CALLS
    return read_partial(source, stop_when=stop_when, force=True, specific_tags=_numbers(tags))


def _numbers(tags: list[str] | None) -> list[Any] | None:
    return None if tags is None else [_pydicom().tag.Tag(tag) for tag in tags]


def _stops_nowhere(tag: int, vr: str | None, length: int) -> bool:
    """Refuse a tag of the picture's description that is absurdly long, before pydicom makes values of it."""
    if length != _UNDEFINED and length > _LONGEST.get(tag >> 16, length):
        raise UserError(f"is damaged (a DICOM tag of {length} bytes); export it again or remove it")
    return False


def _stops_at_pixels(tag: int, vr: str | None, length: int) -> bool:
    return _stops_nowhere(tag, vr, length) or tag >> 16 == _PIXEL_GROUP


def _inflated(stream: BoundedReader) -> BoundedReader:
    """The stream, or what it inflates to: pydicom itself would inflate without a bound."""
    filereader = _pydicom().filereader
    filereader.read_preamble(stream, force=True)
    meta = filereader.read_dataset(
        stream,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, *_: tag >> 16 != _META_GROUP,
    )
    if meta.get("TransferSyntaxUID") != _pydicom().uid.DeflatedExplicitVRLittleEndian:
        stream.seek(0)
        return stream
    most = current_limits().inflated
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(), most + 1)
    if len(inflated) > most:
        raise UserError(f"inflates to more than {most >> 20} MiB; save it with another transfer syntax")
    return BoundedReader(io.BytesIO(inflated), Path(stream.name))


def _check_frames(tags: Tags) -> None:
    if "NumberOfFrames" not in tags.dataset:
        return
    frames = tags.number("NumberOfFrames")
    if frames is not None and frames > 1:
        raise several_pages(int(frames), "frames")
    # pydicom would stumble over a number that it cannot read; one frame is what is left.
    del tags.dataset.NumberOfFrames


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


def _check_pixels(tags: Tags, size: tuple[int, int]) -> None:
    """Check how much memory the pixels will take, and what a compressed stream says of itself."""
    dataset = tags.dataset
    samples = int(tags.number("SamplesPerPixel") or 1)
    check_bytes(*size, samples * max(1, int(tags.number("BitsAllocated") or 8) // 8))
    if samples > 1 or tags.word("PhotometricInterpretation") == "PALETTE COLOR":
        check_samples(*size, 3, _COLOUR_WORK)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        from pydicom.encaps import generate_frames

        if dataset.PixelData.count(_ITEM) > _MAX_FRAGMENTS:
            raise UserError("holds its pixels in countless fragments; export it again or remove it")
        for frame in generate_frames(dataset.PixelData, number_of_frames=1):
            check_codestream(frame, size)


def _displayed(tags: Tags, size: tuple[int, int]) -> NDArray[Any]:
    pixels = _pydicom().pixels
    dataset = tags.dataset
    stored = _stored(tags, size)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = pixels.apply_color_lut(stored, dataset)
    if stored.ndim == 3 and stored.shape[:2] == size:
        return grey(stored)
    if stored.ndim != 2:
        raise several_pages(stored.shape[0] if stored.ndim else 0, "frames")
    padding = _padding(tags, stored)
    values = modality_values(tags, stored)
    show(tags, values, padding)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        np.subtract(values.max() + values.min(), values, out=values)
    if padding is not None:
        values[padding] = values[~padding].min()
    return values


def _stored(tags: Tags, size: tuple[int, int]) -> NDArray[Any]:
    try:
        return np.asarray(tags.dataset.pixel_array)
    except Exception:  # each of pydicom's decoders has its own kinds
        values = decode_otherwise(tags, size)
        if values is None:
            raise
        return values


def _padding(tags: Tags, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """`[H, W]`, true outside the exposed field; None where nothing or everything is."""
    first = tags.number("PixelPaddingValue")
    if first is None:
        return None
    last = tags.number("PixelPaddingRangeLimit")
    last = first if last is None else last
    first, last = (_with_sign(value, stored) for value in (first, last))
    padding: NDArray[np.bool_] = (stored >= min(first, last)) & (stored <= max(first, last))
    return padding if padding.any() and not padding.all() else None


def _with_sign(value: float, stored: NDArray[Any]) -> float:
    """A padding value of signed pixels that the file writes without its sign."""
    if stored.dtype.kind != "i" or value <= np.iinfo(stored.dtype).max:
        return value
    bits = 16 if value < 1 << 16 else 32
    return value - (1 << bits)
