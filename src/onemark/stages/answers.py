"""Which of a recipe's fitted stages matches, locates and refines."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from onemark.data.cohort import Cohort
from onemark.stages.base import REFINE, Locator, Stage
from onemark.stages.detector import Detector
from onemark.stages.matcher import Matcher
from onemark.stages.refiner import Refiner

Stages = Mapping[str, Stage]
"""Slot -> fitted stage, in the order of the slots."""


def matcher_of(stages: Stages) -> Matcher:
    """The matcher whose answers the stages after it learn from: the last one; every recipe has one."""
    return [stage for stage in stages.values() if isinstance(stage, Matcher)][-1]


def locators_of(stages: Stages) -> list[Locator]:
    """The stages that locate by themselves, in order: all but the refiner."""
    return [stage for stage in stages.values() if isinstance(stage, Locator)]


def device_of(stages: Stages) -> torch.device:
    """Where the stages compute."""
    device: torch.device = next(iter(stages.values())).fabric.device
    return device


def refiner_of(stages: Stages) -> Refiner | None:
    """The refiner, if there is one."""
    stage = stages.get(REFINE)
    return stage if isinstance(stage, Refiner) else None


def seen_by(stage: Locator, cohort: Cohort) -> int:
    """How many of the cohort's radiographs a stage has learned from: those that it had time to label."""
    if isinstance(stage, Detector) and stage.seen is not None:
        return stage.seen
    return min(len(cohort), stage.config.pool)
