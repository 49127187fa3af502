"""What the window asks of a run folder: what it holds, and what is left to do."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from onemark.data.suggestion import SUGGESTION, Suggestion
from onemark.gui.state.predictions import Predictions
from onemark.gui.state.units import convert_errors, read_spacing
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable
    from onemark.pipeline.runs.folder import RunStatus


def find_unfinished(run: Path | None) -> Literal["continue", "predict"] | None:
    """Find what is left to do of a run: `continue` its training, `predict` with its model, or nothing."""
    status = _read_status(run)
    if status is None or status.waits_for_exemplar:
        return None
    if status.is_unfinished:
        return "continue"
    return None if status.predicted else "predict"


def has_learned(run: Path | None) -> bool:
    """Whether a run holds more than the matcher of a suggestion, so that the window can use or continue it."""
    status = _read_status(run)
    return status is not None and status.has_learned and not status.waits_for_exemplar


def awaits_exemplar(run: Path) -> bool:
    """Whether a suggestion made the run, so that it waits for its first exemplar."""
    status = _read_status(run)
    return status is not None and status.waits_for_exemplar


def can_suggest(run: Path) -> bool:
    """Whether a run has a matcher, or one that can go on training without exemplars."""
    status = _read_status(run)
    return status is not None and (status.waits_for_exemplar or bool(status.learned))


def has_model(run: Path) -> bool:
    """Whether a run has a model that the window can load."""
    status = _read_status(run)
    return status is not None and bool(status.learned) and not status.waits_for_exemplar


def has_predicted(run: Path) -> bool:
    """Whether a run has predicted with its present model, so that its suggestion has served its purpose."""
    status = _read_status(run)
    return status is not None and status.predicted


def read_suggestion(run: Path) -> Suggestion | None:
    """Read the suggestion of a run folder; None where there is none. Raises UserError where it is damaged."""
    path = run / SUGGESTION
    return Suggestion.read_csv(path) if path.is_file() else None


def read_predictions(run: Path, cohort: Cohort) -> Predictions:
    """Read a run's predictions for the radiographs of a cohort, with expected errors in the cohort's unit."""
    from onemark.data.landmarks.table import read_landmarks
    from onemark.evaluation.verdict import judge
    from onemark.pipeline.runs.folder import RunFolder

    folder = RunFolder.open(run)
    sets = (one for one in read_landmarks(run / "landmarks.csv") if one.image in cohort)
    converted = list(convert_errors(cohort, sets, read_spacing(run)))
    placed = folder.exemplars().annotated().images if (run / "exemplars.csv").is_file() else ()
    verdict = judge(converted, cohort, log=folder.log(), annotated=placed, minutes=folder.config.minutes)
    return Predictions.from_sets(converted, cohort, verdict)


def read_exemplars(run: Path | None) -> LandmarkTable | None:
    """Read the points that a run was taught, once as long as they stay; None where none can be read."""
    if run is None:
        return None
    path = run / "exemplars.csv"
    try:
        found = path.stat()
        return _read_points(path, found.st_mtime_ns, found.st_size)
    except (OSError, UserError):
        return None


@lru_cache(maxsize=1)
def _read_points(path: Path, changed: int, size: int) -> LandmarkTable:
    """The points of a file; its time of change and size tell whether they are still the same."""
    from onemark.data.landmarks.table import read_table

    return read_table(path)


def are_same_points(old: LandmarkTable, new: LandmarkTable) -> bool:
    """Whether both tables say the same of the same landmarks and radiographs, in whatever order."""
    if {*old.names} != {*new.names} or {*old.images} != {*new.images}:
        return False
    order = [new.names.index(name) for name in old.names]
    pairs = ((one, new[one.image].take(order)) for one in old)
    return all(
        np.array_equal(a.answered, b.answered) and np.allclose(a.xy, b.xy, equal_nan=True) for a, b in pairs
    )


def _read_status(run: Path | None) -> RunStatus | None:
    # Importing the pipeline takes seconds, which the window must not spend before it is shown.
    from onemark.pipeline.runs.folder import status_of

    return status_of(run)
