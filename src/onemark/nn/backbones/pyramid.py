"""The pyramid networks by name: five maps at strides 2...32, the same for matchers and detectors."""

from __future__ import annotations

from typing import Literal

from onemark.nn.backbones.efficientnet import EfficientUNet
from onemark.nn.backbones.unet import UNet
from onemark.nn.backbones.vgg import Norm, VGGUNet

Encoder = Literal["compact", "vgg19", "efficientnet_lite0"]
Pyramid = UNet | VGGUNet | EfficientUNet


def pyramid(encoder: Encoder, norm: Norm = "batch", centred: bool = False) -> Pyramid:
    """A network with random weights.

    Args:
        encoder: Its name.
        norm: Normalisation in the decoder of `vgg19`.
        centred: Whether `vgg19` takes grey values in [-1, 1] instead of [0, 1].
    """
    if encoder == "vgg19":
        return VGGUNet(norm, centred)
    return UNet() if encoder == "compact" else EfficientUNet()
