"""Phantom radiographs and settings so small that a training takes seconds."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

# torch reads this when it loads; tiny convolutions are no faster on more threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests replace parts of the readers, which another process would not see; `test_time_limit.py` reads there.
os.environ.setdefault("ONEMARK_PICTURE_SECONDS", "0")

import pytest
import torch

import onemark
from onemark import Cohort, LandmarkTable
from onemark.phantom import write_phantom_cohort

SIZE = (160, 128)


def pytest_collection_finish() -> None:
    """Keep what the libraries made out of every garbage collection: a window's test collects three times."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def generator() -> Callable[..., torch.Generator]:
    """Makes a generator of random numbers from a seed, 0 where none is given."""

    def make(seed: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    return make


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory) -> LandmarkTable:
    """The landmarks of the twelve phantoms in `xrays`."""
    return write_phantom_cohort(tmp_path_factory.getbasetemp() / "phantoms", 12, size=SIZE)


@pytest.fixture(scope="session")
def xrays(truth: LandmarkTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve phantoms of 160 x 128 px; read only."""
    return tmp_path_factory.getbasetemp() / "phantoms"


@pytest.fixture(scope="session")
def phantoms(xrays: Path) -> Cohort:
    """The cohort of `xrays`."""
    return onemark.open_cohort(xrays)


@pytest.fixture(scope="session")
def exemplars(truth: LandmarkTable) -> LandmarkTable:
    """The landmarks of the first phantom."""
    return LandmarkTable.from_sets([truth[truth.images[0]]])


@pytest.fixture(scope="session")
def tiny() -> dict[str, object]:
    """Settings of the recipe `onemark` for two steps of each stage."""
    stages = ("match", "detect", "refine")
    tiny = {f"{s}.{k}": v for s in stages for k, v in {"area": 4096, "batch": 2, "steps": 2}.items()}
    quick = {
        "register.area": 4096,
        "register.references": 2,
        "register.affine_steps": 2,
        "register.field_steps": 2,
    }
    return tiny | {"refine.crop": 32} | quick


@pytest.fixture(scope="session")
def tiny_words(tiny: dict[str, object]) -> list[str]:
    """The settings of `tiny` as words of the command line."""
    return [f"--set={name}={value}" for name, value in tiny.items()]


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail with exit status 2, print nothing and end with one line; returns the line."""
    from onemark.cli import main

    def run(*words: object) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "Traceback" not in err
        *before, last = err.splitlines()
        assert last.startswith("onemark: ")
        assert not any(line.startswith("onemark: ") for line in before), err
        return last

    return run
