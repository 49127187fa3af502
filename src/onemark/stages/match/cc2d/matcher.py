"""CC2D: carry the exemplars' landmarks to any radiograph by comparing dense embeddings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields, replace

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.imaging.keypoints import sift_points
from onemark.imaging.letterbox import Letterbox, Size
from onemark.nn.backbones import pretrained
from onemark.nn.backbones.context import split_dim
from onemark.nn.backbones.pyramid import pyramid
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.embedding.dense import DenseOptions, DenseTask
from onemark.nn.embedding.embed import Embedder, Maps, TwoEmbedders
from onemark.nn.embedding.locate import PEAK_RADIUS, Vectors, describe, find, find_product, level_maps
from onemark.nn.embedding.patches import patches_around
from onemark.nn.embedding.several import combine
from onemark.nn.fabric import Fabric
from onemark.nn.heatmaps.decode import Peaks
from onemark.nn.reader import Reader, landmark_set
from onemark.nn.training.canvases import STRETCH, CanvasCache, CanvasExemplar, ResolutionLevel
from onemark.nn.training.exemplars import pack_rows
from onemark.nn.training.loop import train
from onemark.nn.training.pace import is_worth_looking, seconds_per_step
from onemark.nn.training.task import Task
from onemark.nn.weights import Tensors
from onemark.options import settings_of
from onemark.stages.base import StageContext
from onemark.stages.config import StageConfig
from onemark.stages.match.cc2d.config import CC2DConfig
from onemark.stages.match.cc2d.patch import PatchTask
from onemark.stages.matcher import Matcher
from onemark.types import Evidence, LandmarkSet, Radiograph, UserError

SALIENT = 16

BESIDE = 1.6  # what a step takes, with its teacher and comparisons, as a multiple of the network's passes
ENOUGH_STEPS = 120  # from which on answers are about as exact as registration's


class CC2D(Matcher):
    """Matcher of Yao et al., MICCAI 2021 (stage SSL).

    Attributes:
        names: K landmark names.
        templates: Unit vectors per level `[M, K, C]`, finest first; at most M exemplars show a landmark.
        visible: `[M, K]`, whether there is an m-th exemplar that shows landmark k.
    """

    Config = CC2DConfig
    explains = True
    learns_without_exemplars = True
    measures_cycles = True
    config: CC2DConfig
    network: Embedder

    def __init__(self, config: CC2DConfig, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        super().__init__(config, names, canvas, fabric)
        self.network = _network(config)
        self.reader = Reader(self.network, canvas, fabric, STRETCH[config.framing])
        self.templates: Vectors = []
        self.visible = torch.zeros(0, len(names), dtype=torch.bool)

    @classmethod
    def architecture(cls, config: StageConfig) -> str:
        """The encoder with its heads; none with context blocks, or with two extractors."""
        assert isinstance(config, CC2DConfig)
        return config.encoder if config.extractors == "shared" and config.context == "none" else ""

    @property
    def grow(self) -> float:
        """Share of the schedule that is trained on a smaller canvas first, 0...1."""
        return self.config.grow

    def learn(self, context: StageContext, levels: list[ResolutionLevel]) -> None:
        """Learn embeddings, from points around the exemplars' landmarks or, before there are any, around key points."""
        config, marked = self.config, levels[-1].exemplars
        pretrained.start(self.network, config.encoder, config.weights, self.slot)
        known = levels if marked else [replace(one, exemplars=_salient(one.store)) for one in levels]
        task = _task(self.network, known, config, self.fabric)
        seconds = self._seconds_worth_taking(context) if marked else context.seconds
        plan = config.plan(seconds, restart=config.grow)
        train(task, plan, context, (lambda: self.preview(levels[-1])) if marked else None)

    def _seconds_worth_taking(self, context: StageContext) -> float | None:
        """The stage's time, or a share of it where even all of it is too little for answers that count."""
        seconds, config = context.seconds, self.config
        if seconds is None or config.hurried == 1:
            return seconds
        return seconds * float(context.decide("share", lambda: self._share_worth_taking(seconds)))

    def _share_worth_taking(self, seconds: float) -> float:
        if is_worth_looking(seconds, self.fabric):
            pace = seconds_per_step(self.network, self.canvas, 2 * self.config.batch, self.fabric)
            if seconds / (BESIDE * pace) >= ENOUGH_STEPS:
                return 1.0
        return self.config.hurried

    def embed(self, canvases: torch.Tensor) -> Maps:
        """Unit embeddings `[B, C, h, w]` per level, finest first, of canvases `[B, 1, H, W]`."""
        maps: Maps = self.reader(canvases)
        return maps

    def remember(self, store: CanvasCache, exemplars: list[CanvasExemplar]) -> None:
        """Take the exemplars' landmarks as templates."""
        vectors = [self._describe(store.read([one.index]), one.xy.nan_to_num()) for one in exemplars]
        visible = torch.stack([one.xy.isfinite().all(-1) for one in exemplars])
        rows, landmarks = pack_rows(visible), torch.arange(visible.shape[1])
        self.templates = [torch.cat(level).cpu()[rows, landmarks] for level in zip(*vectors, strict=True)]
        self.visible = visible[rows, landmarks]

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels."""
        maps, frame = self.reader.read(radiograph)
        peaks = self.peaks(maps)
        return landmark_set(radiograph, self.names, frame, peaks.xy, peaks.score, peaks.spread)

    def peaks(self, maps: Maps) -> Peaks:
        """The exemplars' answer for each landmark, `[K, 2]` canvas pixels.

        Args:
            maps: Embeddings of one radiograph, `[1, C, h, w]` per level.
        """
        found = self._all_peaks(maps)
        each = Peaks(found.xy.transpose(0, 1), found.score.T, found.spread.T)
        return combine(each, self.visible.T, self.config.several, self.config.temperature)

    def cycle_errors(
        self,
        exemplar: Radiograph,
        placed: NDArray[np.float64],
        predictions: Iterable[tuple[Radiograph, NDArray[np.float64]]],
    ) -> NDArray[np.float64]:
        """How far from an exemplar's landmarks the way back from other radiographs ends.

        Args:
            exemplar: A radiograph with landmarks.
            placed: `[K, 2]` its landmarks, original px; NaN where one is not visible.
            predictions: Radiographs and `[K, 2]` the same landmarks on them.

        Returns:
            `[N, K]` distances in original px of the exemplar; NaN where a landmark is not visible.
        """
        home, frame = self.reader.read(exemplar)
        rows = []
        for radiograph, xy in predictions:
            maps, there = self.reader.read(radiograph)
            points = torch.from_numpy(there.to_canvas(np.nan_to_num(xy))).float()[None].to(maps[0].device)
            back = self._find(describe(maps, points, self.config.task == "patch"), home).xy[0]
            away = frame.to_image(back.cpu().double().numpy()) - placed
            rows.append(np.where(np.isfinite(xy).all(1), np.linalg.norm(away, axis=1), np.nan))
        return np.stack(rows)

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """Similarity maps of a landmark (the first when none is named), per level and their product.

        Raises:
            UserError: no landmark of that name.
        """
        name = self.names[0] if landmark is None else landmark
        k = self.index_of(name)
        maps, frame = self.reader.read(radiograph)
        score = self._all_peaks(maps).score[:, k].cpu()
        which = int(score.masked_fill(~self.visible[:, k], -1).argmax())
        vectors = [level[which : which + 1, k : k + 1].to(maps[0].device) for level in self.templates]
        levels = [level[0, 0] for level in level_maps(vectors, maps)]
        shown = {f"similarity s{s}": m for s, m in zip(STRIDES, levels, strict=True)}
        shown["similarity product"] = torch.stack(levels).prod(0)
        return Evidence(radiograph.name, name, {key: _restore(m, frame) for key, m in shown.items()})

    def _all_peaks(self, maps: Maps) -> Peaks:
        """Every exemplar's answer `[M, K]`."""
        # All on one map: a copy of it for each of 150 exemplars would take as much memory again 150 times.
        found = self._find([level.to(maps[0].device).flatten(0, 1)[None] for level in self.templates], maps)
        shape = tuple(self.visible.shape)
        return Peaks(*(split_dim(one[0], 0, shape) for one in (found.xy, found.score, found.spread)))

    def _find(self, vectors: Vectors, maps: Maps) -> Peaks:
        config = self.config
        radius = PEAK_RADIUS if config.peak == "subpixel" else 0
        if config.cascade == "product":
            return find_product(vectors, maps, self.canvas, config.temperature, radius)
        return find(vectors, maps, config.temperature, radius)

    def _describe(self, canvas: torch.Tensor, xy: torch.Tensor) -> Vectors:
        """Vectors `[1, K, C]` per level of points `[K, 2]` on a canvas `[1, 1, H, W]`."""
        rounded = self.config.task == "patch"
        if not isinstance(self.network, TwoEmbedders):
            maps = self.reader(canvas)
            return describe(maps, xy[None].to(maps[0].device), rounded)
        patches, inner = patches_around(canvas, xy, self.config.patch)
        maps = Reader(self.network.template, self.canvas, self.reader.fabric)(patches)
        return [v.transpose(0, 1) for v in describe(maps, inner[:, None].to(maps[0].device), rounded)]

    def tensors(self) -> dict[str, torch.Tensor]:
        """The network and the templates."""
        templates = {f"templates.{i}": level for i, level in enumerate(self.templates)}
        return super().tensors() | templates | {"visible": self.visible}

    def load_tensors(self, tensors: Tensors) -> None:
        """Take back what `tensors` gave."""
        super().load_tensors(tensors)
        if len(tensors["visible"]):
            self.templates = [tensors[f"templates.{i}"] for i in range(len(STRIDES))]
        self.visible = tensors["visible"]


def _network(config: CC2DConfig) -> Embedder:
    if config.extractors == "shared":
        return Embedder(pyramid(config.encoder), config.length, config.context)
    return TwoEmbedders(pyramid(config.encoder), pyramid(config.encoder), config.length, config.context)


def _task(network: Embedder, sizes: list[ResolutionLevel], config: CC2DConfig, fabric: Fabric) -> Task:
    if config.task == "patch":
        return PatchTask(network, sizes, config)
    if config.extractors == "two":
        raise UserError(
            "match.extractors=two needs match.task=patch: dense pairs of views share one extractor"
        )
    values = settings_of(config)
    options = DenseOptions(**{field.name: values[field.name] for field in fields(DenseOptions)})
    return DenseTask(network, sizes, options, fabric)


def _salient(store: CanvasCache) -> list[CanvasExemplar]:
    """Key points of a few radiographs, for what they are worth where no landmark is known yet."""
    spread = range(0, len(store), math.ceil(len(store) / SALIENT))
    found = [(i, sift_points(store.read([i])[0, 0].numpy())) for i in spread if store.usable(i)]
    return [CanvasExemplar(i, torch.from_numpy(xy).float()) for i, xy in found if len(xy)]


def _restore(level: torch.Tensor, frame: Letterbox) -> np.ndarray:
    wide = torch.nn.functional.interpolate(
        level[None, None].float().cpu(), frame.canvas, mode="bilinear", align_corners=False
    )
    return frame.restore(wide[0, 0])
