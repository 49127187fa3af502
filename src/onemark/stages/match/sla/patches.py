"""The published form: each landmark's decoder finds a patch around the landmark again in the whole radiograph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from onemark.imaging.augment import JITTER, Geometry, Warp
from onemark.imaging.letterbox import Size
from onemark.nn.backbones.context import split_dim
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.embedding.embed import Maps, vectors_at
from onemark.nn.embedding.locate import PEAK_RADIUS, Vectors, find_product, level_maps, nearest_cells
from onemark.nn.embedding.patches import Contrast, corners_around, crop, patches_around
from onemark.nn.embedding.several import combine
from onemark.nn.fabric import Fabric
from onemark.nn.heatmaps.decode import Peaks
from onemark.stages.match.sla.config import SLAConfig
from onemark.stages.match.sla.network import LandmarkNet
from onemark.stages.match.sla.views import by_landmark, mean_known
from onemark.stages.match.sla.windows import by_point
from onemark.types import UserError

TURN = Geometry(rotation=math.radians(20), log_scale=0, shear=0, shift=0, elastic=0)  # of patches, as CC2D
# Of copies of the exemplar, as in FM-OSD's released code: 5 degrees, 1 % of scale, 2 % of shift.
ATD = Geometry(rotation=math.radians(5), log_scale=0.01, shear=0, shift=0.02, elastic=0)


@dataclass(frozen=True)
class LandmarkPatchBatch:
    """The encoder's maps of B canvases and of a patch around each of their K landmarks.

    Attributes:
        whole: Per level `[B, C, h, w]`, finest first.
        patches: Per level `[B, K C, p, p]`, finest first.
        here: `[B, K, 2]` landmarks (x, y) on their patches, patch px.
        there: `[B, K, 2]` the same on the canvases, canvas px.
        known: `[B, K]`, 1 where a landmark is known and on patch and canvas.
    """

    whole: list[torch.Tensor]
    patches: list[torch.Tensor]
    here: torch.Tensor
    there: torch.Tensor
    known: torch.Tensor


class PatchViews:
    """Decoders on all of the encoder's maps.

    Args:
        network: Encoder and decoders.
        config: Options.
        canvas: `(H, W)`.
        fabric: Device and precision.

    Raises:
        UserError: the patch does not fit on the canvas.
    """

    def __init__(self, network: LandmarkNet, config: SLAConfig, canvas: Size, fabric: Fabric) -> None:
        if config.patch % STRIDES[-1] or config.patch > min(canvas):
            raise UserError(
                f"match.patch must be a multiple of {STRIDES[-1]} px and fit on the canvas of {canvas[1]} x "
                f"{canvas[0]} px, not {config.patch}: lower match.patch or raise match.area"
            )
        self.network, self.config, self.canvas, self.fabric = network, config, canvas, fabric
        self.contrast = Contrast(config.temperature, config.window)

    def draw(
        self, canvases: torch.Tensor, xy: torch.Tensor, copies: int, generator: torch.Generator
    ) -> LandmarkPatchBatch:
        """Change exemplars as in ATD; cut a patch around each landmark, jitter its grey values and turn it.

        Landmarks are carried by the map itself; ATD's released code searches the brightest pixel of a warped heatmap.

        Args:
            canvases: `[B, 1, H, W]`.
            xy: `[B, K, 2]` landmarks (x, y), canvas px; NaN where unknown.
            copies: How many of the canvases are exemplars'; these come last.
            generator: The random numbers, on the device of the canvases.
        """
        canvases, xy = self._change_copies(canvases, xy, copies, generator)
        size, shape = self.config.patch, xy.shape[:2]
        points = xy.nan_to_num()
        corner = corners_around(points, size, self.canvas)
        flat = crop(canvases.repeat_interleave(shape[1], 0), corner.flatten(0, 1), size)
        warp = Warp.draw(len(flat), (size, size), TURN, generator)
        patches = warp.images(JITTER.apply(flat, generator))
        here = warp.inverse((points - corner).flatten(0, 1)[:, None])[:, 0].view(*shape, 2)
        last = torch.tensor([self.canvas[1], self.canvas[0]], device=xy.device) - 1
        # A turn may take a landmark off its patch; such a pair does not count.
        known = (xy >= 0).all(-1) & (xy <= last).all(-1) & ((here >= 0) & (here <= size - 1)).all(-1)
        with self.fabric.autocast():
            whole = self.network.taps(canvases)
            own = [split_dim(m, 0, shape).flatten(1, 2) for m in self.network.taps(patches)]
        return LandmarkPatchBatch(whole, own, here, points, known.float())

    def loss(self, module: nn.Module, drawn: LandmarkPatchBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Cross-entropy of the landmarks' cells in whole radiographs, summed over the levels (CC2D's Eq. 2)."""
        length, shape = self.config.length, drawn.here.shape[:2]
        whole = self._each(module(drawn.whole, decode=True), shape[1])
        patches = by_point(module(drawn.patches, decode=True), length)
        here, there = (xy.flatten(0, 1)[:, None] for xy in (drawn.here, drawn.there))
        total = torch.zeros((), device=here.device)
        for stride, a, b in zip(STRIDES, patches, whole, strict=True):
            vectors = vectors_at(a, nearest_cells(here, stride))
            nats = self.contrast.nats(vectors, b, nearest_cells(there, stride), whole=stride == STRIDES[-1])
            total = total + mean_known(nats.view(shape), drawn.known)
        return total, {}

    def describe(self, canvas: torch.Tensor, xy: torch.Tensor) -> Vectors:
        """Unit vectors `[1, K, length]` per level of landmarks `[K, 2]` of a canvas `[1, 1, H, W]`, from patches."""
        patches, inner = patches_around(canvas, xy, self.config.patch)
        taps = [m[None].flatten(1, 2) for m in self.network.taps(patches)]
        maps = by_point(self.network.decoder(taps), self.config.length)
        cells = [nearest_cells(inner[:, None], stride) for stride in STRIDES]
        return [vectors_at(m, c).transpose(0, 1) for m, c in zip(maps, cells, strict=True)]

    def find(
        self,
        taps: Sequence[torch.Tensor],
        start: torch.Tensor | None,
        templates: Vectors,
        visible: torch.Tensor,
    ) -> Peaks:
        """Peaks `[B, K]` of the product of clipped cosines over whole canvases (CC2D's Eq. 3); no start is needed."""
        count, landmarks = len(taps[0]), visible.shape[1]
        maps = self._each(self.network.decoder(taps), landmarks)
        radius = PEAK_RADIUS if self.config.peak == "subpixel" else 0
        vectors = by_landmark(templates, count)
        found = find_product(vectors, maps, self.canvas, self.config.temperature, radius)
        shape = (count, landmarks)
        peaks = Peaks(*(split_dim(value, 0, shape) for value in (found.xy, found.score, found.spread)))
        return combine(peaks, visible.T, self.config.several, self.config.temperature)

    def levels(
        self, taps: Sequence[torch.Tensor], start: torch.Tensor | None, templates: Vectors
    ) -> list[torch.Tensor]:
        """Clipped cosine maps on the canvas: `[K, H, W]` each."""
        maps = self._each(self.network.decoder(taps), templates[0].shape[1])
        shown = level_maps(by_landmark(templates, 1), maps)
        return [
            F.interpolate(m.transpose(0, 1), self.canvas, mode="bilinear", align_corners=False)[0]
            for m in shown
        ]

    def _change_copies(
        self, canvases: torch.Tensor, xy: torch.Tensor, copies: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not copies:
            return canvases, xy
        warp = Warp.draw(copies, self.canvas, ATD, generator)
        views, seen = warp.images(canvases[-copies:]), warp.inverse(xy[-copies:].nan_to_num())
        seen = seen.masked_fill(xy[-copies:].isnan(), torch.nan)
        return torch.cat([canvases[:-copies], views]), torch.cat([xy[:-copies], seen])

    def _each(self, maps: Maps, landmarks: int) -> Maps:
        """Embeddings `[B, K length, h, w]`, or `[B, length, h, w]` that all landmarks share: `[B K, length, h, w]`."""
        length = self.config.length
        return by_point([m.repeat(1, landmarks * length // m.shape[1], 1, 1) for m in maps], length)
