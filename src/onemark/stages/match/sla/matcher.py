"""SLA: landmark-specific matchers on a shared frozen encoder, all trained at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import nn

from onemark.imaging.letterbox import Size
from onemark.nn.backbones import pretrained
from onemark.nn.backbones.context import split_dim
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.embedding.locate import PEAK_RADIUS, Vectors, describe, find
from onemark.nn.embedding.several import combine
from onemark.nn.fabric import Fabric
from onemark.nn.heatmaps.decode import Peaks
from onemark.nn.reader import Reader, landmark_set
from onemark.nn.training.canvases import STRETCH, CanvasCache, CanvasExemplar, ResolutionLevel
from onemark.nn.training.exemplars import pack_rows
from onemark.nn.training.loop import train
from onemark.nn.weights import Tensors
from onemark.stages.base import ChosenStage, StageContext
from onemark.stages.config import StageConfig
from onemark.stages.match.sla.config import SLAConfig
from onemark.stages.match.sla.foveal import WindowViews
from onemark.stages.match.sla.network import LandmarkNet
from onemark.stages.match.sla.patches import PatchViews
from onemark.stages.match.sla.task import SLATask
from onemark.stages.match.sla.views import Views
from onemark.stages.matcher import Matcher
from onemark.types import Evidence, LandmarkSet, Radiograph, UserError

ALL = slice(None)


class SLA(Matcher):
    """Matcher of He et al., MICCAI 2025: SLA, ATD and C-Adapter.

    Attributes:
        names: K landmark names.
        templates: The decoders' unit vectors per level `[M, K, C]`, finest first; at most M exemplars show a landmark.
        coarse: The same of the encoder by itself, which looks first; empty where it does not learn.
        visible: `[M, K]`, whether there is an m-th exemplar that shows landmark k.
    """

    Config = SLAConfig
    explains = True
    bound_to_landmarks = True
    config: SLAConfig
    network: LandmarkNet

    def __init__(self, config: SLAConfig, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        super().__init__(config, names, canvas, fabric)
        self.network = LandmarkNet(config, len(names))
        self.reader = Reader(_Taps(self.network), canvas, fabric, STRETCH[config.framing])
        kind = WindowViews if config.views == "windows" else PatchViews
        self.views: Views = kind(self.network, config, canvas, fabric)
        self.templates: Vectors = []
        self.coarse: Vectors = []
        self.visible = torch.zeros(0, len(names), dtype=torch.bool)

    @classmethod
    def check(cls, chosen: Mapping[str, ChosenStage]) -> None:
        """Check that what needs a trained encoder has one.

        Raises:
            UserError: the encoder is frozen from the start, and an option needs it to have learned.
        """
        config = chosen[cls.slot].config
        assert isinstance(config, SLAConfig)
        if config.before > 0:
            return
        needs = {
            "encoder=compact": config.encoder,
            "views=windows": config.views,
            "start=matcher": config.start,
        }
        for setting, value in needs.items():
            if setting.endswith(f"={value}"):
                raise UserError(
                    f"match.{setting} needs match.before above 0: the encoder must learn to match before it is frozen"
                )

    @classmethod
    def architecture(cls, config: StageConfig) -> str:
        """The frozen encoder with its heads."""
        assert isinstance(config, SLAConfig)
        return config.encoder

    @property
    def grow(self) -> float:
        """Share of the encoder's schedule that is trained on a smaller canvas first, 0...1."""
        return self.config.grow

    def learn(self, context: StageContext, levels: list[ResolutionLevel]) -> None:
        """Learn an encoder of the cohort, then a decoder for each landmark."""
        config, level = self.config, levels[-1]
        pretrained.start(self.network, config.encoder, config.weights, self.slot)
        plan = config.plan(context.seconds, restart=config.before)
        remember = lambda: self.remember(level.store, level.exemplars)  # noqa: E731
        task = SLATask(
            self.network, levels, config, self.fabric, self.views, remember, self.points, context.sink
        )
        train(task, plan, context, lambda: self.preview(level))
        self.network.freeze()

    def continue_from(self, former: Self) -> None:
        """Take over the encoder and the decoders, which stay as they are."""
        super().continue_from(former)
        self.network.freeze()

    def remember(self, store: CanvasCache, exemplars: list[CanvasExemplar]) -> None:
        """Take the exemplars' landmarks as templates."""
        fine, coarse = [], []
        device = self.reader.fabric.device
        self.network.eval().to(device)  # one that goes on from a former run was not trained here
        with torch.inference_mode():
            for one in exemplars:
                canvas, xy = store.read([one.index]).to(device), one.xy.nan_to_num().to(device)
                fine.append(self.views.describe(canvas, xy))
                if not self.network.bare:
                    embedded = self.network.embed(self.network.taps(canvas))
                    coarse.append(describe(embedded, xy[None]))
        visible = torch.stack([one.xy.isfinite().all(-1) for one in exemplars])
        rows, landmarks = pack_rows(visible), torch.arange(visible.shape[1])
        self.templates = [torch.cat(level).cpu()[rows, landmarks] for level in zip(*fine, strict=True)]
        self.coarse = [torch.cat(level).cpu()[rows, landmarks] for level in zip(*coarse, strict=True)]
        self.visible = visible[rows, landmarks]

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels."""
        taps, frame = self.reader.read(radiograph)
        found = self._of(taps)
        return landmark_set(radiograph, self.names, frame, found.xy[0], found.score[0], found.spread[0])

    def points(self, canvases: torch.Tensor, start: torch.Tensor | None = None) -> torch.Tensor:
        """Landmarks `[B, K, 2]` of canvases `[B, 1, H, W]`, in their px.

        Args:
            canvases: The canvases.
            start: `[B, K, 2]` where they are first looked for; None for what the encoder finds by itself, and that alone.
        """
        taps = self.reader(canvases)
        return (self._first(taps) if start is None else self._of(taps, start=start)).xy

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """Similarity maps of a landmark (the first when none is named), per level and their product.

        Raises:
            UserError: no landmark of that name.
        """
        name = self.names[0] if landmark is None else landmark
        k = self.index_of(name)
        taps, frame = self.reader.read(radiograph)
        one = max(range(len(self.visible)), key=lambda m: float(self._of(taps, slice(m, m + 1)).score[0, k]))
        with torch.inference_mode():
            start = self._of(taps, slice(one, one + 1)).xy
            levels = self.views.levels(taps, start, self._on(taps, self.templates, slice(one, one + 1)))
        shown = {
            f"similarity s{s}": level[k].float().cpu() for s, level in zip(STRIDES, levels, strict=False)
        }
        shown["similarity product"] = torch.stack(list(shown.values())).prod(0)
        return Evidence(radiograph.name, name, {key: frame.restore(m) for key, m in shown.items()})

    def _of(self, taps: list[torch.Tensor], which: slice = ALL, start: torch.Tensor | None = None) -> Peaks:
        """The answer `[B, K]` of some exemplars; the encoder's own as long as no decoder has learned."""
        if start is None and self.coarse:
            first = self._first(taps, which)
            if not self.network.frozen:
                return first
            start = first.xy
        with torch.inference_mode():
            templates = self._on(taps, self.templates, which)
            return self.views.find(taps, start, templates, self.visible[which].to(taps[0].device))

    def _first(self, taps: list[torch.Tensor], which: slice = ALL) -> Peaks:
        """The answer `[B, K]` that the encoder gives by itself."""
        radius = PEAK_RADIUS if self.config.peak == "subpixel" else 0
        visible = self.visible[which].to(taps[0].device)
        with torch.inference_mode():
            vectors = [
                v.flatten(0, 1).expand(len(taps[0]), -1, -1) for v in self._on(taps, self.coarse, which)
            ]
            found = find(vectors, self.network.embed(taps), self.config.temperature, radius)
        shape = visible.shape
        values = (split_dim(v, 1, shape).transpose(1, 2) for v in (found.xy, found.score, found.spread))
        return combine(Peaks(*values), visible.T, self.config.several, self.config.temperature)

    @staticmethod
    def _on(taps: list[torch.Tensor], templates: Vectors, which: slice) -> Vectors:
        return [level[which].to(taps[0].device) for level in templates]

    def tensors(self) -> dict[str, torch.Tensor]:
        """The network, and the templates of the decoders and of the encoder."""
        kept = {"templates": self.templates, "coarse": self.coarse}
        vectors = {f"{kind}.{i}": level for kind, levels in kept.items() for i, level in enumerate(levels)}
        return super().tensors() | vectors | {"visible": self.visible}

    def load_tensors(self, tensors: Tensors) -> None:
        """Take back what `tensors` gave."""
        super().load_tensors(tensors)
        self.network.freeze()
        self.templates, self.coarse = (
            [tensors[key] for key in sorted(tensors) if key.startswith(kind)]
            for kind in ("templates.", "coarse.")
        )
        self.visible = tensors["visible"]


class _Taps(nn.Module):
    """What a Reader runs: the encoder."""

    def __init__(self, network: LandmarkNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, canvases: torch.Tensor) -> list[torch.Tensor]:
        """The encoder's maps."""
        return self.network.taps(canvases)
