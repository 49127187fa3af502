"""What the training loop trains for EdgeTrans: synthetic pairs of known correspondence, and real pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from onemark.imaging.augment import UNCHANGED, Intensity
from onemark.nn.fabric import Fabric
from onemark.nn.heatmaps.decode import pixels_to_cells
from onemark.nn.training.canvases import CanvasExemplar, ResolutionLevel
from onemark.nn.training.exemplars import carriers
from onemark.stages.match.edgetrans import synth
from onemark.stages.match.edgetrans.config import EdgeTransConfig
from onemark.stages.match.edgetrans.losses import (
    dissimilarity,
    invertibility,
    landmark_weights,
    match_loss,
    miss,
    roughness,
)
from onemark.stages.match.edgetrans.network import Cascade, RegistrationNet
from onemark.stages.match.edgetrans.sift import align_by_sift
from onemark.stages.match.edgetrans.transform import Transform


@dataclass(frozen=True)
class RegistrationBatch:
    """Radiographs and the pairs made of them.

    Attributes:
        seen: `[N, 1, H, W]` as the network sees them, grey values changed.
        plain: `[N, 1, H, W]` as the losses compare them.
        source: `[P]` positions of the sources: first S synthetic pairs, then R real ones, then the real ones the other
            way round where both ways are needed.
        target: `[P]` positions of the targets.
        truth: The S known maps.
        target_xy: `[R, K, 2]` pseudo-labels (x, y) on the real pairs' targets, canvas px; NaN where nothing is known.
        source_xy: `[R, K, 2]` the same on their sources.
        ways: In how many directions each real pair is registered: 1 or 2.
        start: Affine maps of all pairs where they are not learned (SIFT); None where they are.
        fraction: Share of the schedule that is done, 0...1.
    """

    seen: torch.Tensor
    plain: torch.Tensor
    source: torch.Tensor
    target: torch.Tensor
    truth: Transform
    target_xy: torch.Tensor
    source_xy: torch.Tensor
    ways: int
    start: Transform | None
    fraction: float


class AveragedLabels(nn.Module):
    """Pseudo-labels of all radiographs as moving averages (Eq. 4), in buffers so that a checkpoint keeps them.

    Args:
        count: Radiographs.
        landmarks: K.
        memory: Weight of the former label when one is renewed, 0...1.

    Attributes:
        xy: `[count, K, 2]` (x, y), canvas px; NaN where nothing is known yet.
    """

    def __init__(self, count: int, landmarks: int, memory: float) -> None:
        super().__init__()
        self.memory = memory
        self.register_buffer("xy", torch.full((count, landmarks, 2), torch.nan))
        self.xy: torch.Tensor

    def renew(self, index: list[int], predictions: torch.Tensor) -> None:
        """Average new predictions `[B, K, 2]`, canvas px, into some radiographs' labels; NaN leaves one as it is."""
        former = self.xy[index]
        mixed = torch.where(
            former.isnan(), predictions, former * self.memory + predictions * (1 - self.memory)
        )
        self.xy[index] = torch.where(predictions.isnan(), former, mixed)


class RegistrationTask:
    """What the training loop trains for EdgeTrans.

    Args:
        module: The network.
        level: The cohort and its exemplars on the canvas.
        config: Options.
        fabric: Device and precision.
    """

    def __init__(
        self, module: RegistrationNet, level: ResolutionLevel, config: EdgeTransConfig, fabric: Fabric
    ) -> None:
        self.module, self.level, self.config, self.fabric = module, level, config, fabric
        self.intensity = Intensity() if config.synthesis == "elastic" else UNCHANGED
        landmarks = level.exemplars[0].xy.shape[0]
        self.labels = AveragedLabels(len(level.store), landmarks, config.memory).to(fabric.device)
        # Where a person said where a landmark is, or that it is not visible.
        self.answered = torch.zeros(len(level.store), landmarks, dtype=torch.bool, device=fabric.device)
        for one in (*level.exemplars, *level.hidden):
            self.labels.xy[one.index] = one.xy.to(fabric.device)
            self.answered[one.index] = one.answered.to(fabric.device)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The network and the pseudo-labels."""
        return {"module": self.module, "labels": self.labels}

    def batch(
        self, generator: torch.Generator, fraction: float, size: int | None = None
    ) -> RegistrationBatch:
        """Draw radiographs, views of them and partners; renew the pseudo-labels of a share of the batches."""
        config, store, device = self.config, self.level.store, generator.device
        index = store.draw(size or config.batch, generator)
        canvases = store.read(index).to(device)
        exemplar = self._draw_exemplar(generator)
        due = torch.rand(1, generator=generator, device=device).item() < config.renew
        if due and fraction >= config.focus_from and config.w_focus > 0:
            self._label(index, canvases, exemplar)
        first = synth.views(len(index), store.canvas, config, generator)
        second = synth.partners(len(index), store.canvas, config, generator)
        ours = first.images(canvases)
        theirs = second.images(ours)
        annotated = store.read([exemplar.index]).to(device)
        plain = torch.cat([ours, theirs, annotated])
        source, target = self._pairs(len(index), device)
        xy = first.inverse(self.labels.xy[index])
        points = torch.cat([xy, second.inverse(xy), self.labels.xy[[exemplar.index]]])
        real = slice(len(index), 2 * len(index))
        return RegistrationBatch(
            self.intensity.apply(plain, generator),
            plain,
            source,
            target,
            synth.to_registration(second),
            points[target[real]],
            points[source[real]],
            2 if config.w_inverse > 0 else 1,
            self._start(plain, source, target),
            fraction,
        )

    def loss(self, module: nn.Module, batch: RegistrationBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Weighted sum of the affine map's loss and of the fields' losses, each a mean over the passes."""
        config, known = self.config, len(batch.truth.matrix)
        found: Cascade = module(batch.seen, batch.source, batch.target, config.passes, batch.start)
        with torch.autocast(
            self.fabric.device.type, enabled=False
        ):  # bfloat16 would round places to whole pixels
            parts = self._synthetic_losses(found, batch.truth, known)
            fall = _fall(batch.fraction, config.synthetic_until) if config.synthetic_until > 0 else 1.0
            rise = _rise(batch.fraction, config.local_ramp)
            local = self._real_losses(found, batch, known)
            weights = {
                "global": config.w_global,
                "synthetic": rise * config.w_synthetic * fall,
                "match": config.w_match,
                "similarity": rise * config.w_similarity,
                "smooth": rise * config.w_smooth,
                "inverse": rise * config.w_inverse,
            }
            parts |= local
            total = torch.stack([weights[key] * value for key, value in parts.items()]).sum()
        return total, {key: float(value.detach()) for key, value in parts.items()}

    def after(self, fraction: float) -> None:
        """Nothing follows the network."""

    def _synthetic_losses(self, found: Cascade, truth: Transform, known: int) -> dict[str, torch.Tensor]:
        """Losses of the first `known` pairs, which are synthetic: misses of the maps and of the correlations."""
        config, canvas = self.config, truth.canvas
        some = slice(None, known)
        # An affine map needs no finer grid.
        grid = truth.grid(8)
        parts = {"global": miss(found.affine.take(some).grid(8), grid, canvas, config.miss)}
        if config.affine in ("identity", "sift"):
            parts = {}
        right = truth.grid(config.field_stride)
        if found.steps and config.w_synthetic > 0:
            misses = [
                miss(step.take(some).grid(config.field_stride), right, canvas, config.miss)
                for step in found.steps
            ]
            parts["synthetic"] = torch.stack(misses).mean()
        if config.pairing == "siamese" and config.w_match > 0:
            parts["match"] = self._match_loss(found, truth, known)
        return parts

    def _match_loss(self, found: Cascade, truth: Transform, known: int) -> torch.Tensor:
        """Cross-entropy of the correlations of synthetic pairs, mean over levels and passes."""
        values = []
        if found.whole is not None:
            aims = pixels_to_cells(truth.grid(found.whole.stride), found.whole.stride)
            values.append(match_loss(found.whole.take(known), aims, None))
        befores = [found.affine, *found.steps]
        for before, matches in zip(befores, found.near, strict=False):
            at = before.detach().take(slice(None, known))
            for match in matches:
                aims = at.toward(truth.grid(match.stride), match.stride)
                values.append(match_loss(match.take(known), aims, self.config.reach))
        return torch.stack(values).mean()

    def _real_losses(self, found: Cascade, batch: RegistrationBatch, known: int) -> dict[str, torch.Tensor]:
        """Losses of the real pairs, which need no correspondence: similarity, smoothness, invertibility."""
        config, count = self.config, len(batch.target_xy)
        real = slice(known, None)
        stride = config.compare
        small = F.avg_pool2d(batch.plain, stride) if stride > 1 else batch.plain
        source, target = small[batch.source[real]], small[batch.target[real]]
        points = torch.cat([batch.target_xy, batch.source_xy])[: batch.ways * count]
        focus = None
        if config.w_focus > 0 and batch.fraction >= config.focus_from:
            focus = landmark_weights(points, (target.shape[2], target.shape[3]), stride, config.edge_width)
        parts: dict[str, list[torch.Tensor]] = {"similarity": [], "smooth": [], "inverse": []}
        for step, field in zip(found.steps, found.fields, strict=True):
            at = step.take(real)
            inside = at.images(torch.ones_like(source), stride)
            warped = at.images(source, stride)
            parts["similarity"].append(dissimilarity(warped, target, inside, focus, config.w_focus))
            parts["smooth"].append(roughness(field[real], config.field_stride, warped))
            if batch.ways == 2:
                there, back = at.take(slice(None, count)), at.take(slice(count, None))
                parts["inverse"].append((invertibility(there, back) + invertibility(back, there)) / 2)
        return {key: torch.stack(values).mean() for key, values in parts.items() if values}

    def _pairs(self, count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions of sources and targets among `count` views, as many partners of them, and the exemplar.

        The invertibility loss needs both directions of each real pair. Without it, every other pair is turned round,
        so that the network learns both directions at half the price.
        """
        ours = torch.arange(count, device=device)
        if self.config.partners == "exemplar":
            a, b = torch.full_like(ours, 2 * count), ours + count
        else:
            a, b = ours, ours.roll(-1)
        if self.config.w_inverse > 0:
            return torch.cat([ours, a, b]), torch.cat([ours + count, b, a])
        back = ours % 2 == 1
        return torch.cat([ours, torch.where(back, b, a)]), torch.cat([ours + count, torch.where(back, a, b)])

    def _start(self, images: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> Transform | None:
        if self.config.affine != "sift":
            return None
        return align_by_sift(images, source, target, self.config.field_stride)

    def _draw_exemplar(self, generator: torch.Generator) -> CanvasExemplar:
        exemplars = carriers(self.level.exemplars)
        if len(exemplars) == 1:
            return exemplars[0]
        return exemplars[
            int(torch.randint(len(exemplars), (1,), generator=generator, device=generator.device))
        ]

    @torch.no_grad()
    def _label(self, index: list[int], canvases: torch.Tensor, exemplar: CanvasExemplar) -> None:
        """Renew the pseudo-labels of some radiographs by registering the exemplar with them, unaugmented."""
        module, device = self.module.eval(), canvases.device
        images = torch.cat([canvases, self.level.store.read([exemplar.index]).to(device)])
        target = torch.arange(len(index), device=device)
        source = torch.full_like(target, len(index))
        with self.fabric.autocast():
            start = self._start(images, source, target)
            answer = module(images, source, target, self.config.passes, start).answer
        module.train()
        xy = exemplar.xy.to(device)
        predictions = answer.inverse(xy.nan_to_num().expand(len(index), -1, -1))
        predictions = torch.where(xy.isnan(), torch.nan, predictions)
        predictions[self.answered[index]] = torch.nan  # what a person annotated is kept
        self.labels.renew(index, predictions)


def _rise(fraction: float, until: float) -> float:
    """Ramp of the fields' losses in the released code: `exp(-5 (1 - x)^2)`, from almost 0 to 1 at `until`."""
    return 1.0 if fraction >= until else math.exp(-5 * (1 - fraction / until) ** 2)


def _fall(fraction: float, until: float) -> float:
    """Ramp of the fields' miss in the released code (the paper's is a cosine): from almost 1 to 0 at `until`."""
    return 0.0 if fraction >= until else 1 - math.exp(-5 * (1 - fraction / until) ** 2)
