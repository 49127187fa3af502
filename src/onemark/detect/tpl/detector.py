"""TPL: a detector trained on the matcher's pseudo-labels (Yao et al., MICCAI 2021, stage TPL)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import torch
from lightning_fabric import Fabric
from torch import nn

from onemark.config import from_settings, settings_of
from onemark.detect.tpl.config import TPLConfig
from onemark.detect.tpl.heatmap import HeatmapTask
from onemark.detect.tpl.voting import VotingNet, VotingTask, disc_radius, vote
from onemark.imaging.frame import Size
from onemark.nn import pretrained
from onemark.nn.decode import Peaks
from onemark.nn.frames import STRETCH, cohort_canvas, cohort_framing, scales
from onemark.nn.heatmap import PEAK_RADIUS, HeatmapNet, fitting_peaks
from onemark.nn.labels import PseudoLabels
from onemark.nn.loop import Job, train
from onemark.nn.pyramid import pyramid
from onemark.nn.reader import Reader, heat_evidence, landmark_set
from onemark.nn.schedule import Plan
from onemark.nn.shape import Shape
from onemark.nn.weights import Tensors
from onemark.types import Evidence, LandmarkSet, Radiograph

if TYPE_CHECKING:
    from onemark.io.cohort import Cohort
    from onemark.io.landmarks import LandmarkTable


class TPL:
    """Heatmap detector.

    Attributes:
        names: K landmark names.
        shape: Prior on constellations, from the pseudo-labels, on the canvas; None where there was too little.
    """

    Config = TPLConfig

    def __init__(self, config: TPLConfig, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        self.config, self.names, self.canvas = config, names, canvas
        self.network = _network(config, len(names))
        self.reader = Reader(self.network, canvas, fabric, STRETCH[config.framing])
        self.shape: Shape | None = None

    @classmethod
    def fit(
        cls,
        exemplars: LandmarkTable,
        cohort: Cohort,
        config: TPLConfig,
        job: Job,
        pseudo_label: Callable[[Radiograph], LandmarkSet],
        seconds: float | None = None,
        start: Mapping[str, torch.Tensor] | None = None,
    ) -> Self:
        """Learn from pseudo-labels and from the exemplars' true labels.

        Args:
            exemplars: Landmarks of radiographs of the cohort.
            cohort: The radiographs to learn from.
            config: Options.
            job: Device, seed, progress and checkpoint.
            pseudo_label: A matcher's answer for a radiograph; asked when the radiograph is first drawn.
            seconds: Time budget that replaces `config.steps`.
            start: Weights to start from: of such a detector; or, by `compact`, the matcher's that fit in name and shape.
        """
        torch.manual_seed(job.seed + 1)
        canvas = cohort_canvas(cohort, config.area)
        framing = cohort_framing(cohort, config.framing)
        self = cls(replace(config, framing=framing), exemplars.names, canvas, job.fabric)
        self._begin(start or {})
        sizes = scales(cohort, exemplars, canvas, config.grow, config.pool, job.sink, framing)
        store = sizes[-1].store
        labels = PseudoLabels(pseudo_label)
        task = (VotingTask if config.head == "voting" else HeatmapTask)(self.network, sizes, labels, config)
        plan = Plan(
            config.steps,
            seconds,
            config.rate,
            batch=config.batch,
            optimizer=config.optimizer,
            schedule=config.schedule,
        )
        train(task, plan, job, lambda: [self.locate(store.cohort[i]) for i in store.shown])
        self.shape = Shape.learn(labels.shapes(store)) if config.head == "heatmap" else None
        return self

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels."""
        output, frame = self.reader.read(radiograph)
        peaks = self._peaks(output[0].float().cpu())
        return landmark_set(radiograph, self.names, frame, peaks.xy, peaks.score, peaks.spread)

    def _peaks(self, output: torch.Tensor) -> Peaks:
        """Peaks in canvas px: of votes, or of heatmaps `[K, h, w]`, those chosen that fit together."""
        if self.config.head == "voting":
            radius = disc_radius(self.canvas, self.config.disc)
            return vote(output, radius, self.config.peak == "subpixel")[0]
        radius = PEAK_RADIUS if self.config.peak == "subpixel" else 0
        return fitting_peaks(output, self.shape, radius)

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """The heatmap of a landmark, or the strongest of all when none is named; of head voting the ballots too.

        Raises:
            UserError: no landmark of that name.
        """
        output, frame = self.reader.read(radiograph)
        return heat_evidence(radiograph, self.names, landmark, frame, self._maps(output[0].float().cpu()))

    def _maps(self, output: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.config.head == "heatmap":
            return {"heatmap": output.flatten(1).softmax(1).view_as(output)}
        return {
            "heatmap": output[0].sigmoid(),
            "votes": vote(output, disc_radius(self.canvas, self.config.disc))[1],
        }

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Tensors and JSON head that `restore` needs."""
        head = {"config": settings_of(self.config), "names": list(self.names), "canvas": list(self.canvas)}
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        if self.shape is not None:
            tensors |= {f"shape.{k}": torch.from_numpy(v) for k, v in vars(self.shape).items()}
        return tensors, head

    @classmethod
    def restore(cls, tensors: Tensors, head: Mapping[str, Any], fabric: Fabric) -> Self:
        """The detector that `state` described."""
        height, width = head["canvas"]
        self = cls(from_settings(TPLConfig, head["config"]), tuple(head["names"]), (height, width), fabric)
        self.network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
        if "shape.mean" in tensors:
            self.shape = Shape(tensors["shape.mean"].numpy(), tensors["shape.stray"].numpy())
        return self

    def _begin(self, start: Mapping[str, torch.Tensor]) -> None:
        own = self.network.state_dict()
        if self.config.encoder == "vgg19" and start.keys() != own.keys():
            return pretrained.start(self.network, "vgg19", self.config.weights, "detect")
        fitting = {k: v for k, v in start.items() if k in own and own[k].shape == v.shape}
        self.network.load_state_dict(fitting, strict=False)


def _network(config: TPLConfig, landmarks: int) -> nn.Module:
    if config.head == "voting":
        return VotingNet(pyramid(config.encoder, "instance", centred=True), landmarks)
    return HeatmapNet(pyramid(config.encoder, centred=True), landmarks)
