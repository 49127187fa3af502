"""The map between two canvases: what it does to pictures it does to points, exactly and both ways."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from onemark.stages.match.edgetrans.transform import Transform, cell_centres

CANVAS = (96, 64)


def bent(stride: int, batch: int = 2, amplitude: float = 5.0, seed: int = 0) -> Transform:
    """Turned, scaled, moved and smoothly bent maps."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(batch, 2, 4, 3, generator=generator) * amplitude
    field = F.interpolate(
        coarse, (CANVAS[0] // stride, CANVAS[1] // stride), mode="bicubic", align_corners=True
    )
    angle = torch.linspace(-0.2, 0.15, batch)
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.stack([1.1 * cos, -sin, sin, 0.9 * cos], -1).view(-1, 2, 2)
    return Transform(matrix, torch.tensor([[3.0, -2.0]]).expand(batch, 2), field, CANVAS)


def inner(batch: int = 2) -> torch.Tensor:
    """Points well within the canvas."""
    points = torch.rand(batch, 9, 2, generator=torch.Generator().manual_seed(1))
    return 16 + points * torch.tensor([CANVAS[1] - 32.0, CANVAS[0] - 32.0])


def dots(points: torch.Tensor) -> torch.Tensor:
    """One picture `[N, 1, H, W]` per point `[N, 2]`, with a soft dot at it."""
    centres = cell_centres(CANVAS, 1)
    return torch.exp(-(centres - points[:, None, None]).square().sum(-1) / 4.5)[:, None]


def centre_of_mass(pictures: torch.Tensor) -> torch.Tensor:
    weight = pictures[:, 0] ** 4
    return (cell_centres(CANVAS, 1) * weight[..., None]).sum((1, 2)) / weight.sum((1, 2))[:, None]


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_dots_lie_on_the_warped_picture_where_their_points_are_carried_to(stride: int):
    at, points = bent(stride, 1), inner(1)
    carried = at.inverse(points)[0]
    each = replace(
        at, matrix=at.matrix.expand(9, -1, -1), translation=at.translation.expand(9, -1),
        displacement=at.displacement.expand(9, -1, -1, -1),
    )  # fmt: skip
    warped = each.images(dots(points[0]))
    assert (carried - points[0]).norm(dim=-1).median() > 1  # they have moved
    torch.testing.assert_close(centre_of_mass(warped), carried, atol=0.25, rtol=0)


def test_inverse_undoes_the_map_to_a_thousandth_of_a_pixel():
    at, points = bent(4), inner()
    torch.testing.assert_close(at(at.inverse(points)), points, atol=1e-3, rtol=0)


def test_inverse_of_a_folding_field_still_lands_on_a_point_that_is_mapped_there():
    at, points = bent(4, amplitude=14.0), inner()
    field = at.displacement
    slope = (field[:, 0, :, 1:] - field[:, 0, :, :-1]) / 4
    assert slope.min() < -1  # it does fold
    assert (at(at.inverse(points)) - points).norm(dim=-1).median() < 0.05


def test_one_map_after_another_is_their_composition():
    first, second, points = bent(4, seed=0), bent(4, seed=5), inner()
    both = first.then(second.displacement)
    moved = points + second.displacement_at(points[:, None])[:, 0]
    torch.testing.assert_close(both(points), first(moved), atol=0.15, rtol=0)
    assert (both(points) - first(points)).norm(dim=-1).max() > 1


def test_the_grid_holds_what_the_map_says_of_its_centres():
    at = bent(2)
    centres = cell_centres(CANVAS, 2).flatten(0, 1).expand(2, -1, -1)
    torch.testing.assert_close(at.grid(2).flatten(1, 2), at(centres), atol=1e-4, rtol=0)
    coarse = at(cell_centres(CANVAS, 8).flatten(0, 1).expand(2, -1, -1))
    assert (at.grid(8).flatten(1, 2) - coarse)[:, 9:-9].norm(dim=-1).median() < 0.3


def test_the_way_toward_a_known_map_is_the_further_displacement_that_leads_there():
    at, aim = bent(4, amplitude=0.0), bent(4, amplitude=2.0)
    further = at.toward(aim.grid(4), 4) * 4
    led = at.then(further.permute(0, 3, 1, 2))
    torch.testing.assert_close(led.grid(4), aim.grid(4), atol=0.05, rtol=0)


def test_geometry_keeps_its_precision_under_mixed_precision():
    at, points = bent(4), inner()
    exact = at(points), at.inverse(points), at.grid(4)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = at(points), at.inverse(points), at.grid(4)
    for a, b in zip(exact, mixed, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


def test_the_identity_leaves_pictures_and_points():
    at, points = Transform.identity(2, CANVAS, 4, torch.device("cpu")), inner()
    torch.testing.assert_close(at.inverse(points), points, atol=1e-3, rtol=0)
    centres = cell_centres(CANVAS, 1).expand(2, -1, -1, -1)
    torch.testing.assert_close(at.grid(1), centres, atol=1e-5, rtol=0)
    # Neighbours differ as little as in a radiograph: noise would magnify the rounding of coordinates.
    pictures = F.avg_pool2d(torch.rand(2, 1, *CANVAS), 3, 1, 1)
    torch.testing.assert_close(at.images(pictures), pictures, atol=1e-5, rtol=0)
    assert math.isclose(float(at.take(slice(0, 1)).matrix[0, 0, 0]), 1)
