"""What the training loop trains for C2T: consistency co-teaching (Yin et al., ECCV 2022, Alg. 1, Eq. 17-20)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from onemark.imaging.augment import UNCHANGED, Geometry, Intensity, Warp, augmentation
from onemark.nn.training.canvases import ResolutionLevel, adapt_intensity, level_at
from onemark.nn.training.labels import Label, draw_labelled, exemplars_per_batch
from onemark.stages.detect.c2t.config import C2TConfig
from onemark.stages.detect.c2t.heat import carry_heat, disagreement, heat, misfit

FULLY_FROM = 0.3  # share of the schedule from which as much is left out as asked for: epoch 30 of 100
PUBLISHED = Geometry(rotation=0.35, log_scale=0.25, shear=0, shift=0, elastic=0)
"""Turn and scale of as much variance as the published clipped normal draws."""


@dataclass(frozen=True)
class View:
    """Radiographs of a batch as one network sees them.

    Attributes:
        images: `[B, 1, H, W]`.
        xy: `[B, K, 2]` landmarks on them, view px; NaN when unknown.
        warp: From view to canvas.
    """

    images: torch.Tensor
    xy: torch.Tensor
    warp: Warp


@dataclass(frozen=True)
class CoTeachingBatch:
    """The views of each network, how many of the radiographs are exemplars (the last ones), and the ramps.

    Attributes:
        views: Per network its views of the same radiographs; the last one is strong.
        exemplars: How many.
        drop: Share of each landmark's pseudo-labels to leave out.
        doubt: Weight of inconsistency in what is left out.
    """

    views: tuple[tuple[View, ...], tuple[View, ...]]
    exemplars: int
    drop: float
    doubt: float


@dataclass(frozen=True)
class DetectorOutput:
    """What one network says of its views: maps `[B, K, h, w]` of each, and their misfit `[B, K]` to known labels."""

    maps: tuple[torch.Tensor, ...]
    misfit: torch.Tensor
    known: torch.Tensor


class C2TTask:
    """What the training loop trains.

    Args:
        module: Both networks, a `Pair`.
        levels: The cohort and its exemplars, at one size or growing; an exemplar is in every batch.
        label: Pseudo-labels `[K, 2]` on the canvas of a store, of the radiograph at a position in it.
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

    @property
    def exemplars(self) -> int:
        """Exemplars per batch."""
        return exemplars_per_batch(self.config.batch, len(self.levels[-1].exemplars))

    def batch(self, generator: torch.Generator, fraction: float) -> CoTeachingBatch:
        """Pseudo-labelled radiographs and, last, exemplars, in the views of both networks."""
        true, level = self.exemplars, level_at(self.levels, fraction)
        chosen, xy = draw_labelled(level, self.config.batch - true, true, self.label, generator)
        canvases = level.store.read(chosen).to(generator.device)
        intensity = adapt_intensity(level.store.framing, self.intensity)
        strong = _draw_view(canvases, xy, self.geometry, intensity, generator)
        views: tuple[tuple[View, ...], tuple[View, ...]]
        if self.config.views == "pair":
            weak = _draw_view(canvases, xy, Geometry().times(0), UNCHANGED, generator)
            views = ((weak, strong), (weak, strong))
        else:
            views = ((strong,), (_draw_view(canvases, xy, self.geometry, intensity, generator),))
        ramp = min(1.0, fraction / FULLY_FROM)
        return CoTeachingBatch(views, true, self.config.drop * ramp, self.config.doubt * ramp)

    def loss(self, module: nn.Module, batch: CoTeachingBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Pseudo-labels that the other network trusts, the exemplars' true labels, and the agreement of both."""
        answers = self._run_networks(module, batch)
        cross = [self._disagreement(answers, batch, n) for n in (0, 1)]
        doubts = [self._doubt(answers[n], batch, n, cross[n]) for n in (0, 1)]
        split = len(answers[0].misfit) - batch.exemplars
        losses = []
        for ours, advice, (apart, seen) in zip(answers, reversed(doubts), cross, strict=True):
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
        answers = []
        for ours, views in zip(maps, batch.views, strict=True):
            xy = torch.cat([view.xy for view in views])
            stride = views[0].warp.canvas[0] // ours.shape[-2]
            nats, known = misfit(ours, xy, self.config.sigma, stride, self.config.loss)
            share, seen = (torch.stack(m.chunk(len(views))) for m in (nats, known))
            both = (share * seen).sum(0) / seen.sum(0).clamp(min=1)
            answers.append(DetectorOutput(ours.chunk(len(views)), both, seen.any(0)))
        return answers

    def _disagreement(
        self, answers: list[DetectorOutput], batch: CoTeachingBatch, n: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Eq. 20: how far network `n`, on its strong view, is from the other one's answer, `[B, K]`; and where seen."""
        if self.config.cross == 0 and (self.config.doubt == 0 or self.config.views == "pair"):
            return torch.zeros_like(answers[n].misfit), answers[n].known  # nobody asks
        other = 1 - n
        given = heat(answers[other].maps[0], self.config.loss)
        given = given.detach() if self.config.detach else given
        there = carry_heat(given, batch.views[other][0].warp, batch.views[n][-1].warp)
        return disagreement(answers[n].maps[-1], there, self.config.loss)

    @torch.no_grad()
    def _doubt(
        self, answer: DetectorOutput, batch: CoTeachingBatch, n: int, cross: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """Eq. 18, 19: L_filter of network `n`, `[B, K]`, for each radiograph and landmark.

        With one view for each network, the other network's answer stands for its own on a second view.
        """
        apart = cross[0]
        if self.config.views == "pair" and self.config.doubt > 0:
            weak, strong = batch.views[n]
            there = carry_heat(heat(answer.maps[0], self.config.loss), weak.warp, strong.warp)
            apart = disagreement(answer.maps[1], there, self.config.loss)[0]
        return (1 - batch.doubt) * answer.misfit + batch.doubt * apart


def choose_trusted(doubt: torch.Tensor, known: torch.Tensor, drop: float) -> torch.Tensor:
    """Which of the batch's pseudo-labels `[B, K]` to learn from: all but the `drop` most doubtful of each landmark.

    At least one of each landmark is kept; unknown ones never are.
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
