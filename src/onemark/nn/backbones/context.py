"""Blocks that enlarge the receptive field of a cell: ASPP, which CC2D's paper names, and RFB, which its code uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from onemark.nn.torchvision_fix import import_torchvision

Context = Literal["none", "aspp", "rfb"]

ATROUS_RATES = (6, 12, 18)  # DeepLabv3's
RFB_SIZES = (3, 5, 7)  # of the released code's branches; their dilation is the same number
RFB_LEVELS = 3  # strides 8, 16 and 32, as in the released code


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
    """Receptive field block (Liu et al. 2018) without inner ReLUs: four branches and a residual.

    Args:
        width: Channels in.
        outputs: Channels out; as many as in where None.
        groups: Independent blocks that run side by side, each on its own `width` channels.
    """

    def __init__(self, width: int, outputs: int | None = None, groups: int = 1) -> None:
        super().__init__()
        out = width if outputs is None else outputs
        branches = (_branch(width, out, k, groups) for k in RFB_SIZES)
        self.branches = nn.ModuleList([_conv(width, out, 1, groups=groups), *branches])
        self.join = _conv(len(self.branches) * out, out, 3, groups=groups)
        self.shortcut = _conv(width, out, 1, groups=groups)
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, groups * width, h, w]` -> `[B, groups * outputs, h, w]`."""
        wide = join_groups([branch(x) for branch in self.branches], self.groups)
        return F.relu(self.join(wide) + self.shortcut(x))


def join_groups(maps: Sequence[torch.Tensor], groups: int) -> torch.Tensor:
    """Join maps `[B, groups * C_i, h, w]` group by group: `[B, groups * sum C_i, h, w]`.

    A plain concatenation would order channels by map, and a grouped convolution needs them ordered by group.
    """
    if groups == 1:
        return torch.cat(list(maps), 1)
    return torch.cat([split_dim(m, 1, (groups, -1)) for m in maps], 2).flatten(1, 2)


def split_dim(m: torch.Tensor, dim: int, sizes: tuple[int, ...]) -> torch.Tensor:
    """View a tensor with dimension `dim` split into dimensions of these sizes; one of them may be -1."""
    return m.view(*m.shape[:dim], *sizes, *m.shape[dim + 1 :])


def _branch(width: int, out: int, k: int, groups: int) -> nn.Sequential:
    return nn.Sequential(
        _conv(width, out, 1, groups=groups),
        _conv(out, out, (1, k), groups=groups),
        _conv(out, out, (k, 1), groups=groups),
        _conv(out, out, 3, dilation=k, groups=groups),
    )


def _conv(
    inputs: int, outputs: int, size: int | tuple[int, int], dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(
        groups * inputs,
        groups * outputs,
        size,
        padding="same",
        dilation=dilation,
        groups=groups,
        bias=False,
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(groups * outputs))
