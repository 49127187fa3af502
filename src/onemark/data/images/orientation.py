"""The rotation flag of a picture (EXIF orientation), which onemark does not apply but some programs do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onemark.data.images.kinds import START, kind_of
from onemark.data.images.stream import BoundedReader

_TAG = 0x0112
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
_KINDS = ("raster", "compact", "tiff")


def read_orientation(path: Path | str) -> int:
    """The flag, 1...8; 1, which changes nothing, where there is none or the file cannot be read."""
    return find_orientation(lambda: BoundedReader.open(Path(path)))


def find_orientation(source: Callable[[], BoundedReader]) -> int:
    """As `read_orientation`, of a file that `source` opens."""
    try:
        with source() as stream:
            if kind_of(stream.read(START)) not in _KINDS:
                return 1
            from PIL import Image  # late, so that a folder is listed without loading a decoder

            stream.seek(0)
            with Image.open(stream, formats=_FORMATS) as image:
                found = image.getexif().get(_TAG, 1)
    except Exception:  # whoever decodes the picture says what is wrong with it
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def to_stored(xy: NDArray[np.float64], turn: int, size: tuple[int, int]) -> NDArray[np.float64]:
    """Points of the turned picture, in pixels of the stored one.

    Args:
        xy: `[K, 2]` in the picture as programs show it that apply the flag.
        turn: The flag, 1...8.
        size: `(H, W)` of the stored picture.
    """
    shown = xy[:, ::-1] if turn >= 5 else xy
    last = np.array([size[1] - 1, size[0] - 1], float)
    mirrored = _MIRRORED[turn]
    return np.where(mirrored, last - shown, shown)


def to_shown(xy: NDArray[np.float64], turn: int, size: tuple[int, int]) -> NDArray[np.float64]:
    """The inverse of `to_stored`."""
    last = np.array([size[1] - 1, size[0] - 1], float)
    stored = np.where(_MIRRORED[turn], last - xy, xy)
    return stored[:, ::-1] if turn >= 5 else stored


NOTICE = "carries a rotation flag (EXIF), which is not applied: x, y count the stored pixels"
"""What is said of a picture with such a flag; the end of a sentence that starts with the file's name."""
# Flag -> whether stored x and y run against the shown axis that they become.
_MIRRORED = {
    1: (False, False),
    2: (True, False),
    3: (True, True),
    4: (False, True),
    5: (False, False),
    6: (False, True),
    7: (True, True),
    8: (True, False),
}
