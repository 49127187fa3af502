"""The resumable state of a training stage: weights, optimiser and place in the schedule, in one safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from onemark.nn.weights import read_weights, write_weights

if TYPE_CHECKING:
    from onemark.nn.training.schedule import Clock
    from onemark.nn.training.task import Task


class Checkpoint:
    """One file that always holds the newest whole state."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(
        self, task: Task, optimizer: torch.optim.Optimizer, clock: Clock, log: list[dict[str, Any]]
    ) -> None:
        """Write atomically; an interruption leaves the former state whole."""
        tensors = {
            f"{m}/{k}": v for m, module in task.modules.items() for k, v in module.state_dict().items()
        }
        for index, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{key}": value for key, value in slots.items()}
        head = {"stage": task.name, "step": clock.step, "spent": clock.elapsed, "log": log}
        write_weights(self.path, {"state": (tensors, head)})

    def head(self) -> dict[str, Any]:
        """Stage, step, seconds spent and log of the saved state; empty where there is none."""
        return read_weights(self.path)["state"][1] if self.path.exists() else {}

    def restore(self, task: Task, optimizer: torch.optim.Optimizer, clock: Clock) -> None:
        """Load the state into a task, when it is a state of this stage."""
        if self.head().get("stage") != task.name:
            return
        tensors, head = read_weights(self.path)["state"]
        for name, module in task.modules.items():
            module.load_state_dict(_below(tensors, f"{name}/"))
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in _below(tensors, "optimizer/").items():
            index, name = key.split("/")
            slots.setdefault(int(index), {})[name] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": slots, "param_groups": groups})
        clock.resume(head["step"], head["spent"])

    def remove(self) -> None:
        """Forget the state, when the stage is done."""
        self.path.unlink(missing_ok=True)


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
