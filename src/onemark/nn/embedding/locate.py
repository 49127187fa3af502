"""Finding the counterpart of points by their embeddings, coarse to fine, in canvas pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from onemark.imaging.augment import sample
from onemark.imaging.letterbox import Size
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.embedding.embed import (
    Maps,
    cascade,
    vectors_at,
    whole_cosines,
    window,
    window_cosines,
)
from onemark.nn.heatmaps.decode import Peaks, cells_to_pixels, pixels_to_cells, soft_peaks

FINE_RADIUS = 5  # cells of stride 2 around the best cell of stride 4
PEAK_RADIUS = 3  # cells whose mean is the sub-pixel peak
LEAST_COSINE = 1e-6  # keeps the logarithm of a clipped cosine finite

Vectors = list[torch.Tensor]


def describe(maps: Maps, xy: torch.Tensor, rounded: bool = False) -> Vectors:
    """Unit vectors of canvas points `[B, N, 2]` (x, y) at every level: `[B, N, C]`, finest first.

    Args:
        maps: Per level `[B, C, h, w]`, finest first.
        xy: The points, canvas px.
        rounded: Whether to take each level's nearest cell, as published, instead of bilinear values.
    """
    place = nearest_cells if rounded else pixels_to_cells
    return [vectors_at(m, place(xy, stride)) for m, stride in zip(maps, STRIDES, strict=True)]


def nearest_cells(pixels: torch.Tensor, stride: int) -> torch.Tensor:
    """The whole cells `[..., 2]` of a map in which pixels `[..., 2]` (x, y) of its input lie."""
    return ((pixels + 0.5) / stride).floor()


def find(vectors: Vectors, maps: Maps, temperature: float, radius: int = PEAK_RADIUS) -> Peaks:
    """Find the described points in other radiographs (Yao et al. 2021, Eq. 3, read as probabilities).

    Whole maps are compared down to stride 4. At stride 2 a window around the best cell is enough.

    Args:
        vectors: Per level `[B, N, C]`, finest first.
        maps: Per level `[B, C, h, w]`, finest first.
        temperature: Factor on cosines.
        radius: Half the window that the sub-pixel peak is the mean of, in cells of stride 2; 0 for the best cell.

    Returns:
        Peaks in canvas pixels: `xy` `[B, N, 2]`, `score` `[B, N]` (mean cosine over the levels at the peak), `spread`
        `[B, N]` (expected distance within the window).
    """
    coarse = cascade([whole_cosines(v, m) for v, m in zip(vectors[1:], maps[1:], strict=True)], temperature)
    b, n, _, w = coarse.shape
    best = coarse.flatten(2).argmax(-1)
    height, width = maps[0].shape[-2:]
    start = torch.stack([best % w, best // w], -1) * 2
    index, inside = window(start, FINE_RADIUS, (height, width))
    cells = torch.stack([index % width, index // width], -1).float()
    above = sample(coarse.flatten(0, 1)[:, None], ((cells + 0.5) / 2 - 0.5).flatten(0, 1)[:, None], "border")
    fine = window_cosines(vectors[0], maps[0], index) * temperature
    logits = (fine + above.view(b, n, -1)).masked_fill(~inside, -1e4)
    return window_peaks(logits, cells, inside, temperature, radius, len(STRIDES))


def find_product(
    vectors: Vectors, maps: Maps, canvas: Size, temperature: float, radius: int = PEAK_RADIUS
) -> Peaks:
    """Find points as published: at the greatest product of the levels' clipped cosines (Yao et al. 2021, Eq. 3).

    Args:
        vectors: Per level `[B, N, C]`, finest first.
        maps: Per level `[B, C, h, w]`, finest first.
        canvas: `(H, W)` of the grid on which the levels are multiplied.
        temperature: Factor on logarithms of cosines, for the window's mean and the spread.
        radius: Half the window that the sub-pixel peak is the mean of, canvas px; 0 for the best pixel, as published.

    Returns:
        Peaks in canvas pixels: `xy` `[B, N, 2]`, `score` `[B, N]` (geometric mean of the cosines at the peak), `spread`
        `[B, N]` (expected distance to the peak).
    """
    total = torch.zeros((), device=maps[0].device)
    for v, m in zip(vectors, maps, strict=True):
        cosines = F.interpolate(whole_cosines(v, m).clamp(0, 1), canvas, mode="bilinear", align_corners=False)
        total = total + cosines.clamp(min=LEAST_COSINE).log()
    b, n = total.shape[:2]
    score = (total.flatten(2).amax(-1) / len(STRIDES)).exp()
    peaks = soft_peaks(total.flatten(0, 1) * temperature, radius)
    return Peaks(peaks.xy.view(b, n, 2), score, peaks.spread.view(b, n))


def window_peaks(
    logits: torch.Tensor,
    cells: torch.Tensor,
    inside: torch.Tensor,
    temperature: float,
    radius: int,
    levels: int,
    stride: int = STRIDES[0],
) -> Peaks:
    """Sub-cell peaks of windows of cells, in canvas pixels.

    Args:
        logits: `[B, N, W]` sums of the levels' cosines times `temperature`; very low where not `inside`.
        cells: `[B, N, W, 2]` the cells (x, y) on their map.
        inside: `[B, N, W]` whether a cell lies on the map.
        temperature: Factor on cosines.
        radius: Half the window that the peak is the mean of, cells; 0 for the best cell.
        levels: Number of cosines in a sum.
        stride: Canvas px per cell.
    """
    top, at = logits.max(-1, keepdim=True)
    peak = cells.gather(2, at[..., None].expand(-1, -1, -1, 2))
    p = logits.softmax(-1)
    near = p * (((cells - peak).abs() <= radius).all(-1) & inside)
    xy = (near[..., None] * cells).sum(2) / near.sum(-1, keepdim=True)
    spread = (p * (cells - xy[:, :, None]).norm(dim=-1)).sum(-1)
    score = (top[..., 0] / temperature / levels).clamp(0, 1)
    return Peaks(cells_to_pixels(xy, stride), score, spread * stride)


def level_maps(vectors: Vectors, maps: Maps) -> list[torch.Tensor]:
    """Cosine maps of every level, clipped to 0...1, on the finest level's grid: `[B, N, h, w]` each (for evidence)."""
    finest = maps[0].shape[-2:]
    return [
        F.interpolate(whole_cosines(v, m).clamp(0, 1), finest, mode="bilinear", align_corners=False)
        for v, m in zip(vectors, maps, strict=True)
    ]
