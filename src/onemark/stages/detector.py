"""The contract of a detector, stage II: a network that is trained on pseudo-labels and knows that they are noisy."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import torch
from torch import nn

from onemark.imaging.letterbox import Size
from onemark.nn.fabric import Fabric
from onemark.nn.heatmaps.shape import Shape
from onemark.nn.reader import Reader
from onemark.nn.training.canvases import STRETCH, ResolutionLevel
from onemark.nn.training.labels import PseudoLabels
from onemark.nn.training.loop import train
from onemark.nn.training.task import Task
from onemark.nn.weights import Tensors
from onemark.stages.base import DETECT, Locator, StageContext
from onemark.stages.config import TrainedConfig
from onemark.stages.together import labeller

LABELLING = 1 / 3
"""Share of a time budget that pseudo-labels may take: registration needs a third of a second to one for each."""


class Detector(Locator):
    """A network that is trained on the matcher's pseudo-labels and on the exemplars' true labels.

    Attributes:
        network: The network.
        shape: Prior on constellations, from the pseudo-labels, on the canvas; None where there was too little.
        seen: Radiographs that had a pseudo-label within a time budget; None where all had the time to get one.
    """

    slot = DETECT
    stream = "detect"
    seed_offset = 1
    explains = True
    config: TrainedConfig
    network: nn.Module
    seen: int | None = None

    def __init__(self, config: TrainedConfig, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        super().__init__(config, names, canvas, fabric)
        self.network = self.build_network(config, len(names))
        self.reader = Reader(self.network, canvas, fabric, STRETCH[config.framing])
        self.shape: Shape | None = None

    @classmethod
    def fit(cls, context: StageContext) -> Self:
        """Learn from pseudo-labels, each asked for when its radiograph is first drawn, and from the exemplars' labels."""
        torch.manual_seed(context.seed + cls.seed_offset)
        config, canvas = cls.settle_config(context, None)
        former = context.former_as(cls)
        # What has been learned holds for its scale.
        if former is None:
            height, width = context.decide("canvas", lambda: cls.choose_canvas(context, canvas))
        else:
            height, width = former.canvas
        self = cls(config, context.exemplars.names, (height, width), context.fabric)  # type: ignore[arg-type]
        self.start_from(context.starting_weights())
        levels, seconds = self.open_levels(context), context.seconds
        limit = None if seconds is None else LABELLING * seconds
        labels = PseudoLabels(labeller(context), limit, context.fabric.device)
        store = levels[-1].store
        labels.keep_in(context.notes, store.cohort.names)
        task, plan = self.make_task(levels, labels), self.config.plan(context.seconds)
        train(task, plan, context, lambda: [self.locate(store.cohort[i]) for i in store.shown])
        before = 0 if former is None else former.seen
        self.seen = None if limit is None or before is None else max(before, len(labels.known))
        self.shape = Shape.learn(labels.shapes(levels[-1])) if self.uses_shape else None
        return self

    @classmethod
    def choose_canvas(cls, context: StageContext, canvas: Size) -> Size:
        """The canvas `(H, W)` to learn on, where the options ask for `canvas`: a finer one if there is time for it."""
        return canvas

    @staticmethod
    @abstractmethod
    def build_network(config: TrainedConfig, landmarks: int) -> nn.Module:
        """The network for a number of landmarks, untrained."""

    @abstractmethod
    def make_task(self, levels: list[ResolutionLevel], labels: PseudoLabels) -> Task:
        """What the network learns."""

    @abstractmethod
    def start_from(self, weights: Tensors) -> None:
        """Take weights to start from: of such a detector, or of a matcher those that fit in name and shape."""

    @property
    def uses_shape(self) -> bool:
        """Whether a prior on constellations chooses among the peaks."""
        return True

    def tensors(self) -> dict[str, torch.Tensor]:
        """The network and the prior on constellations."""
        shape = {} if self.shape is None else vars(self.shape)
        kept = {f"shape.{name}": torch.from_numpy(value) for name, value in shape.items()}
        return super().tensors() | kept | ({} if self.seen is None else {"seen": torch.tensor(self.seen)})

    def load_tensors(self, tensors: Tensors) -> None:
        """Take back what `tensors` gave."""
        super().load_tensors(tensors)
        self.seen = int(tensors["seen"]) if "seen" in tensors else None
        if "shape.mean" in tensors:
            self.shape = Shape(tensors["shape.mean"].numpy(), tensors["shape.stray"].numpy())
