"""Dense self-supervision: about a hundred anchors per pair of views, all levels in one batched product.

Known displacement fields join two views of one radiograph (Yao et al. 2021, Eq. 1-2, with many anchors instead of one
and both views augmented). Later in the schedule the teacher, a copy of the network that follows it slowly, also pairs
points across radiographs: it keeps those that it matches there and back again. Half of these lie around the exemplar's
landmarks.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from onemark.imaging.augment import Geometry, Intensity, Warp
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.embedding.embed import (
    Embedder,
    Maps,
    distance_bias,
    vectors_at,
    whole_cosines,
    window,
    window_cosines,
)
from onemark.nn.embedding.locate import describe, find
from onemark.nn.fabric import Fabric
from onemark.nn.heatmaps.decode import pixels_to_cells
from onemark.nn.training.canvases import ResolutionLevel, adapt_intensity, level_at
from onemark.nn.training.exemplars import draw_exemplars

WHOLE_MAP_STRIDE = 16  # from this stride on maps are small enough to compare a point with all of their cells
TEACHER_MEMORY = 0.98  # share of its former weights that the teacher keeps in a step


@dataclass(frozen=True)
class DenseOptions:
    """Options of the dense comparison; the Config of a stage documents the fields that it offers.

    Attributes:
        batch: Radiographs per step.
        temperature: Factor on cosines before the softmax.
        anchors: Points compared per pair of views.
        window: Half the window of fine comparisons, cells.
        cross_from: Share of the schedule after which points are also paired across radiographs.
        focus: Share of those points drawn around the exemplar's landmarks.
        focus_sigma: Spread of those points, as a share of the canvas side.
        cycle: Largest cycle error of a pair across radiographs, canvas px.
        distance_bias: Added to the cosines of wrong cells while learning, per cell of distance.
        bias_cap: Greatest distance bias.
    """

    batch: int = 8
    temperature: float = 10.0
    anchors: int = 96
    window: int = 7
    cross_from: float = 0.3
    focus: float = 0.5
    focus_sigma: float = 0.03
    cycle: float = 4.0
    distance_bias: float = 0.0
    bias_cap: float = 0.8


@dataclass(frozen=True)
class Pairs:
    """Points on the canvases of a batch and their counterparts on the partners' canvases.

    Attributes:
        here: `[B, N, 2]` points (x, y), canvas px.
        there: `[B, N, 2]` their counterparts.
        weight: `[B, N]`, 0 where a pair does not count.
        roll: The partner of radiograph i is radiograph i + `roll` of the batch; 0 for the other view of its own.
    """

    here: torch.Tensor
    there: torch.Tensor
    weight: torch.Tensor
    roll: int


@dataclass(frozen=True)
class DenseBatch:
    """Two views of each radiograph of a batch, and the pairs of points to match.

    Attributes:
        views: `[2 B, 1, H, W]`: all first views, then all second ones.
        first: Maps from the first views to the canvases.
        second: Maps from the second views to the canvases.
        pairs: Pairs within radiographs and, later in the schedule, across them.
        jitter: `[pairs, levels, B, N, 2]` whole cells by which the windows of fine comparisons are moved.
    """

    views: torch.Tensor
    first: Warp
    second: Warp
    pairs: list[Pairs]
    jitter: torch.Tensor


class DenseTask:
    """What the training loop trains for a compact matcher.

    Args:
        module: The embedding network.
        levels: The cohort and its exemplars, coarser levels first.
        config: Options.
        fabric: Device and precision.
    """

    def __init__(
        self,
        module: Embedder,
        levels: Sequence[ResolutionLevel],
        config: DenseOptions,
        fabric: Fabric,
    ) -> None:
        self.module, self.levels, self.config = module, levels, config
        self.fabric = fabric
        self.teacher = copy.deepcopy(module).eval().requires_grad_(False)
        self.mild, self.strong = Geometry(), Geometry().times(2)
        self.intensity = adapt_intensity(levels[-1].store.framing, Intensity())

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The network and its teacher."""
        return {"module": self.module, "teacher": self.teacher}

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> DenseBatch:
        """Draw radiographs, views and anchors, and let the teacher pair points across radiographs."""
        config, device = self.config, generator.device
        size = size or config.batch
        level = level_at(self.levels, fraction)
        canvases = level.store.read(level.store.draw(size, generator)).to(device)
        first = Warp.draw(size, level.store.canvas, self.mild, generator)
        second = Warp.draw(size, level.store.canvas, self.strong, generator)
        warped = torch.cat([first.images(canvases), second.images(canvases)])
        points = torch.rand(size, config.anchors, 2, generator=generator, device=device)
        points = (0.02 + 0.96 * points) * level.side.to(device)
        pairs = [Pairs(points, points, torch.ones(points.shape[:2], device=device), 0)]
        if fraction >= config.cross_from and size > 1 and level.exemplars:
            pairs = self._pair_across(level, canvases, points, generator)
        # Moved by this much, a window still has the target two cells from its edge.
        reach = config.window - 2
        shape = (len(pairs), len(STRIDES), *points.shape)
        jitter = torch.randint(-reach, reach + 1, shape, generator=generator, device=device)
        return DenseBatch(self.intensity.apply(warped, generator), first, second, pairs, jitter)

    def loss(self, module: nn.Module, batch: DenseBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Cross-entropy of every point's counterpart, summed over the five levels (Eq. 2)."""
        count = len(batch.views) // 2
        maps = module(batch.views)
        here, there = [m[:count] for m in maps], [m[count:] for m in maps]
        total = torch.zeros((), device=batch.views.device)
        metrics = {}
        for pairs, jitter in zip(batch.pairs, batch.jitter, strict=True):
            back = pairs.roll
            # A warp belongs to its radiograph, so the partners' points are mapped in the partners' order and rolled back.
            target = batch.second.inverse(pairs.there.roll(back, 0)).roll(-back, 0)
            partner = [m.roll(-back, 0) for m in there]
            loss = self._contrast(
                here, partner, batch.first.inverse(pairs.here), target, pairs.weight, jitter
            )
            metrics["across" if back else "same"] = float(loss.detach())
            total = total + loss
        return total, metrics

    def after(self, fraction: float) -> None:
        """Let the teacher follow the network after a step.

        Until half of `cross_from` it is a plain copy, so it remembers nothing of the first random weights.
        """
        memory = TEACHER_MEMORY if fraction >= self.config.cross_from / 2 else 0.0
        with torch.no_grad():
            pairs = zip(self.teacher.state_dict().values(), self.module.state_dict().values(), strict=True)
            for old, new in pairs:
                if old.dtype.is_floating_point:
                    old.lerp_(new, 1 - memory)
                else:
                    old.copy_(new)

    @torch.no_grad()
    def _pair_across(
        self, level: ResolutionLevel, canvases: torch.Tensor, points: torch.Tensor, generator: torch.Generator
    ) -> list[Pairs]:
        focused = round(points.shape[1] * self.config.focus)
        exemplar = draw_exemplars(level.exemplars, 1, generator)[0]
        annotated = level.store.read([exemplar.index]).to(canvases.device)
        with self.fabric.autocast():
            maps = self.teacher(torch.cat([canvases, annotated]))
        ours = [m[: len(canvases)] for m in maps]
        free = points[:, focused:]
        here: list[torch.Tensor] = []
        there: list[torch.Tensor] = []
        weights: list[torch.Tensor] = []
        if free.shape[1]:
            found, weight = self._match_cycle(ours, [m.roll(-1, 0) for m in ours], free)
            here, there, weights = [free], [found], [weight]
        if focused:
            near = self._draw_around(exemplar.visible, level.side, focused, generator).expand(
                len(canvases), -1, -1
            )
            theirs = [m[len(canvases) :].expand(len(canvases), -1, -1, -1) for m in maps]
            found, weight = self._match_cycle(theirs, ours, near)
            here.append(found)
            there.append(found.roll(-1, 0))
            # A pair around a landmark counts where the teacher matched it in both radiographs.
            weights.append(weight * weight.roll(-1, 0))
        a, b, w = torch.cat(here, 1), torch.cat(there, 1), torch.cat(weights, 1)
        return [Pairs(a, a, torch.ones_like(w), 0), Pairs(a, b, w, 1)]

    def _draw_around(
        self, landmarks: torch.Tensor, side: torch.Tensor, count: int, generator: torch.Generator
    ) -> torch.Tensor:
        landmarks, side = landmarks.to(generator.device), side.to(generator.device)
        which = torch.randint(len(landmarks), (count,), generator=generator, device=generator.device)
        noise = torch.randn(count, 2, generator=generator, device=generator.device)
        near = landmarks[which] + noise * self.config.focus_sigma * side.mean()
        return near.clamp(min=0).minimum(side - 1)[None]

    def _match_cycle(self, source: Maps, target: Maps, xy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Counterparts `[B, N, 2]` of points, and 1 where the way back ends within `cycle` px, `[B, N]`."""
        there = find(describe(source, xy), target, self.config.temperature).xy
        back = find(describe(target, there), source, self.config.temperature).xy
        return there, ((back - xy).norm(dim=-1) < self.config.cycle).float()

    def _contrast(
        self,
        here: Maps,
        there: Maps,
        query: torch.Tensor,
        target: torch.Tensor,
        weight: torch.Tensor,
        jitter: torch.Tensor,
    ) -> torch.Tensor:
        h, w = here[0].shape[-2:]
        last = torch.tensor([w, h], device=query.device) * STRIDES[0] - 1
        inside = ((query >= 0) & (query <= last) & (target >= 0) & (target <= last)).all(-1)
        weight = inside * weight
        total = torch.zeros((), device=query.device)
        for stride, a, b, shift in zip(STRIDES, here, there, jitter, strict=True):
            vectors = vectors_at(a, pixels_to_cells(query, stride))
            nats = self._cross_entropy(
                vectors, b, pixels_to_cells(target, stride), shift, stride >= WHOLE_MAP_STRIDE
            )
            total = total + (nats * weight).sum() / weight.sum().clamp(min=1)
        return total

    def _cross_entropy(
        self, vectors: torch.Tensor, m: torch.Tensor, cells: torch.Tensor, shift: torch.Tensor, whole: bool
    ) -> torch.Tensor:
        """Cross-entropy `[B, N]`, nats, of the sub-cell target against the whole map or a window moved at random."""
        temperature = self.config.temperature
        right = (vectors * vectors_at(m, cells)).sum(-1) * temperature
        if whole:
            index = torch.arange(m[0, 0].numel(), device=m.device).expand(*cells.shape[:2], -1)
            cosines = self._add_bias(whole_cosines(vectors, m).flatten(2), index, m, cells)
            return (cosines * temperature).logsumexp(-1) - right
        index, inside = window(cells.floor().long() + shift, self.config.window, (m.shape[-2], m.shape[-1]))
        cosines = self._add_bias(window_cosines(vectors, m, index), index, m, cells)
        logits = (cosines * temperature).masked_fill(~inside, -1e4)
        return (logits.logsumexp(-1) - right).clamp(min=-1)

    def _add_bias(
        self, cosines: torch.Tensor, index: torch.Tensor, m: torch.Tensor, cells: torch.Tensor
    ) -> torch.Tensor:
        config = self.config
        if config.distance_bias == 0:
            return cosines
        return cosines + distance_bias(index, m.shape[-1], cells, config.distance_bias, config.bias_cap)
