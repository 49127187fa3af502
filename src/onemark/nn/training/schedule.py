"""How long and how fast to learn: a schedule over steps or over a time budget (decision 4), and its clock."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Literal

STEPS_BEFORE_ESTIMATE = 3  # the first steps decode radiographs as well and tell little about the pace

Optimizer = Literal["adamw", "adam"]
Schedule = Literal["cosine", "halving", "tenths", "late", "plateau"]
# Equal stairs of the schedule, and the factor from each to the next. CC2D halves the rate every 500 of 3500 epochs
# (six times); its released detector takes a tenth after each third.
STAIRS = {"halving": (7, 0.5), "tenths": (3, 0.1)}
# Shares of the schedule after which the rate of `plateau` falls to a tenth: EdgeTrans' epochs 60 and 80 of 100.
PLATEAU = (0.6, 0.8)


@dataclass(frozen=True)
class Plan:
    """How long and how fast to learn.

    Attributes:
        steps: Steps of the schedule; ignored where `seconds` is given.
        seconds: Time budget that the schedule is laid over; None for a number of steps.
        rate: Peak learning rate.
        decay: Weight decay.
        warmup: Share of the schedule in which the rate of the cosine rises.
        batch: Items per step, for the throughput that is shown.
        optimizer: AdamW, or Adam as published, whose decay is part of the gradient.
        schedule: How the rate falls. `cosine`: with a warm-up. `halving`, `tenths`: in equal stairs, as CC2D. `late`:
            constant for a third of the schedule, then by a cosine to a half, as EdgeTrans. `plateau`: as its detectors.
        restart: Share of the schedule after which the cosine starts again at half the rate, where the canvas grows or
            the decoders take over from the encoder; 0 = never.
    """

    steps: int
    seconds: float | None = None
    rate: float = 2e-3
    decay: float = 1e-4
    warmup: float = 0.1
    batch: int = 8
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "cosine"
    restart: float = 0.0

    def rate_at(self, fraction: float) -> float:
        """The learning rate after `fraction` (0...1) of the schedule."""
        if self.schedule in STAIRS:
            count, factor = STAIRS[self.schedule]
            return self.rate * factor ** min(count - 1, int(fraction * count))
        if self.schedule == "late":
            along = max(0.0, 1.5 * fraction - 0.5)
            return self.rate * (0.75 + 0.25 * math.cos(math.pi * min(along, 1)))
        if self.schedule == "plateau":
            return self.rate * 0.1 ** sum(fraction >= share for share in PLATEAU)
        if 0 < self.restart < 1:
            half = replace(self, rate=self.rate / 2, restart=0.0)
            if fraction >= self.restart:
                return half.rate_at((fraction - self.restart) / (1 - self.restart))
            fraction = fraction / self.restart
        if fraction < self.warmup:
            return self.rate * (0.04 + 0.96 * fraction / self.warmup)
        along = (fraction - self.warmup) / (1 - self.warmup)
        return self.rate * max(0.5 * (1 + math.cos(math.pi * min(along, 1))), 1e-3)


class Clock:
    """Where the schedule stands: by steps, or by time spent in this and earlier sessions."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.step = 0
        self.spent = 0.0
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds spent, former sessions included."""
        return self.spent + time.monotonic() - self._started

    def resume(self, step: int, spent: float) -> None:
        """Go on from a saved state."""
        self.step, self.spent, self._started = step, spent, time.monotonic()

    @property
    def fraction(self) -> float:
        """Share of the schedule that is done, 0...1."""
        if self.plan.seconds is None:
            return min(1.0, self.step / max(1, self.plan.steps))
        return min(1.0, self.elapsed / max(1e-6, self.plan.seconds))

    @property
    def finished(self) -> bool:
        """Whether another step would go beyond the schedule."""
        if self.plan.seconds is None:
            return self.step >= self.plan.steps
        # Stop where another step would end farther from the budget than this one did.
        pace = self.elapsed / self.step if self.step >= STEPS_BEFORE_ESTIMATE else 0.0
        return self.step > 0 and self.elapsed + pace / 2 >= self.plan.seconds

    @property
    def total(self) -> int:
        """Steps of the whole schedule; an estimate under a time budget."""
        if self.plan.seconds is None:
            return self.plan.steps
        return max(self.step + 1, round(self.step / max(self.fraction, 1e-6)))

    @property
    def left(self) -> float:
        """Seconds to the end of the schedule."""
        if self.plan.seconds is not None:
            return max(0.0, self.plan.seconds - self.elapsed)
        return self.elapsed / max(1, self.step) * (self.plan.steps - self.step)
