"""The contract of a matcher, stage I: it carries the exemplars' landmarks to any radiograph."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.nn.training.canvases import CanvasCache, CanvasExemplar, ResolutionLevel
from onemark.stages.base import MATCH, Locator, StageContext
from onemark.types import LandmarkSet, Radiograph


class Matcher(Locator):
    """Stage I: carries the exemplars' landmarks to any radiograph.

    A method implements `remember` and `locate`; one that learns implements `learn` and sets `network`.

    Class attributes:
        learns_without_exemplars: Whether it learns from the radiographs alone, which `suggest` needs; it then
            implements `embed`.
        measures_cycles: Whether it implements `cycle_errors`.
    """

    slot = MATCH
    stream = "match"
    learns_without_exemplars: ClassVar[bool] = False
    measures_cycles: ClassVar[bool] = False
    seconds: float | None = None

    @classmethod
    def fit(cls, context: StageContext) -> Self:
        """Learn from the cohort, then remember the exemplars.

        A former matcher keeps its network, canvas and framing; only the exemplars are taken again.
        """
        torch.manual_seed(context.seed + cls.seed_offset)
        former = context.former_as(cls)
        config, canvas = cls.settle_config(context, former)
        self = cls(config, context.exemplars.names, canvas, context.fabric)
        levels, self.seconds = self.open_levels(context), context.seconds
        if former is None:
            self.learn(context, levels)
        else:
            self.continue_from(former)
        if levels[-1].exemplars:
            self.remember(levels[-1].store, levels[-1].exemplars)
        return self

    def learn(self, context: StageContext, levels: list[ResolutionLevel]) -> None:
        """Train `network` on the cohort. Nothing to do for a method without one."""

    def continue_from(self, former: Self) -> None:
        """Take over what a former matcher has learned."""
        if self.network is not None and former.network is not None:
            self.network.load_state_dict(former.network.state_dict())

    @abstractmethod
    def remember(self, store: CanvasCache, exemplars: list[CanvasExemplar]) -> None:
        """Take the exemplars' landmarks as templates.

        Args:
            store: The cohort's canvases.
            exemplars: At least one exemplar; a landmark that one does not show is NaN there.
        """

    def preview(self, level: ResolutionLevel) -> list[LandmarkSet]:
        """What the half-trained matcher predicts on a few radiographs."""
        self.remember(level.store, level.exemplars)
        return [self.locate(level.store.cohort[index]) for index in level.store.shown]

    def embed(self, canvases: torch.Tensor) -> list[torch.Tensor]:
        """Unit embeddings `[B, C, h, w]` per level, finest first, of canvases `[B, 1, H, W]`.

        Raises:
            NotImplementedError: the matcher does not declare `learns_without_exemplars`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no embeddings")

    def dispute(self, radiograph: Radiograph) -> NDArray[np.float64]:
        """How far several answers for each landmark lay apart before they agreed, `[K]` original px; NaN if unknown."""
        return np.full(len(self.names), np.nan)

    def cycle_errors(
        self,
        exemplar: Radiograph,
        placed: NDArray[np.float64],
        predictions: Iterable[tuple[Radiograph, NDArray[np.float64]]],
    ) -> NDArray[np.float64]:
        """How far from an exemplar's landmarks the way there and back ends.

        Args:
            exemplar: A radiograph with landmarks.
            placed: `[K, 2]` its landmarks (x, y), original px; NaN where one is not visible.
            predictions: N radiographs, each with `[K, 2]` the same landmarks on it, original px.

        Returns:
            `[N, K]` distances in original px of the exemplar; NaN where a landmark is not visible.

        Raises:
            NotImplementedError: the matcher does not declare `measures_cycles`.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot measure the way back")
