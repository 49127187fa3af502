"""From tokens to maps: the affine head (Yin et al. 2022, Eq. 8-10), perspective, and the deformation field."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from onemark.imaging.letterbox import Size
from onemark.stages.match.edgetrans.transform import Transform, cell_centres

LARGEST_MOVE = 0.5  # of a field, in half sides of the canvas, as in the released code
LARGEST_TILT = 0.5  # of the perspective's denominator at the border, as far as synthetic pairs are tilted
GENTLY = 16.0  # divides the input of the tangents where the learning rate is that of a small network


class AffineHead(nn.Module):
    """Global token -> scales, turn, shear and shift within fixed ranges (Eq. 8-10); with two tilts for a perspective.

    Its last layer starts at zero, and so the map at the identity.

    Args:
        width: Numbers of the token.
        perspective: Whether there are tilts.
        ease: Divides the input of the tangents; 1 as published.
    """

    def __init__(self, width: int, perspective: bool, ease: float = 1.0) -> None:
        super().__init__()
        self.ease = ease
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True))
        self.last = nn.Linear(width, 8 if perspective else 6)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, token: torch.Tensor) -> torch.Tensor:
        """`[B, width]` -> `[B, 6 or 8]` in -1...1."""
        return torch.tanh(self.last(self.hidden(token)).float() / self.ease)


def affine_from(numbers: torch.Tensor, before: Transform) -> Transform:
    """Turn the head's numbers into an affine map that comes after another one, on the target's side of it.

    Args:
        numbers: `[B, 6 or 8]` in -1...1: scales sx, sy (0...2), turn and shear (-pi/2...pi/2, the shear as a slope),
            shift (x, y; half sides of the canvas), and tilts (x, y) of a perspective.
        before: The other map, of the same batch.

    Returns:
        The map; a perspective goes into its displacement.
    """
    h, w = before.canvas
    half = torch.tensor([w / 2, h / 2], device=numbers.device)
    sx, sy, turn, shear = numbers[:, :4].unbind(1)
    cos, sin, slope = torch.cos(turn * math.pi / 2), torch.sin(turn * math.pi / 2), shear * math.pi / 2
    a, b = torch.stack([cos, sin], 1) * (1 + sx)[:, None], torch.stack([-sin, cos], 1)
    columns = torch.stack([a, (b + slope[:, None] * torch.stack([cos, sin], 1)) * (1 + sy)[:, None]], -1)
    m = (before.matrix[:, :, :, None] * columns[:, None]).sum(
        2
    )  # autocast would round a matrix product to bfloat16
    shift = numbers[:, 4:6] * half
    t = before.translation + (before.matrix * shift[:, None]).sum(-1)
    made = replace(before, matrix=m, translation=t)
    return made if numbers.shape[1] == 6 else _tilt(made, numbers[:, 6:] * LARGEST_TILT)


def _tilt(flat: Transform, tilt: torch.Tensor) -> Transform:
    """Put `q -> c + (q - c) / (1 + tilt . (q - c) / half)` before an affine map; `tilt` `[B, 2]`."""
    h, w = flat.canvas
    centred = cell_centres(flat.canvas, flat.stride, tilt.device) - torch.tensor(
        [(w - 1) / 2, (h - 1) / 2], device=tilt.device
    )
    along = centred / torch.tensor([w / 2, h / 2], device=tilt.device)
    below = 1 + (along * tilt[:, None, None]).sum(-1, keepdim=True)
    moved = centred / below.clamp(min=0.25) - centred
    return replace(flat, displacement=moved.permute(0, 3, 1, 2))


class FieldHead(nn.Module):
    """Tokens -> a displacement at a finer stride by pixel shuffle; its last layer starts at zero, and so the field.

    Args:
        width: Channels of the tokens.
        canvas: `(H, W)`; the largest move is a quarter of its sides.
        finer: How many times as fine the field is as the tokens: 2 as published, at stride 4.
        ease: Divides the input of the tangents; 1 as published.
    """

    def __init__(self, width: int, canvas: Size, finer: int, ease: float = 1.0) -> None:
        super().__init__()
        self.shuffle, self.ease = finer, ease
        self.last = nn.Conv2d(width, 2 * self.shuffle**2, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        half = torch.tensor([canvas[1] / 2, canvas[0] / 2]) * LARGEST_MOVE
        self.register_buffer("reach", half.view(2, 1, 1), persistent=False)
        self.reach: torch.Tensor

    def forward(self, m: torch.Tensor) -> torch.Tensor:
        """`[B, width, h, w]` -> `[B, 2, h', w']` (x, y), canvas pixels."""
        return torch.tanh(F.pixel_shuffle(self.last(m), self.shuffle).float() / self.ease) * self.reach
