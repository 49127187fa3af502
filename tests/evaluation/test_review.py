"""The order of a review that pays, and the error it leaves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from onemark.evaluation.review import (
    LOOKING,
    OPENING,
    area_left,
    measure_left,
    plan_review,
    rank_radiographs,
)


def test_one_terrible_landmark_comes_before_many_moderate_ones():
    errors = np.array([[2.0, 2.0, 2.0, 2.0], [0.1, 9.0, 0.1, 0.1]])
    first, second, last = plan_review(errors)
    assert (first.radiograph, first.landmarks) == (1, (1,))
    assert first.gain == pytest.approx(9 / (OPENING + LOOKING))
    assert (second.radiograph, second.landmarks) == (0, (0, 1, 2, 3))
    assert (last.radiograph, last.landmarks) == (1, (0, 2, 3))  # the rest of the first one, at the end
    assert rank_radiographs(errors)[1] > rank_radiographs(errors)[0]


def test_no_other_order_of_the_same_visits_leaves_less():
    errors = np.random.default_rng(0).exponential(size=(3, 3))
    visits = plan_review(errors)
    best = area_left(measure_left(visits, errors))
    for other in itertools.permutations(visits):
        # Within a visit the error falls step by step; what counts is what its whole time has removed.
        assert _left_by_visits(visits, errors) <= _left_by_visits(other, errors) + 1e-12
    assert 0 < best < 1


def _left_by_visits(visits, errors) -> float:
    left, area = errors.sum(), 0.0
    for visit in visits:
        area += left * visit.seconds
        left -= errors[visit.radiograph, list(visit.landmarks)].sum()
    return area


def test_the_curve_says_what_is_left_after_each_landmark_and_minute():
    errors = np.array([[3.0, 1.0], [np.nan, 4.0]])
    curve = measure_left(plan_review(errors), errors)
    np.testing.assert_allclose(curve[:, 0], [0, 1, 2, 3])
    np.testing.assert_allclose(curve[:, 2], [1, 4 / 8, 1 / 8, 0])
    np.testing.assert_allclose(curve[1:, 1] * 60, np.cumsum([OPENING + LOOKING, OPENING + LOOKING, LOOKING]))


def test_a_good_order_leaves_less_of_the_true_error_than_a_bad_one():
    draw = np.random.default_rng(3)
    expected = draw.exponential(size=(20, 6))
    true = expected * draw.exponential(size=(20, 6))
    guided, oracle = (area_left(measure_left(plan_review(by), true)) for by in (expected, true))
    blind = area_left(measure_left(plan_review(draw.permutation(expected.ravel()).reshape(20, 6)), true))
    assert oracle < guided < blind


def test_nothing_to_review_leaves_everything():
    errors = np.full((2, 2), np.nan)
    assert plan_review(errors) == []
    assert np.isnan(rank_radiographs(errors)).all()
    np.testing.assert_array_equal(measure_left([], errors), [[0, 0, 1]])
