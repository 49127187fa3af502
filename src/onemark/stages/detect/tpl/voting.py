"""The published detector: discs and offsets per pixel, which vote for the landmark (Yao et al. 2021, Eq. 4)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from onemark.nn.backbones.pyramid import Pyramid
from onemark.nn.backbones.vgg import double_conv, upsample
from onemark.nn.heatmaps.decode import Peaks
from onemark.nn.heatmaps.heatmap import PEAK_RADIUS, on_map
from onemark.stages.detect.tpl.heatmap import HeatmapTask

LAST_WIDTH = 64  # channels of the block that goes up to the full canvas, as in the released code


class VotingNet(nn.Module):
    """A disc and two offsets per landmark at every pixel: `[B, 1, H, W]` -> `[B, 3, K, H, W]`.

    The three are the logit of lying in the disc around the landmark, and the way to the landmark in x and in y, in
    radii of the disc. The paper's offsets have the opposite sign; these are the released code's.
    """

    def __init__(self, backbone: Pyramid, landmarks: int) -> None:
        super().__init__()
        self.backbone, self.landmarks = backbone, landmarks
        self.last = double_conv(backbone.widths[0], LAST_WIDTH, "instance")
        self.head = nn.Conv2d(LAST_WIDTH, 3 * landmarks, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Disc logits, x and y offsets."""
        output: torch.Tensor = self.head(self.last(upsample(self.backbone(x)[0])))
        return output.view(len(x), 3, self.landmarks, *x.shape[-2:])


class VotingTask(HeatmapTask):
    """What the training loop trains for the published detector, which differs from the compact one in loss and batch."""

    def exemplars_of(self, size: int, generator: torch.Generator) -> int:
        """One exemplar with true labels is in every batch."""
        return 1

    def misfit(self, output: torch.Tensor, xy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Eq. 4 for discs and offsets `[B, 3, K, H, W]`: `[B, K]`, and whether the landmark lies on the view."""
        h, w = output.shape[-2:]
        radius = disc_radius((h, w), self.config.disc)
        # A finite place for unknown landmarks, whose loss is masked: NaN would spread through the gradient.
        known, xy = on_map(xy, (h, w)), xy.nan_to_num()
        right = (xy[..., 0, None] - torch.arange(w, device=xy.device))[..., None, :]
        down = (xy[..., 1, None] - torch.arange(h, device=xy.device))[..., :, None]
        inside = (right**2 + down**2 < radius**2).float()
        heat, x, y = output.float().unbind(1)
        stray = ((x - right / radius).abs() + (y - down / radius).abs()) * inside
        offsets = stray.sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)
        return self.config.heat_weight * self._disc_loss(heat, inside).mean((2, 3)) + offsets, known

    def _disc_loss(self, heat: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """Loss per pixel: cross-entropy (paper), or the same with less weight where it is nearly right (code)."""
        nats = F.binary_cross_entropy_with_logits(heat, inside, reduction="none")
        if self.config.loss == "bce":
            return nats
        return nats * (inside - heat.sigmoid()).abs()


def disc_radius(shape: tuple[int, int], share: float) -> int:
    """Radius of the discs on a map `(h, w)`: a share of its mean side, whole pixels, at least 1."""
    return max(1, int(share * math.sqrt(shape[0] * shape[1])))


def vote(output: torch.Tensor, radius: int, subpixel: bool = True) -> tuple[Peaks, torch.Tensor]:
    """Let as many pixels as a disc has, the likeliest ones, vote for where their offsets point.

    Votes are counted at the nearest pixel, not at the one above and to the left as in the released code. Those that
    leave the map are lost.

    Args:
        output: `[3, K, H, W]` of one radiograph.
        radius: Radius of the discs, px.
        subpixel: Whether the peak is the mean of the votes around the best pixel; else that pixel, as published.

    Returns:
        Peaks in px (`score`: share of votes within 3 px of the best pixel; `spread`: the votes' mean distance to the
        peak), and the ballots `[K, H, W]`.
    """
    heat, *offsets = output.float()
    k, h, w = heat.shape
    top = heat.flatten(1).topk(min(h * w, round(math.pi * radius**2))).indices
    way = torch.stack([o.flatten(1).gather(1, top) for o in offsets], -1)
    aim = torch.stack([top % w, top // w], -1) + radius * way
    counted = on_map(aim.round(), (h, w))
    cell = aim.nan_to_num().round().long()
    index = cell[..., 1].clamp(0, h - 1) * w + cell[..., 0].clamp(0, w - 1)
    ballots = torch.zeros(k, h * w, device=heat.device).scatter_add_(1, index, counted.float())
    best = ballots.argmax(1)
    peak = torch.stack([best % w, best // w], -1).float()[:, None]
    near = (((aim - peak).abs() <= PEAK_RADIUS).all(-1) & counted).float()[..., None]
    mean = (near * aim).sum(1, keepdim=True) / near.sum(1, keepdim=True).clamp(min=1)
    xy = mean if subpixel else peak
    voters = counted.sum(1).clamp(min=1)
    spread = ((aim - xy).norm(dim=-1) * counted).sum(1) / voters
    return Peaks(xy[:, 0], near.sum((1, 2)) / top.shape[1], spread), ballots.view(k, h, w)
