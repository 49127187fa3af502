"""The probability that a landmark is visible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import onemark
from onemark import Cohort, LandmarkSet, LandmarkTable
from onemark.uncertainty.visibility import Visibility

DRAW = np.random.default_rng(0)
COHORT = DRAW.standard_normal((40, 3))
SHOWN = np.array([[1.0, 1, 0], [1, 1, 0], [1, 1, 1], [1, np.nan, 1]])


def learned(unseen: np.ndarray, shown: np.ndarray = SHOWN, cycles: np.ndarray | None = None) -> Visibility:
    found = Visibility.learn(shown, unseen, COHORT, cycles)
    assert found is not None
    return found


def test_the_more_doubtful_an_answer_the_less_probably_it_is_visible():
    known = learned(np.full(12, 3.0))
    low, usual, high = (known(np.full(3, doubt)) for doubt in (-1.0, 0.0, 4.0))
    assert (low > usual).all()
    assert (usual > high).all()
    assert usual[0] > 0.9
    assert high[2] < 0.05


def test_landmarks_that_exemplars_lack_are_less_probable():
    first, second, third = learned(np.full(2, 2.0)).share
    assert first > second > third  # shown on four, on three that were asked, on two of four
    assert third > 0.5


def test_probabilities_are_those_of_the_draws():
    draw = np.random.default_rng(4)
    shown = (draw.random((400, 1)) < 0.7).astype(float)
    cohort, unseen = draw.standard_normal((2000, 1)), 2 + draw.standard_normal(500)
    known = Visibility.learn(shown, unseen, cohort)
    assert known is not None
    visible = draw.random(20_000) < 0.7
    found = known(np.where(visible, 0, 2) + draw.standard_normal(20_000))
    for low in (0.1, 0.4, 0.8):
        some = (found >= low) & (found < low + 0.15)
        assert visible[some].mean() == pytest.approx(found[some].mean(), abs=0.1)


def test_failed_cycles_say_how_doubtful_the_invisible_is():
    cycles = np.full(COHORT.shape, 0.01)
    far = COHORT > 1.2
    cycles[far] = 0.3
    assert learned(np.full(1, 4.0), cycles=cycles).unseen < learned(np.full(1, 4.0)).unseen


def test_exemplars_that_show_everything_tell_nothing():
    assert Visibility.learn(np.ones((4, 3)), np.empty(0), COHORT) is None


def test_answers_that_are_surer_where_nothing_is_do_not_turn_it_round():
    known = learned(np.full(50, -3.0))
    assert known(np.zeros(3))[0] >= known(np.ones(3))[0]


def test_a_run_whose_exemplars_lack_a_landmark_says_how_probable_it_is(
    phantoms: Cohort, truth: LandmarkTable, tiny: dict[str, object], tmp_path
):
    first, second = (truth[name] for name in phantoms.names[:2])
    xy = second.xy.copy()
    xy[3] = np.nan
    exemplars = LandmarkTable.from_sets([first, LandmarkSet(second.image, second.names, xy)])
    few = phantoms.subset(phantoms.names[:6])
    model = onemark.fit(few, exemplars, settings=tiny, out=tmp_path / "run")
    found = model.locate(phantoms[phantoms.names[7]])
    assert found.visible.all()  # the point is given all the same
    assert ((found.visible_probability > 0) & (found.visible_probability < 1)).all()
    assert model.error_model is not None
    assert model.error_model.visibility is not None
    assert model.error_model.visibility.share.argmin() == 3
    again = onemark.load(tmp_path / "run").locate(phantoms[phantoms.names[7]])
    np.testing.assert_allclose(again.visible_probability, found.visible_probability)
    LandmarkTable.from_sets([found]).to_csv(tmp_path / "l.csv")
    read = onemark.read_landmarks(tmp_path / "l.csv")[found.image]
    np.testing.assert_array_equal(read.visible_probability, found.visible_probability)
    plain = replace(model.error_model, visibility=None)
    model.error_model = plain
    assert not model.locate(phantoms[phantoms.names[7]]).visible_probability.size
