"""Synthetic partners, whose correspondence is known: random maps, as published or with elastic parts."""

from __future__ import annotations

from dataclasses import replace

import torch

from onemark.imaging.augment import Geometry, Warp
from onemark.imaging.letterbox import Size
from onemark.stages.match.edgetrans.config import EdgeTransConfig
from onemark.stages.match.edgetrans.transform import Transform, cell_centres

STILL = Geometry().times(0)
BENT = replace(Geometry(), elastic=0.03)
"""The compact form's partners: the augmentation of the other stages, bent about as strongly as people differ."""

DEGREE = torch.pi / 180
LEAST_DEPTH = 0.25  # of a perspective's denominator, which must not come near 0


def partners(batch: int, canvas: Size, config: EdgeTransConfig, generator: torch.Generator) -> Warp:
    """Draw maps from partners' pixels to those of the radiographs that they are made of."""
    if config.synthesis == "elastic":
        return Warp.draw(batch, canvas, BENT, generator)
    return published_partners(batch, canvas, generator)


def views(batch: int, canvas: Size, config: EdgeTransConfig, generator: torch.Generator) -> Warp:
    """Draw maps from views' pixels to those of the radiographs: the published augmentation, which comes first."""
    if config.synthesis == "elastic":
        return Warp.draw(batch, canvas, STILL, generator)
    draw = _Normal(batch, generator)
    # As in the released code: turned with probability 0.6, scaled always.
    turned = (torch.rand(batch, generator=generator, device=generator.device) < 0.6).float()
    angle = turned * draw(15 * DEGREE, 30 * DEGREE)
    scale = 1 + draw(0.25, 0.25)
    return _warp(
        canvas, scale, scale, angle, torch.zeros_like(angle), torch.zeros(batch, 2), torch.zeros(batch, 2)
    )


def published_partners(batch: int, canvas: Size, generator: torch.Generator) -> Warp:
    """Draw partners as the released code does: scale, turn, shear, shift and perspective, all from cut-off normals."""
    draw = _Normal(batch, generator)
    scale = 1 + draw(0.125, 0.125)
    angle, shear = draw(7.5 * DEGREE, 15 * DEGREE), draw(0.75 * DEGREE, 1.5 * DEGREE)
    shift = torch.stack([draw(0.1, 0.2), draw(0.1, 0.2)], 1)
    tilt = torch.stack([draw(0.15, 0.5), draw(0.15, 0.5)], 1)
    return _warp(canvas, scale, scale, angle, shear, shift, tilt)


def to_registration(warp: Warp) -> Transform:
    """Read a warp as the registration of radiographs (sources) with the partners (targets) that it made of them."""
    return Transform(warp.matrix, warp.translation, warp.elastic, warp.canvas)


class _Normal:
    """Draws normal numbers `[B]` of mean 0 that are cut off."""

    def __init__(self, batch: int, generator: torch.Generator) -> None:
        self.batch, self.generator = batch, generator

    def __call__(self, deviation: float, most: float) -> torch.Tensor:
        drawn = torch.randn(self.batch, generator=self.generator, device=self.generator.device)
        return (drawn * deviation).clamp(-most, most)


def _warp(
    canvas: Size,
    sx: torch.Tensor,
    sy: torch.Tensor,
    turn: torch.Tensor,
    shear: torch.Tensor,
    shift: torch.Tensor,
    tilt: torch.Tensor,
) -> Warp:
    """Build a warp from scales, turn and shear `[B]`, and shift and perspective `[B, 2]` in half sides.

    The perspective becomes the displacement.
    """
    h, w = canvas
    half = torch.tensor([w / 2, h / 2], device=turn.device)
    cos, sin = torch.cos(turn), torch.sin(turn)
    matrix = torch.stack([cos * sx, (shear * cos - sin) * sy, sin * sx, (shear * sin + cos) * sy], -1)
    centred = cell_centres(canvas, 1, turn.device) - torch.tensor(
        [(w - 1) / 2, (h - 1) / 2], device=turn.device
    )
    along = (centred / half * tilt.to(turn.device)[:, None, None]).sum(-1, keepdim=True)
    moved = centred / (1 + along).clamp(min=LEAST_DEPTH) - centred
    return Warp(matrix.view(-1, 2, 2), shift.to(turn.device) * half, moved.permute(0, 3, 1, 2))
