"""Self-supervision as published: find a template patch again in its radiograph (Yao et al. 2021, Eq. 1-2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from onemark.imaging.augment import JITTER, Geometry, Warp
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.embedding.embed import Embedder, vectors_at
from onemark.nn.embedding.locate import nearest_cells
from onemark.nn.embedding.patches import Contrast, crop
from onemark.nn.training.canvases import ResolutionLevel, level_at
from onemark.stages.match.cc2d.config import CC2DConfig
from onemark.types import UserError

TURN = Geometry(rotation=math.radians(20), log_scale=0, shear=0, shift=0, elastic=0)  # the released code's
MARGIN = 0.1  # share of a patch's side along each border without anchors, as in the released code


@dataclass(frozen=True)
class PatchBatch:
    """Radiographs, a patch of each, and anchors on both.

    Attributes:
        whole: `[B, 1, H, W]` canvases.
        patches: `[B, 1, P, P]` augmented patches of them.
        here: `[B, N, 2]` anchors (x, y) on the patches, patch px.
        there: `[B, N, 2]` the same on the canvases, canvas px.
        inside: `[B, N]`, 0 where the rotation took an anchor off its patch. The released code would take it for the
            patch's corner.
    """

    whole: torch.Tensor
    patches: torch.Tensor
    here: torch.Tensor
    there: torch.Tensor
    inside: torch.Tensor


class PatchTask:
    """What the training loop trains for the published matcher.

    Args:
        module: The embedding network, or two of them.
        levels: The cohort, coarser levels first.
        config: Options.

    Raises:
        UserError: the patch does not fit on the canvas, or the batch is too small.
    """

    def __init__(self, module: Embedder, levels: Sequence[ResolutionLevel], config: CC2DConfig) -> None:
        h, w = levels[0].store.canvas
        if config.patch % STRIDES[-1] or config.patch > min(h, w):
            raise UserError(
                f"match.patch must be a multiple of {STRIDES[-1]} px and fit on the canvas of {w} x {h} px, not "
                f"{config.patch}: lower match.patch or raise match.area"
            )
        if config.context == "aspp" and config.batch < 2:
            raise UserError(
                "match.context=aspp needs match.batch of at least 2: it is normalised over the batch"
            )
        self.module, self.levels, self.config = module, levels, config
        self.contrast = Contrast(config.temperature, config.window, config.distance_bias, config.bias_cap)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The network."""
        return {"module": self.module}

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> PatchBatch:
        """Draw radiographs, a patch of each and anchors in its inner part; jitter and turn the patches.

        Anchors are turned as coordinates, exactly; the released code turns a picture of one white pixel.
        """
        config, device, side = self.config, generator.device, self.config.patch
        store = level_at(self.levels, fraction).store
        whole = store.read(store.draw(size or config.batch, generator)).to(device)
        room = torch.tensor([whole.shape[-1], whole.shape[-2]], device=device) - side + 1
        corner = (torch.rand(len(whole), 1, 2, generator=generator, device=device) * room).long()
        anchor = torch.rand(len(whole), config.anchors, 2, generator=generator, device=device)
        anchor = (MARGIN + (1 - 2 * MARGIN) * anchor) * (side - 1)
        warp = Warp.draw(len(whole), (side, side), TURN, generator)
        patches = warp.images(JITTER.apply(crop(whole, corner[:, 0], side), generator))
        here = warp.inverse(anchor)
        inside = ((here >= 0) & (here <= side - 1)).all(-1).float()
        return PatchBatch(whole, patches, here, anchor + corner, inside)

    def loss(self, module: nn.Module, batch: PatchBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Cross-entropy of the anchors' places in the whole radiographs, summed over the five levels (Eq. 2)."""
        whole = module(batch.whole)
        patches = (
            module(batch.patches, template=True) if self.config.extractors == "two" else module(batch.patches)
        )
        total = torch.zeros((), device=batch.whole.device)
        for stride, a, b in zip(STRIDES, patches, whole, strict=True):
            vectors = vectors_at(a, nearest_cells(batch.here, stride))
            cells = nearest_cells(batch.there, stride)
            # Eq. 1 compares the whole map at the deepest level, Eq. 2 a window at the finer ones.
            nats = self.contrast.nats(vectors, b, cells, whole=stride == STRIDES[-1])
            total = total + (nats * batch.inside).sum() / batch.inside.sum().clamp(min=1)
        return total, {}

    def after(self, fraction: float) -> None:
        """Nothing follows the network."""
