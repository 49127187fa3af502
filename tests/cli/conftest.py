"""A cohort of three small phantoms, and a run on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from onemark.cli import main
from onemark.data.landmarks.table import LandmarkTable
from onemark.phantom import write_phantom_cohort

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
def run_words(cohort: Path, tiny_words: list[str]) -> RunWords:
    """Makes the words of `onemark run` on the cohort into a folder."""
    fixed = ["run", str(cohort / "xrays"), "--exemplar", str(cohort / "exemplar.csv")]
    return lambda out, *more: [*fixed, "--out", str(out), *tiny_words, *more]


@pytest.fixture(scope="session")
def trained(run_words: RunWords, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run folder; read only."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(run_words(out)) == 0
    return out
