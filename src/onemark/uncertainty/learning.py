"""Expected errors of fitted stages: learned from what they say on the cohort, corrected by people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from onemark.data.choice import pick_evenly
from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.imaging.ellipses import pixel_scale, scale_to, shapes_of, to_covariance
from onemark.imaging.letterbox import Size
from onemark.nn.threads import spread
from onemark.nn.training.canvases import STRETCH
from onemark.progress import Progress, Sink
from onemark.stages.answers import Stages, device_of, locators_of, matcher_of, seen_by
from onemark.stages.copies import Copy, draw_copies
from onemark.stages.matcher import Matcher
from onemark.stages.mean_error import MeanError
from onemark.stages.trust import Answers, Trust, ask
from onemark.types import LandmarkSet, Radiograph, mean_side
from onemark.uncertainty.calibration import Calibration, Corrections, to_row
from onemark.uncertainty.directions import to_angles
from onemark.uncertainty.error_model import LEAST_RADIOGRAPHS, ErrorModel, Labelled, Signals
from onemark.uncertainty.surroundings import Surroundings
from onemark.uncertainty.visibility import Visibility

Lengths = dict[str, NDArray[np.float64]]
NOWHERE = np.empty((0, 2))

SLOT = "error_model"
"""Names the error model beside the stages' slots, in weights files and progress."""

RADIOGRAPHS = 48
"""Radiographs of the cohort from which expected errors are learned: a few seconds' work."""

REGISTERED = 16
"""Those of them for which registration is asked, which takes half a second where the detector has not drawn them."""

STRANGE = 3.0
"""Times the usual unlikeness: 95 % of skulls, hands and jaws lie below 2.7, mistaken for each other most above 3.5."""

COPIES = 24
"""Changed copies of several exemplars on which the stages are judged."""
KNOWN = 0.5  # share of the landmarks that must be annotated for the stages to know a radiograph

# Seconds of a time budget that the stages do not get: for trust and error model, and for starting and saving.
LEARNING_SECONDS, OTHER_SECONDS = 10.0, 3.0


def seconds_to_train(minutes: float | None) -> float | None:
    """What starting, saving and learning expected errors leave to the stages of a time budget."""
    if minutes is None:
        return None
    return minutes * 60 - OTHER_SECONDS - min(LEARNING_SECONDS, 0.15 * minutes * 60)


def doubt_stranger(unlike: float) -> float:
    """What to multiply the expected errors of a radiograph by that is unlike those which were learned from.

    Stages that were never shown another body part are as sure of it as of their own.

    Args:
        unlike: How unlike the exemplar it is, as a multiple of what is usual in the cohort.
    """
    return max(1.0, unlike / STRANGE) ** 2


def add_expected_errors(
    error_model: ErrorModel, stages: Stages, radiograph: Radiograph, answers: Answers
) -> LandmarkSet:
    """The final answer with expected errors: mm when the spacing is known, else px."""
    signals = read_signals(stages, radiograph, answers, error_model.surroundings)
    share = error_model(signals)
    unit = "px" if radiograph.spacing is None else "mm"
    errors = share * mean_side(radiograph.size, radiograph.spacing)
    shapes = to_covariance(error_model.ellipses(signals, share)) * pixel_scale(radiograph.spacing)
    found = replace(answers.final, expected_error=errors, unit=unit, ellipse=scale_to(shapes, errors))
    if error_model.visibility is None:
        return found
    return replace(found, visible_probability=error_model.visibility(error_model.doubt(signals)))


def read_signals(
    stages: Stages, radiograph: Radiograph, answers: Answers, around: Surroundings | None = None
) -> Signals:
    """What the stages say about a radiograph, in addition to their answers, and how unlike the exemplars it looks."""
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
        way=_way_between(matched, detected, side),
        peak=shapes_of(last) / pixel_scale(radiograph.spacing) if last.ellipse.size else np.empty((0, 2, 2)),
        unlike=np.empty(0) if around is None else around.compare(radiograph, final.xy, *_canvas_of(stages)),
    )


def _canvas_of(stages: Stages) -> tuple[Size, float]:
    """`(H, W)` and stretch of the canvas on which the last stage that locates by itself sees radiographs."""
    last = locators_of(stages)[-1]
    return last.canvas, STRETCH[last.config.framing]


def _way_between(
    matched: LandmarkSet | None, detected: LandmarkSet | None, side: float
) -> NDArray[np.float64]:
    """`[K, 2]` from the detector's to the matcher's answer, share of the mean side; empty where one is missing."""
    if matched is None or detected is None:
        return np.empty((0, 2))
    return np.asarray((matched.xy - detected.xy) / side)


def learn_error_model(
    stages: Stages,
    trust: Trust | None,
    exemplars: LandmarkTable,
    cohort: Cohort,
    corrections: Corrections,
    sink: Sink,
    seed: int = 0,
) -> ErrorModel | None:
    """Learn from up to 48 radiographs of the cohort, evenly spread; None where there are too few.

    Args:
        stages: Slot -> fitted stage.
        trust: How far detector and refiner are believed.
        exemplars: What a person annotated; these radiographs do not count, because the stages know them.
        cohort: The radiographs.
        corrections: What they showed.
        sink: Takes the progress.
        seed: Seed of the copies of exemplars on which the stages are judged.
    """
    names = _choose_radiographs(exemplars, cohort)
    # An exemplar among the radiographs would look like itself, and tell nothing of what is usual.
    others = replace(exemplars, sets=tuple(one for one in exemplars if one.image not in names))
    around = Surroundings.learn(others, cohort, *_canvas_of(stages))
    looked = _look(stages, trust, cohort.subset(names), around, sink)
    signals, tables = looked.signals, {name: np.stack(rows) for name, rows in looked.lengths.items()}
    # Where registration taught the detector, the matcher is trained too little for its way back to mean anything.
    cycles = None if _registers(stages) else _measure_cycles(stages, exemplars, cohort, looked.answered)
    if cycles is not None:
        tables["cycle"] = cycles
    labelled = _judge_copies(stages, trust, exemplars, cohort, seed)
    untaught = Calibration.of([], len(exemplars.names))
    seen = seen_by(locators_of(stages)[-1], cohort)
    learned = ErrorModel.learn(signals, untaught, tables, labelled, looked.ways, seen)
    if learned is None:
        return None
    calibration = corrections.relative_to(learned.level)
    learned = replace(learned, calibration=calibration, surroundings=around)
    doubts = np.stack([learned.doubt(one) for one in signals])
    visibility = _learn_visibility(learned, stages, trust, exemplars, cohort, doubts, cycles)
    return replace(learned, visibility=visibility)


@dataclass(frozen=True)
class _Looked:
    """What the stages say of N radiographs.

    Attributes:
        answered: Their final answers.
        signals: What else they say.
        lengths: Name -> `[K]` shares of the mean side, of each radiograph for which registration was asked.
        ways: `[K, 2]` from the detector's to its answers, of each of these whose signals do not hold it.
    """

    answered: list[LandmarkSet] = field(default_factory=list)
    signals: list[Signals] = field(default_factory=list)
    lengths: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    ways: list[NDArray[np.float64]] = field(default_factory=list)


def _look(
    stages: Stages, trust: Trust | None, cohort: Cohort, around: Surroundings | None, sink: Sink
) -> _Looked:
    """Ask the stages about every radiograph, and registration about up to 16 of them."""
    registered = math.ceil(len(cohort) / REGISTERED)

    def look(
        numbered: tuple[int, Radiograph],
    ) -> tuple[LandmarkSet, Signals, Lengths, NDArray[np.float64]]:
        number, radiograph = numbered
        answers = ask(stages, radiograph, trust)
        said = read_signals(stages, radiograph, answers, around)
        asked = _ask_registration(stages, radiograph, answers) if number % registered == 0 else ({}, NOWHERE)
        return answers.final, said, *asked

    looked, numbered = _Looked(), enumerate(cohort.readable(sink=sink), 1)
    for final, said, found, way in spread(look, numbered, device_of(stages)):
        looked.answered.append(final)
        looked.signals.append(said)
        if way.size and not said.way.size:
            looked.ways.append(way)
        for name, length in found.items():
            looked.lengths.setdefault(name, []).append(length)
        sink(Progress(SLOT, len(looked.signals), len(cohort)))
    return looked


def _choose_radiographs(exemplars: LandmarkTable, cohort: Cohort) -> list[str]:
    """Up to 48 radiographs of the cohort, evenly spread, that the stages do not know from a person."""
    known = {one.image for one in exemplars if one.answered.mean() >= KNOWN}
    others = [name for name in cohort.names if name not in known]
    if len(others) < LEAST_RADIOGRAPHS <= len(known):  # all are annotated: their signals are better than none
        others = list(cohort.names)
    return pick_evenly(others, RADIOGRAPHS)


def _learn_visibility(
    error_model: ErrorModel,
    stages: Stages,
    trust: Trust | None,
    exemplars: LandmarkTable,
    cohort: Cohort,
    doubts: NDArray[np.float64],
    cycles: NDArray[np.float64] | None,
) -> Visibility | None:
    """What the exemplars that lack landmarks show, and `doubts` and `cycles` `[N, K]` on the cohort's radiographs."""
    shown = np.array([np.where(one.answered, one.visible.astype(float), np.nan) for one in exemplars])
    lacking = [one for one, row in zip(exemplars, shown, strict=True) if (row == 0).any()]
    unseen = []
    for one in pick_evenly(lacking, COPIES):
        radiograph = cohort[one.image]
        answers = ask(stages, radiograph, trust)
        doubt = error_model.doubt(read_signals(stages, radiograph, answers, error_model.surroundings))
        unseen.append(doubt[one.answered & ~one.visible])
    return Visibility.learn(shown, np.concatenate(unseen) if unseen else np.empty(0), doubts, cycles)


def _judge_copies(
    stages: Stages, trust: Trust | None, exemplars: LandmarkTable, cohort: Cohort, seed: int
) -> Labelled | None:
    """The final answers' errors on changed copies of the exemplars; None where there is only one."""
    exemplars = exemplars.mostly_annotated()
    if len(exemplars) < 2:
        return None
    copies = draw_copies(exemplars, cohort, seed, COPIES, COPIES)

    def miss(copied: Copy) -> NDArray[np.float64]:
        copy, xy = copied
        return np.asarray((ask(stages, copy, trust).final.xy - xy) / copy.side)

    ways = list(spread(miss, copies, device_of(stages)))
    return Labelled(np.stack(ways), len(exemplars))


def _registers(stages: Stages) -> bool:
    """Whether registration answers for the matcher: it takes ten times as long, so it is not asked for signals alone."""
    return matcher_of(stages) is not locators_of(stages)[0]


def _ask_registration(
    stages: Stages, radiograph: Radiograph, answers: Answers
) -> tuple[Lengths, NDArray[np.float64]]:
    """How far registration's answers lie and lay apart, and the detector's from them: `[K]`, shares of the mean side.

    And the way from the detector's to them, `[K, 2]`; empty where there is no registration or no detector.
    """
    if not _registers(stages):
        return {}, NOWHERE
    last, matcher, side = locators_of(stages)[-1], matcher_of(stages), radiograph.side
    matched = answers.matched or matcher.locate(radiograph)
    lengths = {
        "matcher_spread": matched.expected_error / radiograph.pixel_length / side,
        "dispute": matcher.dispute(radiograph) / side,
    }
    if isinstance(last, Matcher):
        return lengths, NOWHERE
    way = _way_between(matched, answers.detected or last.locate(radiograph), side)
    return lengths | {"teacher": np.asarray(np.linalg.norm(way, axis=1))}, way


def compare_corrections(
    error_model: ErrorModel | None,
    stages: Stages,
    trust: Trust | None,
    known: LandmarkTable,
    corrected: LandmarkTable,
    cohort: Cohort,
    mean_error: MeanError | None = None,
    unlike: Mapping[str, float] = MappingProxyType({}),
) -> Corrections:
    """Compare predictions with what a person corrected, before the stages learn from it.

    Args:
        error_model: The error model; without one nothing is compared.
        stages: Slot -> fitted stage.
        trust: How far detector and refiner are believed.
        known: What the stages have learned from; its answers do not count.
        corrected: More exemplars.
        cohort: The radiographs, upright.
        mean_error: What is taken away from the stages' answers.
        unlike: How unlike the exemplars a radiograph is, as for `doubt_stranger`; 1 where nothing is said.
    """
    if error_model is None:
        return Corrections()
    ratios, angles, doubts, usual = [], [], [], []
    for one in corrected:
        place = known.news_in(one, matcher_of(stages).names)
        if not np.isfinite(place).any():
            continue
        radiograph = cohort[one.image]
        answers = ask(stages, radiograph, trust)
        final = answers.final if mean_error is None else mean_error.correct(answers.final, radiograph.size)
        way = (final.xy - place) / radiograph.side
        signals = read_signals(stages, radiograph, answers, error_model.surroundings)
        expected = error_model.uncalibrated(signals) * doubt_stranger(unlike.get(one.image, 1.0))
        ratios.append(to_row(np.linalg.norm(way, axis=1) / np.maximum(expected, 1e-9)))
        angles.append(to_row(to_angles(way)))
        doubts.append(to_row(expected / error_model.level))
        usual.append(to_row(error_model.level))
    return Corrections(tuple(ratios), tuple(angles), tuple(doubts), tuple(usual))


def _measure_cycles(
    stages: Stages, exemplars: LandmarkTable, cohort: Cohort, answered: Sequence[LandmarkSet]
) -> NDArray[np.float64] | None:
    """Cycle errors `[N, K]` as shares of the exemplar's mean side, from the exemplar that shows most landmarks."""
    able = [stage for stage in stages.values() if isinstance(stage, Matcher) and stage.measures_cycles]
    if not able or not answered:
        return None
    best = max(exemplars, key=lambda one: int(np.isfinite(one.xy).all(1).sum()))
    source = cohort[best.image]
    errors = able[-1].cycle_errors(source, best.xy, ((cohort[one.image], one.xy) for one in answered))
    return np.asarray(errors / source.side)
