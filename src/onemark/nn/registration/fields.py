"""Displacement fields: positions in cells of a grid, displacements in canvas px, as `[P, h, w, 2]` (x, y)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

Field = torch.Tensor


def cell_grid(shape: tuple[int, int], device: torch.device) -> torch.Tensor:
    """Cell positions `[h, w, 2]` (x, y) of a grid `(h, w)`."""
    y, x = torch.meshgrid(
        *(torch.arange(n, device=device, dtype=torch.float32) for n in shape), indexing="ij"
    )
    return torch.stack([x, y], -1)


def read_at(maps: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Bilinear values of `[P, C, h, w]` at cells `[P, ..., 2]`, the border's beyond it -> `[P, C, ...]`."""
    h, w = maps.shape[-2:]
    scale = torch.tensor([2 / w, 2 / h], device=maps.device)
    places = ((cells + 0.5) * scale - 1).flatten(1, -2)[:, None]
    values = F.grid_sample(maps, places, padding_mode="border", align_corners=False)
    return values.view(*maps.shape[:2], *cells.shape[1:-1])


def field_at(field: Field, cells: torch.Tensor) -> torch.Tensor:
    """Displacements of `[P, h, w, 2]` at cells `[P, ..., 2]`, canvas px `[P, ..., 2]`."""
    return read_at(field.movedim(-1, 1), cells).movedim(1, -1)


def resize_field(field: Field, shape: tuple[int, int]) -> Field:
    """The same field on another grid `(h, w)` that covers the canvas."""
    planes = F.interpolate(field.movedim(-1, 1), shape, mode="bilinear", align_corners=False)
    return planes.movedim(1, -1)


def follow(first: Field, second: Field, stride: int) -> Field:
    """First along one field, then along the other: `u(x) + v(x + u(x))`, all `[P, h, w, 2]` on a grid of that stride."""
    shape = (first.shape[1], first.shape[2])
    return first + field_at(second, cell_grid(shape, first.device) + first / stride)


def carry(field: Field, xy: torch.Tensor, stride: int) -> torch.Tensor:
    """Canvas points `[P, K, 2]` moved along fields `[P, h, w, 2]` of that stride."""
    return xy + field_at(field, (xy + 0.5) / stride - 0.5)


def invert(field: Field, stride: int, rounds: int = 20) -> Field:
    """The way back along a field `[P, h, w, 2]` of that stride, by fixed-point iteration; exact where it is smooth."""
    shape = (field.shape[1], field.shape[2])
    cells, back = cell_grid(shape, field.device), -field
    for _ in range(rounds):
        back = -field_at(field, cells + back / stride)
    return back
