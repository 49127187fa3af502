"""Ellipses of errors: axes, covariances, and the scale that makes the expected error their mean distance."""

from __future__ import annotations

import numpy as np
import pytest

from onemark import LandmarkSet
from onemark.imaging.ellipses import (
    THINNEST,
    mean_distance,
    outline,
    region_factor,
    scale_to,
    shapes_of,
    to_covariance,
    to_ellipse,
)

SOME = np.array([[3.0, 1.0, 30.0], [2.0, 2.0, 0.0], [5.0, 1.0, -80.0], [1.0, 0.5, 90.0]])


def draw(ellipse: np.ndarray) -> np.ndarray:
    """A hundred thousand errors with this ellipse."""
    normals = np.random.default_rng(0).standard_normal((100_000, 2))
    return normals @ np.linalg.cholesky(to_covariance(ellipse)).T


def test_axes_come_back_from_their_covariance():
    np.testing.assert_allclose(to_ellipse(to_covariance(SOME))[:, :2], SOME[:, :2])
    np.testing.assert_allclose(to_ellipse(to_covariance(SOME))[[0, 2], 2], SOME[[0, 2], 2])


def test_the_angle_goes_from_right_to_down():
    down = to_covariance(np.array([2.0, 1.0, 90.0]))
    np.testing.assert_allclose(down, [[1, 0], [0, 4]], atol=1e-12)


@pytest.mark.parametrize("ellipse", SOME, ids=str)
def test_the_mean_distance_is_that_of_drawn_errors(ellipse: np.ndarray):
    assert mean_distance(ellipse) == pytest.approx(np.linalg.norm(draw(ellipse), axis=1).mean(), rel=0.01)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_a_region_holds_its_share_of_drawn_errors(share: float):
    ellipse = SOME[0]
    errors = draw(ellipse)
    squared = (errors * np.linalg.solve(to_covariance(ellipse), errors.T).T).sum(1)
    assert (squared <= region_factor(share) ** 2).mean() == pytest.approx(share, abs=0.01)


def test_a_shape_is_scaled_to_the_expected_error_and_kept():
    found = scale_to(to_covariance(SOME), np.array([1.0, 2.0, 3.0, np.nan]))
    np.testing.assert_allclose(mean_distance(found[:3]), [1, 2, 3])
    assert found[0, 0] / found[0, 1] == pytest.approx(3)
    assert found[0, 2] == pytest.approx(30)
    assert np.isnan(found[3]).all()


def test_no_ellipse_is_a_line_and_an_unknown_shape_is_a_circle():
    line = np.array([[1.0, 0.0], [0.0, 0.0]])
    thin, round_ = scale_to(np.stack([line, np.full((2, 2), np.nan)]), np.ones(2))
    assert thin[1] / thin[0] == pytest.approx(THINNEST)
    assert round_[0] == round_[1] == pytest.approx(np.sqrt(2 / np.pi))


def test_a_landmark_without_an_error_has_an_ellipse_without_a_size():
    np.testing.assert_array_equal(scale_to(np.eye(2)[None], np.zeros(1))[:, :2], 0)


def test_a_set_without_ellipses_has_round_shapes():
    one = LandmarkSet("a", ("s",), np.zeros((1, 2)), np.ones(1), np.array([np.sqrt(np.pi / 2)]))
    np.testing.assert_allclose(shapes_of(one), [np.eye(2)])


def test_an_outline_is_closed_and_lies_on_the_ellipse():
    line = outline(SOME[0])
    np.testing.assert_allclose(line[0], line[-1], atol=1e-12)
    np.testing.assert_allclose((line * np.linalg.solve(to_covariance(SOME[0]), line.T).T).sum(1), 1)
