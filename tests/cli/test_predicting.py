"""Predicting by command, in one process or by the tasks of a job array."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from onemark.cli import main


def test_the_tasks_of_a_job_array_share_the_work(
    trained: Path,
    cohort: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    out = str(tmp_path / "p.csv")
    words = ["predict", str(trained), str(cohort / "xrays"), "--out", out, "--shard-size", "1"]
    assert main([*words, "--part", "1/2"]) == 0
    said = capsys.readouterr()
    assert said.out == f"part 1/2: predicted 2 radiographs; when all parts are: onemark merge {out}\n"
    assert "predicting part 1/2, by --part" in said.err
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*words, "--part", "auto"]) == 0
    assert "predicting part 2/2, by RANK=1" in capsys.readouterr().err
    assert main(["merge", out]) == 0
    assert capsys.readouterr().out == f"predicted 3 of 3 radiographs: {out}\n"
    assert (tmp_path / "p.csv").read_bytes() == (trained / "landmarks.csv").read_bytes()


def test_merging_says_what_is_missing(trained: Path, cohort: Path, tmp_path: Path, fails: Callable[..., str]):
    out = tmp_path / "p.csv"
    assert "no parts of" in fails("merge", out)
    words = ["predict", trained, cohort / "xrays", "--out", out, "--shard-size", "1", "--part", "3/3"]
    assert main([str(word) for word in words]) == 0
    assert "2 of the 3 parts" in fails("merge", out)
    out.write_text("mine")
    assert "--overwrite" in fails("merge", out)


def test_one_way_to_share_the_work(trained: Path, cohort: Path, tmp_path: Path, fails: Callable[..., str]):
    words = ["predict", trained, cohort / "xrays", "--out", tmp_path / "p.csv"]
    assert "give one of them" in fails(*words, "--part", "1/2", "--workers", "2")
    assert "write i/n" in fails(*words, "--part", "half")
    assert "credentials" in fails(
        "predict", trained, "s3://key:secret@bucket/xrays", "--out", tmp_path / "p.csv"
    )
