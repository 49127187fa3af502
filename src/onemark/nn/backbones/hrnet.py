"""HRNet-W18 of timm as a pyramid of four maps, the encoder that EdgeTrans publishes (Yin et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from onemark.nn.torchvision_fix import import_torchvision
from onemark.types import UserError

NAME = "hrnet_w18.ms_in1k"
MEAN, DEVIATION = (
    0.449,
    0.226,
)  # of ImageNet's three colours together, as the released code takes for grey images


class HRNet(nn.Module):
    """HRNetV2-W18 without its classification head.

    Takes `[B, 1, H, W]` or `[B, 3, H, W]` in [0, 1], H and W divisible by 32; gives four maps
    `[B, widths[i], H / s, W / s]` at strides 4, 8, 16, 32, finest first. A grey image is given to all three colours.
    """

    widths = (18, 36, 72, 144)

    def __init__(self) -> None:
        super().__init__()
        import_torchvision()
        import timm

        # The default feature_location puts classification layers behind each map: more channels than the paper's.
        self.body: nn.Module = timm.create_model(
            NAME, pretrained=False, features_only=True, feature_location="", out_indices=(1, 2, 3, 4)
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Images -> four maps, finest first."""
        x = ((x - MEAN) / DEVIATION).expand(-1, 3, -1, -1)
        maps: list[torch.Tensor] = self.body(x.contiguous(memory_format=torch.channels_last))
        return maps

    def take(self, state: Mapping[str, torch.Tensor], origin: str) -> None:
        """Take the weights of timm's `hrnet_w18`, named as timm names them.

        Args:
            state: `conv1.weight` and so on; those of the classification head are passed over.
            origin: Where the state comes from, for messages.

        Raises:
            UserError: a weight is missing or has another shape.
        """
        own = self.body.state_dict()
        for key, value in own.items():
            if key not in state or state[key].shape != value.shape:
                raise UserError(
                    f"{origin} holds no HRNet-W18: {key} of shape {tuple(value.shape)} is not in it; "
                    f"give a file of timm's {NAME}"
                )
        self.body.load_state_dict({key: state[key] for key in own})
