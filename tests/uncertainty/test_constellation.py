"""How far a landmark lies from where the others put it."""

from __future__ import annotations

import numpy as np

from onemark.uncertainty.constellation import Constellation, left_out


def shapes(count: int = 40, landmarks: int = 7, seed: int = 0) -> np.ndarray:
    """Constellations that vary in pose and in one way of growing."""
    draw = np.random.default_rng(seed)
    mean, growth = draw.random((landmarks, 2)), draw.normal(size=(landmarks, 2)) * 0.05
    found = []
    for _ in range(count):
        one = mean + growth * draw.normal() + draw.normal(size=mean.shape) * 0.002
        turn, size = draw.normal() * 0.2, np.exp(draw.normal() * 0.1)
        rotation = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        found.append(one @ rotation.T + draw.normal(size=2) * 0.1)
    return np.stack(found)


def test_only_the_landmark_that_was_moved_stands_out():
    points = shapes()
    learned = Constellation.learn(points[:30])
    assert learned is not None
    usual = np.stack([learned.residuals(one) for one in points[30:]])
    moved = points[30:].copy()
    moved[:, 3] += [0.15, -0.1]
    found = np.stack([learned.residuals(one) for one in moved])
    assert (found.argmax(1) == 3).all()
    assert found[:, 3].min() > 2 * usual.max()


def test_pose_changes_nothing():
    points = shapes()
    learned = Constellation.learn(points)
    assert learned is not None
    turned = 3 * points[5] @ np.array([[0.0, -1.0], [1.0, 0.0]]) + [5, 7]
    np.testing.assert_allclose(learned.residuals(turned), learned.residuals(points[5]), atol=1e-9)


def test_a_radiograph_is_not_judged_by_itself():
    points = shapes(10)
    points[2, 4] += 0.3
    learned = Constellation.learn(points)
    assert learned is not None
    assert left_out(points)[2, 4] > 1.2 * learned.residuals(points[2])[4]


def test_few_landmarks_or_radiographs_teach_nothing():
    assert Constellation.learn(shapes(landmarks=4)) is None
    assert Constellation.learn(shapes(2)) is None
    assert np.isnan(left_out(shapes(landmarks=4))).all()
    holed = shapes()
    holed[0, 0] = np.nan
    assert Constellation.learn(holed) is None
