"""The two networks of C2T."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from onemark.nn.backbones.hrnet import HRNet
from onemark.nn.backbones.pyramid import pyramid
from onemark.nn.heatmaps.heatmap import HeatmapNet
from onemark.stages.detect.c2t.config import C2TConfig

MULTIPLE = 32  # what the sides of a canvas are divisible by: the deepest stride


class ConcatNet(nn.Module):
    """HRNetV2's heatmaps: four maps joined at stride 4, `[B, 1, H, W]` -> `[B, K, H / 4, W / 4]`."""

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        self.backbone = HRNet()
        width = sum(HRNet.widths)
        self.join = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.head = nn.Conv2d(width, landmarks, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A map per landmark."""
        finest, *deeper = self.backbone(x)
        size = finest.shape[-2:]
        wide = [F.interpolate(m, size, mode="bilinear", align_corners=False) for m in deeper]
        maps: torch.Tensor = self.head(self.join(torch.cat([finest, *wide], 1)))
        return maps


class Pair(nn.Module):
    """Two networks of one kind with different heads; the second may see a coarser canvas.

    They must err differently to be of use to each other, so their heads start at different random weights.

    Args:
        config: Options.
        landmarks: K.
    """

    def __init__(self, config: C2TConfig, landmarks: int) -> None:
        super().__init__()
        self.coarse = config.coarse
        self.first, self.second = (_network(config, landmarks) for _ in range(2))

    def forward(
        self, first: torch.Tensor, second: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Views `[B, 1, H, W]`, one for each network or one for both -> maps `[B, K, h, w]` of each."""
        ours: torch.Tensor = self.first(first)
        theirs = self.second(self._coarsen(first if second is None else second))
        # Losses compare both networks cell by cell.
        if theirs.shape != ours.shape:
            theirs = F.interpolate(theirs, ours.shape[-2:], mode="bilinear", align_corners=False)
        return ours, theirs

    def _coarsen(self, views: torch.Tensor) -> torch.Tensor:
        h, w = (max(1, round(n * self.coarse / MULTIPLE)) * MULTIPLE for n in views.shape[-2:])
        if (h, w) == tuple(views.shape[-2:]):
            return views
        return F.interpolate(views, (h, w), mode="area")


def _network(config: C2TConfig, landmarks: int) -> nn.Module:
    if config.encoder == "hrnet_w18":
        return ConcatNet(landmarks)
    return HeatmapNet(pyramid("compact"), landmarks)
