"""The compact detector's network and training: softmax heatmaps, trimmed pseudo-labels, the exemplar in every batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from onemark.detect.tpl.config import TPLConfig
from onemark.imaging.augment import JITTER, UNCHANGED, Geometry, Intensity, Warp
from onemark.nn.decode import pixels_to_cells
from onemark.nn.frames import FrameStore, Scale, scale_at
from onemark.nn.pyramid import Pyramid
from onemark.nn.unet import STRIDES

DROP_FULLY_FROM = 0.3


class HeatmapNet(nn.Module):
    """U-Net with one logit map per landmark: `[B, 1, H, W]` -> `[B, K, H / 2, W / 2]`."""

    def __init__(self, backbone: Pyramid, landmarks: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(backbone.widths[0], landmarks, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of where each landmark lies."""
        logits: torch.Tensor = self.head(self.backbone(x)[0])
        return logits


@dataclass(frozen=True)
class Batch:
    """Views `[B, 1, H, W]`, landmarks `[B, K, 2]` on them (view px, NaN when unknown), and how many are exemplars.

    The exemplars are the last ones of the batch.
    """

    views: torch.Tensor
    xy: torch.Tensor
    exemplars: int
    drop: float


class HeatmapTask:
    """What the training loop trains for the compact detector.

    Args:
        module: The network.
        sizes: The cohort and its exemplars, at one size or growing; an exemplar is in every batch.
        label: Pseudo-labels `[K, 2]` on the canvas of a store, of the radiograph at a position in it.
        config: Options.
    """

    name = "detect"

    def __init__(
        self,
        module: nn.Module,
        sizes: Sequence[Scale],
        label: Callable[[FrameStore, int], torch.Tensor],
        config: TPLConfig,
    ) -> None:
        self.module, self.sizes, self.label, self.config = module, sizes, label, config
        self.geometry, self.intensity = augmentation(config)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The network."""
        return {"module": self.module}

    @property
    def exemplars(self) -> int:
        """Exemplars per batch."""
        return max(1, round(self.config.batch / 8))

    def batch(self, generator: torch.Generator, fraction: float) -> Batch:
        """Pseudo-labelled radiographs and, last, a share of exemplars, all augmented."""
        device = generator.device
        true = self.exemplars
        size = scale_at(self.sizes, fraction)
        chosen = size.store.draw(self.config.batch - true, generator)
        which = torch.randint(len(size.exemplars), (true,), generator=generator, device=device)
        chosen += [size.exemplars[int(i)].index for i in which]
        xy = torch.stack([self._known(size, i) for i in chosen]).to(device)
        warp = Warp.draw(len(chosen), size.store.canvas, self.geometry, generator)
        views = self.intensity.apply(warp.images(size.store.read(chosen).to(device)), generator)
        drop = self.config.drop * min(1.0, fraction / DROP_FULLY_FROM)
        return Batch(views, warp.inverse(xy), true, drop)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        """Cross-entropy of the heatmaps with narrow Gaussians; the worst pseudo-labels of each landmark left out."""
        logits = module(batch.views)
        nats, known = self._nats(logits, batch.xy)
        split = len(nats) - batch.exemplars
        pseudo = _trimmed_mean(nats[:split], known[:split], batch.drop)
        true = (nats[split:] * known[split:]).sum() / known[split:].sum().clamp(min=1)
        share = batch.exemplars / len(nats)
        return (1 - share) * pseudo + share * true, {"exemplar": float(true.detach())}

    def after(self, fraction: float) -> None:
        """Nothing follows the network."""

    def _known(self, size: Scale, index: int) -> torch.Tensor:
        placed = next((one.xy for one in size.exemplars if one.index == index), None)
        return self.label(size.store, index) if placed is None else placed

    def _nats(self, logits: torch.Tensor, xy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Divergence `[B, K]` from each target to the heatmap, and whether the target lies on the view."""
        h, w = logits.shape[-2:]
        cells = pixels_to_cells(xy, STRIDES[0])
        known = on_map(cells, (h, w))
        target = gaussians(cells.nan_to_num(), (h, w), self.config.sigma / STRIDES[0]).flatten(2)
        log_p = logits.float().flatten(2).log_softmax(-1)
        entropy = torch.special.entr(target).sum(-1)
        return -(target * log_p).sum(-1) - entropy, known


def augmentation(config: TPLConfig) -> tuple[Geometry, Intensity]:
    """What is done to canvases: `spatial` with all that radiographs show, `jitter` as in the paper, or nothing."""
    if config.augment == "spatial":
        return Geometry().times(config.strength), Intensity()
    return Geometry().times(0), JITTER if config.augment == "jitter" else UNCHANGED


def on_map(xy: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Whether points `[..., 2]` (x, y) lie on a map `(h, w)`: `[...]`; NaN does not."""
    last = torch.tensor([shape[1] - 1, shape[0] - 1], device=xy.device)
    return ((xy >= 0) & (xy <= last)).all(-1)


def gaussians(cells: torch.Tensor, shape: tuple[int, int], sigma: float) -> torch.Tensor:
    """Gaussians of sum 1 around cells `[B, K, 2]` (x, y), on a grid `shape` (h, w): `[B, K, h, w]`."""
    rows = torch.arange(shape[0], device=cells.device)
    columns = torch.arange(shape[1], device=cells.device)
    y = (-((rows - cells[..., 1, None]) ** 2) / (2 * sigma**2)).softmax(-1)
    x = (-((columns - cells[..., 0, None]) ** 2) / (2 * sigma**2)).softmax(-1)
    return y[..., :, None] * x[..., None, :]


def _trimmed_mean(nats: torch.Tensor, known: torch.Tensor, drop: float) -> torch.Tensor:
    """Mean over the batch `[B, K]` without the `drop` largest share of each landmark."""
    keep = max(1, round(len(nats) * (1 - drop)))
    order = nats.masked_fill(~known, torch.inf).sort(0).values[:keep]
    kept = order.isfinite()
    return order.masked_fill(~kept, 0).sum() / kept.sum().clamp(min=1)
