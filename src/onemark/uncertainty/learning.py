"""Expected errors of fitted stages: learned from what they say on the cohort, corrected by people."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.progress import Progress, Sink
from onemark.stages.answers import Stages, locators_of, matcher_of
from onemark.stages.matcher import Matcher
from onemark.stages.mean_error import MeanError
from onemark.stages.trust import Answers, Trust, ask
from onemark.types import LandmarkSet, Radiograph
from onemark.uncertainty.calibration import Calibration
from onemark.uncertainty.error_model import ErrorModel, Signals

SLOT = "error_model"
"""Names the error model beside the stages' slots, in weights files and progress."""

RADIOGRAPHS = 48
"""Radiographs of the cohort from which expected errors are learned: a few seconds' work."""

KNOWN = 0.5  # share of the landmarks that must be annotated for the stages to know a radiograph

# Seconds of a time budget that the stages do not get: for trust and error model, and for starting and saving.
LEARNING_SECONDS, OTHER_SECONDS = 10.0, 3.0

Ratios = tuple[tuple[float | None, ...], ...]
"""Rows of actual to expected error, one for each corrected radiograph; None where a landmark is not visible."""


def seconds_to_train(minutes: float | None) -> float | None:
    """What starting, saving and learning expected errors leave to the stages of a time budget."""
    if minutes is None:
        return None
    return minutes * 60 - OTHER_SECONDS - min(LEARNING_SECONDS, 0.15 * minutes * 60)


def add_expected_errors(
    error_model: ErrorModel, stages: Stages, radiograph: Radiograph, answers: Answers
) -> LandmarkSet:
    """The final answer with expected errors: mm when the spacing is known, else px."""
    share = error_model(read_signals(stages, radiograph, answers))
    unit = "px" if radiograph.spacing is None else "mm"
    errors = share * _side(radiograph) * _unit(radiograph)
    return replace(answers.final, expected_error=errors, unit=unit)


def read_signals(stages: Stages, radiograph: Radiograph, answers: Answers) -> Signals:
    """What the stages say about a radiograph, in addition to their answers."""
    # The first matcher is the witness: it answers in a few hundredths of a second, registration in ten times that.
    locators = locators_of(stages)
    side, alone, witness = _side(radiograph), len(locators) == 1, locators[0]
    matched = answers.coarse if alone else witness.locate(radiograph)
    apart = np.linalg.norm(matched.xy - answers.coarse.xy, axis=1) / side
    sure = answers.coarse.score
    if alone:
        apart, sure = np.full_like(apart, np.nan), np.full_like(sure, np.nan)
    spread = answers.final.expected_error / _unit(radiograph) / side
    return Signals(answers.final.xy / side, apart, spread, matched.score, sure)


def learn_error_model(
    stages: Stages,
    trust: Trust | None,
    exemplars: LandmarkTable,
    cohort: Cohort,
    ratios: Ratios,
    sink: Sink,
) -> ErrorModel | None:
    """Learn from up to 48 radiographs of the cohort, evenly spread; None where there are too few.

    Args:
        stages: Slot -> fitted stage.
        trust: How far detector and refiner are believed.
        exemplars: What a person annotated; these radiographs do not count, because the stages know them.
        cohort: The radiographs.
        ratios: What corrections taught.
        sink: Takes the progress.
    """
    known = {one.image for one in exemplars if one.answered.mean() >= KNOWN}
    others = [name for name in cohort.names if name not in known]
    count = min(RADIOGRAPHS, len(others))
    names = [others[n * len(others) // count] for n in range(count)]
    if not names:
        return None
    signals, answered, teacher = [], [], []
    for radiograph in cohort.subset(names).readable(sink=sink):
        answered.append((radiograph, ask(stages, radiograph, trust)))
        signals.append(read_signals(stages, *answered[-1]))
        teacher.append(_distance_to_teacher(stages, *answered[-1]))
        sink(Progress(SLOT, len(signals), len(names)))
    # Where registration taught the detector, the matcher is trained too little for its way back to mean anything.
    registered = matcher_of(stages) is not locators_of(stages)[0]
    cycles = None if registered else _measure_cycles(stages, exemplars, cohort, answered)
    # Rows of other landmarks are of no use: landmarks may have been added since.
    fitting = [row for row in ratios if len(row) == len(exemplars.names)]
    apart = np.stack(teacher) if teacher else None
    return ErrorModel.learn(signals, cycles, Calibration.of(fitting, len(exemplars.names)), apart)


def _distance_to_teacher(stages: Stages, radiograph: Radiograph, answers: Answers) -> NDArray[np.float64]:
    """How far the final answer lies from the matcher's that the detector learned from: `[K]`, share of the mean side.

    NaN where the final answer is the matcher's own.
    """
    matcher = matcher_of(stages)
    if locators_of(stages)[-1] is matcher:
        return np.full(len(matcher.names), np.nan)
    matched = answers.matched if answers.matched is not None else matcher.locate(radiograph)
    apart = np.linalg.norm(matched.xy - answers.coarse.xy, axis=1) / _side(radiograph)
    return np.where(apart > 0, apart, np.nan)


def correction_ratios(
    error_model: ErrorModel | None,
    stages: Stages,
    trust: Trust | None,
    known: Container[str],
    corrected: LandmarkTable,
    cohort: Cohort,
    mean_error: MeanError | None = None,
) -> Ratios:
    """Ratios of actual to expected error on radiographs that a person corrected, before the stages learn from them.

    Args:
        error_model: The error model; without one there are no ratios.
        stages: Slot -> fitted stage.
        trust: How far detector and refiner are believed.
        known: Names of the radiographs that the stages have learned from, which do not count.
        corrected: More exemplars.
        cohort: The radiographs.
        mean_error: What is taken away from the stages' answers.
    """
    if error_model is None:
        return ()
    rows = []
    for one in corrected:
        if one.image in known:
            continue
        radiograph = cohort[one.image]
        answers = ask(stages, radiograph, trust)
        true = dict(zip(one.names, one.xy, strict=True))
        place = np.stack([true.get(name, np.full(2, np.nan)) for name in answers.final.names])
        final = answers.final if mean_error is None else mean_error.correct(answers.final, radiograph.size)
        actual = np.linalg.norm(final.xy - place, axis=1) / _side(radiograph)
        expected = error_model.uncalibrated(read_signals(stages, radiograph, answers))
        ratio = actual / np.maximum(expected, 1e-9)
        rows.append(tuple(float(value) if math.isfinite(value) else None for value in ratio))
    return tuple(rows)


def _measure_cycles(
    stages: Stages, exemplars: LandmarkTable, cohort: Cohort, answered: Sequence[tuple[Radiograph, Answers]]
) -> NDArray[np.float64] | None:
    """Cycle errors `[N, K]` as shares of the exemplar's mean side, from the exemplar that shows most landmarks."""
    able = [stage for stage in stages.values() if isinstance(stage, Matcher) and stage.measures_cycles]
    if not able or not answered:
        return None
    best = max(exemplars, key=lambda one: int(np.isfinite(one.xy).all(1).sum()))
    source = cohort[best.image]
    errors = able[-1].cycle_errors(source, best.xy, [(one, at.final.xy) for one, at in answered])
    return np.asarray(errors / _side(source))


def _side(radiograph: Radiograph) -> float:
    return fmean(radiograph.size)


def _unit(radiograph: Radiograph) -> float:
    return 1.0 if radiograph.spacing is None else sum(radiograph.spacing) / 2
