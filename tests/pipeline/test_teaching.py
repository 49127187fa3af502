"""A teaching leaves no stage worse than it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pytest

from onemark import Cohort, LandmarkSet, LandmarkTable, Radiograph
from onemark.nn.device import fabric_for
from onemark.nn.training.canvases import ResolutionLevel
from onemark.pipeline import teaching
from onemark.pipeline.teaching import choose_better
from onemark.stages.base import Locator, StageContext
from onemark.stages.config import StageConfig
from onemark.stages.copies import draw_copies
from onemark.stages.refiner import Refiner
from onemark.testing import KnownPoints

NAMES = ("a", "b")


class Off(Locator):
    """A detector that is off by some px."""

    slot = "detect"
    stream = "detect"

    def __init__(self, by: float, names: tuple[str, ...] = NAMES) -> None:
        super().__init__(StageConfig(), names, (32, 32), fabric_for("cpu"))
        self.by = by

    @classmethod
    def fit(cls, context: StageContext) -> Self:
        raise NotImplementedError

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        at = np.full((len(self.names), 2), 10.0)
        return LandmarkSet(radiograph.name, self.names, at + np.array([self.by, 0.0]))


class Halves(Refiner):
    """A refiner that leaves a share of the error."""

    def __init__(self, left: float) -> None:
        super().__init__(StageConfig(), NAMES, (32, 32), fabric_for("cpu"))
        self.left = left

    def learn(self, context: StageContext, level: ResolutionLevel) -> None: ...

    def refine(self, radiograph: Radiograph, coarse: LandmarkSet) -> LandmarkSet:
        return replace(coarse, xy=10.0 + self.left * (coarse.xy - 10.0))


@pytest.fixture(autouse=True)
def copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two copies whose landmarks lie at (10, 10), one of them with a single landmark."""

    def draw(*_: Any) -> Iterator[tuple[Radiograph, np.ndarray]]:
        radiograph = Radiograph("x", np.zeros((32, 32), np.float32))
        yield radiograph, np.full((2, 2), 10.0)
        yield radiograph, np.array([[10.0, 10.0], [np.nan, np.nan]])

    monkeypatch.setattr(teaching, "draw_copies", draw)


@pytest.mark.parametrize(("now", "then", "kept"), [(2.0, 1.0, 1), (1.02, 1.0, 0), (0.5, 1.0, 0)])
def test_the_former_network_stays_where_teaching_made_it_worse(
    now: float, then: float, kept: int, phantoms: Cohort, exemplars: LandmarkTable
):
    taught, former = Off(now), Off(then)
    assert choose_better(taught, former, {}, exemplars, phantoms, 0) is (taught, former)[kept]
    before = {"match": Off(4.0)}
    worse, better = Halves(now), Halves(then)
    assert choose_better(worse, better, before, exemplars, phantoms, 0) is (worse, better)[kept]


def test_what_cannot_be_compared_is_taken_as_it_was_taught(phantoms: Cohort, exemplars: LandmarkTable):
    taught = Off(9.0)
    assert choose_better(taught, None, {}, exemplars, phantoms, 0) is taught
    assert choose_better(taught, Off(1.0, ("a", "c")), {}, exemplars, phantoms, 0) is taught
    matcher = KnownPoints(Off(9.0).locate)
    assert choose_better(matcher, KnownPoints(Off(1.0).locate), {}, exemplars, phantoms, 0) is matcher


class Elsewhere(Off):
    """A detector that is off by some px on the first exemplar, and by others on radiographs with single answers."""

    def __init__(self, known: float, elsewhere: float) -> None:
        super().__init__(known, (*NAMES, "c"))
        self.elsewhere = elsewhere

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        by = self.by if radiograph.name == "whole" else self.elsewhere
        return Off(by, self.names).locate(radiograph)


@pytest.mark.parametrize(("now", "elsewhere", "kept"), [(1.0, 3.0, 0), (1.0, 5.5, 1), (3.5, 3.5, 1)])
def test_answers_count_beside_the_radiograph_that_the_former_network_knows_by_heart(
    now: float, elsewhere: float, kept: int, phantoms: Cohort, monkeypatch: pytest.MonkeyPatch
):
    whole = LandmarkSet(phantoms.names[0], (*NAMES, "c"), np.full((3, 2), 10.0))
    asked = np.array([True, False, False])
    one = np.where(asked[:, None], whole.xy, np.nan)
    answers = [LandmarkSet(name, whole.names, one, asked=asked) for name in phantoms.names[1:4]]

    def draw(exemplars: LandmarkTable, *_: Any) -> Iterator[tuple[Radiograph, np.ndarray]]:
        is_whole = exemplars.images == (whole.image,)
        pixels = np.zeros((32, 32), np.float32)
        yield Radiograph("whole" if is_whole else "single", pixels), whole.xy if is_whole else one

    monkeypatch.setattr(teaching, "draw_copies", draw)
    # As many points on the whole radiograph as answers: the former network is 3 px off on average.
    taught, former = Elsewhere(now, elsewhere), Elsewhere(0.0, 6.0)
    table = LandmarkTable.from_sets([whole, *answers])
    assert choose_better(taught, former, {}, table, phantoms, 0) is (taught, former)[kept]


def test_copies_of_every_radiograph_with_answers_are_compared(
    phantoms: Cohort, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(teaching, "draw_copies", draw_copies)
    names = ("a", "b", "c", "d", "e", "f", "g")
    points = np.random.default_rng(0).uniform(30, 60, (7, 2))
    sets = [LandmarkSet(phantoms.names[0], names, points)]
    for image, count in zip(phantoms.names[1:4], (1, 3, 1), strict=True):
        asked = np.arange(7) < count
        sets.append(LandmarkSet(image, names, np.where(asked[:, None], points, np.nan), asked=asked))
    seen: list[str] = []

    class Watched(Off):
        def locate(self, radiograph: Radiograph) -> LandmarkSet:
            seen.append(radiograph.name)
            return super().locate(radiograph)

    taught, former = Watched(1.0, names), Off(1.0, names)
    assert choose_better(taught, former, {}, LandmarkTable.from_sets(sets), phantoms, 0) is taught
    assert set(seen) == set(phantoms.names[:4])
