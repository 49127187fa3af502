"""A run that is killed by the system: nothing is half written, and resuming ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import onemark
from onemark import LandmarkTable
from onemark.cli import main
from onemark.nn.weights import read_weights
from onemark.pipeline.runs.folder import RunFolder
from onemark.types import UserError

STEPS = 10
HASTY = """
import sys, onemark.nn.training.loop
onemark.nn.training.loop.CHECKPOINT_SECONDS = 0.0
from onemark.cli import main
sys.exit(main(sys.argv[1:]))
"""


def killed(words: list[str], when: Callable[[], bool]) -> None:
    """Run words in a process that saves its state all the time, and kill it when something has happened."""
    process = subprocess.Popen([sys.executable, "-c", HASTY, *words], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 200
        while not when() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_run_that_is_killed_again_and_again_ends_as_if_nothing_had_happened(
    xrays: Path,
    exemplars: LandmarkTable,
    tiny: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    run, checkpoint = tmp_path / "run", tmp_path / "run" / "checkpoint.safetensors"
    exemplars.to_csv(tmp_path / "exemplar.csv")
    settings = tiny | {"match.steps": STEPS, "detect.steps": STEPS, "refine.steps": STEPS}
    fit = ["fit", str(xrays), "--exemplar", str(tmp_path / "exemplar.csv")]
    fit += [f"--set={name}={value}" for name, value in settings.items()]

    def stage() -> tuple[str, int]:
        # Replaced while it is read: the file of a later stage has another size.
        with contextlib.suppress(UserError, RuntimeError):
            head = read_weights(checkpoint)["state"][1]
            return head["stage"], head["step"]
        return "", 0

    killed([*fit, "--out", str(run)], checkpoint.exists)
    whole(run)
    assert stage()[0] == "match"
    first = stage()[1]
    killed(["resume", str(run)], lambda: stage()[1] > first)
    whole(run)
    killed(["resume", str(run)], lambda: stage()[0] == "detect")
    whole(run)
    assert list(onemark.load(run).stages) == ["match", "register"]
    capsys.readouterr()
    assert main(["resume", str(run)]) == 0
    assert capsys.readouterr().out.endswith(f"predicted 12 of 12 radiographs: {run / 'landmarks.csv'}\n")

    unbroken = tmp_path / "unbroken"
    assert main([*fit, "--out", str(unbroken)]) == 0
    ours, theirs = (read_weights(one / "weights.safetensors") for one in (run, unbroken))
    for slot, (tensors, _) in theirs.items():
        for name, value in tensors.items():
            torch.testing.assert_close(ours[slot][0][name], value, rtol=0, atol=0, equal_nan=True)
    assert [entry["step"] for entry in RunFolder.open(run).log()] == [*range(1, STEPS + 1)] * 3


def whole(run: Path) -> None:
    """Every file is either not there or whole."""
    opened = RunFolder.open(run)
    assert opened.config.state == "running"
    assert opened.exemplars().images == ("phantom-001.png",)
    opened.log()
    for path in run.glob("*.safetensors"):
        read_weights(path)
    names = {path.name for path in run.iterdir() if not re.fullmatch(r"\.onemark-\w+\.tmp", path.name)}
    assert names <= {
        ".onemark.lock",
        ".onemark.owner",
        "config.json",
        "exemplars.csv",
        "log.jsonl",
        "weights.safetensors",
        "checkpoint.safetensors",
    }
