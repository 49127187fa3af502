"""The comparison of regions with landmarker's must be fair: every method gets the same errors, areas are true areas."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SIZE = 16  # px of the canvas' sides


@pytest.fixture(scope="module")
def regions() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
        return importlib.import_module("regions")


def predictions(regions: ModuleType, count: int, shape: NDArray[np.float64]) -> Any:
    """Normal errors of one covariance, and heatmaps of the same form around points of the canvas."""
    generator = np.random.default_rng(0)
    away = generator.multivariate_normal([0, 0], shape, (count, 3))
    ellipse = np.tile(regions.scale_to(shape, np.array(1.0)), (count, 3, 1))
    places = SIZE / 2 + generator.uniform(-2, 2, (count, 3, 2))
    y, x = np.mgrid[: SIZE // 2, : SIZE // 2] * 2 + 0.5
    apart = np.stack([x, y], -1) - (places + away)[:, :, None, None]
    logits = -(apart @ np.linalg.inv(shape) * apart).sum(-1) / 2
    return regions.Predictions(
        away,
        expected=np.ones((count, 3)),
        ellipse=ellipse,
        moments=np.tile(shape, (count, 3, 1, 1)),
        logits=logits.astype(np.float32),
        places=places,
        pixel=np.full(count, 0.25),
        canvas=np.array([SIZE, SIZE]),
    )


def test_ellipses_hold_what_they_say_and_are_smaller_than_discs(regions: ModuleType):
    one = predictions(regions, 400, np.diag([2.0, 0.5]))
    corrected, rest = np.arange(100), np.arange(100, 400)
    ellipses = regions.calibrate_ellipses(one, corrected, rest)(0.8)
    discs = regions.promise_discs(one, corrected, rest)(0.8)
    assert abs(ellipses.held.mean() - 0.8) < 0.05
    assert abs(discs.held.mean() - 0.8) < 0.05
    assert ellipses.area.mean() < 0.95 * discs.area.mean()
    np.testing.assert_allclose(ellipses.area.mean(), -2 * math.log(0.2) * math.pi, rtol=0.2)


def test_too_few_corrections_promise_nothing(regions: ModuleType):
    one = predictions(regions, 20, np.eye(2))
    calibrated = regions.promise_discs(one, np.arange(10), np.arange(10, 20))
    assert calibrated(0.95) is None
    assert calibrated(0.9) is not None


def test_pixels_above_a_threshold_are_counted(regions: ModuleType):
    one = predictions(regions, 4, np.eye(2))
    rows, least = np.array([3, 1]), np.array([0.0, 0.01, 0.02])
    counted = (one.heatmaps[rows] >= least[:, None, None]).sum((2, 3))
    np.testing.assert_array_equal(regions.count_above(one, rows, least), counted)


def test_areas_are_compared_at_equal_coverage(regions: ModuleType):
    by_share = {0.5: np.array([[0.6, 10.0, 0]]), 0.7: np.array([[0.8, 40.0, 0]])}
    np.testing.assert_allclose(regions.area_at(by_share, 0.7, (0.5, 0.7, 0.9)), 20.0)
    assert math.isnan(regions.area_at(by_share, 0.9, (0.5, 0.7)))


def test_areas_of_heatmaps_are_those_that_landmarker_gives(regions: ModuleType):
    uncertainty = pytest.importorskip("landmarker.uncertainty", reason="landmarker is not installed")
    one = predictions(regions, 30, np.eye(2))
    corrected, rest = np.arange(25), np.arange(25, 30)
    ours = regions.METHODS["landmarker: M-R2CCP"](one, corrected, rest)(0.8)
    theirs = uncertainty.MR2CCP(2, 3, (SIZE, SIZE))
    size, nothing, spacing = np.full((30, 2), SIZE), np.zeros((30, 2)), np.full((30, 2), 0.5)
    theirs.fit(one.heatmaps[corrected], one.places[corrected][..., ::-1], size[corrected], nothing[corrected])
    area = theirs.area_prediction_region(
        one.heatmaps[rest], size[rest], nothing[rest], spacing[rest], confidence=0.8
    )
    np.testing.assert_allclose(ours.area, area)
