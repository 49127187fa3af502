"""Square patches of canvases, and the published loss that finds a patch's points again in its radiograph."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from onemark.nn.embedding.embed import distance_bias, whole_cosines, window, window_cosines


def crop(canvases: torch.Tensor, corner: torch.Tensor, size: int) -> torch.Tensor:
    """Square patches `[B, 1, size, size]` of canvases `[B, 1, H, W]` at integer corners `[B, 2]` (x, y)."""
    steps = torch.arange(size, device=canvases.device)
    y = (corner[:, 1, None] + steps)[:, :, None]
    x = (corner[:, 0, None] + steps)[:, None, :]
    one = torch.arange(len(canvases), device=canvases.device)[:, None, None]
    return canvases[one, 0, y, x][:, None]


def corners_around(xy: torch.Tensor, size: int, canvas: tuple[int, int]) -> torch.Tensor:
    """Integer corners `[..., 2]` (x, y) of patches centred on points `[..., 2]`, all canvas px.

    A patch that would cross the border of the canvas `(H, W)` is moved inwards.
    """
    room = torch.tensor([canvas[1], canvas[0]], device=xy.device) - size
    return (xy - (size - 1) / 2).round().long().clamp(min=0).minimum(room)


def patches_around(canvas: torch.Tensor, xy: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a patch of a canvas around each point, moved inwards at the borders.

    Args:
        canvas: `[1, 1, H, W]`.
        xy: `[K, 2]` canvas px.
        size: Side of the patches, px.

    Returns:
        Patches `[K, 1, size, size]` and the points on them `[K, 2]`, patch px.
    """
    corner = corners_around(xy, size, (canvas.shape[-2], canvas.shape[-1]))
    return crop(canvas.expand(len(xy), -1, -1, -1), corner, size), xy - corner


@dataclass(frozen=True)
class Contrast:
    """CC2D's loss: a softmax over a vector's cosines with the cells around its own (Yao et al. 2021, Eq. 1-2).

    Attributes:
        temperature: Factor on cosines.
        window: Half the window of cells compared, where the whole map is not.
        slope: Distance bias per cell, see `distance_bias`.
        cap: Greatest distance bias.
    """

    temperature: float
    window: int
    slope: float = 0.0
    cap: float = 0.8

    def nats(self, vectors: torch.Tensor, m: torch.Tensor, target: torch.Tensor, whole: bool) -> torch.Tensor:
        """Cross-entropy of the right cells within the whole map or within the window around them.

        Args:
            vectors: `[B, N, C]` of unit length.
            m: `[B, C, h, w]`.
            target: `[B, N, 2]` whole cells (x, y).
            whole: Whether all cells are compared.

        Returns:
            `[B, N]`, nats.
        """
        shape = (m.shape[-2], m.shape[-1])
        if whole:
            index = torch.arange(shape[0] * shape[1], device=m.device).expand(*target.shape[:2], -1)
            cosines, inside = whole_cosines(vectors, m).flatten(2), torch.ones_like(index, dtype=torch.bool)
        else:
            index, inside = window(target.long(), self.window, shape)
            cosines = window_cosines(vectors, m, index)
        bias = distance_bias(index, shape[1], target, self.slope, self.cap)
        # Cells beyond the map take no part.
        logits = ((cosines + bias) * self.temperature).masked_fill(~inside, -1e4)
        right = (index == (target[..., 1] * shape[1] + target[..., 0])[..., None]) & inside
        return logits.logsumexp(-1) - (logits * right).sum(-1)
