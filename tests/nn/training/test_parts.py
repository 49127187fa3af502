"""Batches in parts, on a toy task whose memory is made up: it runs out above a number of items at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from onemark import Cancelled, Progress, UserError
from onemark.nn.device import fabric_for
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.training.loop import TrainingContext, train
from onemark.nn.training.parts import PartedGradient
from onemark.nn.training.schedule import Plan

FABRIC = fabric_for("cpu")


class Line:
    """Fits `y = 3 x - 1`; the device has room for `room` items at a time."""

    def __init__(self, room: int = 1000, normalized: bool = True) -> None:
        torch.manual_seed(0)
        middle = nn.BatchNorm1d(4) if normalized else nn.Identity()
        self.module = nn.Sequential(nn.Linear(1, 4), middle, nn.Linear(4, 1))
        self.room = room
        self.drawn: list[torch.Tensor] = []

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"module": self.module}

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> torch.Tensor:
        self.drawn.append(torch.rand(size or 8, 1, generator=generator))
        return self.drawn[-1]

    def loss(self, module: nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        predicted = module(batch)
        if len(batch) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (predicted - (3 * batch - 1)).pow(2).mean(), {"items": float(len(batch))}

    def after(self, fraction: float) -> None:
        pass


def trained(task: Line, parts: int = 1, steps: int = 12) -> tuple[dict[str, torch.Tensor], list[str]]:
    said: list[str] = []

    def sink(event: Progress) -> None:
        if event.message:
            said.append(event.message)

    train(task, Plan(steps, rate=0.03), TrainingContext(FABRIC, sink=sink, parts=parts))
    return {name: value.clone() for name, value in task.module.state_dict().items()}, said


@pytest.mark.parametrize(("room", "parts"), [(4, 2), (2, 4)])
def test_a_lack_of_memory_cuts_the_batch_and_the_run_ends_as_if_cut_from_the_start(room: int, parts: int):
    task = Line(room)
    weights, said = trained(task)
    whole, nothing = trained(Line(), parts)
    assert weights.keys() == whole.keys()
    assert all(torch.equal(weights[name], whole[name]) for name in whole)
    assert nothing == []
    assert said[-1].startswith(f"the device ran out of memory, so a batch of 8 is computed in {parts} parts")
    assert len(said) == len(set(said)) == {2: 1, 4: 2}[parts]
    assert sum(map(len, task.drawn[-parts:])) == 8


def test_the_gradient_of_the_parts_is_that_of_the_batch():
    # In 16 bit, sums of parts are rounded otherwise than the whole.
    task, fabric = Line(4, normalized=False), Fabric(accelerator="cpu", devices=1, precision="32-true")
    module = fabric.setup_module(task.module)
    draw = TrainingContext(fabric).generator
    gradient = PartedGradient(task, module, fabric, draw, 8, lambda sentence: None)
    metrics = gradient.compute(0, 0.0)
    found = [p.grad.clone() for p in task.module.parameters() if p.grad is not None]
    task.room = 8
    loss, _ = task.loss(module, torch.cat(task.drawn[-2:]))
    task.module.zero_grad()
    loss.backward()
    assert metrics["loss"] == pytest.approx(loss.item())
    assert len(found) == 4
    for parameter, one in zip(task.module.parameters(), found, strict=True):
        torch.testing.assert_close(one, parameter.grad)


def test_parts_share_a_batch_that_does_not_divide():
    gradient = PartedGradient(Line(), nn.Identity(), FABRIC, TrainingContext(FABRIC).generator, 8, print, 3)
    assert gradient.sizes() == [3, 3, 2]


def test_no_part_is_smaller_than_two():
    with pytest.raises(UserError, match="ran out of memory: lower"):
        trained(Line(1))


def with_dropout() -> Line:
    """The task with dropout, which draws from torch's own generator."""
    task = Line()
    task.module[1] = nn.Dropout(0.5)
    return task


def test_dropout_repeats_where_a_stopped_training_goes_on(tmp_path: Path):
    unbroken, _ = trained(with_dropout())
    checkpoint, plan = Checkpoint(tmp_path / "checkpoint.safetensors"), Plan(12, rate=0.03)

    def stop(event: Progress) -> None:
        if event.step == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        train(with_dropout(), plan, TrainingContext(FABRIC, sink=stop, checkpoint=checkpoint))
    again = with_dropout()
    train(again, plan, TrainingContext(FABRIC, checkpoint=checkpoint))
    found = again.module.state_dict()
    assert found.keys() == unbroken.keys()
    assert all(torch.equal(value, unbroken[name]) for name, value in found.items())


def test_weights_drawn_after_a_training_do_not_depend_on_its_steps():
    task = with_dropout()
    before = torch.get_rng_state()
    trained(task)
    assert torch.equal(torch.get_rng_state(), before)
