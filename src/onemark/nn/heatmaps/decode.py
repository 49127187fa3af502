"""From maps to sub-pixel points: soft peak of a log-probability map, its spread and its mass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
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
    flat, window = logits.float().flatten(1), _Window.around_best(logits, radius, prior)
    xy, total = window.mean(flat), flat.logsumexp(1, keepdim=True)
    # Farther cells all count as 8 cells away, so only these must be looked at one by one.
    near = window.widened(radius + int(FARTHEST), logits.shape[-2:])
    right, down = near.xs - xy[:, :1], near.ys - xy[:, 1:]
    square = right**2 + down**2
    p = (flat.gather(1, near.index) - total).exp() * (near.inside & (square <= FARTHEST**2))
    spread = (p * square.sqrt()).sum(1) + FARTHEST * (1 - p.sum(1)).clamp(min=0)
    mass = ((flat.gather(1, window.index) - total).exp() * window.inside).sum(1)
    return Peaks(xy, mass.clamp(max=1), spread, _second_moments(p, right, down))


def soft_places(logits: torch.Tensor, radius: int = 3) -> torch.Tensor:
    """The positions `[N, 2]` of `soft_peaks` alone."""
    return _Window.around_best(logits, radius).mean(logits.float().flatten(1))


@dataclass(frozen=True)
class _Window:
    """Windows of M cells around the best cells of N maps.

    Attributes:
        xs: `[N, M]` their columns.
        ys: `[N, M]` their rows.
        index: `[N, M]` positions in a flat map.
        inside: `[N, M]` whether they lie on the map.
    """

    xs: torch.Tensor
    ys: torch.Tensor
    index: torch.Tensor
    inside: torch.Tensor

    @classmethod
    def around_best(cls, logits: torch.Tensor, radius: int, prior: torch.Tensor | None = None) -> _Window:
        flat, w = logits.float().flatten(1), logits.shape[-1]
        best = (flat if prior is None else flat + prior.flatten(1)).argmax(1)[:, None]
        return cls.around(best % w, best // w, radius, logits.shape[-2:])

    @classmethod
    def around(cls, x: torch.Tensor, y: torch.Tensor, radius: int, shape: Sequence[int]) -> _Window:
        """Windows around cells `[N, 1]` of maps of a shape `(h, w)`."""
        h, w = shape
        steps = torch.arange(-radius, radius + 1, device=x.device)
        down, right = torch.meshgrid(steps, steps, indexing="ij")
        ys, xs = y + down.flatten(), x + right.flatten()
        inside = (ys >= 0) & (ys < h) & (xs >= 0) & (xs < w)
        return cls(xs, ys, ys.clamp(0, h - 1) * w + xs.clamp(0, w - 1), inside)

    def widened(self, radius: int, shape: Sequence[int]) -> _Window:
        """Larger windows around the same cells, of maps of a shape `(h, w)`."""
        middle = self.xs.shape[1] // 2
        return self.around(self.xs[:, middle, None], self.ys[:, middle, None], radius, shape)

    def mean(self, flat: torch.Tensor) -> torch.Tensor:
        """Mean positions `[N, 2]` by the probability of `[N, h * w]` logits."""
        # Normalised within the window, so that the mean is exact however little of the mass lies there.
        near = flat.gather(1, self.index).masked_fill(~self.inside, -torch.inf).softmax(1)
        return torch.stack([(near * self.xs).sum(1), (near * self.ys).sum(1)], 1)


def _second_moments(p: torch.Tensor, right: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """`[N, 2, 2]` of weights of M cells `[N, M]` that lie `right` and `down` `[N, M]` of a point."""
    total = p.sum(1).clamp(min=1e-12)
    xx, yy, xy = ((p * product).sum(1) for product in (right**2, down**2, right * down))
    moments = torch.stack([torch.stack([xx, xy], 1), torch.stack([xy, yy], 1)], 1) / total[:, None, None]
    return moments + ROUNDING * torch.eye(2, device=p.device)


def cells_to_pixels(cells: Points, stride: int) -> Points:
    """Cell positions of a map to pixels of its input: `(c + 1/2) * stride - 1/2`.

    The half cell matters: without it, FM-OSD's released code cannot get below 0.66 mm instead of 0.33 mm.
    """
    return (cells + 0.5) * stride - 0.5


def pixels_to_cells(pixels: Points, stride: int) -> Points:
    """The inverse of `cells_to_pixels`."""
    return (pixels + 0.5) / stride - 0.5
