"""A second or two of damaged run folders. `make fuzz` does the same for long."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_recipe import book

from onemark.pipeline import recipes


def _load():
    spec = importlib.util.spec_from_file_location(
        "fuzz_run_folders", Path(__file__).with_name("run_folders.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run_folders = _load()


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_run_folder_is_a_value_or_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recipes, "RECIPES", book())
    runs = run_folders.RunFolders(tmp_path)

    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32))
    def damaged(seed: int) -> None:
        run, faults = runs.damaged(random.Random(seed))
        assert [*run_folders.check(run, runs.cohort)] == [], faults

    damaged()
