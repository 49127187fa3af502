"""The gradient of a step whose batch is computed whole, in parts one after the other, or by several processes.

A part draws its radiographs, and what dropout leaves out, from generators of its own. So what a step learns from depends
on the number of parts alone, and not on which process computes which part or where a training was stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from onemark.nn.device import lacks_memory
from onemark.nn.fabric import Fabric
from onemark.nn.training.ranks import sum_over
from onemark.nn.training.task import Task
from onemark.types import LostRank

SMALLEST = 2  # radiographs of a part: matchers pair them with each other, and a detector needs one beside an exemplar


@dataclass
class PartedGradient:
    """Computes gradients, in more parts once the device has run out of memory.

    Attributes:
        task: Draws the batches and returns the loss.
        module: What the loss is computed with: `task.module` as Fabric set it up.
        fabric: Device, precision and processes.
        draw: `(step, part)` -> the generator of a part.
        batch: Items per step, all parts together.
        say: Takes the sentence about a lack of memory.
        parts: How many parts there are; a multiple of the number of processes.
    """

    task: Task
    module: nn.Module
    fabric: Fabric
    draw: Callable[[int, int], torch.Generator]
    batch: int
    say: Callable[[str], None]
    parts: int = 1

    def compute(self, step: int, fraction: float) -> dict[str, float]:
        """Leave the gradient of a whole batch in the parameters of the module.

        Returns:
            The loss over all parts, and the numbers to show as means over the parts of this process.

        Raises:
            RuntimeError, MemoryError: the device has too little memory for the smallest parts.
            LostRank: another process has ended.
        """
        before = {name: buffer.clone() for name, buffer in self.task.module.named_buffers()}
        try:
            while True:
                metrics = self._run_parts(step, fraction, before)
                news = [float(metrics is None), (metrics or {}).get("loss", 0.0)]
                short, loss = sum_over(self.fabric, torch.tensor(news, dtype=torch.float64)).tolist()
                if metrics is not None and not short:
                    self._sum_gradients()
                    share = sum(self.sizes()[part] for part in self._own) / self.batch
                    return {key: value / share for key, value in metrics.items()} | {"loss": loss}
                self._restore(before)
                self._halve()
        except LostRank:
            self._restore(before)  # what is saved then is the state before the step
            raise

    @property
    def _own(self) -> range:
        """The parts of this process."""
        return range(self.fabric.global_rank, self.parts, self.fabric.world_size)

    def sizes(self) -> list[int]:
        """Items of each part, which together are the batch."""
        return [self.batch // self.parts + (part < self.batch % self.parts) for part in range(self.parts)]

    def _run_parts(
        self, step: int, fraction: float, before: dict[str, torch.Tensor]
    ) -> dict[str, float] | None:
        """Add up the parts of this process; None where the device has too little memory for them."""
        self._clear()
        total: dict[str, float] = {}
        sums = {name: torch.zeros_like(buffer) for name, buffer in before.items() if self.parts > 1}
        sizes = self.sizes()
        try:
            for part in self._own:
                weight = sizes[part] / self.batch
                if self.parts > 1:
                    self._restore(before)
                for key, value in self._run_part(step, part, fraction, sizes[part]).items():
                    total[key] = total.get(key, 0.0) + weight * value
                if self.parts > 1:
                    self._add_buffers(sums, weight)
        except (MemoryError, RuntimeError) as error:
            if not lacks_memory(error) or self.batch // (2 * self.parts) < SMALLEST:
                raise
            return None
        if self.parts > 1:
            self._restore(sums)
        return total

    def _run_part(self, step: int, part: int, fraction: float, size: int) -> dict[str, float]:
        generator = self.draw(step, part)
        # Dropout draws from torch's generator of the device. That of the CPU is put back, for a stage may draw further
        # weights from it after a training; from another device's, nothing but dropout draws.
        with torch.random.fork_rng([]):
            torch.manual_seed(generator.initial_seed() ^ 1)  # the batch has the numbers of the seed itself
            batch = self.task.batch(generator, fraction, None if self.parts == 1 else size)
            with self.fabric.autocast():
                loss, metrics = self.task.loss(self.module, batch)
            # Multiplied only where needed, so that a whole batch is computed as without parts.
            self.fabric.backward(loss if self.parts == 1 else loss * (size / self.batch))
        return {"loss": float(loss.detach()), **metrics}

    def _add_buffers(self, sums: dict[str, torch.Tensor], weight: float) -> None:
        """Average what batch normalization saw of the parts; a counter is the same after each of them."""
        for name, buffer in self.task.module.named_buffers():
            if buffer.is_floating_point():
                sums[name] += weight * buffer
            else:
                sums[name] = buffer.clone()

    def _sum_gradients(self) -> None:
        """Sum gradients, and averaged buffers, over the processes."""
        if self.fabric.world_size == 1:
            return
        learned = [p for p in self.task.module.parameters() if p.requires_grad]
        used = torch.tensor([float(p.grad is not None) for p in learned], device=self.fabric.device)
        for parameter in learned:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        seen = [b for b in self.task.module.buffers() if b.is_floating_point()]
        tensors = [used, *(p.grad for p in learned if p.grad is not None), *seen]
        sums = sum_over(self.fabric, torch.cat([one.flatten().float() for one in tensors]))
        for one, part in zip(tensors, torch.split(sums, [one.numel() for one in tensors]), strict=True):
            one.copy_(part.view_as(one))
        # The optimizer leaves a parameter alone that no part used.
        for parameter, count in zip(learned, used.tolist(), strict=True):
            parameter.grad = parameter.grad if count else None

    @torch.no_grad()
    def _restore(self, buffers: dict[str, torch.Tensor]) -> None:
        for name, buffer in self.task.module.named_buffers():
            buffer.copy_(buffers[name])

    def _clear(self) -> None:
        for parameter in self.task.module.parameters():
            parameter.grad = None

    def _halve(self) -> None:
        self._clear()
        self.parts *= 2
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        self.say(
            f"the device ran out of memory, so a batch of {self.batch} is computed in {self.parts} parts from now on; "
            "steps take longer, and no less is learned"
        )
