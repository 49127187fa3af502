"""Expected errors in the unit of the open cohort: a run predicts once, but the person may type a pixel size later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onemark.data.landmarks.units import scale_errors
from onemark.types import LandmarkSet

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.images.spacing import Spacing


def read_spacing(run: Path) -> Spacing | None:
    """Read the typed `(x, y)` mm per pixel that a run predicted with; None where it used what the files say."""
    from onemark.pipeline.runs.folder import RunFolder

    return RunFolder.open(run).config.spacing_mm


def convert_errors(
    cohort: Cohort, predictions: Iterable[LandmarkSet], before: Spacing | None
) -> Iterator[LandmarkSet]:
    """Convert expected errors to the cohort's unit. Reads image headers, so call it outside the GUI thread.

    Args:
        cohort: The radiographs as they are open now.
        predictions: Predictions on them.
        before: Typed mm per pixel that they were made with, or None.
    """
    for one in predictions:
        if before == cohort.spacing_mm:
            yield one
        else:
            scale = _pixel_side(cohort, one.image, cohort.spacing_mm) / _pixel_side(cohort, one.image, before)
            unit = "mm" if _pixel_size(cohort, one.image, cohort.spacing_mm) else "px"
            yield scale_errors(one, scale, unit)


def _pixel_side(cohort: Cohort, name: str, typed: Spacing | None) -> float:
    """Length of a pixel's side in the unit of expected errors: mm, or 1 (px) where nobody knows its size."""
    spacing = _pixel_size(cohort, name, typed)
    return 1.0 if spacing is None else sum(spacing) / 2


def _pixel_size(cohort: Cohort, name: str, typed: Spacing | None) -> Spacing | None:
    # One that cannot be read now could be when it was predicted; the window reports it when the person looks at it.
    return typed or replace(cohort, spacing_mm=None).spacing(name)
