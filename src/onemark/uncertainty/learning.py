"""Expected errors of a fitted model: what its stages say of a radiograph, learned on the cohort, corrected by people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.pipeline.answers import Answers, answers, locating
from onemark.progress import Progress, Sink
from onemark.types import LandmarkSet, Radiograph
from onemark.uncertainty.calibration import Calibration
from onemark.uncertainty.error_model import ErrorModel, Signals

if TYPE_CHECKING:
    from onemark.pipeline.trainer import Model

SLOT = "expect"
RADIOGRAPHS = 48
"""Radiographs of the cohort from which expected errors are learned: a few seconds' work."""

LEARNING_SECONDS, OTHER_SECONDS = 5.0, 3.0

Ratios = list[list[float | None]]


def seconds_to_train(minutes: float | None) -> float | None:
    """Of a time budget, what start, saving and learning expected errors leave to the stages."""
    if minutes is None:
        return None
    return minutes * 60 - OTHER_SECONDS - min(LEARNING_SECONDS, 0.1 * minutes * 60)


def with_expected_errors(
    error_model: ErrorModel, stages: Mapping[str, Any], radiograph: Radiograph, found: Answers
) -> LandmarkSet:
    """The final answer with expected errors: mm when the spacing is known, else px."""
    share = error_model(signals_of(stages, radiograph, found))
    return replace(found.final, expected_error=share * _side(radiograph) * _unit(radiograph))


def signals_of(stages: Mapping[str, Any], radiograph: Radiograph, found: Answers) -> Signals:
    """What the stages say of a radiograph, beside the answers `found`."""
    side, alone = _side(radiograph), len(locating(stages)) == 1
    matched = found.coarse if alone else stages["match"].locate(radiograph)
    apart = np.linalg.norm(matched.xy - found.coarse.xy, axis=1) / side
    sure = found.coarse.score
    if alone:
        apart, sure = np.full_like(apart, np.nan), np.full_like(sure, np.nan)
    spread = found.final.expected_error / _unit(radiograph) / side
    return Signals(found.final.xy / side, apart, spread, matched.score, sure)


def learned(
    stages: Mapping[str, Any],
    exemplars: LandmarkTable,
    cohort: Cohort,
    ratios: Sequence[Sequence[float | None]],
    sink: Sink,
) -> ErrorModel | None:
    """Expected errors from up to 48 radiographs of the cohort, evenly spread; None where there are too few.

    Args:
        stages: Slot -> fitted stage.
        exemplars: What a person placed; these radiographs do not count, for the stages know them.
        cohort: The radiographs.
        ratios: What corrections taught: of actual to expected error, a row per radiograph.
        sink: Takes the progress.
    """
    others = [name for name in cohort.names if name not in exemplars.images]
    count = min(RADIOGRAPHS, len(others))
    names = [others[n * len(others) // count] for n in range(count)]
    if not names:
        return None
    signals, found = [], []
    for radiograph in cohort.subset(names).readable(sink=sink):
        found.append((radiograph, answers(stages, radiograph)))
        signals.append(signals_of(stages, *found[-1]))
        sink(Progress(SLOT, len(signals), len(names)))
    best = max(exemplars, key=lambda one: int(np.isfinite(one.xy).all(1).sum()))
    cycle_error = None
    if hasattr(stages["match"], "returned") and found:
        source = cohort[best.image]
        way = stages["match"].cycle_error(source, best.xy, [(one, at.final.xy) for one, at in found])
        cycle_error = way / _side(source)
    fitting = [
        row for row in ratios if len(row) == len(exemplars.names)
    ]  # landmarks may have been added since
    return ErrorModel.learn(signals, cycle_error, Calibration.of(fitting, len(exemplars.names)))


def correction_ratios(model: Model, corrected: LandmarkTable, cohort: Cohort) -> Ratios:
    """Ratios of actual to expected error of a model on radiographs that a person corrected, before it learns them.

    Args:
        model: The model; one without expected errors has no ratios.
        corrected: More exemplars; those that the model knows do not count.
        cohort: The radiographs.
    """
    if model.error_model is None:
        return []
    rows: Ratios = []
    for one in corrected:
        if one.image in model.exemplars.images:
            continue
        radiograph = cohort[one.image]
        found = answers(model.stages, radiograph)
        true = dict(zip(one.names, one.xy, strict=True))
        place = np.stack([true.get(name, np.full(2, np.nan)) for name in found.final.names])
        actual = np.linalg.norm(found.final.xy - place, axis=1) / _side(radiograph)
        ratio = actual / np.maximum(
            model.error_model.uncalibrated(signals_of(model.stages, radiograph, found)), 1e-9
        )
        rows.append([float(value) if math.isfinite(value) else None for value in ratio])
    return rows


def _side(radiograph: Radiograph) -> float:
    return fmean(radiograph.size)


def _unit(radiograph: Radiograph) -> float:
    return 1.0 if radiograph.spacing is None else sum(radiograph.spacing) / 2
