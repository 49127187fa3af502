"""Expected errors of several radiographs in one unit, so that they can be ranked and averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from onemark.data.cohort import Cohort
from onemark.types import LandmarkSet, UserError


def in_one_unit(sets: Sequence[LandmarkSet], cohort: Cohort) -> tuple[str, tuple[LandmarkSet, ...]]:
    """The sets with their expected errors in mm where all of them are in mm, else in px.

    Args:
        sets: Predictions; a set that does not state its unit has the one that its radiograph's spacing gives it.
        cohort: The radiographs, for their spacing.

    Returns:
        `mm` or `px`, and the sets.
    """
    stated = {one.unit for one in sets if one.expected_error.size}
    if stated in ({"mm"}, {"px"}):
        return stated.pop(), tuple(sets)
    sides = [_pixel_side(one, cohort) for one in sets]
    known = [side for side, one in zip(sides, sets, strict=True) if one.expected_error.size]
    if all(side is not None for side in known):
        return ("mm" if known else "px"), tuple(sets)
    return "px", tuple(
        one if side is None else scale_errors(one, 1 / side, "px")
        for side, one in zip(sides, sets, strict=True)
    )


def scale_errors(one: LandmarkSet, factor: float, unit: str) -> LandmarkSet:
    """The set with its expected errors and ellipses multiplied by `factor`, in `unit`."""
    return replace(
        one,
        expected_error=one.expected_error * factor,
        ellipse=one.ellipse * (factor, factor, 1),
        unit=unit,
    )


def _pixel_side(one: LandmarkSet, cohort: Cohort) -> float | None:
    """The mean side of a pixel in mm where the expected errors are in mm, else None."""
    if one.unit == "px" or not one.expected_error.size:
        return None
    try:
        spacing = cohort.header(one.image).spacing
    except UserError:
        # mm of a radiograph that is not there compare with mm only.
        return math.nan if one.unit == "mm" else None
    return None if spacing is None else sum(spacing) / 2
