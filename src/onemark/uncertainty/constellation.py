"""How far each landmark lies from where the others put it, by the cohort's own predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_LANDMARKS = 5
SHRINKAGE = 1 / 3  # of the mean variance, added to every variance


@dataclass(frozen=True)
class Constellation:
    """A Gaussian over constellations of K landmarks, after a similarity fit to their mean.

    Attributes:
        mean: `[K, 2]`.
        precision: `[2 K, 2 K]`, the inverse of the shrunken covariance.
    """

    mean: NDArray[np.float64]
    precision: NDArray[np.float64]

    @classmethod
    def learn(cls, points: NDArray[np.float64]) -> Constellation | None:
        """From N constellations `[N, K, 2]`; None where K is below 5, N below 3 or a point is unknown."""
        if len(points) < 3 or points.shape[1] < LEAST_LANDMARKS or not np.isfinite(points).all():
            return None
        mean = points[0]
        for _ in range(3):
            mean = np.stack([_fit_to(one, mean) for one in points]).mean(0)
        flat = np.stack([_fit_to(one, mean) for one in points]).reshape(len(points), -1)
        covariance = np.cov(flat.T)
        ridge = SHRINKAGE * np.trace(covariance) / len(covariance) + 1e-12
        return cls(
            flat.mean(0).reshape(mean.shape), np.linalg.inv(covariance + ridge * np.eye(len(covariance)))
        )

    def residuals(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance `[K]` of each landmark of `[K, 2]` to its expectation given all others, in the fitted mean's unit."""
        count = len(points)
        away = self.precision @ (_fit_to(points, self.mean) - self.mean).ravel()
        blocks = self.precision.reshape(count, 2, count, 2)[np.arange(count), :, np.arange(count)]
        own = np.linalg.solve(blocks, away.reshape(count, 2, 1))[..., 0]
        return np.asarray(np.linalg.norm(own, axis=1))


def left_out(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Residuals `[N, K]` of N constellations, each by what the others say; NaN where there is too little."""
    found = np.full(points.shape[:2], np.nan)
    for n, one in enumerate(points):
        others = Constellation.learn(np.delete(points, n, 0))
        if others is not None:
            found[n] = others.residuals(one)
    return found


def _fit_to(points: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points `[K, 2]` after the least-squares similarity to `target`."""
    z, w = points @ [1, 1j], target @ [1, 1j]
    zc, wc = z - z.mean(), w - w.mean()
    moved = np.vdot(zc, wc) / max(float(np.vdot(zc, zc).real), 1e-12) * zc + w.mean()
    return np.stack([moved.real, moved.imag], -1)
