"""Predicting by command, in one process or by the tasks of a job array."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import onemark
from onemark.archive.plan import identify_run
from onemark.cli import main
from onemark.cli.steps import find_identity
from onemark.pipeline.runs.folder import RunFolder


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


def test_a_spacing_that_the_run_was_given_holds_for_its_own_radiographs(
    trained: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, others = tmp_path / "run", tmp_path / "others"
    shutil.copytree(trained, run)
    shutil.copytree(cohort / "xrays", others)
    RunFolder.open(run).update(spacing_mm=(0.2, 0.2))

    def predict(xrays: Path, *more: str) -> tuple[onemark.LandmarkTable, str]:
        words = ["predict", str(run), str(xrays), "--out", str(tmp_path / "p.csv"), "--overwrite", *more]
        assert main(words) == 0
        return onemark.read_landmarks(tmp_path / "p.csv"), capsys.readouterr().err

    own, said = predict(cohort / "xrays", "--mm")
    assert f"0.2 mm per pixel, as {run} was given for these radiographs" in said
    assert {one.unit for one in own} == {"mm"}
    with (tmp_path / "p.csv").open() as stream:
        assert all(float(row["x_mm"]) == 0.2 * float(row["x"]) for row in csv.DictReader(stream))
    theirs, said = predict(others)
    assert f"give --spacing-mm where it holds for {others}, too" in said
    assert {one.unit for one in theirs} == {"px"}
    given, said = predict(cohort / "xrays", "--spacing-mm", "0.4")
    assert "was given" not in said
    for one, two, three in zip(own, theirs, given, strict=True):
        np.testing.assert_allclose(one.expected_error, 0.2 * two.expected_error)
        np.testing.assert_allclose(three.expected_error, 0.4 * two.expected_error)


@pytest.mark.parametrize("option", ["--mm", "--safe-csv"])
def test_what_a_format_has_no_place_for_is_refused(
    option: str, trained: Path, cohort: Path, tmp_path: Path, fails: Callable[..., str]
):
    words = ["predict", trained, cohort / "xrays", "--spacing-mm", "0.5", "--out", tmp_path / "p.tps", option]
    assert "has no place for" in fails(*words)
    assert not list(tmp_path.iterdir())
    assert "--safe-csv; give it a .csv" in fails("merge", tmp_path / "p.tps", "--safe-csv")
    converted = fails("convert", cohort / "truth.csv", tmp_path / "c.csv", "--spacing-mm", "0.5")
    assert "give their folder with --images" in converted


def test_reports_name_a_run_alike_whoever_writes_them(trained: Path, tmp_path: Path):
    assert find_identity(trained / "landmarks.csv") == identify_run(onemark.load(trained))
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    shutil.copy(run / "landmarks.csv", run / "others.csv")
    assert find_identity(run / "others.csv") == ""
    RunFolder.open(run).update(predicted=0)  # as after a teaching that has not predicted yet
    assert find_identity(run / "landmarks.csv") == ""
