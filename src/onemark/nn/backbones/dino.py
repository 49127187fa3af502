"""Dense descriptors of DINO's ViT-S/8, as Amir et al. (2021) bin them and FM-OSD (Miao et al., MICCAI 2024) uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from onemark.nn.torchvision_fix import import_torchvision
from onemark.types import UserError

NAME = "vit_small_patch8_224.dino"
PATCH, STRIDE = 8, 4  # FM-OSD halves the stride of the patches: maps twice as fine
BLOCK = 8  # the ninth, counted from 0
BINS = 17  # 3 x 3 neighbours and 8 means around them, see `log_bins`
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which DINO learned with


class DinoKeys(nn.Module):
    """Keys of the ninth block, log-binned.

    Takes `[B, 1, H, W]` in [0, 1], H and W divisible by 4; gives `[B, 17 * 384, H / 4, W / 4]`. Patches of 8 px
    overlap by half; the border is repeated for 2 px, so that cell c is centred at pixel `(c + 1/2) * 4 - 1/2`.
    """

    stride = STRIDE

    def __init__(self) -> None:
        super().__init__()
        import_torchvision()
        import timm

        self.body: Any = timm.create_model(NAME, pretrained=False)
        self.width = BINS * int(self.body.embed_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images -> binned keys."""
        from timm.layers import resample_abs_pos_embed

        mean, deviation = (torch.tensor(v, device=x.device)[:, None, None] for v in (MEAN, DEVIATION))
        pad = (PATCH - STRIDE) // 2
        x = F.pad((x.expand(-1, 3, -1, -1) - mean) / deviation, (pad,) * 4, mode="replicate")
        proj = self.body.patch_embed.proj
        cells = F.conv2d(x, proj.weight, proj.bias, STRIDE)
        h, w = cells.shape[-2:]
        tokens = torch.cat([self.body.cls_token.expand(len(x), -1, -1), cells.flatten(2).transpose(1, 2)], 1)
        tokens = tokens + resample_abs_pos_embed(self.body.pos_embed, [h, w])
        for block in self.body.blocks[:BLOCK]:
            tokens = block(tokens)
        last = self.body.blocks[BLOCK]
        keys = last.attn.qkv(last.norm1(tokens)).chunk(3, -1)[1][:, 1:]
        return log_bins(keys.transpose(1, 2).reshape(len(x), -1, h, w))

    def take(self, state: Mapping[str, torch.Tensor], origin: str) -> None:
        """Take the weights of timm's `vit_small_patch8_224.dino`, named as timm names them.

        Args:
            state: `cls_token`, `blocks.0.attn.qkv.weight` and so on.
            origin: Where the state comes from, for messages.

        Raises:
            UserError: a weight is missing or has another shape.
        """
        own = self.body.state_dict()
        for key, value in own.items():
            if key not in state or state[key].shape != value.shape:
                raise UserError(
                    f"{origin} holds no ViT-S/8: {key} of shape {tuple(value.shape)} is not in it; "
                    f"give a file of timm's {NAME}"
                )
        self.body.load_state_dict({key: state[key] for key in own})


def log_bins(m: torch.Tensor) -> torch.Tensor:
    """Describe every cell by its surroundings: its 3 x 3 neighbours, and 8 means of 3 x 3 cells at a distance of 3.

    Args:
        m: `[B, C, h, w]`.

    Returns:
        `[B, 17 C, h, w]`; beyond the border the map is repeated.
    """
    wide = F.avg_pool2d(m, 3, 1, 1, count_include_pad=False)
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    near = [_shift_cells(m, dy, dx) for dy, dx in steps]
    far = [_shift_cells(wide, 3 * dy, 3 * dx) for dy, dx in steps if (dy, dx) != (0, 0)]
    return torch.cat(near + far, 1)


def _shift_cells(m: torch.Tensor, dy: int, dx: int) -> torch.Tensor:
    """The map `[B, C, h, w]` whose cell (y, x) is the cell (y + dy, x + dx) of `m`."""
    h, w = m.shape[-2:]
    ys = (torch.arange(h, device=m.device) + dy).clamp(0, h - 1)
    xs = (torch.arange(w, device=m.device) + dx).clamp(0, w - 1)
    return m[:, :, ys][:, :, :, xs]
