"""From stored values to a radiograph's grey in [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onemark.types import UserError

PERCENTILES = (0.5, 99.5)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
SAMPLE = 1 << 18
"""Pixels in an even grid that stand for a radiograph's histogram."""
_ROWS = 256
_WIDEST = 1e38
"""Differences beyond it would overflow float32."""


def grey(values: NDArray[Any]) -> NDArray[Any]:
    """One channel from several.

    Args:
        values: `[H, W]`, or `[H, W, C]` with C = 1 or 2 (grey, alpha), 3 or more (red, green, blue, any).

    Returns:
        `[H, W]`; alpha is dropped, colour becomes its luma (Rec. 601).
    """
    if values.ndim != 3:
        return values
    if values.shape[2] < 3:
        return values[..., 0]
    luma = np.empty(values.shape[:2], np.float32)
    # A few rows at once, because all channels as float32 would take four times the picture's memory.
    for row in range(0, len(luma), _ROWS):
        luma[row : row + _ROWS] = values[row : row + _ROWS, :, :3].astype(np.float32) @ _LUMA
    return luma


def as_float(values: NDArray[Any]) -> NDArray[np.float32]:
    """The values as float32 that may be overwritten; no copy where they are that already."""
    with np.errstate(over="ignore"):  # what overflows becomes infinite, which `scaled` refuses
        pixels = values.astype(np.float32, copy=False)
    return pixels if pixels.flags.writeable else pixels.copy()


def check_values(values: NDArray[Any]) -> tuple[float, float]:
    """The least and the greatest value.

    Raises:
        UserError: a value is NaN or infinite, or every pixel is the same. The message lacks the file.
    """
    least, most = float(values.min()), float(values.max())
    if not np.isfinite((least, most)).all():
        raise UserError(
            "holds values that are not finite numbers (NaN or infinite); export it again without them"
        )
    if least == most:
        raise UserError(
            "has the same value in every pixel, so there is nothing to see; export it again or remove it"
        )
    return least, most


def scaled(values: NDArray[Any]) -> NDArray[np.float32]:
    """Scale robustly: the 0.5th percentile becomes 0, the 99.5th becomes 1, the rest is clipped.

    The percentiles come from an even grid of about 260,000 pixels, enough for a radiograph's histogram.

    Args:
        values: `[H, W]`, any real type; float32 is overwritten.

    Raises:
        UserError: a value that is NaN or infinite, or every pixel the same. The message lacks the file.
    """
    pixels = as_float(values)
    least, most = check_values(pixels)
    if most - least > _WIDEST:
        pixels *= 0.25
        least, most = least / 4, most / 4
    step = max(1, round((pixels.size / SAMPLE) ** 0.5))
    low, high = (np.float32(v) for v in np.percentile(pixels[::step, ::step], PERCENTILES))
    if low == high:
        low, high = np.float32(least), np.float32(most)
    np.clip(pixels, low, high, out=pixels)
    pixels -= low
    pixels /= high - low
    return pixels
