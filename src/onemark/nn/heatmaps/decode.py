"""From maps to sub-pixel points: soft peak of a log-probability map, its spread and its mass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

ROUNDING = 1 / 12  # variance of a place within its cell, along each axis
FARTHEST = 8.0  # cells; a faint background over the whole map must not drown the peak's own spread

Points = TypeVar("Points", torch.Tensor, NDArray[np.float64])


@dataclass(frozen=True)
class Peaks:
    """Peaks of N maps.

    Attributes:
        xy: `[N, 2]` sub-cell positions (x, y) in cells of the map.
        score: `[N]` probability mass inside the window around the peak, 0...1.
        spread: `[N]` expected distance to the peak, in cells; a cell farther than 8 counts as 8, so that a faint
            background over the whole map does not drown the peak.
        covariance: `[N, 2, 2]` second moments of the probability around the peak, square cells, of cells no farther
            than 8; None where the peaks are not of heatmaps.
    """

    xy: torch.Tensor
    score: torch.Tensor
    spread: torch.Tensor
    covariance: torch.Tensor | None = None


def soft_peaks(logits: torch.Tensor, radius: int = 3, prior: torch.Tensor | None = None) -> Peaks:
    """Sub-cell peaks: the best cell, then the mean position of the probability in a window around it.

    Args:
        logits: `[N, h, w]` log-probabilities up to a constant.
        radius: Half the window, in cells.
        prior: `[N, h, w]` log-prior that chooses among peaks but does not move them.
    """
    h, w = logits.shape[-2:]
    flat = logits.float().flatten(1)
    p = F.softmax(flat, 1)
    best = (flat if prior is None else flat + prior.flatten(1)).argmax(1)
    y0, x0 = best // w, best % w
    steps = torch.arange(-radius, radius + 1, device=logits.device)
    ys = (y0[:, None, None] + steps[None, :, None]).expand(-1, -1, len(steps))
    xs = (x0[:, None, None] + steps[None, None, :]).expand(-1, len(steps), -1)
    inside = (ys >= 0) & (ys < h) & (xs >= 0) & (xs < w)
    index = (ys.clamp(0, h - 1) * w + xs.clamp(0, w - 1)).flatten(1)
    inside = inside.flatten(1)
    near = (
        # Normalised within the window, so that the mean is exact however little of the mass lies there.
        flat.gather(1, index).masked_fill(~inside, -torch.inf).softmax(1)
    )
    x = (near * xs.flatten(1)).sum(1)
    y = (near * ys.flatten(1)).sum(1)
    score = (p.gather(1, index) * inside).sum(1)
    grid_y, grid_x = torch.meshgrid(
        torch.arange(h, device=logits.device), torch.arange(w, device=logits.device), indexing="ij"
    )
    away = torch.stack([grid_x.flatten()[None] - x[:, None], grid_y.flatten()[None] - y[:, None]])
    distance = torch.hypot(*away)
    spread = (p * distance.clamp(max=FARTHEST)).sum(1)
    return Peaks(torch.stack([x, y], 1), score.clamp(max=1), spread, _second_moments(p, away, distance))


def _second_moments(p: torch.Tensor, away: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """`[N, 2, 2]` of probabilities `[N, C]` in cells that lie `away` `[2, N, C]` from the peak."""
    near = p * (distance <= FARTHEST)
    near = near / near.sum(1, keepdim=True).clamp(min=1e-12)
    moments = torch.einsum("nc,inc,jnc->nij", near, away, away)
    return moments + ROUNDING * torch.eye(2, device=p.device)


def cells_to_pixels(cells: Points, stride: int) -> Points:
    """Cell positions of a map to pixels of its input: `(c + 1/2) * stride - 1/2`.

    The half cell matters: without it, FM-OSD's released code cannot get below 0.66 mm instead of 0.33 mm.
    """
    return (cells + 0.5) * stride - 0.5


def pixels_to_cells(pixels: Points, stride: int) -> Points:
    """The inverse of `cells_to_pixels`."""
    return (pixels + 0.5) / stride - 0.5
