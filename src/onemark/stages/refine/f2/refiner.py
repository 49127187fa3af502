"""F2, the refiner: a coarse point is looked at again in a crop of full resolution (FM-OSD, Miao et al., 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import torch
from lightning_fabric import Fabric

from onemark.imaging.letterbox import Letterbox, Size
from onemark.nn.backbones import pretrained
from onemark.nn.heatmaps.decode import Peaks, cells_to_pixels, soft_peaks
from onemark.nn.reader import Reader, landmark_set
from onemark.nn.training.canvases import (
    STRETCH,
    ResolutionLevel,
    cohort_canvas,
    cohort_framing,
    resolution_levels,
)
from onemark.nn.training.labels import Label, PseudoLabels
from onemark.nn.training.loop import Job, train
from onemark.nn.training.schedule import Plan
from onemark.nn.weights import Tensors, take_fitting
from onemark.options import from_settings, settings_of
from onemark.progress import Progress
from onemark.stages.refine.f2.config import F2Config
from onemark.stages.refine.f2.crops import Crops
from onemark.stages.refine.f2.label import FineLabels, crop_around, remember_crops
from onemark.stages.refine.f2.matching import ExemplarCrops, Matching
from onemark.stages.refine.f2.network import DinoNet, HeatNet, MatchNet
from onemark.stages.refine.f2.task import ExemplarTask, LabelTask
from onemark.types import Evidence, LandmarkSet, Radiograph, UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable

Starts = Mapping[str, Mapping[str, torch.Tensor]]
Locate = Callable[[Radiograph], LandmarkSet]
Network = HeatNet | MatchNet | DinoNet


class F2:
    """Refiner on crops of a fine canvas.

    Attributes:
        names: K landmark names.
        canvas: `(H, W)` of the fine canvas.
        known: What the exemplars look like, where crops are compared with them; None where heatmaps were learned.
    """

    Config = F2Config

    def __init__(
        self, config: F2Config, names: tuple[str, ...], canvas: Size, network: Network, fabric: Fabric
    ) -> None:
        self.config, self.names, self.canvas, self.network = config, names, canvas, network
        self.reader = Reader(network, canvas, fabric)
        self.known: ExemplarCrops | None = None
        self._matching: Matching | None = None

    @staticmethod
    def check(configs: Mapping[str, Any]) -> None:
        """See, before anything is learned, that the stages' settings go together.

        Args:
            configs: Slot -> Config.

        Raises:
            UserError: they do not.
        """
        config, encoder = configs["refine"], getattr(configs["match"], "encoder", "another")
        if config.crop % 32:
            raise UserError(f"refine.crop must be a multiple of 32 px, not {config.crop}")
        if config.encoder == "dino" and config.learn != "exemplar":
            raise UserError(f"refine.learn={config.learn} is not for dino: set refine.learn=exemplar")
        if config.encoder == "compact" and config.learn != "labels" and encoder != "compact":
            raise UserError(
                f"refine.learn={config.learn} compares by a compact matcher, not by {encoder}: set "
                "refine.learn=labels, or refine.encoder=dino with refine.learn=exemplar"
            )

    @classmethod
    def fit(
        cls,
        exemplars: LandmarkTable,
        cohort: Cohort,
        config: F2Config,
        job: Job,
        locate: Locate,
        seconds: float | None = None,
        former: Self | None = None,
        start: Starts | None = None,
    ) -> Self:
        """Learn what the landmarks look like at full resolution.

        Args:
            exemplars: Landmarks of radiographs of the cohort.
            cohort: The radiographs to learn from.
            config: Options.
            job: Device, seed, progress and checkpoint.
            locate: The coarse stage's answer for a radiograph.
            seconds: Time budget that replaces `config.steps`.
            former: A fitted refiner to go on from.
            start: Slot -> weights of the stages before it: labels come from the matcher's network, and learning begins
                with those weights of the last stage that fit in name and shape.

        Raises:
            UserError: the compact form has no compact matcher to start from, or weights are missing.
        """
        torch.manual_seed(job.seed + 2)
        canvas = cohort_canvas(cohort, config.area)
        config = replace(config, framing=cohort_framing(cohort, config.framing))
        matcher = (start or {}).get("match", {})
        network = _network(config, len(exemplars.names), matcher)
        self = cls(config, exemplars.names, canvas, network, job.fabric)
        self._begin(former, start or {})
        size = resolution_levels(cohort, exemplars, canvas, 0.0, config.pool, job.sink, config.framing)[-1]
        plan = Plan(config.steps, seconds, config.rate, batch=config.batch)
        if config.learn == "labels":
            coarse = PseudoLabels(locate)
            labels = _labels(config, coarse, matcher, size, job)
            task: LabelTask | ExemplarTask = LabelTask(self.network, size, labels, coarse, config)
        else:
            task = ExemplarTask(self.network, size, self.network.stride, config)
        if config.learn != "nothing":
            train(task, plan, job, lambda: self._preview(size, locate))
        self.remember(size)
        return self

    def remember(self, size: ResolutionLevel) -> None:
        """Take the exemplars' crops to compare with, unless heatmaps were learned."""
        self.known = None if self.config.learn == "labels" else remember_crops(size, self.config.crop)
        self._matching = None

    def refine(self, radiograph: Radiograph, coarse: LandmarkSet) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels, moved from where a coarse stage put them."""
        peaks, _, _, frame = self._look(radiograph, coarse)
        return landmark_set(radiograph, self.names, frame, peaks.xy, peaks.score, peaks.spread)

    def explain(self, radiograph: Radiograph, coarse: LandmarkSet, landmark: str | None = None) -> Evidence:
        """Where in its crop a landmark may lie: that of one, or of all when none is named.

        Raises:
            UserError: no landmark of that name.
        """
        if landmark is not None and landmark not in self.names:
            raise UserError(f"no landmark {landmark!r} in this run: it has {', '.join(self.names)}")
        _, logits, crops, frame = self._look(radiograph, coarse)
        p = logits.flatten(1).softmax(1).view_as(logits)
        p = p / p.amax((1, 2), keepdim=True)
        chosen = range(len(self.names)) if landmark is None else [self.names.index(landmark)]
        shown = torch.zeros(self.canvas)
        for k in chosen:
            crops.paste(p[k], shown, k)
        return Evidence(radiograph.name, landmark, {"refined": frame.restore(shown)})

    def _look(
        self, radiograph: Radiograph, coarse: LandmarkSet
    ) -> tuple[Peaks, torch.Tensor, Crops, Letterbox]:
        """Peaks in canvas px, log-probabilities `[K, h, w]` on the crops, the crops, and where the canvas lies."""
        frame = Letterbox.fit(radiograph.size, self.canvas, STRETCH[self.config.framing])
        stride = self.network.stride
        points = torch.from_numpy(frame.to_canvas(coarse.xy)).float()
        deviation = self.config.prior if self.known is None else self.config.match_prior
        canvas = frame.render(radiograph.pixels)[None, None]
        crops, prior = crop_around(canvas, points, stride, self.config.crop, deviation)
        if self.known is None:
            logits = self.reader(crops.views)[0].float().cpu() + prior
            peaks = soft_peaks(logits)
        else:
            logits, peaks = self._compared(self.known).find(crops.views, prior, self.config.top)
        xy = crops.outer(cells_to_pixels(peaks.xy, stride))
        return Peaks(xy, peaks.score, peaks.spread * stride), logits, crops, frame

    def _compared(self, known: ExemplarCrops) -> Matching:
        if self._matching is None:
            self._matching = Matching(self.reader, self.network.stride, self.config.temperature, known)
        return self._matching

    def _preview(self, size: ResolutionLevel, locate: Locate) -> list[LandmarkSet]:
        self.remember(size)
        shown = (size.store.cohort[index] for index in size.store.shown)
        return [self.refine(radiograph, locate(radiograph)) for radiograph in shown]

    def _begin(self, former: Self | None, start: Starts) -> None:
        """Begin with the former refiner's weights; else with those of the stages before, or with official ones."""
        if former is None and isinstance(self.network, DinoNet):
            return pretrained.start(self.network, "dino", self.config.weights, "refine")
        for begin in start.values() if former is None else [former.network.state_dict()]:
            take_fitting(self.network, begin)

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Tensors and JSON head that `restore` needs."""
        head = {"config": settings_of(self.config), "names": list(self.names), "canvas": list(self.canvas)}
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        if self.known is not None:
            tensors |= {f"known.{k}": v for k, v in vars(self.known).items()}
        return tensors, head

    @classmethod
    def restore(cls, tensors: Tensors, head: Mapping[str, Any], fabric: Fabric) -> Self:
        """The refiner that `state` described."""
        height, width = head["canvas"]
        config, names = from_settings(F2Config, head["config"]), tuple(head["names"])
        weights = {k[8:]: v for k, v in tensors.items() if k.startswith("network.")}
        embedder = {k.removeprefix("embedder."): v for k, v in weights.items()}
        self = cls(config, names, (height, width), _network(config, len(names), embedder), fabric)
        self.network.load_state_dict(weights)
        if "known.xy" in tensors:
            self.known = ExemplarCrops(tensors["known.views"], tensors["known.xy"])
        return self


def _network(config: F2Config, landmarks: int, start: Mapping[str, torch.Tensor]) -> Network:
    if config.encoder == "dino":
        return DinoNet()
    return HeatNet(landmarks) if config.learn == "labels" else MatchNet.of(start)


def _labels(
    config: F2Config, coarse: Label, matcher: Mapping[str, torch.Tensor], size: ResolutionLevel, job: Job
) -> Label:
    """The coarse points matched again, as the matcher's frozen network sees them; as they are where it is another one."""
    if not MatchNet.fits(matcher):
        message = "the matcher is not the compact one: the refiner learns from the coarse points as they are"
        job.sink(Progress("refine", 0, config.steps, message=message))
        return coarse
    network = MatchNet.of(matcher).requires_grad_(False)
    reader = Reader(network, size.store.canvas, job.fabric)
    known = remember_crops(size, config.crop)
    return FineLabels(coarse, Matching(reader, network.stride, config.temperature, known), config)
