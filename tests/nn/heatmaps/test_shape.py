from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from onemark.nn.heatmaps.shape import Shape

Points = NDArray[np.float64]
RNG = np.random.default_rng(0)
BASE = RNG.uniform(0, 100, (8, 2))


def turned(points: Points, angle: float, scale: float, shift: tuple[float, float]) -> Points:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T * scale + shift


def shapes(count: int, noise: float = 0.0) -> list[Points]:
    """The same constellation, turned, scaled and shifted."""
    rng = np.random.default_rng(1)
    return [
        turned(BASE, rng.uniform(-0.3, 0.3), rng.uniform(0.8, 1.2), tuple(rng.uniform(-20, 20, 2)))
        + rng.normal(0, noise, BASE.shape)
        for _ in range(count)
    ]


@pytest.fixture
def learned() -> Shape:
    shape = Shape.learn(shapes(30, 1.0))
    assert shape is not None
    return shape


def test_too_little_to_learn_from():
    assert Shape.learn([]) is None
    assert Shape.learn(shapes(7)) is None
    assert Shape.learn([one[:4] for one in shapes(20)]) is None


def test_the_constellation_is_known_whatever_pose_it_takes(learned: Shape):
    pose = turned(BASE, 0.4, 1.5, (300, -50))
    expected, stray = learned.fit_to(pose)
    assert np.linalg.norm(expected - pose, axis=1).max() < 2.5
    assert stray.shape == (8,)
    assert (stray > 0).all()


def test_a_gross_error_is_put_right_and_pulls_nothing_along(learned: Shape):
    pose = turned(BASE, -0.2, 1.0, (10, 10))
    wrong = pose.copy()
    wrong[3] += (80, -60)
    expected, _ = learned.fit_to(wrong)
    assert np.linalg.norm(expected - pose, axis=1).max() < 3


def test_outliers_among_the_shapes_do_not_matter(learned: Shape):
    spoiled = shapes(30, 1.0)
    for k, one in enumerate(spoiled[:10]):
        one[k % 8] += 200
    spoiled[12][2] = np.nan
    other = Shape.learn(spoiled)
    assert other is not None
    pose = turned(BASE, 0.1, 1.1, (5, 5))
    assert np.linalg.norm(other.fit_to(pose)[0] - learned.fit_to(pose)[0], axis=1).max() < 1.5


def test_landmarks_that_stray_more_are_held_less():
    rng = np.random.default_rng(2)
    loose = shapes(40, 0.5)
    for one in loose:
        one[5] += rng.normal(0, 8, 2)
    shape = Shape.learn(loose)
    assert shape is not None
    assert shape.stray[5] == shape.stray.max()
    assert shape.stray[5] > 3 * np.median(shape.stray)


def test_the_prior_is_highest_where_the_constellation_expects_the_landmark(learned: Shape):
    pose = turned(BASE, 0.0, 0.3, (5, 5))
    prior = learned.logits(pose, (40, 44))
    assert prior.shape == (8, 40, 44)
    expected, _ = learned.fit_to(pose)
    for k in range(8):
        y, x = divmod(int(prior[k].argmax()), 44)
        assert np.abs(np.array([x, y]) - expected[k]).max() <= 0.5 + 1e-6
