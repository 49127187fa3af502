"""How unlike the exemplars a radiograph looks around its predicted landmarks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from onemark import Cohort, LandmarkTable
from onemark.uncertainty.surroundings import Surroundings, fit_nearby

CANVAS = (320, 256)
DRAW = np.random.default_rng(0)


@pytest.fixture(scope="module")
def known(phantoms: Cohort, exemplars: LandmarkTable) -> Surroundings:
    found = Surroundings.learn(exemplars, phantoms, CANVAS, 1.0)
    assert found is not None
    return found


def test_similarity_maps_are_found():
    points = DRAW.normal(size=(9, 2)) * 40
    turn = 1.1 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    found = fit_nearby(points, points @ turn.T + np.array([5.0, -80.0]), 60)
    np.testing.assert_allclose(found, np.broadcast_to(turn, (9, 2, 2)), atol=1e-9)


def test_only_the_landmarks_nearby_count():
    left, right = DRAW.normal(size=(2, 5, 2)) * 5
    away = np.array([500.0, 0.0])
    points, here = np.concatenate([left, away + right]), np.concatenate([left, away + 2 * right])
    found = fit_nearby(points, here, 20)
    np.testing.assert_allclose(found[:5], np.broadcast_to(np.eye(2), (5, 2, 2)), atol=1e-6)
    np.testing.assert_allclose(found[5:], np.broadcast_to(2 * np.eye(2), (5, 2, 2)), atol=1e-6)


def test_a_landmark_alone_is_compared_as_it_lies():
    np.testing.assert_array_equal(
        fit_nearby(np.array([[3.0, 4.0]]), np.array([[70.0, 9.0]]), 20), [np.eye(2)]
    )
    points = np.array([[0.0, 0.0], [10.0, 0.0], [np.nan, np.nan]])
    found = fit_nearby(points, np.array([[0.0, 0.0], [0.0, 10.0], [5.0, 5.0]]), 20)
    np.testing.assert_allclose(found[0], [[0, -1], [1, 0]], atol=1e-9)
    assert np.isfinite(found).all()


def test_an_exemplar_is_like_itself(known: Surroundings, phantoms: Cohort, exemplars: LandmarkTable):
    one = exemplars.sets[0]
    np.testing.assert_allclose(known.compare(phantoms[one.image], one.xy, CANVAS, 1.0), 0, atol=1e-6)


def test_a_misplaced_landmark_looks_unlike(known: Surroundings, phantoms: Cohort, truth: LandmarkTable):
    worse = []
    for one in truth.sets[1:13]:
        radiograph = phantoms[one.image]
        right = known.compare(radiograph, one.xy, CANVAS, 1.0)
        k = int(DRAW.integers(len(one.names)))
        moved = one.xy.copy()
        moved[k] += 0.06 * radiograph.side * np.array([0.6, -0.8])
        wrong = known.compare(radiograph, moved, CANVAS, 1.0)
        worse.append(wrong[k] > right[k])
    assert np.mean(worse) > 0.8


def test_landmarks_that_no_exemplar_shows_are_not_compared(phantoms: Cohort, truth: LandmarkTable):
    first, second = truth.sets[:2]
    hidden = [dataclasses.replace(one, xy=one.xy.copy()) for one in (first, second)]
    hidden[0].xy[:2] = np.nan
    hidden[1].xy[0] = np.nan
    known = Surroundings.learn(LandmarkTable.from_sets(hidden), phantoms, CANVAS, 1.0)
    assert known is not None
    third = truth.sets[2]
    assert np.isnan(known.compare(phantoms[third.image], third.xy, CANVAS, 1.0)).tolist() == [True] + [
        False
    ] * (len(third.names) - 1)


def test_it_comes_back_from_its_state(known: Surroundings, phantoms: Cohort, truth: LandmarkTable):
    arrays, one = {name: value.double().numpy() for name, value in known.state().items()}, truth.sets[3]
    again, radiograph = Surroundings.restore(arrays), phantoms[one.image]
    assert again is not None
    np.testing.assert_array_equal(
        again.compare(radiograph, one.xy, CANVAS, 1.0), known.compare(radiograph, one.xy, CANVAS, 1.0)
    )
    assert Surroundings.restore({}) is None
    for name, damaged in (
        ("around.patches", np.zeros((1, 2, 3, 4))),
        ("around.patches", arrays["around.patches"][..., :2]),
        ("around.points", arrays["around.points"][..., :1]),
    ):
        with pytest.raises(ValueError, match="surroundings"):
            Surroundings.restore({**arrays, name: damaged})
    empty = {name: value[:0] for name, value in arrays.items()}
    with pytest.raises(ValueError, match="surroundings"):
        Surroundings.restore(empty)
