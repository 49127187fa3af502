"""Which way each landmark's error lies. How long it is, the error model says; here is only the shape of its covariance.

Landmarks slide along contours, so errors are longer along some direction than across it. For landmark k of a radiograph,
the covariance is proportional to

    S = n I + w sum_m 2 d_m d_m' + sum_c 2 u_c u_c' + v 2 d d' + h 2 H^2 / tr H^2

with unit vectors d_m from the detector's to the matcher's (or the registration's) answer on the cohort's radiographs,
unit vectors u_c of labelled errors (corrections, and changed copies of several exemplars), d the same disagreement on
this very radiograph and H the second moments of its last heatmap. Vectors count by their directions alone, as in Tyler's
M-estimator of shape (1987), because a few long errors would otherwise decide. H is squared because the round targets of
training have widened it alike in all directions. Every term counts as so many imagined errors; `n I`, which knows no
direction, draws to a circle where there are few.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]

ROUND = 8.0
"""Imagined errors that lie in all directions alike (n)."""
COHORT, MOST = 0.5, 4.0
"""What a disagreement on one of the cohort's radiographs counts (w), and all of them at most: hints, no errors."""
OWN = 2.0
"""What the disagreement on the very radiograph counts (v)."""
PEAK = 24.0
"""What the shape of its heatmap counts (h)."""


@dataclass(frozen=True)
class Directions:
    """What is known of K landmarks before a radiograph is looked at.

    Attributes:
        moments: `[K, 2, 2]`, the first three terms of S.
    """

    moments: Table

    @classmethod
    def unknown(cls, landmarks: int) -> Directions:
        """All directions alike."""
        return cls(np.tile(ROUND * np.eye(2), (landmarks, 1, 1)))

    @classmethod
    def learn(cls, landmarks: int, ways: Iterable[Table], labelled: Table, weight: float) -> Directions:
        """From disagreements and labelled errors.

        Args:
            landmarks: K.
            ways: Disagreements `[K, 2]` on the cohort's radiographs, NaN where one is unknown.
            labelled: `[C, K, 2]` labelled errors, NaN where one is unknown.
            weight: What a labelled error counts.
        """
        hints = np.array([_moments(way) for way in ways]).reshape(-1, landmarks, 2, 2)
        share = min(COHORT, MOST / max(len(hints), 1))
        known = _moments(labelled).sum(0) if labelled.size else 0.0
        return cls(cls.unknown(landmarks).moments + share * hints.sum(0) + weight * known)

    def add(self, labelled: Table) -> Directions:
        """The same with further labelled errors `[C, K, 2]`, each of which counts in full."""
        return Directions(self.moments + _moments(labelled).sum(0)) if labelled.size else self

    def covariances(self, way: Table, peak: Table) -> Table:
        """S `[K, 2, 2]` on one radiograph, up to a factor.

        Args:
            way: `[K, 2]` the disagreement there, or empty.
            peak: `[K, 2, 2]` second moments of the heatmaps, or empty; NaN where one is unknown.
        """
        found = self.moments
        if way.size:
            found = found + OWN * _moments(way)
        if peak.size:
            sharp = peak @ peak
            with np.errstate(invalid="ignore", divide="ignore"):
                shape = 2 * sharp / np.trace(sharp, axis1=-2, axis2=-1)[:, None, None]
            found = found + PEAK * np.nan_to_num(shape, nan=0, posinf=0, neginf=0)
        return found


def from_angles(degrees: Table) -> Table:
    """Unit vectors `[..., 2]` of directions in degrees, from +x (right) towards +y (down); NaN stays."""
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], -1)


def to_angles(ways: Table) -> Table:
    """Directions `[...]` in degrees of vectors `[..., 2]`; NaN where one has no length."""
    known = np.linalg.norm(ways, axis=-1) > 0
    return np.where(known, np.degrees(np.arctan2(ways[..., 1], ways[..., 0])), np.nan)


def _moments(ways: Table) -> Table:
    """`[..., 2, 2]` products 2 u u' of the unit vectors of `[..., 2]`; 0 where one is unknown or has no length."""
    length = np.linalg.norm(ways, axis=-1, keepdims=True)
    unit = np.where(length > 0, ways / np.where(length > 0, length, 1), 0.0)
    return np.asarray(2 * unit[..., :, None] * unit[..., None, :])
