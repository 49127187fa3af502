"""Every stage that a shipped recipe uses keeps to the contract; one that does not is told what it breaks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from onemark import RECIPES, LandmarkSet, Progress, Radiograph
from onemark.nn.training.canvases import CanvasCache, CanvasExemplar
from onemark.nn.weights import Tensors
from onemark.options import from_settings
from onemark.stages.base import Stage, StageContext
from onemark.stages.config import StageConfig
from onemark.stages.matcher import Matcher
from onemark.testing import check_stage

QUICK = {"area": 4096, "batch": 2, "steps": 4, "crop": 32}


def shipped() -> Iterable[type[Stage]]:
    """The classes of all slots of all recipes, each once."""
    return dict.fromkeys(stage for recipe in RECIPES.values() for stage in recipe.slots.values())


@pytest.mark.parametrize("stage", shipped(), ids=lambda stage: stage.__name__)
def test_a_shipped_stage_keeps_to_the_contract(stage: type[Stage]):
    names = stage.Config.__dataclass_fields__
    check_stage(stage, from_settings(stage.Config, {k: v for k, v in QUICK.items() if k in names}))


class Centre(Matcher):
    """A matcher that keeps to the contract: every landmark lies where it lies on the exemplar."""

    Config = StageConfig

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.xy = torch.zeros(len(self.names), 2)

    def remember(self, store: CanvasCache, exemplars: list[CanvasExemplar]) -> None:
        self.xy = exemplars[0].xy

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        known = np.full(len(self.names), 0.5)
        return LandmarkSet(radiograph.name, self.names, self.xy.double().numpy(), known, known)

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"xy": self.xy}

    def load_tensors(self, tensors: Tensors) -> None:
        self.xy = tensors["xy"]


class Forgets(Centre):
    def tensors(self) -> dict[str, torch.Tensor]:
        return {"xy": torch.zeros_like(self.xy)}


class Guesses(Centre):
    draws = np.random.default_rng(0)

    def learn(self, context: StageContext, levels: list[Any]) -> None:
        self.noise = torch.from_numpy(self.draws.normal(0, 1, (len(self.names), 2))).float()

    def remember(self, store: CanvasCache, exemplars: list[CanvasExemplar]) -> None:
        self.xy = exemplars[0].xy + self.noise


class Leaves(Centre):
    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        known = np.full(len(self.names), 0.5)
        return LandmarkSet(radiograph.name, self.names, np.full((len(self.names), 2), 1e4), known, known)


class Boasts(Centre):
    explains = True


class Deaf(Centre):
    def learn(self, context: StageContext, levels: list[Any]) -> None:
        for step in (1, 2):
            try:
                context.sink(Progress("match", step, 2))
            except Exception:
                continue


class Late(Centre):
    def learn(self, context: StageContext, levels: list[Any]) -> None:
        for step in range(1, 1000):
            context.sink(Progress("match", step, 1000, seconds_left=0.0))


def test_a_matcher_without_a_network_can_keep_to_it():
    check_stage(Centre, StageConfig(area=20480))


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (Forgets, "Forgets, saving and loading: .*places differ"),
        (Guesses, "Guesses, fitting again with the same seed: .*places differ"),
        (Leaves, "Leaves, fitting and asking: .*must lie on the radiograph"),
        (Boasts, "Boasts, explaining: NotImplementedError"),
        (Deaf, "Deaf, stopping and resuming: .*must reach the caller"),
        (Late, "Late, a time budget: .*goes on after its time budget"),
        (object, "object, the declaration: .*must derive from Matcher"),
    ],
)
def test_what_a_stage_breaks_is_named(stage: type[Stage], said: str):
    with pytest.raises(AssertionError, match=said):
        check_stage(stage, StageConfig(area=20480))
