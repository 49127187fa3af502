"""F2, the refiner: a coarse point is looked at again in a crop of full resolution (FM-OSD, Miao et al., 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from onemark.imaging.letterbox import Letterbox, Size
from onemark.nn.backbones import pretrained
from onemark.nn.fabric import Fabric
from onemark.nn.heatmaps.decode import Peaks, cells_to_pixels, soft_peaks
from onemark.nn.reader import Reader, landmark_set
from onemark.nn.training.canvases import STRETCH, ResolutionLevel
from onemark.nn.training.labels import Label, PseudoLabels
from onemark.nn.training.loop import train
from onemark.nn.weights import Tensors, take_fitting
from onemark.progress import Progress
from onemark.stages.base import MATCH, ChosenStage, StageContext, network_weights
from onemark.stages.refine.f2.config import F2Config
from onemark.stages.refine.f2.crops import Crops
from onemark.stages.refine.f2.label import FineLabels, crop_around, remember_crops
from onemark.stages.refine.f2.matching import ExemplarCrops, Matching
from onemark.stages.refine.f2.network import DinoNet, HeatNet, MatchNet
from onemark.stages.refine.f2.task import ExemplarTask, LabelTask
from onemark.stages.refiner import Refiner
from onemark.types import Evidence, LandmarkSet, Radiograph, UserError

Locate = Callable[[Radiograph], LandmarkSet]
Network = HeatNet | MatchNet | DinoNet


class F2(Refiner):
    """Refiner on crops of a fine canvas.

    Attributes:
        names: K landmark names.
        canvas: `(H, W)` of the fine canvas.
        known: What the exemplars look like, where crops are compared with them; None where heatmaps were learned.
    """

    Config = F2Config
    explains = True
    config: F2Config
    network: Network

    def __init__(self, config: F2Config, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        super().__init__(config, names, canvas, fabric)
        self.known: ExemplarCrops | None = None
        self._matching: Matching | None = None
        # A network that compares by the matcher's embeddings is made when these are at hand.
        if config.encoder == "dino":
            self._take_network(DinoNet())
        elif config.learn == "labels":
            self._take_network(HeatNet(len(names)))

    @classmethod
    def check(cls, chosen: Mapping[str, ChosenStage]) -> None:
        """Check, before anything is learned, that the crops, the network and what it learns from go together.

        Raises:
            UserError: they do not.
        """
        config, matcher = chosen[cls.slot].config, chosen[MATCH]
        assert isinstance(config, F2Config)
        architecture = matcher.stage.architecture(matcher.config) or "a matcher without one"
        if config.crop % 32:
            raise UserError(f"refine.crop must be a multiple of 32 px, not {config.crop}")
        if config.encoder == "dino" and config.learn != "exemplar":
            raise UserError(f"refine.learn={config.learn} is not for dino: set refine.learn=exemplar")
        if config.encoder == "compact" and config.learn != "labels" and architecture != "compact":
            raise UserError(
                f"refine.learn={config.learn} compares by a compact matcher's network, not by {architecture}: set "
                "refine.learn=labels, or refine.encoder=dino with refine.learn=exemplar"
            )

    def learn(self, context: StageContext, level: ResolutionLevel) -> None:
        """Learn heatmaps from the matcher's labels at full resolution, or descriptors from copies of the exemplar.

        Raises:
            UserError: the compact form has no compact matcher to start from, or weights are missing.
        """
        config = self.config
        matcher = context.before[MATCH].starting_weights() if MATCH in context.before else {}
        if self._compares_by_matcher:
            self._take_network(MatchNet.of(matcher))
        self._start(context)
        if config.learn == "labels":
            coarse = PseudoLabels(context.locate, device=context.fabric.device)
            labels = _labels(config, coarse, matcher, level, context)
            task: LabelTask | ExemplarTask = LabelTask(self.network, level, labels, coarse, config)
        else:
            task = ExemplarTask(self.network, level, self.network.stride, config)
        if config.learn != "nothing":
            train(task, config.plan(context.seconds), context, lambda: self._preview(level, context.locate))
        self.remember(level)

    @property
    def _compares_by_matcher(self) -> bool:
        return self.config.encoder != "dino" and self.config.learn != "labels"

    def _take_network(self, network: Network) -> None:
        self.network = network
        self.reader = Reader(network, self.canvas, self.fabric)

    def remember(self, size: ResolutionLevel) -> None:
        """Take the exemplars' crops to compare with, unless heatmaps were learned."""
        self.known = None if self.config.learn == "labels" else remember_crops(size, self.config.crop)
        self._matching = None

    def refine(self, radiograph: Radiograph, coarse: LandmarkSet) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels, moved from where a coarse stage put them."""
        peaks, _, _, frame = self._look(radiograph, coarse)
        found = (peaks.xy, peaks.score, peaks.spread, peaks.covariance)
        return landmark_set(radiograph, self.names, frame, *found)

    def explain(self, radiograph: Radiograph, coarse: LandmarkSet, landmark: str | None = None) -> Evidence:
        """Where in its crop a landmark may lie: that of one, or of all when none is named.

        Raises:
            UserError: no landmark of that name.
        """
        chosen = range(len(self.names)) if landmark is None else [self.index_of(landmark)]
        _, logits, crops, frame = self._look(radiograph, coarse)
        p = logits.flatten(1).softmax(1).view_as(logits)
        p = p / p.amax((1, 2), keepdim=True)
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
            logits, peaks = self._matching_with(self.known).find(crops.views, prior, self.config.top)
        xy = crops.outer(cells_to_pixels(peaks.xy, stride))
        covariance = None if peaks.covariance is None else peaks.covariance * stride**2
        return Peaks(xy, peaks.score, peaks.spread * stride, covariance), logits, crops, frame

    def _matching_with(self, known: ExemplarCrops) -> Matching:
        if self._matching is None:
            config = self.config
            self._matching = Matching(
                self.reader, self.network.stride, config.temperature, known, cycles=config.top > 1
            )
        return self._matching

    def _preview(self, size: ResolutionLevel, locate: Locate) -> list[LandmarkSet]:
        self.remember(size)
        shown = (size.store.cohort[index] for index in size.store.shown)
        return [self.refine(radiograph, locate(radiograph)) for radiograph in shown]

    def _start(self, context: StageContext) -> None:
        """Start from the former refiner's weights; else from those of the stages before, or from official ones."""
        if context.former is None and isinstance(self.network, DinoNet):
            return pretrained.start(self.network, "dino", self.config.weights, self.slot)
        sources = context.before.values() if context.former is None else [context.former]
        for stage in sources:
            take_fitting(self.network, stage.starting_weights())

    def tensors(self) -> dict[str, torch.Tensor]:
        """The network and, where crops are compared with them, the exemplars' crops."""
        known = {} if self.known is None else vars(self.known)
        return super().tensors() | {f"known.{name}": value for name, value in known.items()}

    def load_tensors(self, tensors: Tensors) -> None:
        """Take back what `tensors` gave."""
        if self._compares_by_matcher:
            weights = network_weights(tensors)
            self._take_network(MatchNet.of({k.removeprefix("embedder."): v for k, v in weights.items()}))
        super().load_tensors(tensors)
        if "known.xy" in tensors:
            self.known = ExemplarCrops(tensors["known.views"], tensors["known.xy"])


def _labels(
    config: F2Config, coarse: Label, matcher: Tensors, size: ResolutionLevel, context: StageContext
) -> Label:
    """The coarse points matched again, as the matcher's frozen network sees them; as they are where it is another one."""
    if not MatchNet.fits(matcher):
        message = "the matcher is not the compact one: the refiner learns from the coarse points as they are"
        context.sink(Progress(context.stage, 0, config.steps, message=message))
        return coarse
    network = MatchNet.of(matcher).requires_grad_(False)
    reader = Reader(network, size.store.canvas, context.fabric)
    known = remember_crops(size, config.crop)
    return FineLabels(coarse, Matching(reader, network.stride, config.temperature, known), config)
