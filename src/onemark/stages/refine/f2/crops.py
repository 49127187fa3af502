"""Square crops of canvases around points, upright or augmented, all landmarks of several radiographs at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from onemark.imaging.augment import Warp, sample


@dataclass(frozen=True)
class Crops:
    """K crops of each of B canvases.

    Attributes:
        views: `[B * K, 1, S, S]`; beyond the canvas they are black.
        corner: `[B * K, 2]` canvas px (x, y) of the first pixel of each crop.
        warp: From crop px to upright crop px; None where the crops are upright.
    """

    views: torch.Tensor
    corner: torch.Tensor
    warp: Warp | None = None

    @classmethod
    def cut(cls, canvases: torch.Tensor, centre: torch.Tensor, side: int, warp: Warp | None = None) -> Crops:
        """Cut crops of canvases around points, at whole pixels so that an upright crop is not interpolated.

        Args:
            canvases: `[B, 1, H, W]`.
            centre: `[B, K, 2]` points (x, y), canvas px.
            side: Side of the crops, canvas px.
            warp: `B * K` warps of crops of this side.
        """
        count = centre.shape[1]
        corner = (centre - (side - 1) / 2).round().flatten(0, 1)
        steps = torch.arange(side, device=canvases.device, dtype=torch.float32)
        grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij")[::-1], -1).flatten(0, 1)
        pixels = grid.expand(len(corner), -1, -1)
        at = (pixels if warp is None else warp.forward(pixels)) + corner[:, None]
        views = sample(canvases, at.view(len(canvases), count * side, side, 2))
        return cls(views.view(-1, 1, side, side), corner, warp)

    def inner(self, xy: torch.Tensor) -> torch.Tensor:
        """Canvas points `[B, K, 2]` to px of their crops, `[B * K, 2]`."""
        upright = xy.flatten(0, 1) - self.corner
        return upright if self.warp is None else self.warp.inverse(upright[:, None])[:, 0]

    def outer(self, xy: torch.Tensor) -> torch.Tensor:
        """Px of upright crops `[B * K, 2]` to canvas px."""
        return xy + self.corner

    def paste(self, p: torch.Tensor, canvas: torch.Tensor, k: int) -> None:
        """Paste a map `[h, w]` of crop k into the canvas `[H, W]` that it was cut from; the greater value stays."""
        wide = p.repeat_interleave(self.views.shape[-2] // p.shape[0], 0)
        wide = wide.repeat_interleave(self.views.shape[-1] // p.shape[1], 1)
        x, y = (int(v) for v in self.corner[k])
        (h, w), (rows, columns) = canvas.shape, wide.shape
        top, left, bottom, right = max(0, y), max(0, x), min(h, y + rows), min(w, x + columns)
        if top < bottom and left < right:
            part = wide[top - y : bottom - y, left - x : right - x]
            canvas[top:bottom, left:right] = torch.maximum(canvas[top:bottom, left:right], part)
