"""What the window asks of a run folder: what it holds, and what is left to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from onemark.data.suggestion import SUGGESTION, Suggestion
from onemark.gui.state.session import Predictions
from onemark.gui.state.units import convert_errors, read_spacing
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort


def find_unfinished(run: Path | None) -> Literal["continue", "predict"] | None:
    """Find what is left to do of a run: `continue` its training, `predict` with its model, or nothing."""
    if run is None:
        return None
    if _read_state(run) in ("running", "stopped"):
        return "continue"
    return "predict" if _lacks_predictions(run) else None


def has_learned(run: Path | None) -> bool:
    """Whether a run holds more than the matcher of a suggestion, so that the window can use or continue it."""
    from onemark.pipeline.runs import SUGGESTED, RunFolder

    try:
        folder = RunFolder.open(run) if run is not None else None
    except UserError:
        return False
    if folder is None or folder.config["state"] == SUGGESTED:
        return False
    return folder.weights.is_file() or folder.checkpoint.is_file()


def awaits_exemplar(run: Path) -> bool:
    """Whether a suggestion made the run, so that it waits for its first exemplar."""
    from onemark.pipeline.runs import SUGGESTED

    return _read_state(run) == SUGGESTED


def can_suggest(run: Path) -> bool:
    """Whether a run has a matcher, or one that can go on training without exemplars."""
    return (run / "weights.safetensors").is_file() or awaits_exemplar(run)


def is_outdated(suggestion: Path, run: Path | None) -> bool:
    """Whether a run has predicted the radiographs since the suggestion in another run folder was made."""
    if run is None or not (run / "landmarks.csv").is_file() or not (suggestion / SUGGESTION).is_file():
        return False
    return (run / "landmarks.csv").stat().st_mtime > (suggestion / SUGGESTION).stat().st_mtime


def read_suggestion(run: Path) -> Suggestion | None:
    """Read the suggestion of a run folder; None where there is none. Raises UserError where it is damaged."""
    path = run / SUGGESTION
    return Suggestion.read_csv(path) if path.is_file() else None


def read_predictions(run: Path, cohort: Cohort) -> Predictions:
    """Read a run's predictions for the radiographs of a cohort, with expected errors in the cohort's unit."""
    from onemark.data.landmarks.table import read_landmarks

    sets = (one for one in read_landmarks(run / "landmarks.csv") if one.image in cohort)
    return Predictions.from_sets(convert_errors(cohort, sets, read_spacing(run)))


def _lacks_predictions(run: Path) -> bool:
    weights, landmarks = run / "weights.safetensors", run / "landmarks.csv"
    if not weights.is_file():
        return False
    return not landmarks.is_file() or landmarks.stat().st_mtime < weights.stat().st_mtime


def _read_state(run: Path) -> str:
    from onemark.pipeline.runs import RunFolder

    try:
        return str(RunFolder.open(run).config.get("state", ""))
    except UserError:
        return ""
