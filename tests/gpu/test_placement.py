"""Everything that trains or predicts on a GPU, on one that is not there: nothing may be left on the wrong device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pretend_gpu import PretendTensor, pretending

import onemark
from onemark import RECIPES, LandmarkTable
from onemark.options import from_settings
from onemark.phantom import write_phantom_cohort
from onemark.stages.base import Stage
from onemark.testing import check_stage

TINY = {
    "area": 4096,
    "batch": 2,
    "steps": 4,
    "crop": 32,
    "affine_steps": 2,
    "field_steps": 2,
    "references": 3,
}


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with pretending(monkeypatch):
        yield


def shipped() -> Iterable[type[Stage]]:
    """The classes of all slots of all recipes, each once."""
    return dict.fromkeys(stage for recipe in RECIPES.values() for stage in recipe.slots.values())


def tiny(stage: type[Stage]) -> dict[str, int]:
    return {name: value for name, value in TINY.items() if name in stage.Config.__dataclass_fields__}


def test_what_lies_on_the_gpu_does_not_mix_with_what_does_not():
    here, there = torch.ones(2), torch.ones(2, device="cuda")
    assert isinstance(there + 1, PretendTensor)
    with pytest.raises(RuntimeError, match="same device"):
        there + here
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    np.testing.assert_array_equal((there * 3).cpu().numpy(), [3, 3])


@pytest.mark.parametrize("stage", shipped(), ids=lambda stage: stage.__name__)
def test_a_stage_keeps_to_the_contract_on_the_gpu(stage: type[Stage]):
    check_stage(stage, from_settings(stage.Config, tiny(stage)), device="cuda")


def test_a_run_is_taught_asked_and_explained_on_the_gpu(tmp_path: Path):
    truth = write_phantom_cohort(tmp_path / "xrays", 4, size=(64, 64))
    cohort = onemark.open_cohort(tmp_path / "xrays")
    settings = {
        f"{slot}.{name}": value
        for slot, stage in RECIPES["onemark"].slots.items()
        for name, value in tiny(stage).items()
    }
    run = tmp_path / "run"
    suggestion = onemark.suggest(cohort, out=run, device="cuda", settings=settings)
    onemark.resume(run, exemplars=LandmarkTable.from_sets([truth[suggestion.chosen[0]]]), device="cuda")
    assert len(onemark.ask(run, number=2, device="cuda"))
    more = LandmarkTable.from_sets([truth[name] for name in cohort.names[:2]])
    model = onemark.resume(run, exemplars=more, minutes=0.05, device="cuda")
    there, here = model.predict(cohort), onemark.load(run, "cpu").predict(cohort)
    for a, b in zip(there, here, strict=True):
        np.testing.assert_allclose(a.xy, b.xy, atol=1e-3)
    assert model.explain(cohort[cohort.names[-1]], truth.names[0]).maps
