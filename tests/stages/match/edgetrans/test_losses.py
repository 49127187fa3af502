"""The losses: zero for what is right, larger for what is worse, and blind where they should be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from onemark.stages.match.edgetrans.correlation import Match
from onemark.stages.match.edgetrans.losses import (
    dissimilarity,
    edges,
    invertibility,
    landmark_weights,
    match_loss,
    miss,
    roughness,
    ssim,
    stretch,
)
from onemark.stages.match.edgetrans.transform import Transform, cell_centres

CANVAS = (64, 48)


def picture(seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(1, 1, 9, 7, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, CANVAS, mode="bicubic", align_corners=True).clamp(0, 1)


def moved(dx: float, dy: float = 0.0) -> Transform:
    still = Transform.identity(1, CANVAS, 4, torch.device("cpu"))
    return replace(still, translation=torch.tensor([[dx, dy]]))


def test_ssim_is_one_for_the_same_and_known_for_a_change_of_brightness():
    a = picture()
    torch.testing.assert_close(ssim(a, a), torch.ones_like(a))
    flat = torch.full_like(a, 0.4), torch.full_like(a, 0.8)
    expected = (2 * 0.32 + 1e-4) / (0.16 + 0.64 + 1e-4)
    torch.testing.assert_close(ssim(*flat), torch.full_like(a, expected), atol=2e-3, rtol=0)
    assert ssim(a, picture(1)).mean() < 0.8


def test_edges_are_the_slope_in_grey_values_per_pixel():
    x = torch.linspace(0, 1, CANVAS[1]).expand(1, 1, *CANVAS)
    along = edges(x)[0, :, 5:-5, 5:-5]
    torch.testing.assert_close(along[0], torch.full_like(along[0], 1 / (CANVAS[1] - 1)))
    assert along[1].abs().max() < 1e-6
    assert (stretch(edges(picture())).amin((2, 3)) == 0).all()
    assert (stretch(edges(picture())).amax((2, 3)) == 1).all()


def test_weights_are_one_at_landmarks_and_fall_by_the_half_sides():
    points = torch.tensor([[[10.5, 20.5], [torch.nan, torch.nan]]])
    weight = landmark_weights(points, (32, 24), 2, 0.1)[0, 0]
    assert weight[10, 5] == pytest.approx(1)
    step = 24 / 2 * 0.1  # one deviation, in cells, along x
    assert weight[10, 6] == pytest.approx(float(torch.exp(torch.tensor(-0.5 / step**2))))
    assert weight[31, 23] < 1e-3
    assert landmark_weights(torch.full((1, 2, 2), torch.nan), (32, 24), 2, 0.1).max() == 0


def test_dissimilarity_grows_with_the_shift_and_counts_only_what_is_inside():
    a, ones = picture(), torch.ones(1, 1, *CANVAS)
    values = [float(dissimilarity(moved(d).images(a), a, ones, None, 0.0)) for d in (0.0, 1.0, 3.0)]
    assert values[0] < 1e-6 < values[1] < values[2]
    half = ones.clone()
    half[..., 24:] = 0
    spoilt = a.clone()
    spoilt[..., 30:] = 0.5
    assert dissimilarity(spoilt, a, half, None, 0.0) < 1e-6 < dissimilarity(spoilt, a, ones, None, 0.0)


def test_edges_count_around_landmarks_only_and_by_their_share():
    a, ones = picture(), torch.ones(1, 1, *CANVAS)
    spoilt = a.clone()
    spoilt[..., 40:44, 30:34] += 0.5
    near, far = (landmark_weights(torch.tensor([[p]]), CANVAS, 1, 0.1) for p in ([32.0, 42.0], [5.0, 5.0]))
    plain = dissimilarity(spoilt, a, ones, None, 0.0)
    assert dissimilarity(spoilt, a, ones, near, 0.5) > 1.5 * plain
    assert dissimilarity(spoilt, a, ones, near, 0.9) > 1.5 * dissimilarity(spoilt, a, ones, far, 0.9)
    assert dissimilarity(spoilt, a, ones, near, 0.0) == plain


def test_roughness_is_the_squared_slope_of_the_field_and_spares_edges():
    flat = torch.full((1, 1, *CANVAS), 0.5)
    slope = 0.25 * cell_centres(CANVAS, 4).permute(2, 0, 1)[None]  # both components grow by 1/4 px per px
    assert roughness(torch.full_like(slope, 3.0), 4, flat) == 0
    assert float(roughness(slope, 4, flat)) == pytest.approx(0.25**2, rel=1e-4)
    step = flat.clone()
    step[..., 24:] = 1
    assert roughness(slope, 4, step) < roughness(slope, 4, flat)


def test_misses_count_in_px_or_half_sides_and_only_where_the_known_is_on_the_canvas():
    known = moved(0).grid(4)
    off = known + torch.tensor([3.0, 4.0])
    assert float(miss(off, known, CANVAS, "robust")) == pytest.approx((26**0.5 - 1) / 4)
    assert float(miss(off, known, CANVAS, "squared")) == pytest.approx(((3 / 24) ** 2 + (4 / 32) ** 2) / 2)
    beyond = known.clone()
    beyond[:, :8] += 500
    assert miss(known, beyond, CANVAS, "robust") == 0


def test_ways_that_undo_each_other_cost_nothing():
    assert invertibility(moved(3, -2), moved(-3, 2)) < 1e-4
    assert float(invertibility(moved(3), moved(0))) == pytest.approx((10**0.5 - 1) / 4, rel=1e-3)


@pytest.mark.parametrize("reach", [None, 2])
def test_correlations_surprise_least_where_they_peak_at_the_aim(reach: int | None):
    size = (6, 5) if reach is None else (5, 5)
    logits = torch.zeros(1, size[0] * size[1], 6, 5)
    logits[:, 2 * size[1] + 3] = 8.0  # every cell expects (3, 2) of the grid
    match = Match(logits, torch.empty(0), torch.empty(0), 4)
    middle = 0 if reach is None else reach

    def cost(x: float, y: float) -> float:
        aims = torch.tensor([x - middle, y - middle]).expand(1, 6, 5, 2)
        return float(match_loss(match, aims, reach))

    assert cost(3, 2) < 0.05
    assert cost(3.5, 2) == pytest.approx(4, abs=0.1)  # half the mass is right
    assert cost(1, 1) > 7.9
    assert cost(-1, 2) == 0  # beyond the grid: nothing is known
