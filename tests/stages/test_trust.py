"""A stage's answer counts as far as it finds the exemplars' own landmarks again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import nn

from onemark import Cohort, LandmarkSet, LandmarkTable, Radiograph
from onemark.nn.device import fabric_for
from onemark.nn.training.canvases import ResolutionLevel
from onemark.stages.base import Stage, StageContext
from onemark.stages.config import StageConfig, TrainedConfig
from onemark.stages.detector import Detector
from onemark.stages.refiner import Refiner
from onemark.stages.trust import Trust, ask, measure_trust, mix
from onemark.testing import KnownPoints

NAMES = ("a", "b", "c")


class Off(Detector):
    """A detector that is off by some px, for each landmark."""

    by = np.zeros(3)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)

    @staticmethod
    def build_network(config: TrainedConfig, landmarks: int) -> nn.Module:
        return nn.Identity()

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        xy = known_points(radiograph) + self.by[:, None]
        return LandmarkSet(radiograph.name, NAMES, xy, np.full(3, 0.9), np.full(3, 2.0))

    def make_task(self, levels: list[ResolutionLevel], labels: Any) -> Any: ...

    def start_from(self, weights: Any) -> None: ...


class Worse(Refiner):
    """A refiner that moves the last landmark away by 30 px."""

    def learn(self, context: StageContext, level: ResolutionLevel) -> None: ...

    def refine(self, radiograph: Radiograph, coarse: LandmarkSet) -> LandmarkSet:
        return replace(coarse, xy=coarse.xy + np.array([[0.0], [0.0], [30.0]]))


class Steady(Refiner):
    """A refiner whose points are 4 px off, wherever it begins."""

    def learn(self, context: StageContext, level: ResolutionLevel) -> None: ...

    def refine(self, radiograph: Radiograph, coarse: LandmarkSet) -> LandmarkSet:
        assert np.isfinite(coarse.xy).all()
        return replace(coarse, xy=known_points(radiograph) + 4.0 / np.sqrt(2))


radiograph_truth: dict[bytes, np.ndarray] = {}


def known_points(radiograph: Radiograph) -> np.ndarray:
    """Where the landmarks of a copy lie; (50, 50) where nothing is known, as stages point somewhere all the same."""
    return np.nan_to_num(radiograph_truth.get(radiograph.pixels.tobytes(), np.full((3, 2), 50.0)), nan=50.0)


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch, exemplars3: LandmarkTable) -> dict[str, Stage]:
    """A matcher that is off by 2 px, and a detector."""
    from onemark.stages import trust

    made = trust.draw_copies  # the only place that knows where landmarks of a copy lie

    def known(*arguments: Any) -> Any:
        for copy, xy in made(*arguments):
            radiograph_truth[copy.pixels.tobytes()] = xy
            yield copy, xy

    monkeypatch.setattr(trust, "draw_copies", known)
    fabric = fabric_for("cpu")

    def matched(radiograph: Radiograph) -> LandmarkSet:
        known = radiograph_truth.get(radiograph.pixels.tobytes(), np.full((3, 2), 50.0))
        xy = known + 2.0 / np.sqrt(2)
        return LandmarkSet(radiograph.name, NAMES, xy, np.full(3, 0.5), np.full(3, 4.0))

    return {"match": KnownPoints(matched), "detect": Off(TrainedConfig(), NAMES, (32, 32), fabric)}


@pytest.fixture
def exemplars3(phantoms: Cohort) -> LandmarkTable:
    xy = np.array([[60.0, 70.0], [80.0, 90.0], [50.0, 100.0]])
    return LandmarkTable.from_sets([LandmarkSet(phantoms.names[0], NAMES, xy)])


def test_a_landmark_that_the_detector_has_not_learned_keeps_the_matchers_answer(
    stages: dict[str, Stage], exemplars3: LandmarkTable, phantoms: Cohort
):
    stages["detect"].by = np.array([0.1, 0.1, 40.0])  # type: ignore[attr-defined]
    trust = measure_trust(stages, exemplars3, phantoms, 0)
    assert trust is not None
    assert trust.detector[:2].min() > 0.5
    assert trust.detector[2] == 0
    assert trust.describe().startswith("the detector has not learned enough yet, so 1 of 3 landmarks keep")
    copy = next(iter(radiograph_truth))
    pixels = np.frombuffer(copy, np.float32).reshape(phantoms[0].size)
    found = ask(stages, Radiograph("x", pixels), trust)
    away = np.abs(found.final.xy - radiograph_truth[copy])
    assert away[0].max() < 1  # between 0.1 and the matcher's 1.4
    assert np.allclose(away[2], 2.0 / np.sqrt(2))
    assert found.final.score.tolist() == pytest.approx([*(0.5 + 0.4 * trust.detector[:2]), 0.5])


def test_a_refiner_that_makes_a_landmark_worse_is_not_followed(
    stages: dict[str, Stage], exemplars3: LandmarkTable, phantoms: Cohort
):
    stages["detect"].by = np.full(3, 0.2)  # type: ignore[attr-defined]
    stages["refine"] = Worse(StageConfig(), NAMES, (32, 32), fabric_for("cpu"))
    trust = measure_trust(stages, exemplars3, phantoms, 0)
    assert trust is not None
    assert trust.detector.tolist() == [1, 1, 1]
    assert trust.refiner.tolist() == [0, 0, 0]  # together they are worse
    assert trust.describe() == ""


def test_a_detector_that_is_worse_than_the_matcher_answers_nothing(
    stages: dict[str, Stage], exemplars3: LandmarkTable, phantoms: Cohort
):
    stages["detect"].by = np.full(3, 1.5)  # type: ignore[attr-defined]
    trust = measure_trust(stages, exemplars3, phantoms, 0)
    assert trust is not None
    assert (trust.detector < 0.4).all()
    stages["detect"].by = np.full(3, 5.0)  # type: ignore[attr-defined]
    trust = measure_trust(stages, exemplars3, phantoms, 0)
    assert trust is not None
    assert trust.detector.tolist() == [0, 0, 0]
    assert not trust.needs_detector
    assert "all landmarks keep" in trust.describe()


def test_the_more_radiographs_a_detector_has_seen_the_more_it_counts(
    stages: dict[str, Stage], exemplars3: LandmarkTable, phantoms: Cohort
):
    stages["detect"].by = np.full(3, 1.0)  # type: ignore[attr-defined]
    few, many = phantoms.subset(phantoms.names[:4]), phantoms
    shares = []
    for cohort, placed in [
        (few, exemplars3),
        (many, exemplars3),
        (many, twice(exemplars3, phantoms.names[5])),
    ]:
        trust = measure_trust(stages, placed, cohort, 0)
        assert trust is not None
        shares.append(trust.detector[0])
    assert 0 < shares[0] < shares[1] < shares[2]


def test_radiographs_that_had_no_time_to_be_labelled_do_not_count(
    stages: dict[str, Stage], exemplars3: LandmarkTable, phantoms: Cohort
):
    stages["detect"].by = np.full(3, 1.0)  # type: ignore[attr-defined]
    shares = []
    for seen in (2, 6, len(phantoms), None):
        stages["detect"].seen = seen  # type: ignore[attr-defined]
        trust = measure_trust(stages, exemplars3, phantoms, 0)
        assert trust is not None
        shares.append(trust.detector[0])
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] == shares[3]


def twice(table: LandmarkTable, image: str) -> LandmarkTable:
    """The same points on another radiograph, too."""
    return LandmarkTable.from_sets([*table, replace(table.sets[0], image=image)])


def test_a_matcher_alone_needs_no_trust(
    stages: dict[str, Stage], exemplars3: LandmarkTable, phantoms: Cohort
):
    assert measure_trust({"match": stages["match"]}, exemplars3, phantoms, 0) is None


def test_it_survives_saving():
    trust = Trust(np.array([0.0, 0.3]), np.array([1.0, 0.5]))
    again = Trust.restore(trust.state()[0])
    assert again.detector.tolist() == [0.0, 0.3]
    assert again.refiner.tolist() == [1.0, 0.5]


def test_an_answer_that_is_no_number_does_not_spoil_one_that_counts_alone():
    first = LandmarkSet("x", ("a",), np.array([[1.0, 2.0]]), np.array([0.5]), np.array([3.0]))
    second = LandmarkSet("x", ("a",), np.full((1, 2), np.nan), np.array([np.nan]), np.array([np.nan]))
    assert np.array_equal(mix(first, second, np.zeros(1)).xy, first.xy)
    assert np.array_equal(mix(second, first, np.ones(1)).xy, first.xy)


def test_radiographs_beyond_the_pool_do_not_count(
    stages: dict[str, Stage], exemplars3: LandmarkTable, phantoms: Cohort
):
    stages["detect"].by = np.full(3, 1.0)  # type: ignore[attr-defined]
    shares = []
    for pool, cohort in ((3, phantoms), (400, phantoms.subset(phantoms.names[:3])), (400, phantoms)):
        stages["detect"].config = TrainedConfig(pool=pool)  # type: ignore[attr-defined]
        trust = measure_trust(stages, exemplars3, cohort, 0)
        assert trust is not None
        shares.append(trust.detector[0])
    assert shares[0] == shares[1] < shares[2]


def test_where_all_are_annotated_the_matchers_own_radiographs_do_not_speak_for_it(
    stages: dict[str, Stage], exemplars3: LandmarkTable, phantoms: Cohort
):
    def almost_right(radiograph: Radiograph) -> LandmarkSet:
        xy = radiograph_truth[radiograph.pixels.tobytes()] + 0.3
        return LandmarkSet(radiograph.name, NAMES, xy, np.full(3, 0.5), np.full(3, 4.0))

    stages["match"] = KnownPoints(almost_right)
    stages["detect"].by = np.full(3, 0.5)  # type: ignore[attr-defined]
    everyone = LandmarkTable.from_sets(replace(exemplars3.sets[0], image=name) for name in phantoms.names)
    trust = measure_trust(stages, everyone, phantoms, 0)
    assert trust is not None
    assert trust.detector.tolist() == [1, 1, 1]


def off_by_8_px_on_copies(radiograph: Radiograph) -> LandmarkSet:
    """A matcher whose answers lie 4 px apart, so that it is 3 px off elsewhere."""
    xy = known_points(radiograph) + 8.0 / np.sqrt(2)
    return LandmarkSet(radiograph.name, NAMES, xy, np.full(3, 0.5), np.full(3, 4.0))


@pytest.fixture
def refining(stages: dict[str, Stage]) -> dict[str, Stage]:
    """That matcher, a detector that is 3.5 px off, and a refiner."""
    stages["match"] = KnownPoints(off_by_8_px_on_copies)
    stages["detect"].by = np.full(3, 2.5)  # type: ignore[attr-defined]
    return stages | {"refine": Steady(StageConfig(), NAMES, (32, 32), fabric_for("cpu"))}


def test_registration_that_is_worse_on_copies_than_elsewhere_does_not_make_others_look_good(
    refining: dict[str, Stage], exemplars3: LandmarkTable, phantoms: Cohort
):
    trust = measure_trust(refining, exemplars3, phantoms, 0)
    assert trust is not None
    assert trust.detector.max() < 0.5  # 3.5 px against 3
    assert trust.refiner.tolist() == [0, 0, 0]  # 4 px against no more than 3.3


def test_a_trained_matcher_is_judged_by_what_it_does_on_copies(
    refining: dict[str, Stage], exemplars3: LandmarkTable, phantoms: Cohort
):
    refining["match"].network = nn.Identity()
    trust = measure_trust(refining, exemplars3, phantoms, 0)
    assert trust is not None
    assert trust.detector.tolist() == [1, 1, 1]


def test_answers_on_copies_stay_as_they_are_where_a_landmark_is_on_none(
    refining: dict[str, Stage], exemplars3: LandmarkTable, phantoms: Cohort
):
    xy = exemplars3.sets[0].xy.copy()
    xy[1] = np.nan
    lacking = LandmarkTable.from_sets([replace(exemplars3.sets[0], xy=xy)])
    trust = measure_trust(refining, lacking, phantoms, 0)
    assert trust is not None
    assert trust.refiner.tolist() == [0, 0, 0]


def test_copies_are_not_eased_where_no_other_radiograph_tells_how_exact_registration_is(
    stages: dict[str, Stage], exemplars3: LandmarkTable, phantoms: Cohort
):
    stages["match"] = KnownPoints(off_by_8_px_on_copies)
    stages["detect"].by = np.full(3, 2.5)  # type: ignore[attr-defined]
    everyone = LandmarkTable.from_sets(replace(exemplars3.sets[0], image=name) for name in phantoms.names)
    trust = measure_trust(stages, everyone, phantoms, 0)
    assert trust is not None
    assert trust.detector.tolist() == [1, 1, 1]


def test_a_refiner_behind_registration_alone_is_compared_with_eased_copies(
    stages: dict[str, Stage], exemplars3: LandmarkTable, phantoms: Cohort
):
    refined = {
        "match": KnownPoints(off_by_8_px_on_copies),
        "refine": Steady(StageConfig(), NAMES, (32, 32), fabric_for("cpu")),
    }
    trust = measure_trust(refined, exemplars3, phantoms, 0)
    assert trust is not None
    assert trust.refiner.tolist() == [0, 0, 0]  # 4 px against 3
