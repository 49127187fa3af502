"""The compact form: two views of each radiograph, read once, and windows of their fine maps around every landmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from onemark.imaging.augment import Geometry, Intensity, Warp
from onemark.imaging.letterbox import Size
from onemark.nn.backbones.context import split_dim
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.embedding.embed import Maps, whole_cosines
from onemark.nn.embedding.locate import PEAK_RADIUS, Vectors
from onemark.nn.embedding.several import combine
from onemark.nn.fabric import Fabric
from onemark.nn.heatmaps.decode import Peaks
from onemark.nn.training.canvases import adapt_intensity
from onemark.stages.match.sla.config import SLAConfig
from onemark.stages.match.sla.network import LandmarkNet
from onemark.stages.match.sla.views import by_landmark, mean_known
from onemark.stages.match.sla.windows import LEVELS, SIDE, Fovea, by_point, cross_entropy, peaks, vectors_in

OFF_CENTRE = 10.0  # px, in x and y, by which windows are off their landmarks at most while learning


@dataclass(frozen=True)
class WindowBatch:
    """Windows of two views of B canvases, all first views first; the last `copies` canvases are exemplars'.

    Attributes:
        windows: Per level `[2 B, K C, n, n]`, finest first.
        fovea: Where they lie.
        xy: `[2 B, K, 2]` landmarks (x, y), view px.
        known: `[2 B, K]`, 1 where a landmark is known and lies in its window.
        copies: Number of exemplars' canvases.
    """

    windows: list[torch.Tensor]
    fovea: Fovea
    xy: torch.Tensor
    known: torch.Tensor
    copies: int

    def rows(self, which: torch.Tensor) -> WindowBatch:
        """Some of the views."""
        fovea = Fovea([corner[which] for corner in self.fovea.corners], self.fovea.shapes)
        return WindowBatch(self.windows, fovea, self.xy[which], self.known[which], self.copies)


class WindowViews:
    """Decoders on windows of the encoder's three finest maps.

    Args:
        network: Encoder and decoders.
        config: Options.
        canvas: `(H, W)`.
        fabric: Device and precision.
    """

    def __init__(self, network: LandmarkNet, config: SLAConfig, canvas: Size, fabric: Fabric) -> None:
        self.network, self.config, self.canvas, self.fabric = network, config, canvas, fabric
        self.mild, self.strong, self.intensity = (
            Geometry(),
            Geometry().times(1.5),
            adapt_intensity(config.framing, Intensity()),
        )

    def draw(
        self, canvases: torch.Tensor, xy: torch.Tensor, copies: int, generator: torch.Generator
    ) -> WindowBatch:
        """Draw two views of every canvas, and windows of the encoder's maps that are not quite centred on the landmarks.

        Args:
            canvases: `[B, 1, H, W]`.
            xy: `[B, K, 2]` landmarks (x, y), canvas px; NaN where unknown.
            copies: How many of the canvases are exemplars'; these come last.
            generator: The random numbers, on the device of the canvases.
        """
        warps = [Warp.draw(len(canvases), self.canvas, kind, generator) for kind in (self.mild, self.strong)]
        views = self.intensity.apply(torch.cat([warp.images(canvases) for warp in warps]), generator)
        known = xy.isfinite().all(-1).repeat(2, 1)
        seen = torch.cat([warp.inverse(xy.nan_to_num()) for warp in warps])
        off = torch.rand(seen.shape, generator=generator, device=seen.device) * 2 - 1
        with self.fabric.autocast():
            taps = self.network.taps(views)[:LEVELS]
        fovea = Fovea.around(seen + OFF_CENTRE * off, taps)
        return WindowBatch(fovea.cut(taps), fovea, seen, (known & fovea.holds(seen)).float(), copies)

    def loss(self, module: nn.Module, drawn: WindowBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Cross-entropy of matching each landmark (Eq. 2): with the other view of the same radiograph, with another copy
        of the exemplar, and, weighted by `cross`, from the exemplar to the pseudo-labels of the radiographs.
        """
        maps = by_point(module(drawn.windows, decode=True), self.config.length)
        vectors = vectors_in(maps, drawn.fovea, drawn.xy)
        count = len(drawn.xy) // 2
        all_ = torch.arange(count, device=drawn.xy.device)
        own, copies = all_[: count - drawn.copies], all_[count - drawn.copies :]
        # A single copy of the exemplar is matched with its own other view.
        pairs = {"same": (own, own, 1.0), "copies": (copies, copies.roll(1), 1.0)}
        if len(own) and len(copies) and self.config.cross > 0:
            pairs["across"] = (copies[own % len(copies)], own, self.config.cross)
        total, metrics = torch.zeros((), device=drawn.xy.device), {}
        for name, (source, target, weight) in pairs.items():
            if len(source):
                part = self._pair_loss(vectors, maps, drawn, source, target + count)
                metrics[name] = float(part.detach())
                total = total + weight * part
        return total, metrics

    def _pair_loss(
        self, vectors: Vectors, maps: Maps, drawn: WindowBatch, source: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        shape = drawn.xy.shape[:2]
        there = drawn.rows(target)
        found = cross_entropy(
            [split_dim(v, 0, shape)[source].flatten(0, 1) for v in vectors],
            [split_dim(m, 0, shape)[target].flatten(0, 1) for m in maps],
            there.fovea,
            there.xy,
            self.config.temperature,
        )
        return mean_known(found, drawn.known[source] * there.known)

    def describe(self, canvas: torch.Tensor, xy: torch.Tensor) -> Vectors:
        """Unit vectors `[1, K, length]` per level of landmarks `[K, 2]` of a canvas `[1, 1, H, W]`."""
        maps, fovea = self._decode(self.network.taps(canvas), xy[None])
        return [v.transpose(0, 1) for v in vectors_in(maps, fovea, xy[None])]

    def find(
        self,
        taps: Sequence[torch.Tensor],
        start: torch.Tensor | None,
        templates: Vectors,
        visible: torch.Tensor,
    ) -> Peaks:
        """Peaks `[B, K]`, canvas px, searched in the windows of stride 4 around the start, then of stride 2 around those.

        The coarser windows see twice as far, so that a start that is off by up to 32 px can be corrected.
        """
        assert start is not None, "windows lie around where the encoder looked first"
        vectors = by_landmark(templates, len(start))
        for finest in (1, 0):
            maps, fovea = self._decode(taps, start)
            radius = PEAK_RADIUS if self.config.peak == "subpixel" else 0
            found = peaks(vectors, maps, fovea, self.config.temperature, radius, finest)
            found = combine(found, visible.T, self.config.several, self.config.temperature)
            start = found.xy
        return found

    def levels(
        self, taps: Sequence[torch.Tensor], start: torch.Tensor | None, templates: Vectors
    ) -> list[torch.Tensor]:
        """Clipped cosine maps on the canvas, zero beyond the windows: `[K, H, W]` each."""
        assert start is not None, "windows lie around where the encoder looked first"
        maps, fovea = self._decode(taps, start)
        shown = []
        for level, (v, m) in enumerate(zip(by_landmark(templates, 1), maps, strict=True)):
            cells, inside = fovea.cells(level)
            h, w = fovea.shapes[level]
            cosines = whole_cosines(v, m).clamp(0, 1).view(-1, SIDE * SIDE) * inside[0]
            index = cells[0, ..., 1].clamp(0, h - 1) * w + cells[0, ..., 0].clamp(0, w - 1)
            # Cells beyond the map fall on its border, where the greatest value counts.
            flat = torch.zeros(len(cosines), h * w, device=m.device).scatter_reduce(1, index, cosines, "amax")
            wide = flat.view(1, -1, h, w)
            shown.append(
                F.interpolate(wide, scale_factor=STRIDES[level], mode="bilinear", align_corners=False)[0]
            )
        return shown

    def _decode(self, taps: Sequence[torch.Tensor], xy: torch.Tensor) -> tuple[Maps, Fovea]:
        fovea = Fovea.around(xy, taps[:LEVELS])
        return by_point(self.network.decoder(fovea.cut(taps[:LEVELS])), self.config.length), fovea
