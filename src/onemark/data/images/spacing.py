"""Pixel spacing: the override a person gives, and what the resolution tags of a picture are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onemark.types import UserError

Spacing = tuple[float, float]
"""`(x, y)` mm per pixel."""

MM_PER_INCH = 25.4
_BELIEVABLE_MM = (0.02, 1.0)
# What programs, cameras and scanners write without having measured anything.
_DEFAULT_DPI = (
    72,
    75,
    90,
    96,
    100,
    120,
    144,
    150,
    160,
    180,
    192,
    200,
    220,
    240,
    300,
    350,
    360,
    400,
    600,
    720,
    1200,
)
# JPEG rounds to whole dots per cm, so 72 dpi may read 71.12.
_DPI_TOLERANCE = 1.0


def given(spacing_mm: float | Sequence[float] | None) -> Spacing | None:
    """The spacing a person gave, as `(x, y)` mm per pixel.

    Args:
        spacing_mm: One number for square pixels, `(x, y)`, or None when unknown.

    Raises:
        UserError: not one or two positive numbers.
    """
    if spacing_mm is None:
        return None
    try:
        x, y = spacing_mm if isinstance(spacing_mm, Sequence) else (spacing_mm, spacing_mm)
        found = (float(x), float(y))
    except (TypeError, ValueError):
        found = (math.nan, math.nan)
    if not all(math.isfinite(mm) and mm > 0 for mm in found):
        raise UserError(
            f"the pixel spacing must be one or two positive numbers of mm per pixel, not {spacing_mm!r}"
        )
    return found


def from_dpi(x_dpi: float, y_dpi: float) -> Spacing | None:
    """The spacing that resolution tags tell, or None when they are a default or out of a radiograph's range.

    Believed are 0.02 to 1.0 mm per pixel on both axes, unless an axis has one of the usual screen or print
    resolutions (72, 96, 150, 300 dpi, ...): those say nothing about the patient.
    """
    if not all(math.isfinite(dpi) and dpi > 0 for dpi in (x_dpi, y_dpi)):
        return None
    if any(abs(dpi - usual) <= _DPI_TOLERANCE for dpi in (x_dpi, y_dpi) for usual in _DEFAULT_DPI):
        return None
    return in_range(MM_PER_INCH / x_dpi, MM_PER_INCH / y_dpi)


def in_range(x_mm: float, y_mm: float) -> Spacing | None:
    """`(x, y)` when both lie between 0.02 and 1.0 mm per pixel, else None."""
    low, high = _BELIEVABLE_MM
    return (x_mm, y_mm) if low <= x_mm <= high and low <= y_mm <= high else None
