"""SIFT key points: on structure, apart from each other, away from the border, the strongest first."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from onemark.imaging.keypoints import sift_points


def blobs(centres: list[tuple[float, float]], heights: list[float]) -> np.ndarray:
    y, x = np.mgrid[:96, :128]
    total = np.zeros((96, 128))
    for (cx, cy), height in zip(centres, heights, strict=True):
        total += height * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 3.0**2))
    return total


def test_blobs_are_found_where_they_are_the_strongest_first():
    centres = [(40.0, 30.0), (80.0, 50.0), (60.0, 70.0)]
    found = sift_points(blobs(centres, [0.5, 1.0, 0.7]))
    np.testing.assert_allclose(found[:3], [centres[1], centres[2], centres[0]], atol=0.7)


def test_neighbours_borders_and_the_number_limit_them():
    noise = gaussian_filter(np.random.default_rng(0).random((96, 128)), 1.5)
    image = (noise - noise.min()) / np.ptp(noise)
    many = sift_points(image, most=500, distance=0, border=0)
    apart = sift_points(image, most=500, distance=10, border=0.1)
    assert len(sift_points(image, most=7, distance=0, border=0)) == 7 < len(apart) < len(many)
    gaps = np.linalg.norm(apart[:, None] - apart[None], axis=-1) + 99 * np.eye(len(apart))
    assert gaps.min() >= 10
    assert (apart >= [12.8, 9.6]).all()
    assert (apart <= [127 - 12.8, 95 - 9.6]).all()
    assert (many.min(0) < [12.8, 9.6]).all()


def test_an_image_without_structure_has_none():
    for image in (np.zeros((64, 64)), np.full((64, 64), 0.5), np.ones((8, 8))):
        assert sift_points(image).shape == (0, 2)
