"""How the refiner learns: heatmaps from every landmark's crop of a few radiographs, or descriptors from exemplars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from onemark.imaging.augment import Geometry, Intensity, Warp
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.embedding.embed import vectors_at
from onemark.nn.heatmaps.decode import pixels_to_cells
from onemark.nn.heatmaps.heatmap import divergence, on_map
from onemark.nn.training.canvases import ResolutionLevel
from onemark.nn.training.exemplars import count_whole, draw_exemplars
from onemark.nn.training.labels import Label, draw_labelled, exemplars_per_batch
from onemark.stages.refine.f2.config import F2Config
from onemark.stages.refine.f2.crops import Crops
from onemark.stages.refine.f2.search import log_gaussian

DROP_FULLY_FROM = 0.3  # share of the schedule after which the full share of labels is left out
INTENSITY = Intensity(collimation=0, marker=0)


@dataclass(frozen=True)
class CropBatch:
    """Crops of B radiographs and their landmarks.

    Attributes:
        views: `[B * K, 1, S, S]`.
        xy: `[B, K, 2]` each crop's landmark (x, y) on it, crop px; NaN where unknown.
        exemplars: How many of the radiographs a person annotated; these come last.
        drop: Share of the labels to leave out, 0...1.
    """

    views: torch.Tensor
    xy: torch.Tensor
    exemplars: int
    drop: float


class LabelTask:
    """What the training loop trains for heatmaps.

    Args:
        module: The network.
        level: The cohort and its exemplars on the fine canvas.
        label: Gives labels `[K, 2]` on it, canvas px.
        coarse: Gives the coarse points `[K, 2]` on it, around which crops will be cut when radiographs are refined.
        config: Options.
    """

    def __init__(
        self, module: nn.Module, level: ResolutionLevel, label: Label, coarse: Label, config: F2Config
    ) -> None:
        self.module, self.level, self.label, self.coarse, self.config = module, level, label, coarse, config
        self.geometry = crop_geometry(config)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The network."""
        return {"module": self.module}

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> CropBatch:
        """Draw radiographs and exemplars; cut and augment every landmark's crop.

        Crops are centred near the coarse points, as they will be later, and not on the labels.
        """
        config, store, device = self.config, self.level.store, generator.device
        size = size or config.batch
        true = exemplars_per_batch(size, count_whole(self.level.exemplars), generator)
        drawn = draw_labelled(self.level, size - true, true, self.label, generator)
        xy = drawn.xy
        centre = self._centres(drawn.indices[: size - drawn.annotated], xy)
        centre = centre + torch.randn(xy.shape, generator=generator, device=device) * config.shift
        side = (config.crop, config.crop)
        warp = Warp.draw(xy.shape[0] * xy.shape[1], side, self.geometry, generator)
        crops = Crops.cut(store.read(drawn.indices).to(device), centre, config.crop, warp)
        views = INTENSITY.apply(crops.views, generator)
        drop = config.drop * min(1.0, fraction / DROP_FULLY_FROM)
        return CropBatch(views, crops.inner(xy).view_as(xy), drawn.annotated, drop)

    def loss(self, module: nn.Module, batch: CropBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Divergence of the heatmaps from narrow Gaussians, without the labels that fit least."""
        nats, known = divergence(module(batch.views), batch.xy, self.config.sigma, STRIDES[0])
        split = len(nats) - batch.exemplars
        pseudo = _trimmed_mean(nats[:split][known[:split]], batch.drop)
        true = (nats[split:] * known[split:]).sum() / known[split:].sum().clamp(min=1)
        share = batch.exemplars / len(nats)
        return (1 - share) * pseudo + share * true, {"exemplar": float(true.detach())}

    def after(self, fraction: float) -> None:
        """Nothing follows the network."""

    def _centres(self, chosen: Sequence[int], xy: torch.Tensor) -> torch.Tensor:
        """Coarse points of the drawn radiographs; of annotated ones, which come last, their landmarks."""
        points = [self.coarse(self.level.store, index).to(xy.device) for index in chosen]
        return torch.stack([*points, *xy[len(chosen) :]]).nan_to_num()


class ExemplarTask:
    """What the training loop trains for descriptors: augmented crops of the exemplars alone (FM-OSD's local stage).

    Args:
        module: Turns crops into unit descriptors.
        level: The exemplars on the fine canvas.
        stride: Crop px per cell of the descriptors.
        config: Options.
    """

    def __init__(self, module: nn.Module, level: ResolutionLevel, stride: int, config: F2Config) -> None:
        self.module, self.level, self.stride, self.config = module, level, stride, config
        self.geometry = crop_geometry(config)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The network."""
        return {"module": self.module}

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> CropBatch:
        """Draw an exemplar and landmarks of it; cut and augment their crops."""
        config, device = self.config, generator.device
        size = size or config.batch
        exemplar = draw_exemplars(self.level.exemplars, 1, generator)[0]
        points = exemplar.visible.to(device)
        xy = points[torch.randint(len(points), (size,), generator=generator, device=device)][None]
        centre = xy + torch.randn(xy.shape, generator=generator, device=device) * config.shift
        warp = Warp.draw(size, (config.crop, config.crop), self.geometry, generator)
        canvas = self.level.store.read([exemplar.index]).to(device)
        crops = Crops.cut(canvas, centre, config.crop, warp)
        views = INTENSITY.apply(crops.views, generator)
        return CropBatch(views, crops.inner(xy)[:, None], size, 0.0)

    def loss(self, module: nn.Module, batch: CropBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Mean squared difference between each crop's cosines with its own landmark's vector and a Gaussian."""
        maps = module(batch.views)
        shape = (maps.shape[-2], maps.shape[-1])
        cells = pixels_to_cells(batch.xy, self.stride)
        known = on_map(cells[:, 0], shape)
        cosines = torch.einsum("nc,nchw->nhw", vectors_at(maps, cells)[:, 0], maps)
        target = log_gaussian(cells[:, 0], shape, self.config.sigma / self.stride).exp()
        squares = (cosines - target).square().mean((1, 2))
        return (squares * known).sum() / known.sum().clamp(min=1), {}

    def after(self, fraction: float) -> None:
        """Nothing follows the network."""


def crop_geometry(config: F2Config) -> Geometry:
    """The spatial augmentation of crops, without shifts, because the crops' centres are moved already."""
    usual = Geometry().times(config.strength)
    return Geometry(usual.rotation, usual.log_scale, usual.shear, 0.0, usual.elastic)


def _trimmed_mean(nats: torch.Tensor, drop: float) -> torch.Tensor:
    """Mean of `[N]` without the `drop` largest share."""
    kept = nats.sort().values[: max(1, round(len(nats) * (1 - drop)))]
    return kept.sum() / max(1, len(kept))
