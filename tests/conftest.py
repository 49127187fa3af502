"""Phantom radiographs and settings so small that a training takes seconds."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # read when torch loads; tiny convolutions are no faster on more

import pytest
import torch

import onemark
from onemark import Cohort, LandmarkTable
from onemark.phantom import write_phantom_cohort

SIZE = (160, 128)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers, whichever ran before it."""
    torch.manual_seed(0)


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
    return tiny | {"refine.crop": 32}
