"""PNG, JPEG and BMP through Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onemark.data.images.header import Header, check_size, several_pages
from onemark.data.images.spacing import Spacing, from_dpi
from onemark.types import UserError

_FORMATS = ("PNG", "JPEG", "BMP")
# Modes whose stored numbers are the grey values; every other mode goes through Pillow's own conversion.
_GREY_MODES = ("L", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def read_header(path: Path) -> Header:
    """Size and spacing without decoding. Raises UserError without the file's name; Pillow's errors pass."""
    with _opened(path) as image:
        return Header((image.height, image.width), _spacing(image))


def read_values(path: Path) -> tuple[NDArray[Any], Spacing | None]:
    """The stored grey values `[H, W]` and the spacing.

    Raises:
        UserError: too small, too large, several frames; without the file's name. Pillow's own errors pass.
    """
    with _opened(path) as image:
        check_size(image.height, image.width)
        frames = getattr(image, "n_frames", 1)
        # MPO is a camera's JPEG with previews behind the picture.
        if frames > 1 and image.format != "MPO":
            raise several_pages(frames, "frames")
        spacing = _spacing(image)
        grey = image if image.mode in _GREY_MODES else image.convert("L")
        return np.asarray(grey), spacing


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path, formats=_FORMATS)
    except Image.DecompressionBombError:
        raise UserError("has far more pixels than any radiograph; scale it down or remove it") from None


def _spacing(image: Image.Image) -> Spacing | None:
    # Pillow gives dpi only where the file states a unit: JFIF or EXIF inch and cm, PNG and BMP metre.
    dpi = image.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    return from_dpi(float(dpi[0]), float(dpi[1]))
