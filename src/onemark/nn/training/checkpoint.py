"""The resumable state of a training stage: weights, optimiser and place in the schedule, in one safetensors file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from onemark.data.atomic import user_errors
from onemark.data.paths import printable
from onemark.nn.weights import FORMER_SLOTS, Tensors, open_weights, write_weights
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.nn.training.schedule import Clock
    from onemark.nn.training.task import Task


# Of Adam, which trains every stage. torch takes moments of any shape and fails at the next step.
_MOMENTS = {"exp_avg", "exp_avg_sq"}


class Checkpoint:
    """One file that always holds the newest whole state.

    Args:
        path: The file.
        owner: Names the training that the state belongs to; the state of another one is passed over. Empty takes any.
    """

    def __init__(self, path: Path, owner: str = "") -> None:
        self.path, self.owner = path, owner
        self.before_saving: Callable[[], UserError | None] = lambda: None

    def save(
        self,
        stage: str,
        task: Task,
        optimizer: torch.optim.Optimizer,
        clock: Clock,
        log: list[dict[str, Any]],
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        """Write atomically; an interruption leaves the former state whole.

        Args:
            stage: What is being trained.
            task: What it trains.
            optimizer: Of `task.module`.
            clock: Where the schedule stands.
            log: What was logged so far.
            notes: What the stage has found out beside its weights, as JSON.

        Raises:
            UserError: it cannot be written; or what `before_saving` returned, after the state was kept.
        """
        moved = self.before_saving()
        tensors = {
            f"{m}/{k}": v for m, module in task.modules.items() for k, v in module.state_dict().items()
        }
        for index, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{key}": value for key, value in slots.items()}
        head = {"stage": stage, "step": clock.step, "spent": clock.elapsed, "log": log}
        head["notes"] = dict(notes or {})
        write_weights(self.path, {"state": (tensors, head)}, {"owner": self.owner}, make_folder=False)
        if moved is not None:
            raise moved

    def head(self) -> dict[str, Any]:
        """Stage, step, seconds spent, log and notes of the saved state; empty where there is none of this training.

        Raises:
            UserError: it is damaged.
        """
        return self._read()[1] if self.path.exists() else {}

    def restore(self, stage: str, task: Task, optimizer: torch.optim.Optimizer, clock: Clock) -> None:
        """Load the state into a task, when it is the state of this stage."""
        if self.head().get("stage") != stage:
            return
        tensors, head = self._read()
        try:
            _restore(tensors, task, optimizer)
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            why = " ".join(str(error).split())
            raise self._unusable(f"does not fit the {stage} stage ({why})") from None
        clock.resume(head["step"], head["spent"])

    def _read(self) -> tuple[Tensors, dict[str, Any]]:
        saved = open_weights(self.path)
        if self.owner and saved.note.get("owner", self.owner) != self.owner:
            return {}, {}
        if "state" not in saved.slots:
            raise self._unusable("holds no state of a training")
        tensors, head = saved.slots["state"]
        fits = {"stage": str, "step": int, "spent": int | float, "log": list}
        if not all(isinstance(head.get(key), kind) for key, kind in fits.items()):
            raise self._unusable("is damaged, its head is incomplete")
        if not all(isinstance(entry, dict) for entry in head["log"]):
            raise self._unusable("is damaged, its log is none")
        if not isinstance(head.setdefault("notes", {}), dict):  # states of 0.1.0 have none
            raise self._unusable("is damaged, its notes are none")
        return tensors, head | {"stage": FORMER_SLOTS.get(head["stage"], head["stage"])}

    def _unusable(self, why: str) -> UserError:
        return UserError(f"{printable(self.path)} {why}; delete it, and the stage starts again")

    def remove(self) -> None:
        """Forget the state, when the stage is done."""
        with user_errors(self.path):
            self.path.unlink(missing_ok=True)


def _restore(tensors: Tensors, task: Task, optimizer: torch.optim.Optimizer) -> None:
    for name, module in task.modules.items():
        module.load_state_dict(_below(tensors, f"{name}/"))
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in _below(tensors, "optimizer/").items():
        index, name = key.split("/")
        slots.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
    for parameter, state in optimizer.state.items():
        if not state.keys() >= _MOMENTS or any(state[key].shape != parameter.shape for key in _MOMENTS):
            raise ValueError("its optimiser has other shapes")


def _below(tensors: Tensors, prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
