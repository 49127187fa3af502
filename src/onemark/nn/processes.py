"""Several processes that train one model: how they are started, and which one this is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from onemark.nn.fabric import DDPStrategy
from onemark.types import UserError


class PartsStrategy(DDPStrategy):  # type: ignore[misc]
    """Starts and connects the processes as Fabric does; `PartedGradient` sums the gradients, so nothing is wrapped."""

    def setup_module(self, module: nn.Module) -> nn.Module:
        """The module as it is."""
        return module


@dataclass(frozen=True)
class Processes:
    """How many processes train a model.

    Attributes:
        devices: On each machine.
        nodes: Machines.
    """

    devices: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        if self.devices < 1 or self.nodes < 1:
            raise UserError(
                f"{self.devices} devices on {self.nodes} nodes cannot train anything; give numbers from 1"
            )

    @property
    def count(self) -> int:
        """All of them."""
        return self.devices * self.nodes

    @classmethod
    def asked(cls, devices: int | None, nodes: int | None, environment: Mapping[str, str]) -> Processes:
        """What a person asked for; by default what torchrun says, or one.

        Raises:
            UserError: it differs from what torchrun has started, or is no positive number.
        """
        started = _started_by_torchrun(environment)
        asked = cls(
            started.devices if devices is None else devices, started.nodes if nodes is None else nodes
        )
        if started.count > 1 and asked != started:
            raise UserError(
                f"torchrun has started {started.devices} processes on each of {started.nodes} machines; leave out "
                "--devices and --nodes, or give the same numbers"
            )
        return asked

    def is_first(self, environment: Mapping[str, str]) -> bool:
        """Whether this process is the one that writes, by the variables of torchrun, Slurm and Fabric."""
        if self.count == 1:
            return True
        names = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
        return all(environment.get(name, "0") == "0" for name in names)

    def strategy(self) -> Any:
        """Fabric's strategy."""
        return "auto" if self.count == 1 else PartsStrategy()


ONE = Processes()


def _started_by_torchrun(environment: Mapping[str, str]) -> Processes:
    local, world = (environment.get(name, "") for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    if not (local.isdecimal() and world.isdecimal() and int(local) and int(world)):
        return ONE
    return Processes(int(local), max(1, int(world) // int(local)))
