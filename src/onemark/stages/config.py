"""Options that stages share; each method derives from one of these and adds its own."""

from __future__ import annotations

from dataclasses import dataclass

from onemark.nn.training.canvases import Framing, framing_option, pool_option
from onemark.nn.training.schedule import Optimizer, Plan, Schedule
from onemark.options import option


@dataclass(frozen=True)
class StageConfig:
    """Options that every stage has. Methods derive from it and add their own `onemark.options.option` fields."""

    area: int = option(
        81920, "size of the canvas the radiographs are scaled to", unit="px", low=4096, high=4194304
    )
    framing: Framing = framing_option()
    pool: int = pool_option()


@dataclass(frozen=True)
class TrainedConfig(StageConfig):
    """Options of a stage that trains a network."""

    steps: int = option(400, "training steps, where no time budget is given", unit="steps", low=1)
    rate: float = option(2e-3, "peak learning rate", low=1e-7, high=1)
    batch: int = option(8, "radiographs per step", low=1, high=1024)
    optimizer: Optimizer = option("adamw", "how the weights descend; adam as published")
    schedule: Schedule = option("cosine", "how the learning rate falls")

    def plan(self, seconds: float | None, restart: float = 0.0) -> Plan:
        """The schedule, over `seconds` where given, else over `steps`; `restart` as for `Plan`."""
        return Plan(
            self.steps,
            seconds,
            self.rate,
            batch=self.batch,
            optimizer=self.optimizer,
            schedule=self.schedule,
            restart=restart,
        )
