"""What the training loop trains for the compact detector: softmax heatmaps, trimmed pseudo-labels, exemplars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from onemark.imaging.augment import Warp, augmentation
from onemark.nn.heatmaps.heatmap import divergence
from onemark.nn.training.canvases import ResolutionLevel, adapt_intensity, level_at
from onemark.nn.training.exemplars import count_whole
from onemark.nn.training.labels import Label, draw_labelled, exemplars_per_batch
from onemark.stages.detect.tpl.config import TPLConfig

DROP_FULLY_FROM = 0.3  # share of the schedule after which the full share of pseudo-labels is left out


@dataclass(frozen=True)
class HeatmapBatch:
    """Augmented radiographs and their labels.

    Attributes:
        views: `[B, 1, H, W]`.
        xy: `[B, K, 2]` landmarks (x, y) on them, view px; NaN where unknown.
        exemplars: How many of them a person annotated; these come last.
        drop: Share of each landmark's pseudo-labels to leave out, 0...1.
    """

    views: torch.Tensor
    xy: torch.Tensor
    exemplars: int
    drop: float


class HeatmapTask:
    """What the training loop trains for the compact detector.

    Args:
        module: The network.
        levels: The cohort and its exemplars, coarser levels first; an exemplar is in every batch.
        label: Gives the pseudo-labels `[K, 2]`, canvas px, of the radiograph at a position in a store.
        config: Options.
    """

    def __init__(
        self,
        module: nn.Module,
        levels: Sequence[ResolutionLevel],
        label: Label,
        config: TPLConfig,
    ) -> None:
        self.module, self.levels, self.label, self.config = module, levels, label, config
        self.geometry, intensity = augmentation(config.augment, config.strength)
        self.intensity = adapt_intensity(levels[-1].store.framing, intensity)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The network."""
        return {"module": self.module}

    def exemplars_of(self, size: int, generator: torch.Generator) -> int:
        """Exemplars among `size` radiographs: one at least, more by the root of their number."""
        return exemplars_per_batch(size, count_whole(self.levels[-1].exemplars), generator)

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> HeatmapBatch:
        """Pseudo-labelled radiographs and, last, a share of exemplars, all augmented."""
        size = size or self.config.batch
        true, level = self.exemplars_of(size, generator), level_at(self.levels, fraction)
        drawn = draw_labelled(level, size - true, true, self.label, generator)
        warp = Warp.draw(size, level.store.canvas, self.geometry, generator)
        canvases = level.store.read(drawn.indices).to(generator.device)
        views = self.intensity.apply(warp.images(canvases), generator)
        drop = self.config.drop * min(1.0, fraction / DROP_FULLY_FROM)
        return HeatmapBatch(views, warp.inverse(drawn.xy), drawn.annotated, drop)

    def loss(self, module: nn.Module, batch: HeatmapBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Misfit to pseudo-labels, the worst of each landmark left out, and to the exemplars' true labels."""
        logits = module(batch.views)
        nats, known = self.misfit(logits, batch.xy)
        split = len(nats) - batch.exemplars
        pseudo = _trimmed_mean(nats[:split], known[:split], batch.drop)
        true = (nats[split:] * known[split:]).sum() / known[split:].sum().clamp(min=1)
        # Exemplars weigh as much as their share of the batch.
        share = batch.exemplars / len(nats)
        return (1 - share) * pseudo + share * true, {"exemplar": float(true.detach())}

    def after(self, fraction: float) -> None:
        """Nothing follows the network."""

    def misfit(self, logits: torch.Tensor, xy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """How far a network's output is from labels.

        Args:
            logits: The output on views `[B, 1, H, W]`.
            xy: `[B, K, 2]` labels (x, y), view px; NaN where unknown.

        Returns:
            `[B, K]` divergence from a narrow Gaussian to the heatmap, and whether the label lies on the view.
        """
        return divergence(logits, xy, self.config.sigma)


def _trimmed_mean(nats: torch.Tensor, known: torch.Tensor, drop: float) -> torch.Tensor:
    """Mean over a batch `[B, K]` without the `drop` largest share of each landmark, the last of the rest in part."""
    # Unknown labels count as the worst, so that they are left out first.
    order = nats.masked_fill(~known, torch.inf).sort(0).values
    kept = order.isfinite()
    # Of two labels, 1.4 count: a batch of four would else lose half of them where a third was meant.
    ranks = torch.arange(len(nats), device=nats.device)[:, None]
    counted = (len(nats) * (1 - drop) - ranks).clamp(0, 1) * kept
    return (order.masked_fill(~kept, 0) * counted).sum() / counted.sum().clamp(min=1e-6)
