"""The one training loop: schedule over steps or a time budget, checkpoints, progress, Cancelled."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn

from onemark.nn.device import memory_errors
from onemark.nn.fabric import Fabric
from onemark.nn.threads import giving_way
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.training.parts import SMALLEST, PartedGradient
from onemark.nn.training.ranks import follow_first, start_alike
from onemark.nn.training.schedule import Clock, Plan
from onemark.nn.training.task import Task
from onemark.progress import Cancelled, Progress, Sink, silent
from onemark.types import LandmarkSet, LostRank, UserError

CHECKPOINT_SECONDS = 20.0
PREVIEW_SECONDS = 15.0
ASIDE = 0.1  # share of the time that checkpoints, and previews, take at most, however large the network


@dataclass
class TrainingContext:
    """What the training loop needs besides a task and a plan.

    Attributes:
        fabric: Device and precision.
        seed: Seeds the whole run; each step draws from its own generator, so a resumed run repeats the same draws.
        sink: Takes the progress; raising Cancelled in it stops the work.
        checkpoint: Where to save now and then; None for a run without a folder.
        log: Collects `{stage, step, loss, seconds}`.
        parts: In how many parts a batch is computed at least, by one process or by several.
        deadline: `time.monotonic()` at which the whole run should be done, for the time left; None without budget.
        stage: What is being trained, in progress, log, checkpoint and messages.
        stream: Names the stream of random numbers; `stage` where empty.
    """

    fabric: Fabric
    seed: int = 0
    sink: Sink = silent
    checkpoint: Checkpoint | None = None
    log: list[dict[str, Any]] = field(default_factory=list)
    deadline: float | None = None
    stage: str = "match"
    stream: str = ""
    parts: int = 1

    @cached_property
    def notes(self) -> dict[str, Any]:
        """What the stage has found out beside its weights, as JSON: checkpoints keep it for a training that goes on."""
        head = {} if self.checkpoint is None else self.checkpoint.head()
        return dict(head["notes"]) if head.get("stage") == self.stage else {}

    def decide(self, what: str, choose: Callable[[], Any]) -> Any:
        """What the stage chooses by the clock, as JSON; a training that goes on keeps to what it had chosen."""
        if what not in self.notes:
            self.notes[what] = choose()
        return self.notes[what]

    def generator(self, step: int, part: int = 0) -> torch.Generator:
        """The random numbers of a part of one step, on the context's device."""
        mixed = hash_text(f"{self.seed}/{self.stream or self.stage}/{step}/{part}")
        return torch.Generator(self.fabric.device).manual_seed(mixed)

    def say(self, sentence: str) -> None:
        """Pass a sentence to the sink."""
        self.sink(Progress(self.stage, 0, 1, message=sentence))


def hash_text(text: str) -> int:
    """A 63-bit number from a text, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def train(
    task: Task,
    plan: Plan,
    context: TrainingContext,
    preview: Callable[[], Sequence[LandmarkSet]] | None = None,
) -> None:
    """Train `task.module` in place, from the context's checkpoint when it holds an unfinished state of this stage.

    Raises:
        Cancelled: the sink asked to stop; the state is saved first when there is a checkpoint.
        UserError: the device has too little memory, the loss stopped being a number, or another process of the
            training has ended; in the latter case the state is saved, too.
    """
    # Before an optimizer takes back its state, which lies where its parameters do.
    for one in task.modules.values():
        one.to(context.fabric.device)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[plan.optimizer]
    optimizer: torch.optim.Optimizer = kind(task.module.parameters(), lr=plan.rate, weight_decay=plan.decay)
    clock = Clock(plan)
    if context.checkpoint is not None:
        context.checkpoint.restore(context.stage, task, optimizer, clock)
    start_alike(context.fabric, task.modules)
    module, optimizer = context.fabric.setup(task.module, optimizer)
    module.train()
    parts = _count_parts(plan, context)
    gradient = PartedGradient(task, module, context.fabric, context.generator, plan.batch, context.say, parts)
    run = _Run(task, module, gradient, optimizer, plan, context, clock, preview)
    alone = context.fabric.device.type == "cpu" and context.fabric.world_size == 1
    way_out = f"lower {context.stage}.batch or {context.stage}.area, or use --device cpu"
    try:
        with memory_errors(way_out), giving_way(alone and plan.seconds is not None) as run.give_way:
            run.finish()
    except (Cancelled, LostRank):
        run.save()
        raise


def _count_parts(plan: Plan, context: TrainingContext) -> int:
    """In how many parts a batch is computed. Raises UserError when they would be too small."""
    ranks: int = context.fabric.world_size
    parts = math.ceil(context.parts / ranks) * ranks
    if parts > 1 and plan.batch < SMALLEST * parts:
        raise UserError(
            f"{context.stage}.batch={plan.batch} is too small for {parts} processes: raise it to {SMALLEST * parts}, "
            "or use fewer devices"
        )
    return parts


@dataclass
class _Run:
    task: Task
    module: nn.Module
    gradient: PartedGradient
    optimizer: torch.optim.Optimizer
    plan: Plan
    context: TrainingContext
    clock: Clock
    preview: Callable[[], Sequence[LandmarkSet]] | None
    saved: float = field(default_factory=lambda: time.monotonic())
    shown: float = field(default_factory=lambda: time.monotonic())
    save_after: float = field(default_factory=lambda: CHECKPOINT_SECONDS)
    show_after: float = field(default_factory=lambda: PREVIEW_SECONDS)
    give_way: Callable[[], None] = lambda: None

    def finish(self) -> None:
        while True:
            # All processes go by the first one's clock.
            finished, fraction = follow_first(self.context.fabric, self.clock.finished, self.clock.fraction)
            if finished:
                return
            self.give_way()
            self.step(fraction)

    def step(self, fraction: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate_at(fraction)
        metrics = self.gradient.compute(self.clock.step, fraction)
        if not math.isfinite(metrics["loss"]):
            raise UserError(
                f"training diverged at {self.context.stage} step {self.clock.step}: lower {self.context.stage}.rate"
            )
        nn.utils.clip_grad_norm_(self.task.module.parameters(), 5.0)
        self.optimizer.step()
        self.task.after(fraction)
        self.clock.step += 1
        self._report(metrics)

    def _report(self, metrics: dict[str, float]) -> None:
        now, step = time.monotonic(), self.clock.step
        if step % 10 ** max(0, len(str(step)) - 4) == 0:  # every one to 9999, then every tenth, ...
            entry = {"stage": self.context.stage, "step": step, **metrics, "seconds": self.clock.elapsed}
            self.context.log.append(entry)
        if self.context.checkpoint is not None and now - self.saved > self.save_after:
            self.save()
        shown: Sequence[LandmarkSet] = ()
        if self.preview is not None and now - self.shown > self.show_after:
            started = time.monotonic()
            shown, self.shown = self.preview(), time.monotonic()
            self.show_after = max(PREVIEW_SECONDS, (self.shown - started) / ASIDE)
            self.module.train()
        left = self.clock.left if self.context.deadline is None else max(0.0, self.context.deadline - now)
        speed = {"images/s": self.plan.batch * step / max(self.clock.elapsed, 1e-6)}
        self.context.sink(
            Progress(self.context.stage, step, self.clock.total, {**metrics, **speed}, left, shown)
        )

    def save(self) -> None:
        if self.context.checkpoint is not None and self.context.fabric.is_global_zero:
            started = time.monotonic()
            self.context.checkpoint.save(
                self.context.stage,
                self.task,
                self.optimizer,
                self.clock,
                self.context.log,
                self.context.notes,
            )
            self.saved = time.monotonic()
            self.save_after = max(CHECKPOINT_SECONDS, (self.saved - started) / ASIDE)
