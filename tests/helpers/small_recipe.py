"""The recipe `small`: a matcher and a detector of two numbers each, which the one loop trains in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import nn

import onemark
from onemark import Cohort, LandmarkSet, LandmarkTable, Radiograph
from onemark.nn.training import loop
from onemark.nn.training.schedule import Plan
from onemark.pipeline.recipe import Recipe
from onemark.pipeline.recipes import RecipeBook
from onemark.stages.base import DETECT, MATCH, Locator, Stage, StageContext
from onemark.stages.config import StageConfig
from onemark.stages.detector import Detector
from onemark.stages.matcher import Matcher


class Sum:
    """Moves one number towards another one that each step draws."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.module}

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> torch.Tensor:
        return torch.rand(1, 1, generator=generator)

    def loss(self, module: nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        return (module(batch) - batch).pow(2).mean(), {}

    def after(self, fraction: float) -> None:
        pass


class Small(Locator):
    """What the two stages share: a network of two numbers, trained for three steps by the one loop."""

    Config = StageConfig

    def __init__(self, config: StageConfig, names: tuple[str, ...], canvas: Any, fabric: Any) -> None:
        self.config, self.names, self.canvas, self.fabric = config, names, canvas, fabric
        self.network = nn.Linear(1, 1)
        self.placed = torch.zeros(len(names), 2, dtype=torch.float64)

    @classmethod
    def fit(cls, context: StageContext) -> Self:
        torch.manual_seed(context.seed)
        self = cls(context.options_as(StageConfig), context.exemplars.names, (16, 16), context.fabric)
        if start := context.starting_weights():
            self.network.load_state_dict(start)
        if context.former is None or cls.slot == DETECT:
            loop.train(Sum(self.network), Plan(3, rate=0.1), context)
        self.placed = torch.from_numpy(np.nanmean([one.xy for one in context.exemplars], 0))
        return self

    def tensors(self) -> dict[str, torch.Tensor]:
        return Stage.tensors(self) | {"placed": self.placed}

    def load_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        Stage.load_tensors(self, tensors)
        self.placed = tensors["placed"].reshape(len(self.names), 2)

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        xy = self.placed.numpy() + float(self.network.weight.detach()) * radiograph.pixels.mean()
        ones = np.ones(len(self.names))
        return LandmarkSet(radiograph.name, self.names, xy, ones, ones)


class SmallMatcher(Small, Matcher):
    def remember(self, store: Any, exemplars: Any) -> None:
        pass


class SmallDetector(Small, Detector):
    @staticmethod
    def build_network(config: Any, landmarks: int) -> nn.Module:
        raise NotImplementedError

    def make_task(self, levels: Any, labels: Any) -> Any:
        raise NotImplementedError

    def start_from(self, weights: Any) -> None:
        raise NotImplementedError


def book() -> RecipeBook:
    """The recipes `small` and `smaller`, its matcher alone."""
    both = {MATCH: SmallMatcher, DETECT: SmallDetector}
    return RecipeBook(
        [Recipe("small", "", both), Recipe("smaller", "", {MATCH: SmallMatcher}, shares={MATCH: 1.0})]
    )


def few_radiographs(folder: Path) -> Cohort:
    """Ten radiographs of 24 x 20 px, enough for an error model."""
    folder.mkdir()
    y, x = np.mgrid[:24, :20]
    for index in range(10):
        Image.fromarray((x * 5 + y * index).astype(np.uint8)).save(folder / f"{index}.png")
    return onemark.open_cohort(folder)


def place(cohort: Cohort, index: int) -> LandmarkTable:
    """Two landmarks on one of them."""
    xy = np.array([[3.0 + index, 4.0], [8.0, 9.0 + index]])
    return LandmarkTable.from_sets([LandmarkSet(cohort.names[index], ("a", "b"), xy)])
