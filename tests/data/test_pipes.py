"""A named pipe in the place of any file is a sentence or passed over; nothing waits for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from onemark import UserError, read_landmarks
from onemark.cli import main
from onemark.data.landmarks.schema import read_schema
from onemark.data.suggestion import Suggestion
from onemark.gui.state.autosave import read
from onemark.measurement.sets.reading import load_set
from onemark.nn.weights import read_weights
from onemark.pipeline.runs.config import RunConfig
from onemark.pipeline.runs.folder import RunFolder

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("a.csv", read_landmarks),
        ("a.tps", read_landmarks),
        ("a.json", read_landmarks),
        ("suggestion.csv", Suggestion.read_csv),
        ("session.json", read),
        ("names.txt", read_schema),
        ("set.toml", load_set),
        ("weights.safetensors", read_weights),
        ("config.json", lambda path: RunFolder.open(path.parent)),
    ],
)
def test_a_pipe_is_a_sentence(tmp_path: Path, name: str, reads: Callable[[Path], object]):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="is a pipe or a device"):
        reads(tmp_path / name)


@pytest.mark.timeout(60)
def test_a_log_that_is_a_pipe_is_passed_over(tmp_path: Path):
    run = RunFolder.create(tmp_path / "run", RunConfig("onemark", {}, 0, "cpu", None, "/x", None, ("a.png",)))
    os.mkfifo(run.path / "log.jsonl")
    assert run.log() == []


@pytest.mark.timeout(60)
def test_a_pipe_as_the_exemplar_of_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    os.mkfifo(tmp_path / "exemplar.csv")
    assert main(["convert", str(tmp_path / "exemplar.csv"), str(tmp_path / "new.csv")]) == 2
    assert "is a pipe" in capsys.readouterr().err
