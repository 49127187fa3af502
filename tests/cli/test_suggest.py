"""`onemark suggest` and the `fit --resume` that goes on from it."""

from __future__ import annotations

from pathlib import Path

import pytest

import onemark
from onemark import LandmarkTable
from onemark.cli import main

TINY = [
    word
    for stage in ("match", "detect", "refine")
    for key, value in {"area": 4096, "batch": 2, "steps": 2}.items()
    for word in ("--set", f"{stage}.{key}={value}")
]


def test_suggest_names_a_radiograph_and_fit_goes_on_from_it(
    xrays: Path, truth: LandmarkTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, marked = tmp_path / "run", tmp_path / "exemplar.csv"
    assert main(["suggest", str(xrays), "--out", str(run), "--set", "select.keypoints=8", *TINY]) == 0
    said = capsys.readouterr().out
    first = said.splitlines()[0].split()[1]
    assert first in truth.images
    assert f"onemark fit --resume {run} --exemplar" in said
    LandmarkTable.from_sets([truth[first]]).to_csv(marked)
    assert main(["fit", "--resume", str(run), "--exemplar", str(marked)]) == 0
    assert f"fitted: {run}" in capsys.readouterr().out
    assert onemark.load(run).exemplars.images == (first,)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--exemplar", "e.csv"], "give a folder"),
        (["XRAYS", "--exemplar", "e.csv"], "--out RUN"),
        (["--exemplar", "e.csv", "--resume", "r", "--out", "o"], "--out does not go with --resume"),
        (["--exemplar", "e.csv", "--resume", "r", "--seed", "3"], "--seed does not go with --resume"),
        (["--exemplar", "e.csv", "--resume", "r", "--set", "a.b=3"], "--set does not go with --resume"),
        (["--exemplar", "e.csv", "--resume", "nothing-there"], "holds no run"),
    ],
)
def test_wrong_words_for_fit_are_told(words: list[str], told: str, capsys: pytest.CaptureFixture[str]):
    assert main(["fit", *words]) == 2
    assert told in capsys.readouterr().err


def test_options_that_a_run_has_settled_are_refused(
    xrays: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    again = ["suggest", str(xrays), "--out", str(run)]
    first = [*again, "--recipe", "match-only", "--minutes", "0.02", "--seed", "3", *TINY[:4]]
    assert main([*first, "--set", "select.keypoints=8"]) == 0
    assert main([*first, "--set", "select.keypoints=9", "--number", "2"]) == 0
    assert main([*again, "--set", "select.keypoints=9"]) == 0
    others = (["--recipe", "match-detect"], ["--minutes", "3"], ["--seed", "4"], ["--set", "match.batch=3"])
    for other in others:
        capsys.readouterr()
        assert main([*again, *other]) == 2
        word = " ".join(other).partition("=")[0] if other[0] == "--set" else other[0]
        said = capsys.readouterr().err
        assert f"{word} does not go with --out {run}, which has settled it otherwise: leave it out" in said
