"""Asking fitted stages for a radiograph's landmarks, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onemark.stages.base import REFINE, Locator, Stage
from onemark.stages.matcher import Matcher
from onemark.stages.refiner import Refiner
from onemark.types import LandmarkSet, Radiograph

Stages = Mapping[str, Stage]
"""Slot -> fitted stage, in the order of the slots."""


@dataclass(frozen=True)
class Answers:
    """What stages say about a radiograph.

    Attributes:
        coarse: The answer of the last stage that locates.
        final: The same moved by the refiner; `coarse` itself where there is none.
    """

    coarse: LandmarkSet
    final: LandmarkSet


def matcher_of(stages: Stages) -> Matcher:
    """The matcher whose answers the stages after it learn from: the last one; every recipe has one."""
    return [stage for stage in stages.values() if isinstance(stage, Matcher)][-1]


def locators_of(stages: Stages) -> list[Locator]:
    """The stages that locate by themselves, in order: all but the refiner."""
    return [stage for stage in stages.values() if isinstance(stage, Locator)]


def refiner_of(stages: Stages) -> Refiner | None:
    """The refiner, if there is one."""
    stage = stages.get(REFINE)
    return stage if isinstance(stage, Refiner) else None


def ask(stages: Stages, radiograph: Radiograph) -> Answers:
    """What the stages say about a radiograph."""
    coarse, refiner = locators_of(stages)[-1].locate(radiograph), refiner_of(stages)
    return Answers(coarse, coarse if refiner is None else refiner.refine(radiograph, coarse))
