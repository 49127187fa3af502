"""A teaching leaves no stage worse than it was: a network that goes on for too few steps has lost before it gains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.stages.answers import locators_of
from onemark.stages.base import Locator, Stage
from onemark.stages.copies import draw_copies, errors_of
from onemark.stages.matcher import Matcher
from onemark.stages.refiner import Refiner
from onemark.types import LandmarkSet, Radiograph

COPIES = 8  # changed copies of the exemplars, the new ones among them
WORSE = 1.05  # times the former error: the copies cannot tell smaller differences

Ask = Callable[[Radiograph], LandmarkSet]


def choose_better(
    taught: Stage,
    former: Stage | None,
    before: Mapping[str, Stage],
    exemplars: LandmarkTable,
    cohort: Cohort,
    seed: int,
) -> Stage:
    """The stage that was taught, or the former one where teaching has made it worse on copies of all exemplars.

    Args:
        taught: The stage after teaching.
        former: The same before; None where there is none to go on from.
        before: Slot -> the stages that answer before it.
        exemplars: What a person annotated, what is taught included.
        cohort: The radiographs.
        seed: Seed of the copies.
    """
    if former is None or isinstance(taught, Matcher) or former.names != taught.names:
        return taught
    asked = [_answer_of(stage, before) for stage in (taught, former)]
    whole = exemplars.mostly_annotated()
    others = replace(exemplars, sets=tuple(one for one in exemplars if one.image not in whole.images))
    # On the radiograph that it knows by heart, the former stage cannot be beaten: each annotated point counts alike.
    parts = [(_compare(asked, part, cohort, seed), _count(part)) for part in (whole, others) if len(part)]
    known = [(errors, points) for errors, points in parts if errors is not None]
    if not known:
        return taught
    now, then = np.average([errors for errors, _ in known], 0, [points for _, points in known])
    return former if now > WORSE * then else taught


def _count(exemplars: LandmarkTable) -> int:
    """How many points a person placed."""
    return sum(int(one.visible.sum()) for one in exemplars)


def _compare(
    asked: Sequence[Ask], exemplars: LandmarkTable, cohort: Cohort, seed: int
) -> NDArray[np.float64] | None:
    """Each stage's mean error on copies, share of the side; None where no landmark is on any of them."""
    errors = [
        [float(np.nanmean(errors_of(ask(copy), xy, copy))) for ask in asked]
        for copy, xy in draw_copies(exemplars, cohort, seed, COPIES, COPIES)
        if np.isfinite(xy).any()
    ]
    return np.mean(errors, 0) if errors else None


def _answer_of(stage: Stage, before: Mapping[str, Stage]) -> Ask:
    """What a stage says about a radiograph; a refiner moves the answer of the last stage before it."""
    if isinstance(stage, Refiner):
        coarse, refiner = locators_of(before)[-1], stage
        return lambda radiograph: refiner.refine(radiograph, coarse.locate(radiograph))
    assert isinstance(stage, Locator)
    return stage.locate
