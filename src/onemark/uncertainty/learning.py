"""Expected errors of fitted stages: learned from what they say on the cohort, corrected by people."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.progress import Progress, Sink
from onemark.stages.answers import Stages, locators_of, matcher_of
from onemark.stages.copies import draw_copies, errors_of
from onemark.stages.matcher import Matcher
from onemark.stages.mean_error import MeanError
from onemark.stages.trust import Answers, Trust, ask
from onemark.types import LandmarkSet, Radiograph
from onemark.uncertainty.calibration import Calibration
from onemark.uncertainty.error_model import LEAST_RADIOGRAPHS, ErrorModel, Labelled, Signals

SLOT = "error_model"
"""Names the error model beside the stages' slots, in weights files and progress."""

RADIOGRAPHS = 48
"""Radiographs of the cohort from which expected errors are learned: a few seconds' work."""

REGISTERED = 16
"""Those of them for which registration is asked, which takes half a second where the detector has not drawn them."""

COPIES = 24
"""Changed copies of several exemplars on which the stages are judged."""
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
    errors = share * radiograph.side * radiograph.pixel_length
    return replace(answers.final, expected_error=errors, unit=unit)


def read_signals(stages: Stages, radiograph: Radiograph, answers: Answers) -> Signals:
    """What the stages say about a radiograph, in addition to their answers."""
    side, final = radiograph.side, answers.final
    unknown = np.full(len(final.names), np.nan)
    matched, detected, last = answers.matched, answers.detected, answers.refined or answers.detected or final
    if matched is None and not _registers(stages):
        matched = matcher_of(stages).locate(radiograph)

    def width(one: LandmarkSet) -> NDArray[np.float64]:
        return one.expected_error / radiograph.pixel_length / side

    def between(one: LandmarkSet | None, other: LandmarkSet | None) -> NDArray[np.float64]:
        if one is None or other is None:
            return unknown
        return np.asarray(np.linalg.norm(one.xy - other.xy, axis=1) / side)

    return Signals(
        final.xy / side,
        apart=between(matched, detected),
        moved=between(answers.coarse, answers.refined),
        spread=width(last),
        detector_spread=unknown if detected is None or detected is last else width(detected),
        similar=unknown if matched is None else matched.score,
        sure=last.score,
        detector_sure=unknown if detected is None or detected is last else detected.score,
    )


def learn_error_model(
    stages: Stages,
    trust: Trust | None,
    exemplars: LandmarkTable,
    cohort: Cohort,
    ratios: Ratios,
    sink: Sink,
    seed: int = 0,
) -> ErrorModel | None:
    """Learn from up to 48 radiographs of the cohort, evenly spread; None where there are too few.

    Args:
        stages: Slot -> fitted stage.
        trust: How far detector and refiner are believed.
        exemplars: What a person annotated; these radiographs do not count, because the stages know them.
        cohort: The radiographs.
        ratios: What corrections taught.
        sink: Takes the progress.
        seed: Seed of the copies of exemplars on which the stages are judged.
    """
    known = {one.image for one in exemplars if one.answered.mean() >= KNOWN}
    others = [name for name in cohort.names if name not in known]
    if len(others) < LEAST_RADIOGRAPHS <= len(known):  # all are annotated: their signals are better than none
        others = list(cohort.names)
    count = min(RADIOGRAPHS, len(others))
    names = [others[n * len(others) // count] for n in range(count)]
    signals, answered = [], []
    lengths: dict[str, list[NDArray[np.float64]]] = {}
    for radiograph in cohort.subset(names).readable(sink=sink):
        answered.append((radiograph, ask(stages, radiograph, trust)))
        signals.append(read_signals(stages, *answered[-1]))
        if len(signals) % math.ceil(len(names) / REGISTERED) == 0:
            for name, length in _registered_lengths(stages, *answered[-1]).items():
                lengths.setdefault(name, []).append(length)
        sink(Progress(SLOT, len(signals), len(names)))
    tables = {name: np.stack(rows) for name, rows in lengths.items()}
    # Where registration taught the detector, the matcher is trained too little for its way back to mean anything.
    cycles = None if _registers(stages) else _measure_cycles(stages, exemplars, cohort, answered)
    if cycles is not None:
        tables["cycle"] = cycles
    # Rows of other landmarks are of no use: landmarks may have been added since.
    fitting = [row for row in ratios if len(row) == len(exemplars.names)]
    calibration = Calibration.of(fitting, len(exemplars.names))
    return ErrorModel.learn(
        signals, calibration, tables, _judge_copies(stages, trust, exemplars, cohort, seed)
    )


def _judge_copies(
    stages: Stages, trust: Trust | None, exemplars: LandmarkTable, cohort: Cohort, seed: int
) -> Labelled | None:
    """The final answers' errors on changed copies of the exemplars; None where there is only one."""
    exemplars = exemplars.mostly_annotated()
    if len(exemplars) < 2:
        return None
    copies = draw_copies(exemplars, cohort, seed, COPIES, COPIES)
    errors = [errors_of(ask(stages, copy, trust).final, xy, copy) for copy, xy in copies]
    return Labelled(np.stack(errors), len(exemplars))


def _registers(stages: Stages) -> bool:
    """Whether registration answers for the matcher: it takes ten times as long, so it is not asked for signals alone."""
    return matcher_of(stages) is not locators_of(stages)[0]


def _registered_lengths(
    stages: Stages, radiograph: Radiograph, answers: Answers
) -> dict[str, NDArray[np.float64]]:
    """How far registration's answers lie apart, and the detector's from them: `[K]`, shares of the mean side."""
    if not _registers(stages):
        return {}
    last, side = locators_of(stages)[-1], radiograph.side
    matched = answers.matched or matcher_of(stages).locate(radiograph)
    lengths = {"matcher_spread": matched.expected_error / radiograph.pixel_length / side}
    if not isinstance(last, Matcher):
        detected = answers.detected or last.locate(radiograph)
        lengths["teacher"] = np.asarray(np.linalg.norm(matched.xy - detected.xy, axis=1) / side)
    return lengths


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
        actual = np.linalg.norm(final.xy - place, axis=1) / radiograph.side
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
    return np.asarray(errors / source.side)
