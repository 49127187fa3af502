"""A frozen encoder and the decoders of all landmarks on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch

from onemark.nn.backbones.pyramid import pyramid
from onemark.nn.backbones.vgg import TAPS, WIDTHS, VGGUNet
from onemark.nn.embedding.embed import Embedder, Maps
from onemark.stages.match.sla.config import SLAConfig
from onemark.stages.match.sla.decoder import Decoder, Sharing
from onemark.stages.match.sla.windows import LEVELS


class LandmarkNet(Embedder):
    """An embedding network, which learns first and is then frozen, and the landmarks' decoders.

    Args:
        config: Options.
        landmarks: K.
    """

    def __init__(self, config: SLAConfig, landmarks: int) -> None:
        super().__init__(pyramid(config.encoder), config.length)
        self.bare = (
            config.before == 0
        )  # as published: decoders read the encoder itself, which never learns to match
        self.frozen = False
        foveal = config.views == "windows"
        encoder = TAPS if isinstance(self.backbone, VGGUNet) and self.bare else self.backbone.widths
        taps = encoder[:LEVELS] if foveal else encoder
        widths = (config.width,) * (LEVELS - 1) if foveal else WIDTHS[:-1]
        sharing = Sharing(landmarks, config.adapter if config.decoders == "adapter" else None)
        self.decoder = Decoder(taps, widths, config.length, sharing, config.context == "rfb", foveal)

    def freeze(self) -> Self:
        """Let only the decoders learn from here on."""
        self.frozen = True
        for part in (self.backbone, self.heads, self.context):
            part.requires_grad_(False).eval()
        return self

    def train(self, mode: bool = True) -> Self:
        """Switch the mode of all modules but the frozen ones, whose batch statistics must not change."""
        super().train(mode)
        return self.freeze() if self.frozen else self

    def forward(self, x: Any, decode: bool = False) -> Maps:
        """Embeddings of canvases `[B, 1, H, W]`; with `decode`, each landmark's embeddings of the encoder's maps.

        Both go through `forward`, because that is what the training loop wraps.
        """
        maps: Maps = self.decoder(x) if decode else super().forward(x)
        return maps

    @torch.no_grad()
    def taps(self, canvases: torch.Tensor) -> list[torch.Tensor]:
        """The encoder's maps of canvases `[B, 1, H, W]`, finest first."""
        if isinstance(self.backbone, VGGUNet) and self.bare:
            return self.backbone.taps(canvases)
        maps: list[torch.Tensor] = self.backbone(canvases)
        return maps

    def embed(self, maps: Sequence[torch.Tensor]) -> Maps:
        """Embed all of the encoder's maps as it learned to by itself, before the decoders: `[B, length, h, w]` each."""
        return [head(context(m)) for head, context, m in zip(self.heads, self.context, maps, strict=True)]
