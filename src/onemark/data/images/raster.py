"""PNG, JPEG and BMP through Pillow; PNG with several channels of 16 bits through imagecodecs."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onemark.data.images.codestream import check_codestream
from onemark.data.images.header import Decoded, Header, check_bytes, check_size, several_pages
from onemark.data.images.intensity import grey
from onemark.data.images.itk import Geometry, from_density
from onemark.data.images.spacing import MM_PER_INCH, Spacing, from_dpi
from onemark.data.images.stream import BoundedReader
from onemark.types import UserError

_FORMATS = ("PNG", "JPEG", "BMP")
# Modes whose stored numbers are the grey values; every other mode goes through Pillow's own conversion.
_GREY_MODES = ("L", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "LA": 4, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_JPEG_END = b"\xff\xd9"
_MORE = bytes(range(17, 113)) * 4
_NO_END = "lacks the end marker of a JPEG, but none of its pixels"
_JFIF_MM = {1: MM_PER_INCH, 2: 10.0}
_PNG = b"\x89PNG"
# Colour type of a PNG -> channels, of the types that Pillow cuts to 8 bits.
_PNG_CHANNELS = {2: 3, 4: 2, 6: 4}
_PNG_DEPTH_AT, _PNG_COLOUR_AT = 24, 25


def read_header(stream: BoundedReader) -> Header:
    """Size and spacing without decoding. Raises UserError without the file's name; Pillow's errors pass."""
    return _header(_opened(stream))


def read_geometry(stream: BoundedReader) -> Geometry:
    """The density of a JPEG's JFIF header; 1 mm for anything else, whose density ITK ignores."""
    info = _opened(stream).info
    mm = _JFIF_MM.get(info.get("jfif_unit", 0))
    if not mm:
        return Geometry()
    x, y = info["jfif_density"]
    return from_density(float(x), float(y), mm)


def read_values(stream: BoundedReader) -> Decoded:
    """The stored grey values and the header.

    Raises:
        UserError: too small, too large, several frames; without the file's name. Pillow's own errors pass.
    """
    image = _opened(stream)
    header = _header(image)
    check_size(*header.size)
    frames = getattr(image, "n_frames", 1)
    # MPO is a camera's JPEG with previews behind the picture.
    if frames > 1 and image.format != "MPO":
        raise several_pages(frames, "frames")
    if _is_deep(stream):
        return Decoded(header, _deep(stream, header))
    try:
        return Decoded(header, _plain(stream, image, header))
    except OSError:
        values = _unended(_whole(stream)) if image.format in ("JPEG", "MPO") else None
        if values is None:
            raise
        return Decoded(header, values, (_NO_END,))


def _unended(data: bytes) -> NDArray[Any] | None:
    """The picture of a JPEG that lacks nothing but its end marker; None where pixels are missing."""
    # Bytes behind a whole scan change nothing; where pixels are missing they become pixels.
    first, second = (_grey_of(data.rstrip(b"\xff") + rest + _JPEG_END) for rest in (b"", _MORE))
    return first if first is not None and second is not None and np.array_equal(first, second) else None


def _grey_of(data: bytes) -> NDArray[Any] | None:
    try:
        return np.asarray(Image.open(io.BytesIO(data), formats=("JPEG",)).convert("L"))
    except (OSError, ValueError, SyntaxError):
        return None


def _plain(stream: BoundedReader, image: Image.Image, header: Header) -> NDArray[Any]:
    check_bytes(*header.size, _MODE_BYTES.get(image.mode, 3))
    if image.format in ("JPEG", "MPO"):
        check_codestream(_whole(stream))
        stream.seek(0)
    return np.asarray(image if image.mode in _GREY_MODES else image.convert("L"))


def _is_deep(stream: BoundedReader) -> bool:
    """Whether it is a PNG with several channels of 16 bits, of which Pillow keeps 8."""
    stream.seek(0)
    start = stream.read(_PNG_COLOUR_AT + 1)
    stream.seek(0)
    return start.startswith(_PNG) and start[_PNG_DEPTH_AT] == 16 and start[_PNG_COLOUR_AT] in _PNG_CHANNELS


def _deep(stream: BoundedReader, header: Header) -> NDArray[Any]:
    import imagecodecs

    data = _whole(stream)
    check_bytes(*header.size, 2 * _PNG_CHANNELS[data[_PNG_COLOUR_AT]])
    return grey(imagecodecs.png_decode(data))


def _whole(stream: BoundedReader) -> bytes:
    stream.seek(0)
    return stream.read()


def _opened(stream: BoundedReader) -> Image.Image:
    try:
        return Image.open(stream, formats=_FORMATS)
    except Image.DecompressionBombError:
        raise UserError(
            "has far more pixels than any radiograph; scale it down with `onemark scale` or remove it"
        ) from None


def _header(image: Image.Image) -> Header:
    return Header((image.height, image.width), _spacing(image))


def _spacing(image: Image.Image) -> Spacing | None:
    # Pillow gives dpi only where the file states a unit: JFIF or EXIF inch and cm, PNG and BMP metre.
    dpi = image.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    return from_dpi(float(dpi[0]), float(dpi[1]))
