"""From stored DICOM values to displayed ones: modality LUT, then the first window that shows something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onemark.data.images.dicom_tags import Tags
from onemark.data.images.intensity import as_float

_SHOWN = 0.05
"""Share of the pixels that a window must leave between black and white."""
_MOST_WINDOWS = 16
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")

Values = NDArray[np.float32]


def modality_values(tags: Tags, stored: NDArray[Any]) -> Values:
    """The values after the modality LUT or slope and intercept (DICOM PS3.3 C.11.1), `[H, W]` float32."""
    if tags.sequence("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        try:
            return as_float(apply_modality_lut(stored, tags.dataset))
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


def windowed(tags: Tags, values: Values, inside: NDArray[np.bool_] | None) -> Values:
    """The values after the first VOI LUT or window that is usable, unchanged where none is.

    A window that leaves less than 5 % of the pixels between black and white hides the picture; the next one is
    tried.

    Args:
        tags: Of the file.
        values: `[H, W]`, after the modality LUT.
        inside: `[H, W]`, true where there is no padding; None where everything counts.
    """
    hiding = 0
    for apply in _choices(tags):
        shown = apply(values)
        if shown is not None and _shows(shown, inside):
            if hiding:
                tags.note("is shown through a later window, because its first one hides the picture")
            return shown
        hiding += shown is not None
    if hiding:
        tags.note("is shown with all its values, because its VOI LUT or window hides the picture")
    return values


def _shows(shown: Values, inside: NDArray[np.bool_] | None) -> bool:
    low, high = shown.min(), shown.max()
    between = (shown > low) & (shown < high)
    if inside is not None:
        between &= inside
    return int(between.sum()) >= _SHOWN * (shown.size if inside is None else int(inside.sum()))


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
