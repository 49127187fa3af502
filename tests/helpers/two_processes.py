"""A training by two processes on the loopback: one that ends, then one in which the second process is killed.

    python two_processes.py FOLDER

The first process writes `weights.safetensors` of the first training, then `said.txt` and a checkpoint of the second.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from onemark.nn.device import fabric_for
from onemark.nn.processes import Processes
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.training.loop import TrainingContext, train
from onemark.nn.training.schedule import Plan
from onemark.nn.weights import write_weights
from onemark.types import LostRank

STEPS, KILLED_AT = 20, 7
PLAN = Plan(STEPS, rate=0.03)


class Line:
    """Fits `y = 3 x - 1` with batch normalization; one layer learns in the second half only."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.module = nn.ModuleDict(
            {
                "line": nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)),
                "late": nn.Linear(1, 1),
            }
        )
        self.steps = 0
        self.is_late = False
        self.dies_at: int | None = None

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"module": self.module}

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> torch.Tensor:
        self.is_late = fraction >= 0.5
        self.steps += 1
        if self.steps == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.rand(size or 8, 1, generator=generator)

    def loss(self, module: nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        found = self.module["line"](batch)
        if self.is_late:
            found = found + self.module["late"](batch)
        return (found - (3 * batch - 1)).pow(2).mean(), {}

    def after(self, fraction: float) -> None:
        pass


def main(folder: Path) -> None:
    """Train twice."""
    fabric = fabric_for("cpu", Processes(2))
    # Different starts, of which the first process's counts.
    task = Line(fabric.global_rank)
    train(task, PLAN, TrainingContext(fabric))
    if fabric.is_global_zero:
        write_weights(folder / "weights.safetensors", {"state": (task.module.state_dict(), {})}, {})
    task = Line()
    task.dies_at = KILLED_AT if fabric.global_rank else None
    started = time.monotonic()
    try:
        train(task, PLAN, TrainingContext(fabric, checkpoint=Checkpoint(folder / "checkpoint.safetensors")))
    except LostRank as lost:
        (folder / "said.txt").write_text(f"{time.monotonic() - started:.0f}\n{lost}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
