"""From stored DICOM values to displayed ones: modality LUT, then the first window that shows something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onemark.data.images.dicom.tags import Tags
from onemark.data.images.intensity import SAMPLE, as_float

_SHOWN = 0.05
"""Share of the pixels that a window must leave between black and white."""
_MOST_WINDOWS = 16
_ROWS = 256
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")

Values = NDArray[np.float32]


def modality_values(tags: Tags, stored: NDArray[Any]) -> Values:
    """The values after the modality LUT or slope and intercept (DICOM PS3.3 C.11.1), `[H, W]` float32."""
    values = stored.astype(np.float32)
    if tags.sequence("ModalityLUTSequence"):
        try:
            _by_rows(partial(_modality_lut, tags), stored, values)
            return values
        except Exception as error:  # optional; pydicom raises many kinds for a damaged table
            tags.pass_over("ModalityLUTSequence", type(error).__name__)
            values = stored.astype(np.float32)
    slope, intercept = tags.number("RescaleSlope"), tags.number("RescaleIntercept")
    if slope == 0:
        tags.pass_over("RescaleSlope", "it is 0")
    if slope:
        values *= np.float32(slope)
    if intercept:
        values += np.float32(intercept)
    return values


def show(tags: Tags, values: Values, padding: NDArray[np.bool_] | None) -> None:
    """Pass the values through the first VOI LUT or window that is usable; none may be.

    A window that leaves less than 5 % of the pixels between black and white hides the picture; the next one is
    tried. About 260,000 pixels decide, in an even grid.

    Args:
        tags: Of the file.
        values: `[H, W]`, after the modality LUT; overwritten.
        padding: `[H, W]`, true outside the exposed field; None where everything counts.
    """
    step = max(1, round((values.size / SAMPLE) ** 0.5))
    grid = values[::step, ::step]
    inside = np.ones(grid.shape, bool) if padding is None else ~padding[::step, ::step]
    hiding = 0
    for apply in _choices(tags):
        shown = apply(grid)
        if shown is None:
            continue
        if _shows(shown[inside]):
            if hiding:
                tags.note("is shown through a later window, because its first one hides the picture")
            _by_rows(apply, values, values)
            return
        hiding += 1
    if hiding:
        tags.note("is shown with all its values, because its VOI LUT or window hides the picture")


def _shows(shown: Values) -> bool:
    if not shown.size:
        return True
    return float(((shown > shown.min()) & (shown < shown.max())).mean()) >= _SHOWN


def _by_rows(apply: Callable[[Any], Any], source: NDArray[Any], target: Values) -> None:
    # pydicom's tables take 8 bytes a pixel and more, so they get a few rows at once.
    for row in range(0, len(source), _ROWS):
        target[row : row + _ROWS] = apply(source[row : row + _ROWS])


def _modality_lut(tags: Tags, stored: NDArray[Any]) -> Any:
    from pydicom.pixels import apply_modality_lut

    return apply_modality_lut(stored, tags.dataset)


def _choices(tags: Tags) -> Iterator[Callable[[Values], Values | None]]:
    for index in range(len(tags.sequence("VOILUTSequence")[:_MOST_WINDOWS])):
        yield partial(_looked_up, tags, index)
    centres, widths = tags.numbers("WindowCenter"), tags.numbers("WindowWidth")
    function = _function(tags) if centres and widths else ""
    for centre, width in list(zip(centres, widths, strict=False))[:_MOST_WINDOWS]:
        if centre is None or width is None:
            continue
        if width <= 0 or (function == "LINEAR" and width < 1):
            tags.pass_over("WindowWidth", f"it is {width:g}")
            continue
        yield partial(_window, centre, width, function)


def _function(tags: Tags) -> str:
    function = tags.word("VOILUTFunction") or "LINEAR"
    if function in _FUNCTIONS:
        return function
    tags.pass_over("VOILUTFunction", f"it says {function[:16]!r}")
    return "LINEAR"


def _window(centre: float, width: float, function: str, values: Values) -> Values:
    """A window of DICOM PS3.3 C.11.2.1.2 up to its output's scale, which does not matter here."""
    if function == "SIGMOID":
        steep = (values - np.float32(centre)) * np.float32(-4 / width)
        np.clip(steep, -80, 80, out=steep)
        np.exp(steep, out=steep)
        steep += 1
        np.reciprocal(steep, out=steep)
        return steep
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    return np.clip(values, np.float32(centre - width / 2), np.float32(centre + width / 2))


def _looked_up(tags: Tags, index: int, values: Values) -> Values | None:
    from pydicom.pixels import apply_voi

    try:
        return as_float(apply_voi(values.astype(np.int64), tags.dataset, index))
    except Exception as error:  # optional; pydicom raises many kinds for a damaged table
        tags.pass_over("VOILUTSequence", f"{type(error).__name__}, so it cannot be used")
        return None
