"""Two processes over gloo on the loopback give what one gives, and a killed one ends the other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_processes
from two_processes import KILLED_AT, PLAN, Line

from onemark import UserError
from onemark.nn.device import fabric_for
from onemark.nn.processes import ONE, Processes
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.training.loop import TrainingContext, train
from onemark.nn.weights import open_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left; read only."""
    out = tmp_path_factory.mktemp("two")
    clean = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    words = [sys.executable, two_processes.__file__, str(out)]
    subprocess.run(words, env=clean, timeout=240, capture_output=True, check=False)
    return out


def trained_alone(checkpoint: Checkpoint | None = None) -> dict[str, torch.Tensor]:
    task = Line()
    train(task, PLAN, TrainingContext(fabric_for("cpu"), parts=2, checkpoint=checkpoint))
    return task.module.state_dict()


def test_two_processes_learn_what_one_learns_from_the_same_batches(folder: Path):
    found = open_weights(folder / "weights.safetensors").slots["state"][0]
    alone = trained_alone()
    assert found.keys() == alone.keys()
    for name, value in alone.items():
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=0)


def test_a_killed_process_ends_the_other_with_a_sentence_and_a_state_to_go_on_from(folder: Path):
    seconds, said = (folder / "said.txt").read_text().split("\n")
    assert said.startswith("another process of this training has ended")
    assert int(seconds) < 30
    checkpoint = Checkpoint(folder / "checkpoint.safetensors")
    assert checkpoint.head()["step"] == KILLED_AT - 1
    unbroken = trained_alone()
    for name, value in trained_alone(checkpoint).items():
        torch.testing.assert_close(value, unbroken[name], atol=1e-4, rtol=0)


def test_the_number_of_processes_is_what_torchrun_says_unless_it_is_given():
    torchrun = {"LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1"}
    assert Processes.asked(None, None, {}) == ONE
    assert Processes.asked(2, None, {}) == Processes(2)
    assert Processes.asked(None, None, torchrun) == Processes(4, 2)
    with pytest.raises(UserError, match="torchrun has started 4 processes on each of 2 machines"):
        Processes.asked(2, None, torchrun)
    with pytest.raises(UserError, match="numbers from 1"):
        Processes.asked(0, None, {})


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "3"}, False),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),
    ],
)
def test_one_process_writes(environment: dict[str, str], first: bool):
    assert Processes(2).is_first(environment) == first
    assert ONE.is_first(environment)
