"""What the training loop trains for C2T: consistency co-teaching (Yin et al., ECCV 2022, Alg. 1, Eq. 17-20)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from onemark.imaging.augment import UNCHANGED, Geometry, Intensity, Warp, augmentation
from onemark.nn.training.canvases import ResolutionLevel, adapt_intensity, level_at
from onemark.nn.training.exemplars import count_whole
from onemark.nn.training.labels import Label, draw_labelled, exemplars_per_batch
from onemark.stages.detect.c2t.config import C2TConfig
from onemark.stages.detect.c2t.heat import carry_heat, disagreement, heat, misfit

FULLY_FROM = 0.3  # share of the schedule after which the full share is left out: epoch 30 of 100
PUBLISHED = Geometry(rotation=0.35, log_scale=0.25, shear=0, shift=0, elastic=0)
"""Uniform turn and scale with as much variance as the published clipped normal draws."""


@dataclass(frozen=True)
class View:
    """The radiographs of a batch as one network sees them.

    Attributes:
        images: `[B, 1, H, W]`.
        xy: `[B, K, 2]` landmarks (x, y) on them, view px; NaN where unknown.
        warp: From view to canvas.
    """

    images: torch.Tensor
    xy: torch.Tensor
    warp: Warp


@dataclass(frozen=True)
class CoTeachingBatch:
    """What one step of co-teaching learns from.

    Attributes:
        views: Per network its views of the same radiographs; the last one is strong.
        exemplars: How many of the radiographs are exemplars; these come last.
        drop: Share of each landmark's pseudo-labels to leave out, 0...1.
        doubt: Weight of inconsistency against misfit in what is left out, 0...1.
    """

    views: tuple[tuple[View, ...], tuple[View, ...]]
    exemplars: int
    drop: float
    doubt: float


@dataclass(frozen=True)
class DetectorOutput:
    """What one network predicts on its views.

    Attributes:
        maps: `[B, K, h, w]` per view.
        misfit: `[B, K]` distance to the labels, mean over the views that show the label.
        known: `[B, K]` whether a view shows it.
    """

    maps: tuple[torch.Tensor, ...]
    misfit: torch.Tensor
    known: torch.Tensor


class C2TTask:
    """What the training loop trains for C2T.

    Args:
        module: Both networks, a `Pair`.
        levels: The cohort and its exemplars, coarser levels first; an exemplar is in every batch.
        label: Gives the pseudo-labels `[K, 2]`, canvas px, of the radiograph at a position in a store.
        config: Options.
    """

    def __init__(
        self, module: nn.Module, levels: Sequence[ResolutionLevel], label: Label, config: C2TConfig
    ) -> None:
        self.module, self.levels, self.label, self.config = module, levels, label, config
        self.geometry, self.intensity = _strong_augmentation(config)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Both networks."""
        return {"module": self.module}

    def exemplars_of(self, size: int, generator: torch.Generator) -> int:
        """Exemplars of a batch, or of a part, of `size` radiographs."""
        return exemplars_per_batch(size, count_whole(self.levels[-1].exemplars), generator)

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> CoTeachingBatch:
        """Pseudo-labelled radiographs and, last, exemplars, in the views of both networks."""
        size = size or self.config.batch
        true, level = self.exemplars_of(size, generator), level_at(self.levels, fraction)
        drawn = draw_labelled(level, size - true, true, self.label, generator)
        canvases, xy = level.store.read(drawn.indices).to(generator.device), drawn.xy
        intensity = adapt_intensity(level.store.framing, self.intensity)
        strong = _draw_view(canvases, xy, self.geometry, intensity, generator)
        views: tuple[tuple[View, ...], tuple[View, ...]]
        if self.config.views == "pair":
            weak = _draw_view(canvases, xy, Geometry().times(0), UNCHANGED, generator)
            views = ((weak, strong), (weak, strong))
        else:
            views = ((strong,), (_draw_view(canvases, xy, self.geometry, intensity, generator),))
        ramp = min(1.0, fraction / FULLY_FROM)
        return CoTeachingBatch(views, drawn.annotated, self.config.drop * ramp, self.config.doubt * ramp)

    def loss(self, module: nn.Module, batch: CoTeachingBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Sum of three losses: on the pseudo-labels that the *other* network trusts (Alg. 1), on the exemplars' true
        labels, and on the agreement of both networks (Eq. 20).

        A label that is not on the other network's views has no misfit there: a network goes by its own doubt of it.
        """
        outputs = self._run_networks(module, batch)
        cross = [self._disagreement(outputs, batch, n) for n in (0, 1)]
        doubts = [self._doubt(outputs[n], batch, n, cross[n]) for n in (0, 1)]
        advices = [torch.where(outputs[1 - n].known, doubts[1 - n], doubts[n]) for n in (0, 1)]
        split = len(outputs[0].misfit) - batch.exemplars
        losses = []
        for ours, advice, (apart, seen) in zip(outputs, advices, cross, strict=True):
            pseudo = masked_mean(
                ours.misfit[:split], choose_trusted(advice[:split], ours.known[:split], batch.drop)
            )
            true = masked_mean(ours.misfit[split:], ours.known[split:])
            losses.append((pseudo, true, masked_mean(apart, seen)))
        pseudo, true, apart = (sum(terms) for terms in zip(*losses, strict=True))
        weight = self.config.exemplar * batch.exemplars
        loss = pseudo + weight * true + self.config.cross * apart
        return loss / 2, {"exemplar": float(true.detach()) / 2, "apart": float(apart.detach()) / 2}

    def after(self, fraction: float) -> None:
        """Nothing follows the networks."""

    def _run_networks(self, module: nn.Module, batch: CoTeachingBatch) -> list[DetectorOutput]:
        maps = module(*(torch.cat([view.images for view in views]) for views in batch.views))
        outputs = []
        for ours, views in zip(maps, batch.views, strict=True):
            xy = torch.cat([view.xy for view in views])
            stride = views[0].warp.canvas[0] // ours.shape[-2]
            nats, known = misfit(ours, xy, self.config.sigma, stride, self.config.loss)
            share, seen = (torch.stack(m.chunk(len(views))) for m in (nats, known))
            both = (share * seen).sum(0) / seen.sum(0).clamp(min=1)
            outputs.append(DetectorOutput(ours.chunk(len(views)), both, seen.any(0)))
        return outputs

    def _disagreement(
        self, outputs: list[DetectorOutput], batch: CoTeachingBatch, n: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Eq. 20: how far network `n`, on its strong view, is from the other one's answer, `[B, K]`; and where seen."""
        if self.config.cross == 0 and (self.config.doubt == 0 or self.config.views == "pair"):
            return torch.zeros_like(outputs[n].misfit), outputs[n].known  # neither loss nor choice uses it
        other = 1 - n
        given = heat(outputs[other].maps[0], self.config.loss)
        given = given.detach() if self.config.detach else given
        there = carry_heat(given, batch.views[other][0].warp, batch.views[n][-1].warp)
        return disagreement(outputs[n].maps[-1], there, self.config.loss)

    @torch.no_grad()
    def _doubt(
        self, output: DetectorOutput, batch: CoTeachingBatch, n: int, cross: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """Eq. 18, 19: L_filter of network `n`, `[B, K]`, for each radiograph and landmark.

        The released code takes one number of inconsistency for the whole batch, which shifts all of L_filter alike and
        cannot change the choice. With one view for each network, the other network's answer stands for its own on a
        second view, which saves two of the four published passes.
        """
        apart, seen = cross
        if self.config.views == "pair" and self.config.doubt > 0:
            weak, strong = batch.views[n]
            there = carry_heat(heat(output.maps[0], self.config.loss), weak.warp, strong.warp)
            apart, seen = disagreement(output.maps[1], there, self.config.loss)
        # Of an answer off the view nothing is known: as 0 it would count as perfect agreement.
        apart = torch.where(seen, apart, output.misfit)
        return (1 - batch.doubt) * output.misfit + batch.doubt * apart


def choose_trusted(doubt: torch.Tensor, known: torch.Tensor, drop: float) -> torch.Tensor:
    """Choose which of a batch's pseudo-labels to learn from: all but the most doubtful of each landmark.

    Landmarks are ranked one by one. One ranking over all of them, as in the released code, would keep the same few
    easy landmarks in every batch, and the hard ones would never be learned.

    Args:
        doubt: `[B, K]` L_filter.
        known: `[B, K]` whether there is a label.
        drop: Share to leave out, 0...1; at least one label of each landmark stays.

    Returns:
        `[B, K]` bool.
    """
    keep = max(1, round(len(doubt) * (1 - drop)))
    rank = doubt.masked_fill(~known, torch.inf).argsort(0).argsort(0)
    return (rank < keep) & known


def masked_mean(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Mean of the chosen values; 0 where none is."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def _strong_augmentation(config: C2TConfig) -> tuple[Geometry, Intensity]:
    if config.augment == "affine":
        return PUBLISHED.times(config.strength), UNCHANGED
    return augmentation("spatial", config.strength)


def _draw_view(
    canvases: torch.Tensor,
    xy: torch.Tensor,
    geometry: Geometry,
    intensity: Intensity,
    generator: torch.Generator,
) -> View:
    warp = Warp.draw(len(canvases), (canvases.shape[-2], canvases.shape[-1]), geometry, generator)
    return View(intensity.apply(warp.images(canvases), generator), warp.inverse(xy), warp)
