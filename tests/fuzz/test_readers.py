"""A second or two of fuzzing for each reader, and everything that ever failed. `make fuzz` does the same for long."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def _load(name: str):
    spec = importlib.util.spec_from_file_location(f"fuzz_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


seeds, targets = _load("seeds"), _load("targets")
CORPUS = sorted(path for path in seeds.CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_corpus(path: Path, tmp_path: Path) -> None:
    targets.check_of(path.parent.name, tmp_path)(path.read_bytes())


@pytest.mark.parametrize("target", targets.TARGETS)
def test_a_changed_file_is_a_value_or_one_sentence(target: str, tmp_path: Path) -> None:
    check = targets.check_of(target, tmp_path)
    inputs = [path.read_bytes() for path in CORPUS if path.parent.name == target]

    @settings(
        max_examples=100,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(inputs), st.integers(0, 2**32))
    def changed(data: bytes, seed: int) -> None:
        check(targets.mutated(target, data, random.Random(seed)))

    changed()


@pytest.mark.parametrize("target", targets.TARGETS)
def test_any_bytes_are_one_sentence(target: str, tmp_path: Path) -> None:
    check = targets.check_of(target, tmp_path)

    @settings(
        max_examples=50,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(max_size=300))
    def anything(data: bytes) -> None:
        check(data)

    anything()
