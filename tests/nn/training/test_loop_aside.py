"""Checkpoints and previews of networks so large that writing or showing them takes long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from onemark import Progress
from onemark.nn.device import fabric_for
from onemark.nn.training import loop, schedule
from onemark.nn.training.loop import TrainingContext, train
from onemark.nn.training.schedule import Plan


class Slow:
    """A task, a checkpoint and a preview on one clock: a step takes 5 s, saving 6 s and showing 3 s."""

    name = "match"

    def __init__(self) -> None:
        self.module, self.now = nn.Linear(1, 1), 1000.0
        self.saved = self.shown = 0

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"module": self.module}

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> torch.Tensor:
        self.now += 5
        return torch.ones(2, 1)

    def loss(self, module: nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        return module(batch).pow(2).mean(), {}

    def after(self, fraction: float) -> None:
        pass

    def head(self) -> dict[str, Any]:
        return {}

    def restore(self, *_: Any) -> None:
        pass

    def save(self, *_: Any) -> None:
        self.saved, self.now = self.saved + 1, self.now + 6

    def show(self) -> list[Any]:
        self.shown, self.now = self.shown + 1, self.now + 3
        return []


def test_slow_checkpoints_and_previews_take_a_tenth_of_the_time_each(monkeypatch: pytest.MonkeyPatch):
    slow = Slow()
    for module in (loop, schedule):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: slow.now))
    events: list[Progress] = []
    train(slow, Plan(400), TrainingContext(fabric_for("cpu"), sink=events.append, checkpoint=slow), slow.show)  # type: ignore[arg-type]
    total = slow.now - 1000
    assert len(events) == 400
    assert 0.07 < 6 * slow.saved / total < 0.12
    assert 0.07 < 3 * slow.shown / total < 0.12
