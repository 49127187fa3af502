"""Stopping, resuming and teaching a run more."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import onemark
from onemark.cli import main
from onemark.data.landmarks.table import LandmarkTable
from onemark.pipeline.runs.folder import RunFolder

Fails = Callable[..., str]
RunWords = Callable[..., list[str]]


def onemark_process(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "onemark", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a child on Windows")
def test_ctrl_c_stops_and_resume_finishes(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Fails, run_words: RunWords
):
    out = tmp_path / "run"
    process = onemark_process(*run_words(out, "--minutes", "10"))
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("match 1/"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == f"onemark: stopped; continue with: onemark resume {out}"
    assert json.loads((out / "config.json").read_text())["state"] == "stopped"
    assert not (out / "landmarks.csv").exists()

    assert main(["resume", str(out), "--minutes", "0.05"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Not usable yet: ")  # two steps are too few
    assert f"onemark fit --resume {out} --exemplar {out / 'exemplars.csv'} --minutes 10" in said
    assert said.endswith(f"predicted 3 of 3 radiographs: {out / 'landmarks.csv'}\n")
    assert len(onemark.read_landmarks(out / "landmarks.csv")) == 3
    assert "finished" in fails("resume", out)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a child on Windows")
def test_the_second_ctrl_c_ends_the_process():
    code = (
        "import signal\n"
        "from onemark.cli.show import Show\n"
        "with Show():\n"
        "    signal.raise_signal(signal.SIGINT); print('still here', flush=True)\n"
        "    signal.raise_signal(signal.SIGINT); print('not any more', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (130, "still here\n")


def test_resume_predicts_where_a_run_was_stopped_while_predicting(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Fails
):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "landmarks.csv").unlink()
    (run / "report.html").unlink()
    RunFolder.open(run).update(predicted=0)
    assert main(["resume", str(run)]) == 0
    assert (run / "landmarks.csv").read_bytes() == (trained / "landmarks.csv").read_bytes()
    assert "finished" in fails("resume", run)


def test_a_spacing_given_where_only_the_predictions_are_missing_is_remembered(trained: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    RunFolder.open(run).update(predicted=0)
    assert main(["resume", str(run), "--spacing-mm", "0.5"]) == 0
    assert RunFolder.open(run).config.spacing_mm == (0.5, 0.5)
    assert {one.unit for one in onemark.read_landmarks(run / "landmarks.csv")} == {"mm"}


def test_resume_finds_radiographs_that_have_moved(trained: Path, cohort: Path, tmp_path: Path, fails: Fails):
    run = tmp_path / "my FOLDER" / "run"
    shutil.copytree(trained, run)
    (run / "report.html").unlink()
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"cohort": str(tmp_path / "gone"), "predicted": 0}))
    assert "--xrays FOLDER" in fails("resume", run)
    taught = fails("fit", "--resume", run, "--exemplar", cohort / "exemplar.csv")
    assert f"onemark fit FOLDER --resume {run}" in taught
    assert main(["resume", str(run), "--xrays", str(cohort / "xrays")]) == 0
    assert RunFolder.open(run).config.cohort == str((cohort / "xrays").resolve())
    assert (run / "report.html").exists()


def test_resume_learns_from_a_further_exemplar(trained: Path, cohort: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    truth = onemark.read_landmarks(cohort / "truth.csv")
    LandmarkTable.from_sets([truth["phantom-002.png"]]).to_csv(tmp_path / "more.csv")
    assert main(["resume", str(run), "--exemplar", str(tmp_path / "more.csv"), "--minutes", "0.05"]) == 0
    assert onemark.load(run).exemplars.images == ("phantom-001.png", "phantom-002.png")
    predictions = onemark.read_landmarks(run / "landmarks.csv")
    np.testing.assert_array_equal(predictions["phantom-002.png"].xy, truth["phantom-002.png"].xy)


def test_a_run_on_a_list_goes_on_with_that_list(
    cohort: Path, tmp_path: Path, tiny_words: list[str], capsys: pytest.CaptureFixture[str]
):
    xrays = cohort / "xrays"
    names = sorted(file.name for file in xrays.iterdir())
    (tmp_path / "list.txt").write_text("".join(f"{xrays / name}\n" for name in names[:2]), "utf-8")
    run, table = tmp_path / "run", tmp_path / "run" / "landmarks.csv"
    words = ["--exemplar", str(cohort / "exemplar.csv"), "--out", str(run), *tiny_words]
    assert main(["run", str(tmp_path / "list.txt"), *words]) == 0
    assert main(["resume", str(run), "--exemplar", str(cohort / "exemplar.csv"), "--minutes", "0.01"]) == 0
    assert (
        f"left out: 1 of the 3 radiographs in {xrays}, which {run} did not learn from"
        in capsys.readouterr().out
    )
    assert onemark.read_landmarks(table).images == tuple(names[:2])
    more = ["--exemplar", str(cohort / "exemplar.csv"), "--minutes", "0.01", "--xrays", str(xrays)]
    assert main(["resume", str(run), *more]) == 0
    assert "left out" not in capsys.readouterr().out
    assert onemark.read_landmarks(table).images == tuple(names)
