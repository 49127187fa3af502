from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onemark.nn.heatmaps.decode import cells_to_pixels, pixels_to_cells, soft_peaks, soft_places

SHAPE = (24, 30)


def bump(x: float, y: float, sigma: float) -> torch.Tensor:
    """`[1, h, w]` log-density of a Gaussian around (x, y)."""
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in SHAPE), indexing="ij")
    return (-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))[None]


@settings(deadline=None)
@given(x=st.floats(4, 25), y=st.floats(4, 19), sigma=st.floats(0.7, 1.0), offset=st.floats(-50, 50))
def test_peaks_are_found_between_the_cells(x: float, y: float, sigma: float, offset: float):
    found = soft_peaks(bump(x, y, sigma) + offset)
    torch.testing.assert_close(found.xy, torch.tensor([[x, y]]), atol=0.02, rtol=0)
    assert 0.9 < found.score.item() <= 1
    assert found.spread.item() == pytest.approx(sigma * (torch.pi / 2) ** 0.5, rel=0.2)  # Rayleigh's mean


@pytest.mark.parametrize("corner", [(0, 0), (29, 0), (0, 23), (29, 23)])
def test_a_peak_at_the_border_stays_inside(corner: tuple[int, int]):
    found = soft_peaks(bump(*corner, 0.3))
    torch.testing.assert_close(found.xy, torch.tensor([corner], dtype=torch.float32), atol=0.02, rtol=0)


def test_a_second_bump_does_not_pull_the_peak():
    both = torch.logaddexp(bump(6, 6, 0.8), bump(22, 18, 0.8) - 0.1)
    found = soft_peaks(both)
    torch.testing.assert_close(found.xy, torch.tensor([[6.0, 6.0]]), atol=0.02, rtol=0)
    assert found.score.item() == pytest.approx(0.52, abs=0.02)
    assert found.spread.item() == pytest.approx(0.48 * 8 + 0.52 * 0.8 * (torch.pi / 2) ** 0.5, abs=0.1)


def test_a_prior_chooses_the_peak_and_does_not_move_it():
    both = torch.logaddexp(bump(6.25, 6, 0.8), bump(22, 18, 0.8) + 60)  # the other one holds all of the mass
    found = soft_peaks(both, prior=bump(8, 8, 1.0))
    torch.testing.assert_close(found.xy, torch.tensor([[6.25, 6.0]]), atol=0.05, rtol=0)
    assert found.score.item() < 1e-6
    assert found.spread.item() == pytest.approx(8, abs=0.01)


def test_second_moments_are_those_of_the_bump():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    along, across = (x - 20 + y - 22) / 2**0.5, (x - 20 - y + 22) / 2**0.5
    found = soft_peaks(-(along**2 / 8 + across**2 / 2)[None])  # variances 4 along 45 degrees, 1 across
    assert found.covariance is not None
    # A cell is 1 wide, which adds 1/12 along each axis.
    torch.testing.assert_close(
        found.covariance[0], torch.tensor([[2.5, 1.5], [1.5, 2.5]]) + torch.eye(2) / 12, atol=0.02, rtol=0.02
    )


def test_a_faint_background_does_not_drown_the_second_moments():
    y, x = torch.meshgrid(torch.arange(90.0), torch.arange(90.0), indexing="ij")
    bump = (-((x - 45) ** 2 + (y - 45) ** 2) / 2).exp()
    found = soft_peaks((0.5 * bump / bump.sum() + 0.5 / bump.numel()).log()[None])
    assert found.covariance is not None
    assert found.covariance[0, 0, 0] < 3


def test_maps_are_decoded_one_by_one():
    maps = torch.cat([bump(5, 7, 0.7), bump(20.5, 11.25, 0.7)])
    together, second = soft_peaks(maps), soft_peaks(maps[1:])
    torch.testing.assert_close(together.xy[1:], second.xy)
    torch.testing.assert_close(together.spread[1:], second.spread)


@given(x=st.floats(-10, 1000), stride=st.sampled_from([2, 4, 8, 16, 32]))
def test_cells_and_pixels_share_their_edges(x: float, stride: int):
    cell = torch.tensor([x], dtype=torch.float64)
    torch.testing.assert_close(pixels_to_cells(cells_to_pixels(cell, stride), stride), cell)
    edge = torch.tensor([-0.5], dtype=torch.float64)
    torch.testing.assert_close(cells_to_pixels(edge, stride), edge)


def test_places_are_where_the_peaks_are():
    maps = torch.cat([bump(3.4, 8.1, 1.0), bump(29, 0, 0.5)])
    torch.testing.assert_close(soft_places(maps), soft_peaks(maps).xy)
