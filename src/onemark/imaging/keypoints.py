"""Salient points of a radiograph: SIFT key points, the strongest first, far from each other and from the border."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.feature import SIFT

LEAST_SIDE = 24


def sift_points(
    canvas: NDArray[np.floating], most: int = 100, distance: float = 10.0, border: float = 0.1
) -> NDArray[np.float64]:
    """SIFT key points (Lowe 2004), which SCP takes as candidates for landmarks (Quan et al. 2022).

    Args:
        canvas: `[H, W]` grey values in [0, 1].
        most: The most points.
        distance: Least distance between two of them, px; where two are nearer, the stronger one is kept.
        border: Share of each side that holds none.

    Returns:
        `[N, 2]` pixels (x, y), N <= `most`, by falling strength; none on an image without contrast or structure.
    """
    h, w = canvas.shape
    if min(h, w) < LEAST_SIDE or np.ptp(canvas) <= 0:
        return np.empty((0, 2))
    sift = SIFT(upsampling=1)
    try:
        sift.detect(np.asarray(canvas, np.float32))
    except RuntimeError:  # skimage's word for "no features"
        return np.empty((0, 2))
    # SIFT repeats a place once for each of its orientations.
    places, first = np.unique(sift.positions, axis=0, return_index=True)
    points = places[:, ::-1].astype(np.float64)
    strength = _strength(canvas, points, sift.sigmas[first], sift.n_scales)
    low, high = np.array([w, h]) * border, np.array([w - 1, h - 1]) - np.array([w, h]) * border
    inside = ((points >= low) & (points <= high)).all(1)
    order = np.argsort(-strength[inside], kind="stable")
    return _keep_apart(points[inside][order], most, distance)


def _strength(
    canvas: NDArray[np.floating],
    points: NDArray[np.float64],
    sigmas: NDArray[np.floating],
    resolution_levels: int,
) -> NDArray[np.float64]:
    """Absolute difference of Gaussians at each point, at the nearest of the detector's scales."""
    level = np.round(np.log2(sigmas) * resolution_levels).astype(int)
    strength = np.zeros(len(points))
    blurred, reached = np.asarray(canvas, np.float32), 0.0
    for one in range(level.min(initial=0), level.max(initial=-1) + 2):
        # Blur from scale to scale, because one wide Gaussian costs many times as much.
        finer, sigma = blurred, 2 ** (one / resolution_levels)
        blurred, reached = gaussian_filter(finer, np.sqrt(sigma**2 - reached**2)), sigma
        at = level == one - 1
        strength[at] = np.abs(map_coordinates(blurred - finer, points[at].T[::-1], order=1, mode="nearest"))
    return strength


def _keep_apart(points: NDArray[np.float64], most: int, distance: float) -> NDArray[np.float64]:
    kept: list[NDArray[np.float64]] = []
    for point in points:
        if len(kept) == most:
            break
        if all(np.hypot(*(point - other)) >= distance for other in kept):
            kept.append(point)
    return np.array(kept).reshape(-1, 2)
