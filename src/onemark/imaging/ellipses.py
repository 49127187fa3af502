"""Which way a landmark's error lies: covariances in the plane and the axes of their ellipses.

An ellipse is `(sd_major, sd_minor, angle)`: the standard deviations along its axes and the angle of the major one in
degrees, -90...90, from +x (right) towards +y (down). A normal distribution with the standard deviations a >= b has the
mean distance

    E |e| = sqrt(2 / pi) a E(1 - b^2 / a^2),

where E is the complete elliptic integral of the second kind. onemark scales every ellipse so that this is the expected
error. The region that holds a share p of the distribution is the ellipse times sqrt(-2 log(1 - p)).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ellipe

from onemark.types import LandmarkSet

Floats = NDArray[np.float64]

SHOWN = 0.8
"""Share of landmarks that the regions hold which window and report draw."""
THINNEST = 0.2
"""Least ratio of an ellipse's axes: no estimate is so good that a landmark cannot be off across its main direction."""


def to_covariance(ellipse: Floats) -> Floats:
    """Covariances `[..., 2, 2]` of ellipses `[..., 3]`."""
    major, minor, angle = np.moveaxis(np.asarray(ellipse, float), -1, 0)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    axes = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
    squares = np.stack([major, minor], -1)[..., None, :] ** 2
    return np.asarray((axes * squares) @ np.swapaxes(axes, -1, -2))


def to_ellipse(covariance: Floats) -> Floats:
    """Ellipses `[..., 3]` of covariances `[..., 2, 2]`; NaN where one is unknown."""
    a, b, d = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    middle, reach = (a + d) / 2, np.hypot((a - d) / 2, b)
    angle = np.degrees(np.arctan2(2 * b, a - d)) / 2
    return np.stack([np.sqrt(middle + reach), np.sqrt(np.maximum(middle - reach, 0)), angle], -1)


def mean_distance(ellipse: Floats) -> Floats:
    """Mean length `[...]` of normal errors with ellipses `[..., 3]`."""
    major, minor = ellipse[..., 0], ellipse[..., 1]
    flatness = 1 - (minor / np.where(major > 0, major, 1)) ** 2
    return np.asarray(math.sqrt(2 / math.pi) * major * ellipe(flatness))


def scale_to(covariance: Floats, expected_error: Floats) -> Floats:
    """Ellipses `[..., 3]` in the shape of covariances `[..., 2, 2]` whose mean distance is `expected_error` `[...]`.

    They are round where the covariance is unknown or zero, and never thinner than `THINNEST`.
    """
    known = np.isfinite(covariance).all((-2, -1)) & (np.trace(covariance, axis1=-2, axis2=-1) > 0)
    ellipse = to_ellipse(np.where(known[..., None, None], covariance, np.eye(2)))
    ellipse[..., 1] = np.maximum(ellipse[..., 1], THINNEST * ellipse[..., 0])
    ellipse[..., :2] *= (expected_error / mean_distance(ellipse))[..., None]
    return np.where(np.isfinite(expected_error)[..., None], ellipse, np.nan)


def make_round(expected_error: Floats) -> Floats:
    """Circles `[..., 3]` whose mean distance is `expected_error` `[...]`."""
    sd = np.asarray(expected_error) / math.sqrt(math.pi / 2)
    return np.stack([sd, sd, np.where(np.isfinite(sd), 0.0, np.nan)], -1)


def region_factor(share: float) -> float:
    """By what to multiply an ellipse so that it holds a share of a normal distribution: 1.79 for 80 %."""
    return math.sqrt(-2 * math.log(1 - share))


def outline(ellipse: Floats, points: int = 64) -> Floats:
    """A closed line `[points + 1, 2]` (x, y) around the origin along one ellipse `[3]`, to be scaled and drawn."""
    turn = np.linspace(0, 2 * math.pi, points + 1)
    major, minor = ellipse[0] * np.cos(turn), ellipse[1] * np.sin(turn)
    c, s = math.cos(math.radians(ellipse[2])), math.sin(math.radians(ellipse[2]))
    return np.stack([c * major - s * minor, s * major + c * minor], -1)


def shapes_of(landmarks: LandmarkSet) -> Floats:
    """Covariances `[K, 2, 2]` of a set's points, in the square of its unit; round where only the length is known."""
    if landmarks.ellipse.size:
        return to_covariance(landmarks.ellipse)
    errors = (
        landmarks.expected_error if landmarks.expected_error.size else np.full(len(landmarks.names), np.nan)
    )
    return to_covariance(make_round(errors))


def pixel_scale(spacing: tuple[float, float] | None) -> Floats:
    """`[2, 2]` by what to multiply a covariance in px for one in the unit of expected errors."""
    lengths = np.array((1.0, 1.0) if spacing is None else spacing)
    return np.outer(lengths, lengths)
