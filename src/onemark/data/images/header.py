"""What a picture file says before it is decoded, and the one gate that everything decoded passes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from numpy.typing import NDArray

from onemark.data.images.limits import current_limits
from onemark.data.images.spacing import Spacing
from onemark.types import UserError

MIN_SIDE = 16


class Header(NamedTuple):
    """The header of a radiograph's file.

    Attributes:
        size: `(H, W)` in pixels.
        spacing: `(x, y)` mm per pixel, or None when the file does not tell it believably.
    """

    size: tuple[int, int]
    spacing: Spacing | None


class Decoded(NamedTuple):
    """What a reader gives.

    Attributes:
        header: Read from the same open file.
        values: `[H, W]`, any real type; whoever gets it may overwrite it.
        notes: What the reader passed over, each the end of a sentence that starts with the file's name.
    """

    header: Header
    values: NDArray[Any]
    notes: tuple[str, ...] = ()


def check_size(height: int, width: int) -> None:
    """Refuse what is no radiograph before any memory is spent on it. The message lacks the file.

    Raises:
        UserError: a side below 16 px or more than 80 million pixels (`onemark.data.images.limits`).
    """
    if min(height, width) < MIN_SIDE:
        raise UserError(f"is only {width} x {height} px, which is no radiograph; remove it from the folder")
    most = current_limits().pixels
    if height * width > most:
        raise UserError(
            f"has {width} x {height} px, more than the {most // 1_000_000} million onemark takes;"
            " scale it and its landmarks down with `onemark scale`"
        )


def check_bytes(height: int, width: int, per_pixel: float) -> None:
    """Refuse samples that take too much memory, before they are decoded. The message lacks the file.

    Args:
        height: In px.
        width: In px.
        per_pixel: Bytes of all samples of a pixel.

    Raises:
        UserError: more than 256 MiB.
    """
    most = current_limits().samples
    if height * width * per_pixel > most:
        raise UserError(
            f"has {width} x {height} px of {per_pixel:g} bytes, more than the {most >> 20} MiB onemark decodes;"
            " save it as 8 or 16 bit grey or scale it down with `onemark scale`"
        )


def check_samples(height: int, width: int, channels: int, work: int) -> None:
    """Refuse a picture whose decoder needs `work` bytes a sample and too many in all. Raises as `check_bytes`."""
    if height * width * channels * work > current_limits().work:
        raise UserError(
            f"has {width} x {height} px of {channels} channels, too many for its compression;"
            " save it as grey or uncompressed, or scale it down with `onemark scale`"
        )


def check_decoded(found: Decoded) -> None:
    """Refuse what does not look like the picture that the header promised. The message lacks the file.

    Raises:
        UserError: not two dimensions, another size than stated, not real numbers.
    """
    check_size(*found.header.size)
    values = found.values
    if values.shape != found.header.size:
        told = f"{found.header.size[1]} x {found.header.size[0]}"
        shape = " x ".join(str(n) for n in values.shape)
        raise UserError(f"decodes to {shape} values where its header says {told} px; export it again")
    if values.dtype.kind not in "buif":
        raise UserError("holds something else than real numbers; export it as grey")


def checked_spacing(spacing: Spacing | None) -> Spacing | None:
    """The spacing when it is two finite positive numbers, else None."""
    if spacing is None or not all(math.isfinite(mm) and mm > 0 for mm in spacing):
        return None
    return spacing


def several_pages(count: int | str, noun: str = "pages") -> UserError:
    """The error for a file that holds more than one image. The message lacks the file."""
    return UserError(
        f"holds {count} {noun}; onemark takes one image per file, so save each one as its own file"
    )
