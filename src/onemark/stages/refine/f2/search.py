"""Where a landmark lies in its crop: prior around the coarse point, candidates, the way back, a sub-pixel peak."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from onemark.nn.heatmaps.decode import Peaks, soft_peaks

PEAK_RADIUS = 3  # cells whose mean is the sub-pixel peak
CHOSEN = 1e-2  # cells: standard deviation of a prior so narrow that it picks one cell


def log_gaussian(cells: torch.Tensor, shape: tuple[int, int], deviation: float) -> torch.Tensor:
    """Logarithm of Gaussians with peak 1.

    Args:
        cells: `[N, 2]` centres (x, y), cells.
        shape: `(h, w)` of the maps.
        deviation: Standard deviation, cells.

    Returns:
        `[N, h, w]`, 0 at the centre.
    """
    y = torch.arange(shape[0], device=cells.device) - cells[:, 1, None]
    x = torch.arange(shape[1], device=cells.device) - cells[:, 0, None]
    away: torch.Tensor = y[:, :, None] ** 2 + x[:, None, :] ** 2
    return -away / (2 * deviation**2)


def candidates(logits: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` highest local maxima of maps `[N, h, w]`: cells `[N, count, 2]` (x, y), best first.

    Where a map has fewer maxima, its best one is repeated.
    """
    w = logits.shape[-1]
    highest = F.max_pool2d(logits[:, None], 3, 1, 1)[:, 0]
    value, at = logits.masked_fill(logits < highest, -torch.inf).flatten(1).topk(count, 1)
    at = torch.where(value.isfinite(), at, at[:, :1])
    return torch.stack([at % w, at // w], -1).float()


def peaks_at(logits: torch.Tensor, cells: torch.Tensor) -> Peaks:
    """Sub-pixel peaks of maps `[N, h, w]` around chosen cells `[N, 2]`."""
    chosen = log_gaussian(cells, (logits.shape[-2], logits.shape[-1]), CHOSEN)
    return soft_peaks(logits, PEAK_RADIUS, chosen)
