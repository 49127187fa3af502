"""The contract of a refiner: it moves a coarse answer to full resolution."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import torch

from onemark.nn.training.canvases import ResolutionLevel
from onemark.stages.base import REFINE, Stage, StageContext
from onemark.types import Evidence, LandmarkSet, Radiograph


class Refiner(Stage):
    """Moves a coarse answer to full resolution. It stands behind whatever stage locates last."""

    slot = REFINE
    # The slot's first name. It seeds every draw, so it stays: the same seed keeps giving the same predictions.
    stream = "sharpen"
    seed_offset = 2

    @classmethod
    def fit(cls, context: StageContext) -> Self:
        """Learn what the landmarks look like at full resolution, from the answers of the stages before it."""
        torch.manual_seed(context.seed + cls.seed_offset)
        config, canvas = cls.settle_config(context, None)
        self = cls(config, context.exemplars.names, canvas, context.fabric)
        self.learn(context, self.open_levels(context)[-1])
        return self

    @abstractmethod
    def learn(self, context: StageContext, level: ResolutionLevel) -> None:
        """Learn from the cohort at its finest level; `context.locate` gives the coarse points."""

    @abstractmethod
    def refine(self, radiograph: Radiograph, coarse: LandmarkSet) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels, moved from where a coarse stage put them."""

    def explain(self, radiograph: Radiograph, coarse: LandmarkSet, landmark: str | None = None) -> Evidence:
        """What the refiner can show for a landmark, or for all of them when none is named.

        Raises:
            UserError: no landmark of that name.
            NotImplementedError: the stage does not declare `explains`.
        """
        raise NotImplementedError(f"{type(self).__name__} shows no evidence")
