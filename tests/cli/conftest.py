"""A cohort of small phantoms and settings so small that a training takes a second."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from onemark.cli import main
from onemark.data.landmarks.table import LandmarkTable
from onemark.phantom import write_phantom_cohort

TINY = (
    "match.steps=2",
    "match.batch=2",
    "match.area=4096",
    "detect.steps=2",
    "detect.batch=2",
    "detect.area=4096",
    "refine.steps=2",
    "refine.batch=2",
    "refine.area=4096",
    "refine.crop=32",
)
RunWords = Callable[..., list[str]]


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `xrays/` (3 phantoms), `truth.csv` and `exemplar.csv` (the first one); read only."""
    folder = tmp_path_factory.mktemp("cohort")
    truth = write_phantom_cohort(folder / "xrays", 3, size=(96, 80))
    truth.to_csv(folder / "truth.csv")
    LandmarkTable.from_sets([truth["phantom-001.png"]]).to_csv(folder / "exemplar.csv")
    return folder


@pytest.fixture(scope="session")
def run_words(cohort: Path) -> RunWords:
    """Makes the words of `onemark run` on the cohort, into a folder."""
    fixed = ["run", str(cohort / "xrays"), "--exemplar", str(cohort / "exemplar.csv")]
    return lambda out, *more: [*fixed, "--out", str(out), *(f"--set={one}" for one in TINY), *more]


@pytest.fixture(scope="session")
def trained(run_words: RunWords, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run folder; read only."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(run_words(out)) == 0
    return out


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail with exit status 2 and one line; returns the line."""

    def run(*words: object) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert re.fullmatch(r"onemark: [^\n]+\n", captured.err), captured.err
        return captured.err

    return run
