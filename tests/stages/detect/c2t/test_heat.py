"""Heatmaps on different views: how far from labels, how far from each other, and where they lie."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from onemark.imaging.augment import Geometry, Warp
from onemark.nn.heatmaps.decode import cells_to_pixels, pixels_to_cells, soft_peaks
from onemark.nn.heatmaps.heatmap import gaussians
from onemark.stages.detect.c2t.heat import carry_heat, disagreement, heat, log_heat, misfit

CANVAS = (96, 64)
POINTS = torch.tensor([[[20.0, 30.0], [40.5, 70.25]]]).expand(3, -1, -1)


def warp(generator: Callable[..., torch.Generator], seed: int, strength: float = 1.0) -> Warp:
    geometry = Geometry(elastic=0.004).times(strength)  # the canvas is small: six waves of it are rough
    return Warp.draw(3, CANVAS, geometry, generator(seed))


def spots(xy: torch.Tensor, stride: int = 2) -> torch.Tensor:
    return gaussians(pixels_to_cells(xy, stride), (CANVAS[0] // stride, CANVAS[1] // stride), 1.5)


@pytest.mark.parametrize("stride", [2, 4])
def test_heat_is_carried_from_view_to_view(stride: int, generator: Callable[..., torch.Generator]):
    one, other = warp(generator, 1), warp(generator, 2)
    there = carry_heat(spots(one.inverse(POINTS), stride), one, other)
    peaks = soft_peaks(there.clamp(min=1e-9).log().flatten(0, 1))
    found = cells_to_pixels(peaks.xy, stride).view(3, 2, 2)
    assert (other.inverse(POINTS) - one.inverse(POINTS)).norm(dim=-1).mean() > 3
    assert (found - other.inverse(POINTS)).norm(dim=-1).max() < 0.25 * stride


def test_heat_stays_where_both_views_are_the_canvas(generator: Callable[..., torch.Generator]):
    still = warp(generator, 0, 0.0)
    before = spots(POINTS)
    torch.testing.assert_close(carry_heat(before, still, still), before, atol=1e-5, rtol=0)


def test_mixed_precision_moves_nothing(generator: Callable[..., torch.Generator]):
    one, other = warp(generator, 1), warp(generator, 2)
    before = spots(one.inverse(POINTS))
    with torch.autocast("cpu", torch.bfloat16):
        there = carry_heat(before, one, other)
    torch.testing.assert_close(there, carry_heat(before, one, other), atol=1e-6, rtol=0)


def test_what_is_carried_beside_the_view_is_not_seen(generator: Callable[..., torch.Generator]):
    still, far = warp(generator, 0, 0.0), warp(generator, 0, 0.0)
    far.translation[:] = torch.tensor([200.0, 0.0])
    maps = spots(POINTS).clamp(min=1e-9).log()
    there = carry_heat(heat(maps, "divergence"), still, far)
    assert not disagreement(maps, there, "divergence")[1].any()
    assert disagreement(maps, heat(maps, "divergence"), "divergence")[1].all()


def test_networks_that_say_the_same_do_not_disagree():
    maps = spots(POINTS).clamp(min=1e-9).log()
    for kind, answer in (("divergence", maps), ("square", spots(POINTS))):
        same, _ = disagreement(answer, heat(answer, kind), kind)
        apart, _ = disagreement(answer, heat(answer.roll(5, -1), kind), kind)
        torch.testing.assert_close(same, torch.zeros(3, 2), atol=1e-4, rtol=0)
        assert (apart > 1e-5).all()
        assert (apart > 10 * same.abs()).all()


def test_plain_heat_fits_where_it_is_the_target():
    target = spots(POINTS)
    target = target / target.amax((2, 3), keepdim=True)
    xy = POINTS.clone()
    xy[0, 1] = torch.nan
    apart, known = misfit(target, xy, 3.0, 2, "square")
    assert known.tolist() == [[True, False], [True, True], [True, True]]
    torch.testing.assert_close(apart[known], torch.zeros(5), atol=1e-6, rtol=0)
    assert (misfit(target.roll(4, -2), xy, 3.0, 2, "square")[0][known] > 0.003).all()


def test_logarithms_of_heat_peak_where_heat_does():
    plain = spots(POINTS)[0] - 0.001  # a network's plain heat may be below zero
    assert (log_heat(plain, "square").flatten(1).argmax(1) == plain.flatten(1).argmax(1)).all()
    assert log_heat(plain, "square").isfinite().all()
    torch.testing.assert_close(log_heat(plain, "divergence").flatten(1).exp().sum(1), torch.ones(2))


def test_wide_plain_heat_is_found_between_the_cells():
    cells = torch.tensor([[[20.3, 30.45]]])
    wide = gaussians(cells, (48, 40), 3.0)[0]
    peak = soft_peaks(log_heat(wide / wide.max(), "square", 3.0))
    torch.testing.assert_close(peak.xy, cells[0], atol=0.02, rtol=0)
    assert peak.spread < 1.5
