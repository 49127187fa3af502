"""Expected errors in the unit of what is open: a run predicts once, and the size of a pixel may be said later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onemark.types import LandmarkSet, UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.images.spacing import Spacing


def note_predictions(run: Path, cohort: Cohort) -> None:
    """Note in a run that its predictions are of what it has learned last, and which pixel size they were made with."""
    from onemark.pipeline.runs import RunFolder

    folder = RunFolder.open(run)
    folder.update(spacing_mm=cohort.spacing_mm, predicted=folder.config.fits)


def read_spacing(run: Path) -> Spacing | None:
    """`(x, y)` mm per pixel that a run's landmarks were made with; None where the files said it, or nothing."""
    from onemark.pipeline.runs import RunFolder

    return RunFolder.open(run).config.spacing_mm


def convert_errors(
    cohort: Cohort, found: Iterable[LandmarkSet], before: Spacing | None
) -> Iterator[LandmarkSet]:
    """Predictions with expected errors in the cohort's unit. Reads headers, so call it off the GUI thread.

    Args:
        cohort: The radiographs as they are open now.
        found: Predictions on them.
        before: mm per pixel that was said when they were made, or None.
    """
    for one in found:
        if before == cohort.spacing_mm:
            yield one
        else:
            scale = _side(cohort, one.image, cohort.spacing_mm) / _side(cohort, one.image, before)
            yield replace(one, expected_error=one.expected_error * scale)


def _side(cohort: Cohort, name: str, said: Spacing | None) -> float:
    """Length of a pixel in the unit of expected errors: mm, or px where neither a person nor the file tells its size."""
    spacing = said
    if spacing is None:
        try:
            spacing = replace(cohort, spacing_mm=None).header(name).spacing
        except UserError:
            return 1.0  # it was readable when it was marked, and is told when it is shown
    return 1.0 if spacing is None else sum(spacing) / 2
