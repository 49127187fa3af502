"""`onemark suggest` and the `fit --resume` that goes on from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import onemark
from onemark import LandmarkTable
from onemark.cli import main


def test_suggest_names_a_radiograph_and_fit_goes_on_from_it(
    xrays: Path,
    truth: LandmarkTable,
    tmp_path: Path,
    tiny_words: list[str],
    capsys: pytest.CaptureFixture[str],
):
    run, exemplar = tmp_path / "run", tmp_path / "exemplar.csv"
    assert main(["suggest", str(xrays), "--out", str(run), "--set", "select.keypoints=8", *tiny_words]) == 0
    said = capsys.readouterr().out
    first = said.splitlines()[0].split()[1]
    assert first in truth.images
    assert f"onemark fit --resume {run} --exemplar" in said
    LandmarkTable.from_sets([truth[first]]).to_csv(exemplar)
    assert main(["fit", "--resume", str(run), "--exemplar", str(exemplar)]) == 0
    assert f"trained: {run}" in capsys.readouterr().out
    assert onemark.load(run).exemplars.images == (first,)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--exemplar", "e.csv"], "give a folder"),
        (["XRAYS", "--exemplar", "e.csv"], "--out RUN"),
        (["--exemplar", "e.csv", "--resume", "r", "--out", "o"], "--out does not go with --resume"),
        (["--exemplar", "e.csv", "--resume", "r", "--seed", "3"], "--seed does not go with --resume"),
        (["--exemplar", "e.csv", "--resume", "r", "--set", "a.b=3"], "--set does not go with --resume"),
        (["--exemplar", "e.csv", "--resume", "r", "--no-orient"], "--no-orient does not go with --resume"),
        (["--exemplar", "e.csv", "--resume", "nothing-there"], "holds no run"),
    ],
)
def test_wrong_words_for_fit_are_refused(words: list[str], said: str, fails: Callable[..., str]):
    assert said in fails("fit", *words)


def test_options_that_differ_from_the_runs_are_refused(
    xrays: Path, tmp_path: Path, tiny_words: list[str], fails: Callable[..., str]
):
    run = tmp_path / "run"
    again = ["suggest", str(xrays), "--out", str(run)]
    first = [*again, "--recipe", "match-only", "--minutes", "0.02", "--seed", "3", *tiny_words[:2]]
    assert main([*first, "--set", "select.keypoints=8"]) == 0
    assert main([*first, "--set", "select.keypoints=9", "--number", "2"]) == 0
    assert main([*again, "--set", "select.keypoints=9"]) == 0
    others = (
        ["--recipe", "match-detect"],
        ["--minutes", "3"],
        ["--seed", "4"],
        ["--set", "match.batch=3"],
        ["--no-orient"],
    )
    for other in others:
        word = " ".join(other).partition("=")[0] if other[0] == "--set" else other[0]
        assert f"{word} differs from the value that {run} was made with" in fails(*again, *other)
