"""SLA: landmark-specific matchers on a shared frozen encoder, all trained at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import torch
from lightning_fabric import Fabric
from torch import nn

from onemark.imaging.letterbox import Size
from onemark.nn.backbones import pretrained
from onemark.nn.backbones.context import split_dim
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.embedding.locate import PEAK_RADIUS, Vectors, describe, find
from onemark.nn.embedding.several import combine
from onemark.nn.heatmaps.decode import Peaks
from onemark.nn.reader import Reader, landmark_set
from onemark.nn.training.canvases import (
    STRETCH,
    CanvasCache,
    CanvasExemplar,
    cohort_canvas,
    cohort_framing,
    resolution_levels,
)
from onemark.nn.training.loop import Job, train
from onemark.nn.training.schedule import Plan
from onemark.nn.weights import Tensors
from onemark.options import from_settings, settings_of
from onemark.stages.match.sla.config import SLAConfig
from onemark.stages.match.sla.foveal import WindowViews
from onemark.stages.match.sla.network import LandmarkNet
from onemark.stages.match.sla.patches import PatchViews
from onemark.stages.match.sla.task import SLATask
from onemark.stages.match.sla.views import Views
from onemark.types import Evidence, LandmarkSet, Radiograph, UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable


ALL = slice(None)


class SLA:
    """Matcher of He et al., MICCAI 2025: SLA, ATD and C-Adapter.

    Attributes:
        names: K landmark names.
        templates: The decoders' unit vectors per level `[M, K, C]`, finest first, of M exemplars.
        coarse: The same of the encoder by itself, which looks first; empty where it does not learn.
        visible: `[M, K]`, whether exemplar m shows landmark k.
    """

    Config = SLAConfig

    def __init__(self, config: SLAConfig, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        _check(config)
        self.config, self.names, self.canvas = config, names, canvas
        self.network = LandmarkNet(config, len(names))
        self.reader = Reader(_Taps(self.network), canvas, fabric, STRETCH[config.framing])
        kind = WindowViews if config.views == "windows" else PatchViews
        self.views: Views = kind(self.network, config, canvas, fabric)
        self.templates: Vectors = []
        self.coarse: Vectors = []
        self.visible = torch.zeros(0, len(names), dtype=torch.bool)

    @classmethod
    def fit(
        cls,
        exemplars: LandmarkTable,
        cohort: Cohort,
        config: SLAConfig,
        job: Job,
        seconds: float | None = None,
        former: Self | None = None,
    ) -> Self:
        """Learn an encoder of the cohort, then a decoder of each landmark.

        Args:
            exemplars: Landmarks of radiographs of the cohort.
            cohort: The radiographs to learn from.
            config: Options.
            job: Device, seed, progress and checkpoint.
            seconds: Time budget that replaces `config.steps`.
            former: A fitted matcher whose network is kept as it is; only the exemplars are taken anew.

        Raises:
            UserError: the former matcher's decoders are of other landmarks, or settings do not go together.
        """
        if former is not None:
            cls.check_names(former.names, exemplars.names)
        torch.manual_seed(job.seed)
        canvas = former.canvas if former else cohort_canvas(cohort, config.area)
        framing = former.config.framing if former else cohort_framing(cohort, config.framing)
        config = replace(config, framing=framing)
        self = cls(config, exemplars.names, canvas, job.fabric)
        sizes = resolution_levels(cohort, exemplars, canvas, config.grow, config.pool, job.sink, framing)
        store, marked = sizes[-1].store, sizes[-1].exemplars
        if former is None:
            pretrained.start(self.network, config.encoder, config.weights, "match")
            plan = Plan(
                config.steps,
                seconds,
                config.rate,
                batch=config.batch,
                optimizer=config.optimizer,
                schedule=config.schedule,
                restart=config.before,
            )
            remember = lambda: self.remember(store, marked)  # noqa: E731
            task = SLATask(
                self.network, sizes, config, job.fabric, self.views, remember, self.points, job.sink
            )
            train(task, plan, job, lambda: self._preview(store, marked))
        else:
            self.network.load_state_dict(former.network.state_dict())
        self.network.freeze()
        self.remember(store, marked)
        return self

    @staticmethod
    def check_names(former: tuple[str, ...], names: tuple[str, ...]) -> None:
        """See, before anything is changed, that a former matcher can go on with the landmarks of its exemplars.

        Raises:
            UserError: its decoders are of other landmarks.
        """
        if former != names:
            raise UserError(
                f"this matcher has decoders of {', '.join(former)}, and the exemplars show "
                f"{', '.join(names)}: give exemplars of the same landmarks, or fit anew"
            )

    def remember(self, store: CanvasCache, exemplars: list[CanvasExemplar]) -> None:
        """Take the exemplars' landmarks as templates."""
        fine, coarse = [], []
        self.network.eval()
        device = self.reader.fabric.device
        with torch.inference_mode(), self.reader.fabric.autocast():
            for one in exemplars:
                canvas, xy = store.read([one.index]).to(device), one.xy.nan_to_num().to(device)
                fine.append(self.views.describe(canvas, xy))
                if not self.network.bare:
                    embedded = self.network.embed(self.network.taps(canvas))
                    coarse.append(describe(embedded, xy[None]))
        self.templates = [torch.cat(level).cpu() for level in zip(*fine, strict=True)]
        self.coarse = [torch.cat(level).cpu() for level in zip(*coarse, strict=True)]
        self.visible = torch.stack([one.xy.isfinite().all(-1) for one in exemplars])

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
        if name not in self.names:
            raise UserError(f"no landmark {name!r} in this run: it has {', '.join(self.names)}")
        k = self.names.index(name)
        taps, frame = self.reader.read(radiograph)
        one = max(range(len(self.visible)), key=lambda m: float(self._of(taps, slice(m, m + 1)).score[0, k]))
        with torch.inference_mode(), self.reader.fabric.autocast():
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
        with torch.inference_mode(), self.reader.fabric.autocast():
            templates = self._on(taps, self.templates, which)
            return self.views.find(taps, start, templates, self.visible[which].to(taps[0].device))

    def _first(self, taps: list[torch.Tensor], which: slice = ALL) -> Peaks:
        """The answer `[B, K]` that the encoder gives by itself."""
        radius = PEAK_RADIUS if self.config.peak == "subpixel" else 0
        visible = self.visible[which].to(taps[0].device)
        with torch.inference_mode(), self.reader.fabric.autocast():
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

    def _preview(self, store: CanvasCache, exemplars: list[CanvasExemplar]) -> list[LandmarkSet]:
        self.remember(store, exemplars)
        return [self.locate(store.cohort[i]) for i in store.shown]

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Tensors and JSON head that `restore` needs."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"templates.{i}": level for i, level in enumerate(self.templates)}
        tensors |= {f"coarse.{i}": level for i, level in enumerate(self.coarse)}
        tensors["visible"] = self.visible
        head = {"config": settings_of(self.config), "names": list(self.names), "canvas": list(self.canvas)}
        return tensors, head

    @classmethod
    def restore(cls, tensors: Tensors, head: Mapping[str, Any], fabric: Fabric) -> Self:
        """The matcher that `state` described."""
        height, width = head["canvas"]
        self = cls(from_settings(SLAConfig, head["config"]), tuple(head["names"]), (height, width), fabric)
        self.network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
        self.network.freeze()
        for name in ("templates", "coarse"):
            setattr(self, name, [tensors[k] for k in sorted(tensors) if k.startswith(f"{name}.")])
        self.visible = tensors["visible"]
        return self


class _Taps(nn.Module):
    """What a Reader runs: the encoder."""

    def __init__(self, network: LandmarkNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, canvases: torch.Tensor) -> list[torch.Tensor]:
        """The encoder's maps."""
        return self.network.taps(canvases)


def _check(config: SLAConfig) -> None:
    if config.before > 0:
        return
    wanting = {
        "encoder=compact": config.encoder,
        "views=windows": config.views,
        "start=matcher": config.start,
    }
    for setting, value in wanting.items():
        if setting.endswith(f"={value}"):
            raise UserError(
                f"match.{setting} needs match.before above 0: the encoder must learn to match before it is frozen"
            )
