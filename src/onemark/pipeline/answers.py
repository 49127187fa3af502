"""Asking fitted stages for a radiograph's landmarks, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onemark.types import LandmarkSet, Radiograph

REFINE = "refine"


@dataclass(frozen=True)
class Answers:
    """What stages say of a radiograph.

    Attributes:
        coarse: The answer of the last stage that locates.
        final: The same moved by the refiner; `coarse` itself where there is none.
    """

    coarse: LandmarkSet
    final: LandmarkSet


def locating(stages: Mapping[str, Any]) -> list[Any]:
    """The stages that locate by themselves: all but the refiner."""
    return [stage for slot, stage in stages.items() if slot != REFINE]


def answers(stages: Mapping[str, Any], radiograph: Radiograph) -> Answers:
    """What fitted stages, slot -> stage, say of a radiograph."""
    coarse = locating(stages)[-1].locate(radiograph)
    return Answers(coarse, stages[REFINE].refine(radiograph, coarse) if REFINE in stages else coarse)


def located(stages: Mapping[str, Any], radiograph: Radiograph) -> LandmarkSet:
    """The final answer alone."""
    return answers(stages, radiograph).final
