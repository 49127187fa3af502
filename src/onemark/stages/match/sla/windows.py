"""Foveal windows around a point: equally many cells on each fine level, so that each sees half as far as the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from onemark.nn.backbones.context import split_dim
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.embedding.embed import Maps, rows, vectors_at, whole_cosines
from onemark.nn.embedding.locate import Vectors, window_peaks
from onemark.nn.heatmaps.decode import Peaks, pixels_to_cells
from onemark.stages.match.sla.decoder import zoom

SIDE = 16  # cells per side of a window, on every level
LEVELS = 3  # strides 2, 4 and 8 belong to a landmark; deeper levels stay the encoder's
OUTSIDE = -1e4  # logit of cells beyond the map


@dataclass(frozen=True)
class Fovea:
    """Where the windows of points lie: per level, finest first.

    Attributes:
        corners: `[B, N, 2]` first cells (x, y) of the windows; may lie beyond the map.
        shapes: `(h, w)` of the level's map.
    """

    corners: list[torch.Tensor]
    shapes: list[tuple[int, int]]

    @classmethod
    def around(cls, xy: torch.Tensor, maps: Sequence[torch.Tensor]) -> Fovea:
        """Lay windows around canvas points `[B, N, 2]` (x, y), px, on maps of the finest levels, finest first.

        The deepest window is placed first and the finer ones nest in it, which `zoom` relies on.
        """
        deepest = len(maps) - 1
        corner = (pixels_to_cells(xy, STRIDES[deepest]) - (SIDE - 1) / 2).round().long()
        corners = [corner]
        for _ in range(deepest):
            corners.insert(0, 2 * (corners[0] + SIDE // 4))
        return cls(corners, [(m.shape[-2], m.shape[-1]) for m in maps])

    def cut(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Cut windows `[B, N C, SIDE, SIDE]` out of maps `[B, C, h, w]`, ordered by point; 0 beyond the borders."""
        cut = []
        for level, m in enumerate(maps):
            b, c, h, w = m.shape
            cells, inside = self.cells(level)
            first = torch.arange(b, device=m.device)[:, None, None] * (h * w)
            index = cells[..., 1].clamp(0, h - 1) * w + cells[..., 0].clamp(0, w - 1)
            near = rows(m)[(index + first).flatten()] * inside.flatten()[:, None]
            wide = near.view(b, -1, SIDE, SIDE, c).permute(0, 2, 3, 1, 4).flatten(3)
            cut.append(wide.permute(0, 3, 1, 2))
        return cut

    def cells(self, level: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The cells `[B, N, SIDE * SIDE, 2]` (x, y) of a level's windows, and whether they lie on the map."""
        corner, (h, w) = self.corners[level], self.shapes[level]
        steps = torch.arange(SIDE, device=corner.device)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        cells = corner[:, :, None] + torch.stack([x, y], -1).flatten(0, 1)
        inside = (cells >= 0).all(-1) & (cells[..., 0] < w) & (cells[..., 1] < h)
        return cells, inside

    def inner(self, xy: torch.Tensor, level: int) -> torch.Tensor:
        """Canvas points `[B, N, ..., 2]` (x, y), px, as cells of their windows."""
        corner = self.corners[level]
        return pixels_to_cells(xy, STRIDES[level]) - corner.view(*corner.shape[:2], *[1] * (xy.ndim - 3), 2)

    def holds(self, xy: torch.Tensor) -> torch.Tensor:
        """Whether points `[B, N, 2]` lie in the finest windows and on the canvas: `[B, N]`."""
        h, w = self.shapes[0]
        last = torch.tensor([w, h], device=xy.device) * STRIDES[0] - 1
        cell = self.inner(xy, 0)
        return ((cell >= 0) & (cell <= SIDE - 1) & (xy >= 0) & (xy <= last)).all(-1)


def by_point(maps: Maps, length: int) -> Maps:
    """View embeddings of windows `[B, N length, n, n]` as one map for each window: `[B N, length, n, n]`."""
    return [split_dim(m, 1, (-1, length)).flatten(0, 1) for m in maps]


def vectors_in(maps: Maps, fovea: Fovea, xy: torch.Tensor) -> Vectors:
    """Unit vectors `[B N, 1, length]` per level of points `[B, N, 2]` in their windows `[B N, length, n, n]`."""
    return [vectors_at(m, fovea.inner(xy, level).flatten(0, 1)[:, None]) for level, m in enumerate(maps)]


def cross_entropy(
    vectors: Vectors, maps: Maps, fovea: Fovea, xy: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Cross-entropy `[B, N]` of sub-cell targets `[B, N, 2]` among their windows' cells, summed over the levels (Eq. 2).

    Args:
        vectors: Per level `[B N, 1, length]`.
        maps: Per level `[B N, length, n, n]`.
        fovea: The windows.
        xy: The targets, canvas px.
        temperature: Factor on cosines.
    """
    total = torch.zeros((), device=xy.device)
    for level, (v, m, right) in enumerate(zip(vectors, maps, vectors_in(maps, fovea, xy), strict=True)):
        inside = fovea.cells(level)[1].flatten(0, 1)[:, None]
        logits = (whole_cosines(v, m).flatten(2) * temperature).masked_fill(~inside, OUTSIDE)
        total = total + logits.logsumexp(-1) - (v * right).sum(-1) * temperature
    return total.view(xy.shape[:2])


def peaks(
    vectors: Vectors, maps: Maps, fovea: Fovea, temperature: float, radius: int, finest: int = 0
) -> Peaks:
    """Find described points in windows (Eq. 3, read as probabilities).

    Args:
        vectors: Per level `[B N, M, length]`: M descriptions of the point of each window.
        maps: Per level `[B N, length, n, n]`.
        fovea: The windows.
        temperature: Factor on cosines.
        radius: Half the window of the sub-cell peak, cells; 0 for the best cell.
        finest: The level whose windows are searched; finer ones are ignored.

    Returns:
        Peaks `[B, N, M]` in canvas pixels, see `onemark.nn.embedding.locate.window_peaks`.
    """
    total = sum_levels(vectors[finest:], maps[finest:]) * temperature
    b, n = fovea.corners[0].shape[:2]
    cells, inside = (a.flatten(0, 1)[:, None] for a in fovea.cells(finest))
    count = total.shape[1]
    logits = total.flatten(2).masked_fill(~inside, OUTSIDE)
    levels = len(maps) - finest
    found = window_peaks(
        logits, cells.float().expand(-1, count, -1, -1), inside, temperature, radius, levels, STRIDES[finest]
    )
    return Peaks(found.xy.view(b, n, count, 2), found.score.view(b, n, count), found.spread.view(b, n, count))


def sum_levels(vectors: Vectors, maps: Maps) -> torch.Tensor:
    """Sum of the levels' cosines in the finest windows given: `[B N, M, n, n]`."""
    total = whole_cosines(vectors[-1], maps[-1])
    for v, m in zip(reversed(vectors[:-1]), reversed(maps[:-1]), strict=True):
        total = zoom(total) + whole_cosines(v, m)
    return total
