"""The compact residual U-Net that matcher and detector share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

WIDTHS = (32, 48, 96, 128, 192)
STRIDES = (2, 4, 8, 16, 32)


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3 x 3 convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """`x + conv(conv(x))`, both of the same width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(width, width), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, width, h, w]` -> the same."""
        return F.relu(x + self.body(x))


class UNet(nn.Module):
    """Residual U-Net with one output per stride 2, 4, 8, 16, 32.

    Takes `[B, colours, H, W]` in [0, 1], H and W divisible by 32; gives five maps `[B, widths[i], H / s, W / s]`, finest
    first.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, colours: int = 1) -> None:
        super().__init__()
        self.widths = widths
        inputs = (colours, *widths[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(conv(i, o, 2), Residual(o) if n else conv(o, o))
            for n, (i, o) in enumerate(zip(inputs, widths, strict=True))
        )
        self.lateral, self.up = way_up(widths)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """`[B, colours, H, W]` -> five maps, finest first."""
        x = (x - 0.45) / 0.25
        x = x.contiguous(memory_format=torch.channels_last)  # lets `embed.rows` read cells without a copy
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        return climb(skips, self.lateral, self.up)


def way_up(widths: Sequence[int]) -> tuple[nn.ModuleList, nn.ModuleList]:
    """What `climb` needs: convolutions from each width to the finer one, and those of the sums, finest first."""
    lateral = nn.ModuleList(nn.Conv2d(widths[n + 1], widths[n], 1) for n in range(len(widths) - 1))
    return lateral, nn.ModuleList(conv(width, width) for width in widths[:-1])


def climb(skips: Sequence[torch.Tensor], lateral: nn.ModuleList, up: nn.ModuleList) -> list[torch.Tensor]:
    """An encoder's maps, finest first, each with all coarser ones added to it; of the same shapes."""
    maps = [skips[-1]]
    for skip, across, stage in zip(reversed(skips[:-1]), reversed(lateral), reversed(up), strict=True):
        wide = F.interpolate(across(maps[0]), scale_factor=2, mode="bilinear", align_corners=False)
        maps.insert(0, stage(wide + skip))
    return maps
