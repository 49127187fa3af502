"""EfficientNet-Lite0 with the compact network's way up (Tan and Le, ICML 2019): an encoder that ImageNet has taught."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from onemark.nn.backbones.unet import WIDTHS, climb, way_up
from onemark.nn.torchvision_fix import import_torchvision
from onemark.types import UserError

NAME = "tf_efficientnet_lite0"
TAPS = (16, 24, 40, 112, 320)  # channels at strides 2...32


class EfficientUNet(nn.Module):
    """EfficientNet-Lite0 of timm, decoded up to stride 2; one output per stride 2, 4, 8, 16, 32.

    Takes `[B, 1, H, W]` in [0, 1], H and W divisible by 32; gives five maps `[B, widths[i], H / s, W / s]`, finest first:
    the same contract as `UNet`. All three colours get the grey image, in [-1, 1] as the published weights expect.
    """

    widths = WIDTHS

    def __init__(self) -> None:
        super().__init__()
        import_torchvision()
        import timm

        self.body: nn.Module = timm.create_model(
            NAME, pretrained=False, features_only=True, out_indices=tuple(range(len(TAPS)))
        )
        self.tap = nn.ModuleList(
            nn.Sequential(nn.Conv2d(tap, width, 1, bias=False), nn.BatchNorm2d(width))
            for tap, width in zip(TAPS, WIDTHS, strict=True)
        )
        self.lateral, self.up = way_up(WIDTHS)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """`[B, 1, H, W]` -> five maps, finest first."""
        x = (2 * x - 1).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        taps = [tap(one) for tap, one in zip(self.tap, self.body(x), strict=True)]
        return climb(taps, self.lateral, self.up)

    def take(self, state: Mapping[str, torch.Tensor], origin: str) -> None:
        """Take the encoder's weights; those of the head are passed over.

        Args:
            state: All weights of an EfficientNet-Lite0, by timm's names or, as other ports name them otherwise, in
                timm's order.
            origin: Where the state comes from, for messages.

        Raises:
            UserError: a weight is missing or has another shape.
        """
        own = self.body.state_dict()
        by_name = own.keys() <= state.keys()
        given = [state[name] for name in own] if by_name else list(state.values())[: len(own)]
        if [one.shape for one in given] != [one.shape for one in own.values()]:
            raise UserError(
                f"{origin} holds no EfficientNet-Lite0: its layers have other names or shapes; "
                f"give a file of timm's {NAME}"
            )
        self.body.load_state_dict(dict(zip(own, given, strict=True)))
