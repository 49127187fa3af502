"""What a picture file says before it is decoded, and the sizes onemark takes."""

from __future__ import annotations

from typing import NamedTuple

from onemark.data.images.spacing import Spacing
from onemark.types import UserError

MIN_SIDE = 16
MAX_PIXELS = 80_000_000
"""A long-leg film scanned at 0.05 mm has about 60 million pixels."""


class Header(NamedTuple):
    """The header of a radiograph's file.

    Attributes:
        size: `(H, W)` in pixels.
        spacing: `(x, y)` mm per pixel, or None when the file does not tell it believably.
    """

    size: tuple[int, int]
    spacing: Spacing | None


def check_size(height: int, width: int) -> None:
    """Refuse what is no radiograph before any memory is spent on it. The message lacks the file.

    Raises:
        UserError: a side below 16 px or more than 80 million pixels.
    """
    if min(height, width) < MIN_SIDE:
        raise UserError(f"is only {width} x {height} px, which is no radiograph; remove it from the folder")
    if height * width > MAX_PIXELS:
        limit = MAX_PIXELS // 1_000_000
        raise UserError(
            f"has {width} x {height} px, more than the {limit} million onemark takes; scale it down"
        )


def several_pages(count: int, noun: str = "pages") -> UserError:
    """The error for a file that holds more than one image. The message lacks the file."""
    return UserError(
        f"holds {count} {noun}; onemark takes one image per file, so save each one as its own file"
    )
