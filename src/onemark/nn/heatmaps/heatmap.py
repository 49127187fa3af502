"""Softmax heatmaps: the network that gives them, their targets, and the peaks that fit together."""

from __future__ import annotations

import torch
from torch import nn

from onemark.nn.backbones.pyramid import Pyramid
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.heatmaps.decode import Peaks, cells_to_pixels, pixels_to_cells, soft_peaks, soft_places
from onemark.nn.heatmaps.shape import Shape

PEAK_RADIUS = 3  # cells whose mean is the sub-pixel peak


class HeatmapNet(nn.Module):
    """U-Net with one logit map per landmark: `[B, 1, H, W]` -> `[B, K, H / 2, W / 2]`."""

    def __init__(self, backbone: Pyramid, landmarks: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(backbone.widths[0], landmarks, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of where each landmark lies."""
        logits: torch.Tensor = self.head(self.backbone(x)[0])
        return logits


def divergence(
    logits: torch.Tensor, xy: torch.Tensor, sigma: float, stride: int = STRIDES[0]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Kullback-Leibler divergence `[B, K]` from each Gaussian target to the heatmap, and whether it lies on the view.

    Args:
        logits: `[B, K, h, w]`.
        xy: `[B, K, 2]` (x, y) view px; NaN when unknown.
        sigma: Standard deviation of the target, view px.
        stride: View px per cell.
    """
    h, w = logits.shape[-2:]
    cells = pixels_to_cells(xy, stride)
    known = on_map(cells, (h, w))
    target = gaussians(cells.nan_to_num(), (h, w), sigma / stride).flatten(2)
    log_p = logits.float().flatten(2).log_softmax(-1)
    # Subtracted so that a perfect fit is 0 for every target; those that the border cuts off have less entropy.
    entropy = torch.special.entr(target).sum(-1)
    return -(target * log_p).sum(-1) - entropy, known


def on_map(xy: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Whether points `[..., 2]` (x, y) lie on a map `(h, w)`: `[...]`; NaN does not."""
    last = torch.tensor([shape[1] - 1, shape[0] - 1], device=xy.device)
    return ((xy >= 0) & (xy <= last)).all(-1)


def gaussians(cells: torch.Tensor, shape: tuple[int, int], sigma: float) -> torch.Tensor:
    """Gaussians of sum 1 around cells `[B, K, 2]` (x, y), on a grid `shape` (h, w): `[B, K, h, w]`."""
    rows = torch.arange(shape[0], device=cells.device)
    columns = torch.arange(shape[1], device=cells.device)
    # A softmax keeps the sum 1 where the border cuts a Gaussian off.
    y = (-((rows - cells[..., 1, None]) ** 2) / (2 * sigma**2)).softmax(-1)
    x = (-((columns - cells[..., 0, None]) ** 2) / (2 * sigma**2)).softmax(-1)
    return y[..., :, None] * x[..., None, :]


def fitting_peaks(
    logits: torch.Tensor, shape: Shape | None, radius: int = PEAK_RADIUS, stride: int = STRIDES[0]
) -> Peaks:
    """Peaks of the heatmaps of one radiograph that fit together, in canvas px.

    The constellation of the highest peaks chooses among each landmark's peaks; it does not move them.

    Args:
        logits: `[K, h, w]`.
        shape: Prior on constellations, canvas px; None for each landmark's highest peak.
        radius: Half the window of the soft peak, cells; 0 for the best cell.
        stride: Canvas px per cell.
    """
    prior = None
    if shape is not None:
        cells = Shape(pixels_to_cells(shape.mean, stride), shape.stray / stride)
        places = soft_places(logits, radius).double().numpy()
        prior = cells.logits(places, (logits.shape[-2], logits.shape[-1]))
    peaks = soft_peaks(logits, radius, prior)
    covariance = None if peaks.covariance is None else peaks.covariance * stride**2
    return Peaks(cells_to_pixels(peaks.xy, stride), peaks.score, peaks.spread * stride, covariance)
