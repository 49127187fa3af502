"""WebP and JPEG 2000 through imagecodecs, which keeps 16 bits where Pillow does not."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from onemark.data.images.codestream import check_codestream, frame_of
from onemark.data.images.header import Decoded, Header, check_bytes, check_size, several_pages
from onemark.data.images.intensity import grey
from onemark.data.images.itk import Geometry
from onemark.data.images.stream import BoundedReader
from onemark.types import UserError

_WEBP = b"RIFF"


def read_header(stream: BoundedReader) -> Header:
    """Size without decoding; neither format states a spacing. Raises UserError without the file's name."""
    return _header(stream.read(), stream)


def read_geometry(stream: BoundedReader) -> Geometry:
    """1 mm per pixel, which is what ITK says of JPEG 2000; it does not read WebP."""
    return Geometry()


def read_values(stream: BoundedReader) -> Decoded:
    """The stored grey values and the header.

    Raises:
        UserError: too small, too large, several frames; without the file's name. The decoder's errors pass.
    """
    data = stream.read()
    header = _header(data, stream)
    check_size(*header.size)
    if data.startswith(_WEBP):
        check_bytes(*header.size, 3)
        values: Any = imagecodecs.webp_decode(data)
    else:
        frame = check_codestream(data)
        if frame is not None:
            check_bytes(*header.size, frame.channels * (1 if frame.bits <= 8 else 2))
        values = imagecodecs.jpeg2k_decode(data)
    return Decoded(header, grey(np.asarray(values)))


def _header(data: bytes, stream: BoundedReader) -> Header:
    if not data.startswith(_WEBP):
        frame = frame_of(data)
        if frame is None:
            raise UserError("is damaged or cut off (no JPEG 2000 codestream); export it again or remove it")
        return Header(frame.size, None)
    stream.seek(0)
    image = Image.open(stream, formats=("WEBP",))
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise several_pages(frames, "frames")
    return Header((image.height, image.width), None)
