"""Blocks that widen what a map's cell sees: ASPP, which CC2D's paper names, and RFB, which its code uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from onemark.nn.torchvision_fix import import_torchvision

Context = Literal["none", "aspp", "rfb"]

ATROUS_RATES = (6, 12, 18)
RFB_SIZES = (3, 5, 7)
RFB_LEVELS = 3


def context_blocks(kind: Context, widths: Sequence[int]) -> nn.ModuleList:
    """One block per level of a pyramid, finest first, each keeping its width.

    Args:
        kind: `aspp` on all levels; `rfb` on the three deepest ones; `none`.
        widths: Channels per level, finest first.
    """
    plain = {"none": len(widths), "aspp": 0, "rfb": len(widths) - RFB_LEVELS}[kind]
    block = aspp if kind == "aspp" else RFB
    return nn.ModuleList(nn.Identity() if n < plain else block(width) for n, width in enumerate(widths))


def aspp(width: int) -> nn.Module:
    """Atrous spatial pyramid pooling (Chen et al. 2017), `[B, width, h, w]` -> the same; without its dropout.

    Its global branch is normalised over the batch: training needs batches of two or more.
    """
    import_torchvision()
    from torchvision.models.segmentation.deeplabv3 import ASPP

    pooling = ASPP(width, ATROUS_RATES, width)
    pooling.project[-1] = nn.Identity()  # the dropout is for classifiers: it would make embeddings random
    block: nn.Module = pooling
    return block


class RFB(nn.Module):
    """Receptive field block (Liu et al. 2018) without inner ReLUs: four branches and a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_conv(width, width, 1), *(_branch(width, k) for k in RFB_SIZES)])
        self.join = _conv(len(self.branches) * width, width, 3)
        self.shortcut = _conv(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, width, h, w]` -> the same."""
        wide = torch.cat([branch(x) for branch in self.branches], 1)
        return F.relu(self.join(wide) + self.shortcut(x))


def _branch(width: int, k: int) -> nn.Sequential:
    return nn.Sequential(
        _conv(width, width, 1),
        _conv(width, width, (1, k)),
        _conv(width, width, (k, 1)),
        _conv(width, width, 3, dilation=k),
    )


def _conv(inputs: int, outputs: int, size: int | tuple[int, int], dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, padding="same", dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))
