"""Colours with a meaning: landmarks, expected errors, states. None requires telling red from green."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

from onemark.gui.state.annotation import State

GOLDEN = 0.61803398875
SURE, MIDDLE, UNSURE = (0.16, 0.82, 0.90), (1.0, 0.85, 0.30), (1.0, 0.25, 0.45)
STATES = {
    State.NONE: "#7f8791",
    State.ANNOTATING: "#e3b617",
    State.EXEMPLAR: "#4aa3ff",
    State.PREDICTED: "#9aa5b1",
    State.CORRECTING: "#e3b617",
    State.CORRECTED: "#2fbf8f",
}
"""State -> colour of its dot in the list, legible in light and dark themes."""
SUGGESTED = "#b07cff"
"""Colour of the dot of a suggested radiograph."""


def landmark_colours(count: int) -> NDArray[np.float64]:
    """`[count, 4]` RGBA: consecutive landmarks differ strongly, and all are bright on grey."""
    hues = (0.12 + GOLDEN * np.arange(count)) % 1
    rgb = [colorsys.hls_to_rgb(hue, 0.6, 1.0) for hue in hues]
    return np.column_stack([np.array(rgb).reshape(-1, 3), np.ones(count)])


def error_colours(errors: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """`[N, 4]` RGBA of expected errors: cyan at 0, yellow at half the limit, magenta-red at the limit and above.

    Args:
        errors: `[N]`, in any unit; NaN becomes grey.
        limit: The smallest error, in the same unit, with the last colour.
    """
    stops = np.array([SURE, MIDDLE, UNSURE])
    at = np.clip(np.nan_to_num(errors) / max(limit, 1e-9), 0, 1)
    rgb = np.column_stack([np.interp(at, [0, 0.5, 1], stops[:, channel]) for channel in range(3)])
    rgb[np.isnan(errors)] = 0.7
    return np.column_stack([rgb, np.ones(len(at))])


def to_hex(colour: NDArray[np.float64]) -> str:
    """`[3]` or `[4]` RGB(A) in [0, 1] as `#rrggbb`."""
    return "#" + "".join(f"{round(255 * float(value)):02x}" for value in colour[:3])
