"""The networks that read crops: heatmaps or descriptors of the compact one, and DINO with FM-OSD's local decoder."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from onemark.nn.backbones.dino import DinoKeys
from onemark.nn.backbones.unet import UNet
from onemark.nn.embedding.embed import Embedder
from onemark.types import UserError

DECODED = 256  # numbers per descriptor of FM-OSD's local decoder


class HeatNet(nn.Module):
    """U-Net on crops with one heatmap per landmark, at stride 2.

    Its weights are named as the matcher's and the detector's, so that it can start from either.
    """

    stride = 2

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        self.backbone = UNet()
        self.head = nn.Conv2d(self.backbone.widths[0], landmarks, 1)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Crops of B radiographs, K of each, `[B * K, 1, S, S]` -> logits of each crop's own landmark `[B, K, h, w]`.

        Only the own landmark's row of the head is applied: the other K - 1 maps of a crop are of no use.
        """
        fine = self.backbone(crops)[0]
        weight = self.head.weight[:, :, 0, 0]
        fine = fine.view(-1, len(weight), *fine.shape[1:])
        # Under mixed precision the maps may be bfloat16.
        logits: torch.Tensor = torch.einsum("bkchw,kc->bkhw", fine, weight.to(fine.dtype))
        return logits if self.head.bias is None else logits + self.head.bias[:, None, None]


class MatchNet(nn.Module):
    """The compact matcher's embeddings of all levels in one unit vector per cell of stride 2.

    `[N, 1, S, S]` -> `[N, levels * length, S / 2, S / 2]`; the product of two such vectors is the mean of the levels'
    cosines.
    """

    stride = 2

    def __init__(self, length: int) -> None:
        super().__init__()
        self.embedder = Embedder(UNet(), length)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Crops -> descriptors."""
        maps = [_unit(m) for m in self.embedder(crops)]
        size = maps[0].shape[-2:]
        wide = [_unit(F.interpolate(m, size, mode="bilinear", align_corners=False)) for m in maps]
        return torch.cat(wide, 1) / math.sqrt(len(wide))

    @staticmethod
    def fits(start: Mapping[str, torch.Tensor]) -> bool:
        """Whether these weights are a compact matcher's, which reads all with one network and without context blocks."""
        if any(key.startswith(("context.", "template.")) for key in start):
            return False
        head = start.get("heads.0.weight")
        own = MatchNet(1 if head is None else len(head)).embedder.state_dict()
        return all(key in start and start[key].shape == value.shape for key, value in own.items())

    @classmethod
    def of(cls, start: Mapping[str, torch.Tensor]) -> MatchNet:
        """Build the network of a compact matcher with these weights.

        Raises:
            UserError: they are another network's.
        """
        if not cls.fits(start):
            raise UserError(
                "this matcher has no compact network for the refiner to compare with: set refine.learn=labels, "
                "or refine.encoder=dino with refine.learn=exemplar"
            )
        network = cls(len(start["heads.0.weight"]))
        network.embedder.load_state_dict({key: start[key] for key in network.embedder.state_dict()})
        return network


class DinoNet(nn.Module):
    """Frozen DINO keys and FM-OSD's local decoder: `[N, 1, S, S]` -> unit descriptors `[N, 256, S, S]`.

    Two doubling transposed convolutions and a 5 x 5 convolution; only they learn.
    """

    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.keys = DinoKeys().requires_grad_(False)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(self.keys.width, DECODED, 2, 2),
            nn.BatchNorm2d(DECODED),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(DECODED, DECODED, 2, 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(DECODED, DECODED, 5, 1, 2),
        )

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Crops -> descriptors."""
        with torch.no_grad():
            # In every call, because the training loop switches all modules to training mode.
            keys = self.keys.eval()(crops)
        return _unit(self.decoder(keys))


def _unit(m: torch.Tensor) -> torch.Tensor:
    return F.normalize(m.float(), dim=1)
