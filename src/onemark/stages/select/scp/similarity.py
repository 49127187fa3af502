"""How well key points can be found again in a radiograph: the greatest product of the levels' cosines."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from onemark.imaging.augment import sample
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.embedding.embed import Maps, whole_cosines, window_cosines
from onemark.nn.heatmaps.decode import cells_to_pixels, pixels_to_cells

WHOLE = (
    2  # from this level on (strides 8, 16, 32) whole maps are compared, the finer levels around the best cell
)
FACTOR = STRIDES[WHOLE] // STRIDES[0]
CHUNK = 512  # key points at a time, so that their maps stay in the processor's cache


def similarities(vectors: Sequence[torch.Tensor], maps: Maps) -> torch.Tensor:
    """The greatest similarity of each key point to a place in a template (Quan et al. 2022, Eq. 7).

    The similarity is the product of the levels' cosines, as in the paper; the released code mostly takes one level's
    maximum. Whole maps are compared at the three deepest strides, finer ones only in and around the best cell.

    Args:
        vectors: Per level `[N, C]`, finest first: unit vectors of the key points of other radiographs.
        maps: Per level `[1, C, h, w]`, finest first: embeddings of the template.

    Returns:
        `[N]` in 0...1, on the device of the maps.
    """
    parts = zip(*(torch.split(level, CHUNK) for level in vectors), strict=True)
    return torch.cat([_greatest_similarity([v[None] for v in part], maps) for part in parts])


def _greatest_similarity(vectors: list[torch.Tensor], maps: Maps) -> torch.Tensor:
    coarse = whole_cosines(vectors[-1], maps[-1]).clamp(0, 1)
    for v, m in zip(vectors[-2 : WHOLE - 1 : -1], maps[-2 : WHOLE - 1 : -1], strict=True):
        wide = F.interpolate(coarse, m.shape[-2:], mode="bilinear", align_corners=False)
        coarse = wide * whole_cosines(v, m).clamp(0, 1)
    width = coarse.shape[-1]
    best = coarse.flatten(2).argmax(-1)[0]
    corner = torch.stack([best % width, best // width], -1)
    steps = torch.arange(
        -1, FACTOR + 1, device=corner.device
    )  # the best cell's finest cells and a rim of one
    cells = _square(corner * FACTOR, steps)
    pixels = cells_to_pixels(cells.float(), STRIDES[0])
    total = sample(coarse[0][:, None], pixels_to_cells(pixels, STRIDES[WHOLE])[:, None], "border")[:, 0, 0]
    for level, stride in enumerate(STRIDES[:WHOLE]):
        parts = torch.div(steps * STRIDES[0], stride, rounding_mode="floor")
        few, back = torch.unique(parts, return_inverse=True)
        near = _window_cosines(vectors[level], maps[level], _square(corner * (STRIDES[WHOLE] // stride), few))
        total = total * near.view(-1, len(few), len(few))[:, back][:, :, back].flatten(1)
    return total.amax(-1)


def _square(corner: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """The cells `[N, S * S, 2]` (x, y), row by row, at `steps` `[S]` right of and below each corner `[N, 2]`."""
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).flatten(0, 1)
    return corner[:, None] + grid


def _window_cosines(vectors: torch.Tensor, m: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Clipped cosines `[N, W]` of `[1, N, C]` with the cells `[N, W, 2]` of a map; beyond it, those of its border."""
    h, w = m.shape[-2:]
    index = cells[..., 1].clamp(0, h - 1) * w + cells[..., 0].clamp(0, w - 1)
    return window_cosines(vectors, m, index[None])[0].clamp(0, 1)
