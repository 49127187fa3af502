"""C2T: two detectors trained on the matcher's pseudo-labels (Yin et al., ECCV 2022, stage II)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import torch
from lightning_fabric import Fabric

from onemark.config import from_settings, settings_of
from onemark.detect.c2t.config import C2TConfig
from onemark.detect.c2t.heat import log_heat
from onemark.detect.c2t.network import Pair
from onemark.detect.c2t.task import C2TTask
from onemark.imaging.frame import Frame, Size
from onemark.nn import pretrained
from onemark.nn.frames import STRETCH, cohort_canvas, cohort_framing, scales
from onemark.nn.heatmap import PEAK_RADIUS, fitting_peaks
from onemark.nn.labels import PseudoLabels
from onemark.nn.loop import Job, train
from onemark.nn.reader import Reader, heat_evidence, landmark_set
from onemark.nn.schedule import Plan
from onemark.nn.shape import Shape
from onemark.nn.weights import Tensors
from onemark.types import Evidence, LandmarkSet, Radiograph

if TYPE_CHECKING:
    from onemark.io.cohort import Cohort
    from onemark.io.landmarks import LandmarkTable


class C2T:
    """Two co-taught heatmap detectors.

    Attributes:
        names: K landmark names.
        shape: Prior on constellations, from the pseudo-labels, on the canvas; None where there was too little.
    """

    Config = C2TConfig

    def __init__(self, config: C2TConfig, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        self.config, self.names, self.canvas = config, names, canvas
        self.network = Pair(config, len(names))
        self.reader = Reader(self.network, canvas, fabric, STRETCH[config.framing])
        self.shape: Shape | None = None

    @classmethod
    def fit(
        cls,
        exemplars: LandmarkTable,
        cohort: Cohort,
        config: C2TConfig,
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
            start: Weights to start from: of such a pair; or a matcher's, of which both take what fits in name and shape.
        """
        torch.manual_seed(job.seed + 1)
        canvas = cohort_canvas(cohort, config.area)
        framing = cohort_framing(cohort, config.framing)
        self = cls(replace(config, framing=framing), exemplars.names, canvas, job.fabric)
        self._begin(start or {})
        sizes = scales(cohort, exemplars, canvas, config.grow, config.pool, job.sink, framing)
        store = sizes[-1].store
        labels = PseudoLabels(pseudo_label)
        task = C2TTask(self.network, sizes, labels, config)
        plan = Plan(
            config.steps,
            seconds,
            config.rate,
            batch=config.batch,
            optimizer=config.optimizer,
            schedule=config.schedule,
        )
        train(task, plan, job, lambda: [self.locate(store.cohort[i]) for i in store.shown])
        self.shape = Shape.learn(labels.shapes(store))
        return self

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels: the peaks of both detectors' mean log-probability."""
        maps, frame = self._read(radiograph)
        together = torch.stack(maps).mean(0)
        radius = PEAK_RADIUS if self.config.peak == "subpixel" else 0
        peaks = fitting_peaks(together, self.shape, radius, self.canvas[0] // together.shape[-2])
        return landmark_set(radiograph, self.names, frame, peaks.xy, peaks.score, peaks.spread)

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """The heatmaps of a landmark, or the strongest of all when none is named: of each detector, and joined.

        Raises:
            UserError: no landmark of that name.
        """
        maps, frame = self._read(radiograph)
        shown = {"heatmap": torch.stack(maps).mean(0)}
        shown |= {f"heatmap {n}": m for n, m in enumerate(maps, 1)}
        return heat_evidence(
            radiograph,
            self.names,
            landmark,
            frame,
            {name: m.flatten(1).softmax(1).view_as(m) for name, m in shown.items()},
        )

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Tensors and JSON head that `restore` needs."""
        head = {"config": settings_of(self.config), "names": list(self.names), "canvas": list(self.canvas)}
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        if self.shape is not None:
            tensors |= {f"shape.{k}": torch.from_numpy(v) for k, v in vars(self.shape).items()}
        return tensors, head

    @classmethod
    def restore(cls, tensors: Tensors, head: Mapping[str, Any], fabric: Fabric) -> Self:
        """The detectors that `state` described."""
        height, width = head["canvas"]
        self = cls(from_settings(C2TConfig, head["config"]), tuple(head["names"]), (height, width), fabric)
        self.network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
        if "shape.mean" in tensors:
            self.shape = Shape(tensors["shape.mean"].numpy(), tensors["shape.stray"].numpy())
        return self

    def _read(self, radiograph: Radiograph) -> tuple[list[torch.Tensor], Frame]:
        """Log-probabilities `[K, h, w]` of each detector, up to a constant, and where the radiograph lies."""
        outputs, frame = self.reader.read(radiograph)
        width = self.config.sigma * outputs[0].shape[-2] / self.canvas[0]
        return [log_heat(maps[0].cpu(), self.config.loss, width) for maps in outputs], frame

    def _begin(self, start: Mapping[str, torch.Tensor]) -> None:
        if start.keys() == self.network.state_dict().keys():
            self.network.load_state_dict(start)
        elif self.config.encoder == "hrnet_w18":
            pretrained.start(self.network, "hrnet_w18", self.config.weights, "detect")
        else:
            for network in (self.network.first, self.network.second):
                own = network.state_dict()
                fitting = {k: v for k, v in start.items() if k in own and own[k].shape == v.shape}
                network.load_state_dict(fitting, strict=False)
