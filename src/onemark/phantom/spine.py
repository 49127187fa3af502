"""Synthetic frontal radiographs of a spine: seventeen vertebrae that look like their neighbours."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.draw import disk, line, polygon

from onemark.types import LandmarkSet

if TYPE_CHECKING:
    from onemark.data.landmarks.table import LandmarkTable

LEVELS = (*(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6)))
CORNERS = ("upper left", "upper right", "lower left", "lower right")
LANDMARKS = tuple(f"{level} {corner}" for level in LEVELS for corner in CORNERS)
RIBBED = 12  # the thoracic vertebrae, which carry ribs
GROWTH = 1.8  # height of the lowest vertebra as a multiple of the highest
GAP = 0.22  # of a vertebra's height to the next one

Map = NDArray[np.float64]


@dataclass(frozen=True)
class Spine:
    """One patient's spine on a film.

    Attributes:
        corners: `[17, 4, 2]` (x, y) px, the corners in the order of `CORNERS`.
        axis: `[17, 2]` centres.
        height: `[17]` px.
    """

    corners: NDArray[np.float64]
    axis: NDArray[np.float64]
    height: NDArray[np.float64]


def spine_radiograph(
    index: int, *, seed: int = 0, size: tuple[int, int] = (960, 416)
) -> tuple[NDArray[np.uint8], LandmarkSet]:
    """Draw one spine.

    Args:
        index: Which patient, from 0; the same number and seed give the same picture.
        seed: Seed of the cohort.
        size: `(H, W)` px.

    Returns:
        `[H, W]` uint8, and its 68 landmarks.
    """
    rng = np.random.default_rng([seed, index])
    spine = _draw_spine(rng, size)
    film = (
        _body(rng, spine, size)
        + _ribs(rng, spine, size)
        + _pelvis(spine, size)
        + _vertebrae(rng, spine, size)
    )
    film = _hide(rng, spine, film)
    film = gaussian_filter(film, 0.0011 * size[0])
    film += rng.normal(0, 0.02, size) + gaussian_filter(rng.normal(0, 1, size), 12) * 0.6
    film = np.clip(film * rng.uniform(0.85, 1.15) + rng.uniform(-0.05, 0.05), 0, 1) ** rng.uniform(0.8, 1.25)
    name = f"spine-{index + 1:03d}.png"
    return (film * 255).astype(np.uint8), LandmarkSet(name, LANDMARKS, spine.corners.reshape(-1, 2))


def write_spine_cohort(
    folder: str | Path, count: int, *, seed: int = 0, size: tuple[int, int] = (960, 416)
) -> LandmarkTable:
    """Write PNG files of spines into a folder, and return their landmarks.

    Args:
        folder: Where to write; made if missing.
        count: How many.
        seed: Seed of the cohort.
        size: `(H, W)` px.
    """
    from onemark.data.atomic import writing
    from onemark.data.landmarks.table import LandmarkTable

    truth = []
    for index in range(count):
        film, landmarks = spine_radiograph(index, seed=seed, size=size)
        with writing(Path(folder) / landmarks.image, "wb") as file:
            Image.fromarray(film).save(file, "PNG")
        truth.append(landmarks)
    return LandmarkTable.from_sets(truth)


def _draw_spine(rng: np.random.Generator, size: tuple[int, int]) -> Spine:
    h, w = size
    relative = np.linspace(1, GROWTH, len(LEVELS))
    length = rng.uniform(0.66, 0.76) * h
    height = relative / relative.sum() * length / (1 + GAP)
    top = rng.uniform(0.06, 0.13) * h  # a film begins more than half a vertebra higher or lower
    y = top + np.cumsum(height * (1 + GAP)) - height * (0.5 + GAP)
    t = (y - top) / length
    # Scoliosis: one or two bends, and a lean.
    bends = [rng.normal(0, 0.035) * np.sin(np.pi * k * t + rng.uniform(-0.4, 0.4)) for k in (1, 2)]
    x = w * (0.5 + rng.normal(0, 0.02) + rng.normal(0, 0.03) * (t - 0.5) + sum(bends))
    slope = np.gradient(x, y)
    half = height * rng.uniform(0.62, 0.72) * np.linspace(1.0, 1.1, len(LEVELS))
    tilt = slope + rng.normal(0, 0.03, len(LEVELS))
    across = np.stack([np.cos(tilt), -np.sin(tilt)], -1)[:, None]
    along = np.stack([np.sin(tilt), np.cos(tilt)], -1)[:, None]
    sx, sy = np.array([-1, 1, -1, 1]), np.array([-1, -1, 1, 1])
    wide = half[:, None] * sx * (1 + 0.05 * sy + rng.normal(0, 0.015, (len(LEVELS), 4)))
    tall = height[:, None] / 2 * sy * (1 + rng.normal(0, 0.03, (len(LEVELS), 4)))
    axis = np.stack([x, y], -1)
    return Spine(axis[:, None] + wide[..., None] * across + tall[..., None] * along, axis, height)


def _body(rng: np.random.Generator, spine: Spine, size: tuple[int, int]) -> Map:
    h, w = size
    y, x = np.mgrid[:h, :w]
    centre = np.interp(np.arange(h), spine.axis[:, 1], spine.axis[:, 0])[:, None]
    waist = spine.axis[RIBBED, 1]
    # The chest is dark beside the spine; the belly is not.
    tissue = 0.30 / (1 + np.exp((np.abs(x - w / 2) - 0.45 * w) / (0.03 * w)))
    lungs = 0.17 / (1 + np.exp((y - waist) / (0.02 * h))) * (np.abs(x - centre) > 0.09 * w)
    midline = 0.12 * np.exp(-(((x - centre) / (0.10 * w)) ** 2))
    heart = (
        0.10
        * rng.uniform(0.5, 1.2)
        * np.exp(-(((x - 0.58 * w) / (0.14 * w)) ** 2) - ((y - spine.axis[8, 1]) / (0.11 * h)) ** 2)
    )
    return np.asarray(0.12 + tissue - gaussian_filter(lungs, 0.01 * h) + midline + heart)


def _vertebrae(rng: np.random.Generator, spine: Spine, size: tuple[int, int]) -> Map:
    film = np.zeros(size)
    for level, corners in enumerate(spine.corners):
        outline = corners[[0, 1, 3, 2]]
        inside = _filled(outline, size)
        inner = _filled(corners.mean(0) + 0.82 * (outline - corners.mean(0)), size)
        film += rng.uniform(0.13, 0.17) * inside + 0.10 * (inside - inner)
        scale = spine.height[level]
        for side in (-1, 1):
            pedicle = spine.axis[level] + [side * 0.38 * scale, -0.12 * scale]
            film += 0.09 * _disk(pedicle, 0.14 * scale, size)
        film += 0.08 * _disk(spine.axis[level] + [0, 0.25 * scale], 0.11 * scale, size)
    return film


def _ribs(rng: np.random.Generator, spine: Spine, size: tuple[int, int]) -> Map:
    film = np.zeros(size)
    reach = np.concatenate([np.linspace(0.18, 0.38, 5), np.full(5, 0.40), [0.22, 0.12]]) * size[1]
    for level in range(RIBBED):
        for side in (-1, 1):
            t = np.linspace(0, 1, 24)
            x = spine.axis[level, 0] + side * (0.5 * spine.height[level] + reach[level] * np.sin(t * 1.5))
            y = spine.axis[level, 1] + (rng.uniform(1.6, 2.2) * t**2 - 0.5 * t) * spine.height[level] * 1.3
            film += 0.11 * _stroke(np.stack([x, y], -1), 0.14 * spine.height[level], size)
    return film


def _pelvis(spine: Spine, size: tuple[int, int]) -> Map:
    (x, y), scale = spine.axis[-1], spine.height[-1]
    sacrum = np.array([[-0.9, 0.75], [0.9, 0.75], [0.35, 2.9], [-0.35, 2.9]]) * scale + [x, y]
    film = 0.18 * _filled(sacrum, size)
    for side in (-1, 1):
        wing = np.array([[0.9, 1.0], [1.6, 0.2], [2.6, -0.3], [3.3, 0.6], [2.6, 1.9], [1.2, 2.4]])
        film += 0.17 * _filled(wing * [side, 1] * scale + [x, y], size)
    return film


def _hide(rng: np.random.Generator, spine: Spine, film: Map) -> Map:
    """Overexpose or burn out a part of the spine, as shoulders and bowel gas do."""
    h, w = film.shape
    level = rng.integers(0, len(LEVELS))
    y, x = np.mgrid[:h, :w]
    away = ((x - spine.axis[level, 0]) / (0.22 * w)) ** 2 + ((y - spine.axis[level, 1]) / (0.05 * h)) ** 2
    veil = rng.uniform(0.4, 0.8) * np.exp(-away)
    return np.asarray(film * (1 - veil) + veil * film.mean() * rng.uniform(0.6, 1.5))


def _filled(outline: NDArray[np.float64], size: tuple[int, int]) -> Map:
    film = np.zeros(size)
    film[polygon(outline[:, 1], outline[:, 0], size)] = 1
    return film


def _disk(centre: NDArray[np.float64], radius: float, size: tuple[int, int]) -> Map:
    film = np.zeros(size)
    film[disk((centre[1], centre[0]), max(radius, 1), shape=size)] = 1
    return film


def _stroke(points: NDArray[np.float64], width: float, size: tuple[int, int]) -> Map:
    film = np.zeros(size)
    for start, end in itertools.pairwise(points):
        rows, columns = line(*(round(v) for v in (start[1], start[0], end[1], end[0])))
        keep = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
        film[rows[keep], columns[keep]] = 1
    thick = gaussian_filter(film, width / 2)
    return np.asarray(np.minimum(thick / max(float(thick.max()), 1e-9) * 1.3, 1.0))
