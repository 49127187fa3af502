"""Whether a result is usable at all, why not, and what helps: one judgement for window, report and command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from onemark.data.choice import pick_evenly
from onemark.data.cohort import Cohort
from onemark.types import LandmarkSet, UserError

FAR_OFF = 0.06
"""Median expected error, as a share of the image's mean side, from which points are of no use as a first guess.

Two doctors differ by 1 % of the side on cephalograms; the hardest published cohorts have errors of 3 %."""
NEAR = 0.03
"""The same up to which points are of use, however little was trained."""
FEW_STEPS = 20
"""A network that has seen fewer batches than this has learned next to nothing."""
FEW_RADIOGRAPHS = 10
BUSY = 0.3
"""Share of the processor from which other programs slow a training down noticeably."""
ENOUGH_MINUTES = 10.0
SAMPLE = 200  # radiographs, whose headers say the size
LEARNERS = {"match": "matcher", "detect": "detector"}


@dataclass(frozen=True)
class Verdict:
    """Why a result is not usable.

    Attributes:
        problem: What is wrong, as a clause.
        reasons: Why, as clauses; empty where nothing is known.
        minutes: For how long to go on training.
        remedies: What else helps, as clauses.
    """

    problem: str
    reasons: tuple[str, ...]
    minutes: float
    remedies: tuple[str, ...]

    @property
    def headline(self) -> str:
        """One line that says so."""
        return f"Not usable yet: {self.problem}"

    def explain(self, go_on: str = "") -> str:
        """Say why and what helps, in two sentences.

        Args:
            go_on: How to go on training on this surface, such as a command; by default `go on for 10 minutes`.
        """
        why = f"Why: {_join(self.reasons, 'and')}. " if self.reasons else ""
        first = go_on or f"go on training for {self.minutes:g} minutes"
        return f"{why}What helps: {_join((first, *self.remedies), 'or')}."


def judge(
    predictions: Iterable[LandmarkSet],
    cohort: Cohort,
    *,
    log: Sequence[Mapping[str, object]] = (),
    annotated: Sequence[str] = (),
    minutes: float | None = None,
    others: float | None = None,
) -> Verdict | None:
    """Judge the predictions of a cohort.

    Args:
        predictions: Landmarks, with expected errors in mm where the spacing is known, else px.
        cohort: The radiographs, for their sizes.
        log: Lines `{stage, step, ...}` of the training.
        annotated: Radiographs that a person annotated, which do not count.
        minutes: The time that the training had.
        others: Share of the processor, 0 to 1, that other programs took during the training.

    Returns:
        What is wrong; None where the result may be used, or nothing is known against it.
    """
    sets = [one for one in predictions if one.image not in set(annotated) and one.expected_error.size]
    errors = read_errors(pick_evenly(sets, SAMPLE), cohort)
    steps = count_steps(log)
    problem = _find_problem(errors, steps)
    if problem is None:
        return None
    reasons = _find_reasons(steps, len(cohort), minutes, others)
    more = ("annotate one or two more radiographs", "another recipe")
    return Verdict(problem, reasons, _choose_minutes(minutes), more)


@dataclass(frozen=True)
class Errors:
    """Expected errors: median in their unit, and as a share of the mean side; NaN where unknown."""

    median: float
    unit: str
    share: float


def read_errors(sets: Sequence[LandmarkSet], cohort: Cohort) -> Errors:
    """The median of the mean expected errors of these radiographs; only the headers of their files are read."""
    rows: list[tuple[float, float, str]] = []
    for one in sets:
        known = one.expected_error[np.isfinite(one.expected_error)]
        side = _read_side(cohort, one.image)
        if known.size and side is not None:
            rows.append((float(known.mean()), *side))
    if not rows:
        return Errors(float("nan"), "", float("nan"))
    unit = max({u for *_, u in rows}, key=[u for *_, u in rows].count)
    values: NDArray[np.float64] = np.array([error for error, _, u in rows if u == unit])
    shares: NDArray[np.float64] = np.array([error / side for error, side, _ in rows])
    return Errors(float(np.median(values)), unit, float(np.median(shares)))


def count_steps(log: Sequence[Mapping[str, object]]) -> dict[str, int]:
    """Stage -> how many steps the log shows of it."""
    steps: dict[str, int] = {}
    for entry in log:
        stage, step = str(entry.get("stage", "")), entry.get("step")
        if isinstance(step, int):
            steps[stage] = max(steps.get(stage, 0), step)
    return steps


def _find_problem(errors: Errors, steps: Mapping[str, int]) -> str | None:
    if errors.share > FAR_OFF:
        digits = 0 if errors.median >= 10 else 1
        return (
            f"the points are probably {errors.median:.{digits}f} {errors.unit} off, "
            f"{100 * errors.share:.0f} % of the image side"
        )
    if (
        errors.share <= NEAR
    ):  # registration, which needs no training, answers where networks had no time to learn
        return None
    few = _list_few(steps)
    return f"the training had only {few}" if few else None


def _find_reasons(
    steps: Mapping[str, int], radiographs: int, minutes: float | None, others: float | None
) -> tuple[str, ...]:
    reasons = []
    few = _list_few(steps)
    if others is not None and others > BUSY:
        reasons.append(f"other programs took {100 * others:.0f} % of the processor")
    if minutes is not None and (few or minutes < 1):
        reasons.append(f"the time was short ({minutes:g} min{f', {few}' if few else ''})")
    elif few:
        reasons.append(f"there were only {few}")
    if radiographs < FEW_RADIOGRAPHS:
        reasons.append(f"there are only {radiographs} radiographs to learn from")
    return tuple(reasons)


def _list_few(steps: Mapping[str, int]) -> str:
    few = [
        f"{steps[stage]} step{'s' * (steps[stage] != 1)} of the {name}"
        for stage, name in LEARNERS.items()
        if 0 < steps.get(stage, 0) < FEW_STEPS
    ]
    return " and ".join(few)


def _choose_minutes(minutes: float | None) -> float:
    return max(ENOUGH_MINUTES, 2 * (minutes or 0.0))


def _read_side(cohort: Cohort, image: str) -> tuple[float, str] | None:
    """Mean side of a radiograph, in the unit of its expected errors."""
    try:
        header = cohort.header(image)
    except UserError:
        return None
    side = fmean(header.size)
    return (side, "px") if header.spacing is None else (side * fmean(header.spacing), "mm")


def _join(parts: Sequence[str], word: str) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"
