"""EdgeTrans' registration network: affine map, then cascaded deformation fields (Yin et al., ECCV 2022, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from onemark.imaging.letterbox import Size
from onemark.nn.backbones.hrnet import HRNet
from onemark.nn.backbones.unet import UNet
from onemark.stages.match.edgetrans.attention import Pyramid
from onemark.stages.match.edgetrans.config import EdgeTransConfig
from onemark.stages.match.edgetrans.correlation import Match, fit_affine, smooth_field
from onemark.stages.match.edgetrans.encoder import Joint, Maps, Siamese
from onemark.stages.match.edgetrans.heads import GENTLY, AffineHead, FieldHead, affine_from
from onemark.stages.match.edgetrans.transform import Transform

FINEST, COARSE = 4, 8  # stride, px, of the tokens that fields are made of


@dataclass  # not frozen: Fabric takes what goes through a module apart and puts it together again
class Cascade:
    """The network's answer for P pairs: an affine map, then a map after each deformation field.

    Attributes:
        affine: The affine map, or the perspective, alone.
        steps: The whole map after each deformation field; the last one is the answer.
        fields: `[P, 2, h, w]` of each pass, canvas pixels.
        whole: Global correlation, where there is one.
        near: Local correlations of each pass, finest first, where there are some.
    """

    affine: Transform
    steps: list[Transform]
    fields: list[torch.Tensor]
    whole: Match | None
    near: list[list[Match]]

    @property
    def answer(self) -> Transform:
        """The whole map."""
        return self.steps[-1] if self.steps else self.affine


class RegistrationNet(nn.Module):
    """Registers pairs of radiographs.

    Args:
        config: Options.
        canvas: `(H, W)`, divisible by 32.
    """

    def __init__(self, config: EdgeTransConfig, canvas: Size) -> None:
        super().__init__()
        self.canvas, self.config = canvas, config
        self.backbone, widths = _backbone(config)
        self.encoder = _encoder(config, widths)
        self.pyramid = Pyramid(
            canvas, config.width, config.layers, config.heads, config.dropout, config.fine == "windows"
        )
        ease = GENTLY if config.pairing == "siamese" else 1.0
        self.affine = AffineHead(config.width, config.affine == "perspective", ease)
        self.field = FieldHead(config.width, canvas, FINEST // config.field_stride, ease)
        self.coarse_field = FieldHead(config.width, canvas, 1, ease) if config.coarse_passes else None

    def forward(
        self,
        images: torch.Tensor,
        source: torch.Tensor,
        target: torch.Tensor,
        passes: int,
        start: Transform | None = None,
    ) -> Cascade:
        """Register pairs among some radiographs.

        Args:
            images: `[N, 1, H, W]` in [0, 1].
            source: `[P]` positions of the sources in them.
            target: `[P]` positions of the targets.
            passes: Deformation fields (N_Phi).
            start: Affine maps from elsewhere, instead of the affine head's.
        """
        codes = self.encoder.encode(self.backbone, images)
        return self.register([c[source] for c in codes], [c[target] for c in codes], passes, start)

    def register(self, source: Maps, target: Maps, passes: int, start: Transform | None = None) -> Cascade:
        """Register encoded pairs; arguments as for `forward`."""
        whole = None
        affine = start or self._identity(len(target[0]))
        if self.config.affine in ("learned", "perspective") and start is None:
            affine, whole = self._affine(source, target, affine)
        # Gradients stop between the passes: each field answers for what it adds to the map so far.
        at, steps, fields, near = affine.detach(), [], [], []
        for n in range(passes):
            head, finest = self.field, FINEST
            if self.coarse_field is not None and n < self.config.coarse_passes:
                head, finest = self.coarse_field, COARSE
            maps, matches = self.encoder.near(self.backbone, source, target, at, finest)
            refined, _ = self.pyramid(maps)
            field = head(refined[0])
            if matches and self.config.guided:
                # Correlations are as coarse as the tokens, and the head's field may be finer.
                field = field + _resize(smooth_field(matches[0]), field.shape[-2:])
            fields.append(_resize(field, [n // self.config.field_stride for n in self.canvas]))
            steps.append(at.then(fields[-1]))
            near.append(matches)
            at = steps[-1].detach()
        return Cascade(affine, steps, fields, whole, near)

    def _affine(self, source: Maps, target: Maps, begin: Transform) -> tuple[Transform, Match | None]:
        maps, match = self.encoder.whole(self.backbone, source, target)
        _, token = self.pyramid(maps)
        if match is not None:
            begin = fit_affine(match, begin)
        return affine_from(self.affine(token), begin), match

    def _identity(self, count: int) -> Transform:
        device = next(self.parameters()).device
        return Transform.identity(count, self.canvas, self.config.field_stride, device)


def _resize(field: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resize a field `[P, 2, h, w]` to another number of cells (h, w) of the same canvas."""
    if list(field.shape[-2:]) == list(size):
        return field
    return F.interpolate(field, size, mode="bilinear", align_corners=False)


def _backbone(config: EdgeTransConfig) -> tuple[nn.Module, Sequence[int]]:
    """The network that reads radiographs, and the channels of its maps at strides 4...32."""
    if config.encoder == "hrnet_w18":
        return HRNet(), HRNet.widths
    unet = UNet(colours=3 if config.pairing == "joint" else 1)
    return unet, unet.widths[1:]


def _encoder(config: EdgeTransConfig, widths: Sequence[int]) -> Joint | Siamese:
    if config.pairing == "joint":
        return Joint(widths, config.width)
    return Siamese(widths, config.width, config.length, config.reach, config.temperature)
