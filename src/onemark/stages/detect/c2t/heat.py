"""Heatmaps on different views of a radiograph: how far they are from labels and from each other."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

from onemark.imaging.augment import Warp, sample
from onemark.nn.heatmaps.decode import cells_to_pixels, pixels_to_cells
from onemark.nn.heatmaps.heatmap import divergence, gaussians, on_map

Kind = Literal["divergence", "square"]

LEAST_HEAT = 1e-4  # plain heat below it counts as that: its logarithm must stay finite
LEAST_MASS = 0.2  # share of a heatmap that must lie on the other view for a comparison to count
KNOTS = 40  # along the longer side; displacement fields are smooth, so the way between views is interpolated


def misfit(
    maps: torch.Tensor, xy: torch.Tensor, sigma: float, stride: int, kind: Kind
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far maps are from labels, `[B, K]`, and whether the label lies on the view (Eq. 17).

    Args:
        maps: `[B, K, h, w]` of a network.
        xy: `[B, K, 2]` view px (x, y); NaN where unknown.
        sigma: Standard deviation of the target, view px.
        stride: View px per cell.
        kind: Divergence of softmax heatmaps, or mean square of plain ones with peak 1 (the paper's L_mse).
    """
    if kind == "divergence":
        return divergence(maps, xy, sigma, stride)
    shape = (maps.shape[-2], maps.shape[-1])
    cells = pixels_to_cells(xy, stride)
    target = gaussians(cells.nan_to_num(), shape, sigma / stride)
    target = target / target.amax((2, 3), keepdim=True)
    return (maps.float() - target).square().mean((2, 3)), on_map(cells, shape)


def disagreement(maps: torch.Tensor, other: torch.Tensor, kind: Kind) -> tuple[torch.Tensor, torch.Tensor]:
    """How far maps are from another network's heat on the same view, `[B, K]`, and whether that lies on the view.

    Args:
        maps: `[B, K, h, w]` of a network.
        other: `[B, K, h, w]` of the other one, as `heat` and `carry_heat` give it.
        kind: As for `misfit`.
    """
    if kind == "square":
        return (maps.float() - other).square().mean((2, 3)), torch.ones_like(
            maps[..., 0, 0], dtype=torch.bool
        )
    mass = other.sum((2, 3))
    q = (other / mass.clamp(min=1e-6)[..., None, None]).flatten(2)
    log_p = maps.float().flatten(2).log_softmax(-1)
    return -(q * log_p).sum(-1) - torch.special.entr(q).sum(-1), mass > LEAST_MASS


def heat(maps: torch.Tensor, kind: Kind) -> torch.Tensor:
    """Read a network's maps `[..., K, h, w]` as heat: probabilities, or the maps themselves where they are plain."""
    if kind == "square":
        return maps.float()
    return maps.float().flatten(-2).softmax(-1).view_as(maps)


def log_heat(maps: torch.Tensor, kind: Kind, width: float = 1.0) -> torch.Tensor:
    """Log-probabilities of a network's maps `[K, h, w]`, up to a constant.

    Plain heat is raised to a power that leaves its peaks one cell wide, so that the window of a soft peak holds the
    whole of them.

    Args:
        maps: `[K, h, w]`.
        kind: As for `misfit`.
        width: Standard deviation of the targets, cells.
    """
    if kind == "divergence":
        return maps.float().flatten(1).log_softmax(1).view_as(maps)
    return maps.float().clamp(min=LEAST_HEAT).log() * max(1.0, width**2)


def carry_heat(heat: torch.Tensor, source: Warp, target: Warp) -> torch.Tensor:
    """Carry heat from one view of each radiograph to another view of it.

    Args:
        heat: `[B, K, h, w]` on the source view.
        source: Warp of that view.
        target: Warp of the view to carry it to.

    Returns:
        `[B, K, h, w]` on the target view; 0 where the source view shows nothing.
    """
    h, w = heat.shape[-2:]
    stride = target.canvas[0] // h
    first, last = cells_to_pixels(torch.tensor([[0.0, 0.0], [w - 1, h - 1]]), stride).tolist()
    count = [max(2, round(KNOTS * n / max(h, w))) for n in (h, w)]
    y, x = (torch.linspace(first[i], last[i], count[1 - i], device=heat.device) for i in (1, 0))
    pixels = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).view(1, -1, 2)
    with torch.autocast(heat.device.type, enabled=False):  # bfloat16 would round coordinates to whole pixels
        there = source.inverse(target.forward(pixels.expand(len(heat), -1, -1)))
        coarse = pixels_to_cells(there, stride).transpose(1, 2).view(len(heat), 2, *count)
        grid = F.interpolate(coarse, (h, w), mode="bilinear", align_corners=True)
        return sample(heat, grid.permute(0, 2, 3, 1))
