"""The published encoder and decoder: VGG19 with a U-Net's way up (Yao et al., MICCAI 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from onemark.nn.torchvision_fix import import_torchvision
from onemark.types import UserError

TAPS = (64, 128, 256, 512, 512)  # channels after each max-pool, strides 2...32
WIDTHS = (128, 64, 128, 256, TAPS[-1])  # channels of the decoder's maps, as in the released code

Norm = Literal["batch", "instance"]


def double_conv(inputs: int, outputs: int, norm: Norm = "batch") -> nn.Sequential:
    """3 x 3 convolution, normalisation and ReLU, twice: `[B, inputs, h, w]` -> `[B, outputs, h, w]`."""
    kind = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}[norm]
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, 1, 1), kind(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def upsample(m: torch.Tensor) -> torch.Tensor:
    """Enlarge maps `[B, C, h, w]` to `[B, C, 2 h, 2 w]` with corners aligned, as the released code does."""
    return F.interpolate(m, scale_factor=2, mode="bilinear", align_corners=True)


class VGGUNet(nn.Module):
    """VGG19 tapped after each max-pool, decoded up to stride 2; one output per stride 2, 4, 8, 16, 32.

    Takes `[B, 1, H, W]` in [0, 1], H and W divisible by 32; gives five maps `[B, widths[i], H / s, W / s]`, finest
    first: the same contract as `UNet`. All three colours get the grey image. Values are not standardised by
    ImageNet's mean and deviation, as in the released code.

    Args:
        norm: Normalisation in the decoder.
        centred: Whether to move grey values to [-1, 1] first, as the published detector does. The published matcher
            takes them as they are.
    """

    def __init__(self, norm: Norm = "batch", centred: bool = False) -> None:
        super().__init__()
        self.widths, self.centred = WIDTHS, centred
        self.features = _vgg19_layers()
        below = (*WIDTHS[1:-1], TAPS[-1])
        sizes = zip(TAPS[:-1], below, WIDTHS[:-1], strict=True)
        self.up = nn.ModuleList(double_conv(tap + deeper, width, norm) for tap, deeper, width in sizes)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """`[B, 1, H, W]` -> five maps, finest first."""
        taps = self.taps(x)
        maps = [taps[-1]]
        for skip, stage in zip(reversed(taps[:-1]), reversed(self.up), strict=True):
            maps.insert(0, stage(torch.cat([skip, upsample(maps[0])], 1)))
        return maps

    def taps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The encoder alone: `[B, 1, H, W]` -> `[B, TAPS[i], H / s, W / s]` at strides 2...32, finest first."""
        x = 2 * x - 1 if self.centred else x
        x = x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        taps = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                taps.append(x)
        return taps

    def take(self, state: Mapping[str, torch.Tensor], origin: str) -> None:
        """Take the encoder's weights from a VGG19's state, named as torchvision names them.

        Args:
            state: `features.0.weight` and so on; other names are passed over.
            origin: Where the state comes from, for messages.

        Raises:
            UserError: a weight is missing or has another shape.
        """
        own = {f"features.{key}": value for key, value in self.features.state_dict().items()}
        for key, value in own.items():
            if key not in state or state[key].shape != value.shape:
                raise UserError(
                    f"{origin} holds no VGG19: {key} of shape {tuple(value.shape)} is not in it; "
                    "give a file of torchvision's vgg19"
                )
        self.load_state_dict({key: state[key] for key in own}, strict=False)


def _vgg19_layers() -> nn.Sequential:
    """torchvision's layers and initial values, without the classifier's 120 million weights."""
    import_torchvision()
    from torchvision.models.vgg import cfgs, make_layers

    layers: nn.Sequential = make_layers(cfgs["E"])
    for layer in layers:
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return layers
