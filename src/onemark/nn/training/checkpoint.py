"""The resumable state of a training stage: weights, optimiser and place in the schedule, in one safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from onemark.nn.weights import FORMER_SLOTS, Tensors, read_weights, write_weights

if TYPE_CHECKING:
    from onemark.nn.training.schedule import Clock
    from onemark.nn.training.task import Task


class Checkpoint:
    """One file that always holds the newest whole state."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(
        self,
        stage: str,
        task: Task,
        optimizer: torch.optim.Optimizer,
        clock: Clock,
        log: list[dict[str, Any]],
    ) -> None:
        """Write atomically; an interruption leaves the former state whole."""
        tensors = {
            f"{m}/{k}": v for m, module in task.modules.items() for k, v in module.state_dict().items()
        }
        for index, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{key}": value for key, value in slots.items()}
        head = {"stage": stage, "step": clock.step, "spent": clock.elapsed, "log": log}
        write_weights(self.path, {"state": (tensors, head)})

    def head(self) -> dict[str, Any]:
        """Stage, step, seconds spent and log of the saved state; empty where there is none."""
        return self._read()[1] if self.path.exists() else {}

    def restore(self, stage: str, task: Task, optimizer: torch.optim.Optimizer, clock: Clock) -> None:
        """Load the state into a task, when it is the state of this stage."""
        if self.head().get("stage") != stage:
            return
        tensors, head = self._read()
        for name, module in task.modules.items():
            module.load_state_dict(_below(tensors, f"{name}/"))
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in _below(tensors, "optimizer/").items():
            index, name = key.split("/")
            slots.setdefault(int(index), {})[name] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": slots, "param_groups": groups})
        clock.resume(head["step"], head["spent"])

    def _read(self) -> tuple[Tensors, dict[str, Any]]:
        tensors, head = read_weights(self.path)["state"]
        return tensors, head | {"stage": FORMER_SLOTS.get(head["stage"], head["stage"])}

    def remove(self) -> None:
        """Forget the state, when the stage is done."""
        self.path.unlink(missing_ok=True)


def _below(tensors: Tensors, prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
