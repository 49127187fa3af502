"""The training loop on a toy task: a line fitted to points, where every step and second can be counted."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from onemark import Cancelled, Progress, UserError
from onemark.nn import threads
from onemark.nn.device import fabric_for
from onemark.nn.training import loop, schedule
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.training.loop import TrainingContext, train
from onemark.nn.training.schedule import Clock, Plan
from onemark.nn.weights import open_weights, write_weights

FABRIC = fabric_for("cpu")


class Line:
    """Fits `y = 3 x - 1` by a small network with batch normalisation; counts what the loop asks for."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.follower = nn.Linear(1, 1)
        self.fractions: list[float] = []
        self.draws: list[torch.Tensor] = []
        self.followed: list[float] = []

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"module": self.module, "follower": self.follower}

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> torch.Tensor:
        self.fractions.append(fraction)
        self.draws.append(torch.rand(8, 1, generator=generator))
        return self.draws[-1]

    def loss(self, module: nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        return (module(batch) - (3 * batch - 1)).pow(2).mean(), {"extra": 1.0}

    def after(self, fraction: float) -> None:
        self.followed.append(fraction)
        with torch.no_grad():
            self.follower.weight += 1


class FakeTime:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    for module in (loop, schedule):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=fake.monotonic))
    return fake


def ticking(task: Line, clock: FakeTime, seconds: float) -> Line:
    """The task, each of whose batches takes some seconds."""
    draw = task.batch

    def batch(generator: torch.Generator, fraction: float, size: int | None = None) -> torch.Tensor:
        clock.now += seconds
        return draw(generator, fraction)

    task.batch = batch  # type: ignore[method-assign]
    return task


def weights(task: Line) -> dict[str, torch.Tensor]:
    return {f"{m}.{k}": v for m, one in task.modules.items() for k, v in one.state_dict().items()}


def stop_after(steps: int) -> Any:
    def sink(event: Progress) -> None:
        if event.step >= steps:
            raise Cancelled

    return sink


# --- the schedule ----------------------------------------------------------------------------------------


def test_a_number_of_steps_is_done_and_the_schedule_laid_over_it():
    task, job = Line(), TrainingContext(FABRIC)
    train(task, Plan(10), job)
    assert task.fractions == pytest.approx([n / 10 for n in range(10)])
    assert task.followed == task.fractions
    assert [entry["step"] for entry in job.log] == list(range(1, 11))
    assert {"stage", "step", "loss", "extra", "seconds"} == set(job.log[0])
    assert job.log[0]["stage"] == "match"


def test_it_learns():
    task, job = Line(), TrainingContext(FABRIC)
    train(task, Plan(150, rate=3e-2), job)
    assert job.log[-1]["loss"] < job.log[0]["loss"] / 5


@pytest.mark.parametrize(("pace", "steps"), [(1.0, 60), (7.0, 9), (1000.0, 1)])
def test_a_time_budget_is_kept_to_half_a_step(clock: FakeTime, pace: float, steps: int):
    task = ticking(Line(), clock, pace)
    train(task, Plan(3, seconds=60.0), TrainingContext(FABRIC))
    assert len(task.fractions) == steps
    assert clock.now - 1000 <= max(60 + pace / 2, pace)
    assert task.fractions == pytest.approx([n * pace / 60 for n in range(steps)])


@pytest.mark.parametrize(("plan", "gives_way"), [(Plan(3), False), (Plan(3, seconds=1e-3), True)])
def test_threads_give_way_under_a_time_budget_alone(
    plan: Plan, gives_way: bool, monkeypatch: pytest.MonkeyPatch
):
    looks: list[int] = []
    monkeypatch.setattr(threads.GivingWay, "look", lambda self: looks.append(1))
    train(Line(), plan, TrainingContext(FABRIC))
    assert bool(looks) is gives_way


def test_the_rate_of_a_time_budget_ends_low_though_steps_slow_down(clock: FakeTime):
    task = Line()
    draw = task.batch

    def batch(generator: torch.Generator, fraction: float, size: int | None = None) -> torch.Tensor:
        clock.now += 0.5 if len(task.fractions) < 40 else 2.0
        return draw(generator, fraction)

    task.batch = batch  # type: ignore[method-assign]
    plan = Plan(10**6, seconds=60.0)
    train(task, plan, TrainingContext(FABRIC))
    rates = [plan.rate_at(fraction) for fraction in task.fractions]
    assert max(rates) > 0.95 * plan.rate
    assert rates[-1] < 0.02 * plan.rate
    assert 59 <= clock.now - 1000 <= 62


def test_the_cosine_rises_and_falls():
    plan = Plan(100, rate=1.0, warmup=0.1)
    rates = [plan.rate_at(n / 100) for n in range(101)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[10] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1e-3)
    assert plan.rate_at(1.5) == rates[-1]


@pytest.mark.parametrize(
    ("schedule", "stairs"), [("halving", [0.5**n for n in range(7)]), ("tenths", [1, 0.1, 0.01])]
)
def test_published_schedules_go_down_in_stairs(schedule: Any, stairs: list[float]):
    plan = Plan(1000, rate=1.0, schedule=schedule)
    rates = [plan.rate_at(n / 1000) for n in range(1001)]
    assert sorted(set(rates), reverse=True) == pytest.approx(stairs)
    assert rates == sorted(rates, reverse=True)


def test_steps_left_and_total_are_told(clock: FakeTime):
    events: list[Progress] = []
    train(ticking(Line(), clock, 2.0), Plan(5, batch=8), TrainingContext(FABRIC, sink=events.append))
    assert [(e.stage, e.step, e.total) for e in events] == [("match", n, 5) for n in range(1, 6)]
    assert [e.seconds_left for e in events] == pytest.approx([8, 6, 4, 2, 0])
    assert events[-1].metrics["images/s"] == pytest.approx(4.0)
    assert events[-1].metrics["loss"] > 0


def test_the_jobs_deadline_says_how_much_time_is_left(clock: FakeTime):
    events: list[Progress] = []
    job = TrainingContext(FABRIC, sink=events.append, deadline=clock.now + 100)
    train(ticking(Line(), clock, 3.0), Plan(0, seconds=30), job)
    assert events[0].seconds_left == pytest.approx(97)
    assert events[-1].seconds_left == pytest.approx(70)
    assert events[4].total == pytest.approx(10, abs=1)


# --- randomness ------------------------------------------------------------------------------------------


def test_every_step_has_its_own_numbers_and_the_seed_decides():
    tasks = [Line() for _ in range(3)]
    for task, seed in zip(tasks, (4, 4, 5), strict=True):
        train(task, Plan(5), TrainingContext(FABRIC, seed))
    draws = [torch.stack(task.draws) for task in tasks]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert len({tuple(draw.flatten().tolist()) for draw in tasks[0].draws}) == 5
    assert all(torch.equal(v, weights(tasks[1])[k]) for k, v in weights(tasks[0]).items())


# --- stopping and resuming -------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 7, 19, 20])
def test_a_stopped_training_ends_with_the_same_weights_as_an_unbroken_one(tmp_path: Path, at: int):
    whole = Line()
    unbroken = TrainingContext(FABRIC)
    train(whole, Plan(20), unbroken)

    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    with pytest.raises(Cancelled):
        train(Line(), Plan(20), TrainingContext(FABRIC, sink=stop_after(at), checkpoint=checkpoint))
    head = checkpoint.head()
    assert (head["stage"], head["step"], len(head["log"])) == ("match", at, at)

    second = Line()
    second.module.load_state_dict({k: v * 0 for k, v in second.module.state_dict().items()})
    job = TrainingContext(FABRIC, checkpoint=checkpoint, log=head["log"])
    train(second, Plan(20), job)
    assert len(second.fractions) == 20 - at
    for name, value in weights(whole).items():
        assert torch.equal(weights(second)[name], value), name
    assert [(e["step"], e["loss"]) for e in job.log] == [(e["step"], e["loss"]) for e in unbroken.log]


def test_a_stopped_time_budget_goes_on_where_it_was(tmp_path: Path, clock: FakeTime):
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    with pytest.raises(Cancelled):
        train(
            ticking(Line(), clock, 1.0),
            Plan(1, seconds=60),
            TrainingContext(FABRIC, sink=stop_after(20), checkpoint=checkpoint),
        )
    assert checkpoint.head()["spent"] == pytest.approx(20)
    clock.now += 5000
    second = ticking(Line(), clock, 1.0)
    train(second, Plan(1, seconds=60), TrainingContext(FABRIC, checkpoint=checkpoint))
    assert second.fractions[0] == pytest.approx(20 / 60)
    assert len(second.fractions) == 40


def test_the_state_is_saved_now_and_then_and_at_most_thirty_seconds_are_lost(tmp_path: Path, clock: FakeTime):
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    steps: list[int] = []

    def sink(event: Progress) -> None:
        steps.append(checkpoint.head().get("step", 0))

    train(ticking(Line(), clock, 3.0), Plan(30), TrainingContext(FABRIC, sink=sink, checkpoint=checkpoint))
    assert max(now - saved for now, saved in enumerate(steps, 1)) * 3 <= 30
    assert 3 <= len(set(steps)) <= 6  # and not at every step


def test_another_stages_state_is_left_alone(tmp_path: Path):
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    with pytest.raises(Cancelled):
        train(Line(), Plan(20), TrainingContext(FABRIC, sink=stop_after(3), checkpoint=checkpoint))
    other = Line()
    train(other, Plan(4), TrainingContext(FABRIC, checkpoint=checkpoint, stage="detect"))
    assert len(other.fractions) == 4


def test_a_state_whose_optimiser_has_other_shapes_is_one_sentence(tmp_path: Path):
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    with pytest.raises(Cancelled):
        train(Line(), Plan(20), TrainingContext(FABRIC, sink=stop_after(3), checkpoint=checkpoint))
    saved = open_weights(checkpoint.path)
    tensors, head = saved.slots["state"]
    moment = next(key for key in tensors if key.endswith("/exp_avg"))
    for wrong in (tensors | {moment: torch.zeros(7)}, {k: v for k, v in tensors.items() if k != moment}):
        write_weights(checkpoint.path, {"state": (wrong, head)}, saved.note)
        with pytest.raises(UserError, match=r"does not fit the match stage .*delete it"):
            train(Line(), Plan(20), TrainingContext(FABRIC, checkpoint=checkpoint))


def test_without_a_checkpoint_a_stop_is_a_stop():
    task = Line()
    with pytest.raises(Cancelled):
        train(task, Plan(20), TrainingContext(FABRIC, sink=stop_after(3)))
    assert len(task.fractions) == 3


# --- trouble ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
        MemoryError(),
    ],
)
def test_too_little_memory_is_one_sentence_that_says_what_to_lower(error: Exception):
    task = Line()

    def fails(*_: object) -> None:
        raise error

    task.loss = fails  # type: ignore[assignment, method-assign]
    with pytest.raises(
        UserError, match=r"^the device ran out of memory: lower match\.batch or match\.area, or"
    ) as said:
        train(task, Plan(3), TrainingContext(FABRIC))
    assert "\n" not in str(said.value)


def test_other_errors_are_bugs_and_pass_through():
    task = Line()

    def fails(*_: object) -> None:
        raise RuntimeError("shapes do not fit")

    task.loss = fails  # type: ignore[assignment, method-assign]
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(task, Plan(3), TrainingContext(FABRIC))


def test_a_loss_that_is_no_number_is_told_before_it_spoils_the_weights():
    task = Line()
    before = {
        k: v.clone() for k, v in task.module.state_dict().items() if "running" not in k and "num" not in k
    }
    task.loss = lambda module, batch: (module(batch).mean() * torch.nan, {})  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"diverged at match step 0: lower match\.rate"):
        train(task, Plan(3), TrainingContext(FABRIC))
    assert all(torch.equal(task.module.state_dict()[k], v) for k, v in before.items())


def test_a_full_disk_stops_with_a_word_and_keeps_the_former_state(
    tmp_path: Path, clock: FakeTime, monkeypatch: pytest.MonkeyPatch
):
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")

    def sink(event: Progress) -> None:
        if checkpoint.path.exists():
            monkeypatch.setattr(os, "fsync", full)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match="disk is full"):
        train(
            ticking(Line(), clock, 5.0), Plan(50), TrainingContext(FABRIC, sink=sink, checkpoint=checkpoint)
        )
    assert checkpoint.head()["step"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_previews_are_shown_now_and_then_and_leave_the_module_in_training(clock: FakeTime):
    task, events = Line(), []

    def preview() -> list[Any]:
        task.module.eval()
        return ["shown"]

    modes: list[bool] = []

    def sink(event: Progress) -> None:
        events.append(event)
        modes.append(task.module.training)

    train(ticking(task, clock, 4.0), Plan(20), TrainingContext(FABRIC, sink=sink), preview)
    assert sum(bool(event.preview) for event in events) == 5
    assert all(modes)


@pytest.mark.parametrize(
    ("at", "logged"), [(0, list(range(1, 13))), (9_997, [9_998, 9_999, 10_000]), (123_398, [123_400])]
)
def test_a_long_log_is_thinned(at: int, logged: list[int], tmp_path: Path):
    checkpoint, task, clock = Checkpoint(tmp_path / "checkpoint.safetensors"), Line(), Clock(Plan(1))
    clock.step = at
    checkpoint.save("match", task, torch.optim.AdamW(task.module.parameters()), clock, [])
    context = TrainingContext(FABRIC, checkpoint=checkpoint)
    train(task, Plan(at + 12), context)
    assert [entry["step"] for entry in context.log] == logged


def test_a_restart_repeats_the_cosine_at_half_the_rate():
    plain, twice = Plan(100), Plan(100, restart=0.4)
    for share in (0.0, 0.05, 0.3, 0.99):
        assert twice.rate_at(0.4 * share) == pytest.approx(plain.rate_at(share))
        assert twice.rate_at(0.4 + 0.6 * share) == pytest.approx(plain.rate_at(share) / 2)


def test_a_training_that_goes_on_keeps_to_what_it_chose_by_the_clock(tmp_path: Path):
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    job = TrainingContext(FABRIC, sink=stop_after(3), checkpoint=checkpoint)
    assert job.decide("canvas", lambda: (320, 256)) == (320, 256)
    with pytest.raises(Cancelled):
        train(Line(), Plan(20), job)
    again = TrainingContext(FABRIC, checkpoint=checkpoint)
    assert tuple(again.decide("canvas", lambda: (64, 48))) == (320, 256)
    other = TrainingContext(FABRIC, checkpoint=checkpoint, stage="detect")
    assert other.decide("canvas", lambda: (64, 48)) == (64, 48)


def test_notes_that_are_none_are_one_sentence(tmp_path: Path):
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    with pytest.raises(Cancelled):
        train(Line(), Plan(20), TrainingContext(FABRIC, sink=stop_after(3), checkpoint=checkpoint))
    tensors, head = open_weights(checkpoint.path).slots["state"]
    write_weights(checkpoint.path, {"state": (tensors, head | {"notes": 3})})
    with pytest.raises(UserError, match="its notes are none; delete it"):
        checkpoint.head()
    write_weights(checkpoint.path, {"state": (tensors, {k: v for k, v in head.items() if k != "notes"})})
    assert checkpoint.head()["notes"] == {}  # as 0.1.0 wrote it
