"""What detectors share: they learn from a matcher's pseudo-labels, are kept, and come back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from lightning_fabric import Fabric
from torch import nn

from onemark.imaging.letterbox import Size
from onemark.nn.heatmaps.shape import Shape
from onemark.nn.reader import Reader
from onemark.nn.training.canvases import (
    STRETCH,
    ResolutionLevel,
    cohort_canvas,
    cohort_framing,
    resolution_levels,
)
from onemark.nn.training.labels import PseudoLabels
from onemark.nn.training.loop import Job, train
from onemark.nn.training.schedule import Plan
from onemark.nn.training.task import Task
from onemark.nn.weights import Tensors
from onemark.options import from_settings, settings_of
from onemark.types import Evidence, LandmarkSet, Radiograph

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable


class Detector(ABC):
    """A network that is trained on pseudo-labels.

    Attributes:
        names: K landmark names.
        shape: Prior on constellations, from the pseudo-labels, on the canvas; None where there was too little.
    """

    Config: ClassVar[Any]
    network: nn.Module

    def __init__(self, config: Any, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        self.config, self.names, self.canvas = config, names, canvas
        self.network = self._network(config, len(names))
        self.reader = Reader(self.network, canvas, fabric, STRETCH[config.framing])
        self.shape: Shape | None = None

    @classmethod
    def fit(
        cls,
        exemplars: LandmarkTable,
        cohort: Cohort,
        config: Any,
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
            start: Weights to start from: of such a detector; or of a matcher those that fit in name and shape.
        """
        torch.manual_seed(job.seed + 1)
        canvas = cohort_canvas(cohort, config.area)
        framing = cohort_framing(cohort, config.framing)
        self = cls(replace(config, framing=framing), exemplars.names, canvas, job.fabric)
        self._begin(start or {})
        sizes = resolution_levels(cohort, exemplars, canvas, config.grow, config.pool, job.sink, framing)
        store, labels = sizes[-1].store, PseudoLabels(pseudo_label)
        plan = Plan(
            config.steps,
            seconds,
            config.rate,
            batch=config.batch,
            optimizer=config.optimizer,
            schedule=config.schedule,
        )
        task = self._task(sizes, labels)
        train(task, plan, job, lambda: [self.locate(store.cohort[i]) for i in store.shown])
        self.shape = Shape.learn(labels.shapes(store)) if self._has_shape else None
        return self

    @abstractmethod
    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels."""

    @abstractmethod
    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """What the detector can show for a landmark, or for all when none is named.

        Raises:
            UserError: no landmark of that name.
        """

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
        self = cls(from_settings(cls.Config, head["config"]), tuple(head["names"]), (height, width), fabric)
        self.network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
        if "shape.mean" in tensors:
            self.shape = Shape(tensors["shape.mean"].numpy(), tensors["shape.stray"].numpy())
        return self

    @property
    def _has_shape(self) -> bool:
        """Whether a prior on constellations chooses among peaks."""
        return True

    @staticmethod
    @abstractmethod
    def _network(config: Any, landmarks: int) -> nn.Module:
        """The network, untrained."""

    @abstractmethod
    def _task(self, sizes: list[ResolutionLevel], labels: PseudoLabels) -> Task:
        """What it learns."""

    @abstractmethod
    def _begin(self, start: Mapping[str, torch.Tensor]) -> None:
        """Take weights to start from."""
