"""A loose prior on constellations of landmarks, from the cohort's own pseudo-labels: it rules out gross errors only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Points = NDArray[np.float64]

LEAST_LANDMARKS = 5
LEAST_SHAPES = 8
ROUNDS = 10  # of reweighting
LOOSENESS = 2.5  # factor on the stray, because the prior is to rule out gross errors only
RAYLEIGH_MEDIAN = 1.1774  # of distances in the plane, in standard deviations per axis


@dataclass(frozen=True)
class Shape:
    """Mean constellation and how far each landmark strays from it after a similarity fit.

    Attributes:
        mean: `[K, 2]`, in the unit of the shapes it was learned from.
        stray: `[K]` robust standard deviation per axis, in the same unit.
    """

    mean: Points
    stray: NDArray[np.float64]

    @classmethod
    def learn(cls, shapes: Sequence[Points]) -> Shape | None:
        """Learn the prior by robust generalised Procrustes analysis.

        Args:
            shapes: N constellations `[K, 2]` (x, y) in one unit; NaN where a landmark is unknown.

        Returns:
            None where there is too little to learn from: fewer than 5 landmarks or 8 shapes, or a landmark that no
            shape has.
        """
        if len(shapes) < LEAST_SHAPES or shapes[0].shape[0] < LEAST_LANDMARKS:
            return None
        stack = np.stack(shapes)
        mean = np.nanmedian(stack, 0)
        if not np.isfinite(mean).all():
            return None
        for _ in range(3):
            aligned = np.stack([_apply(_fit_similarity(shape, mean), shape) for shape in stack])
            mean = np.nanmedian(aligned, 0)
        away = np.linalg.norm(aligned - mean, axis=-1)
        stray = np.nanmedian(away, 0) / RAYLEIGH_MEDIAN
        # No landmark becomes certain, however well its pseudo-labels agree.
        return cls(mean, np.maximum(stray, 0.25 * np.median(stray) + 1e-6))

    def fit_to(self, points: Points) -> tuple[Points, NDArray[np.float64]]:
        """Fit the mean constellation to points: where it puts each landmark, and how far that may stray.

        Args:
            points: `[K, 2]` predicted points (x, y), gross errors among them.

        Returns:
            Places `[K, 2]` and standard deviations per axis `[K]`, in the points' unit.
        """
        fit = _fit_similarity(self.mean, points)
        return _apply(fit, self.mean), self.stray * float(np.abs(fit[0]))

    def logits(self, points: Points, shape: tuple[int, int]) -> torch.Tensor:
        """Log-prior over the cells of a grid.

        Args:
            points: `[K, 2]` predicted points (x, y), cells.
            shape: `(h, w)` of the grid.

        Returns:
            `[K, h, w]` float32, up to a constant.
        """
        centre, stray = (torch.from_numpy(a) for a in self.fit_to(points))
        # Divided before they are spread over the map, which is then only a sum.
        spread = 2 * (LOOSENESS * stray[:, None]) ** 2
        y = -((torch.arange(shape[0])[None, :] - centre[:, 1, None]) ** 2) / spread
        x = -((torch.arange(shape[1])[None, :] - centre[:, 0, None]) ** 2) / spread
        return y.float()[:, :, None] + x.float()[:, None, :]


def _fit_similarity(source: Points, target: Points) -> tuple[complex, complex]:
    """Fit a similarity from source to target `[K, 2]`: least squares, reweighted (Geman-McClure).

    Returns:
        `(a, b)` of `a z + b` on complex coordinates x + i y.
    """
    known = np.isfinite(source).all(1) & np.isfinite(target).all(1)
    z, w = source[known] @ [1, 1j], target[known] @ [1, 1j]
    weight = np.ones(len(z))
    a, b = 1 + 0j, 0j
    for _ in range(ROUNDS):
        share = weight / weight.sum()
        zc, wc = z - share @ z, w - share @ w
        a = complex((share * np.conj(zc)) @ wc / max(float(share @ np.abs(zc) ** 2), 1e-12))
        b = complex(share @ w - a * (share @ z))
        away = np.abs(a * z + b - w)
        scale = max(2 * float(np.median(away)), 1e-6)
        weight = 1 / (1 + (away / scale) ** 2) ** 2
    return a, b


def _apply(fit: tuple[complex, complex], points: Points) -> Points:
    moved = fit[0] * (points @ [1, 1j]) + fit[1]
    return np.stack([moved.real, moved.imag], -1)
