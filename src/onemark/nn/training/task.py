"""What the training loop asks of a stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn


class Task(Protocol):
    """What a stage trains: draws its own batches and returns its loss."""

    @property
    def module(self) -> nn.Module:
        """What learns."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """All that a checkpoint keeps, `module` among it."""

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> Any:
        """What one step learns from, or one of its parts; all of its randomness comes from `generator`.

        Args:
            generator: The random numbers, on the device.
            fraction: Share of the schedule that is done, 0...1.
            size: Items of a part of the batch, at least 2; None for the whole one.
        """

    def loss(self, module: nn.Module, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss to descend, and numbers to show."""

    def after(self, fraction: float) -> None:
        """Called after every step."""
