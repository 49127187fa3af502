"""What only a GPU can show: `pytest -m gpu`. Skipped without one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import onemark
from onemark import LandmarkTable, Progress
from onemark.nn.device import fabric_for
from onemark.nn.training.loop import TrainingContext, train
from onemark.nn.training.schedule import Plan
from onemark.phantom import write_phantom_cohort

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU"),
]
QUICK = {
    "match.area": 128**2,
    "match.steps": 60,
    "detect.area": 128**2,
    "detect.steps": 60,
    "refine.steps": 20,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the default recipe without registration, trained on the GPU; read only."""
    folder = tmp_path_factory.mktemp("gpu")
    truth = write_phantom_cohort(folder / "xrays", 12, size=(128, 128))
    cohort = onemark.open_cohort(folder / "xrays")
    exemplar = LandmarkTable.from_sets([truth[cohort.names[0]]])
    recipe = {"recipe": "match-detect-refine", "device": "cuda", "settings": QUICK}
    onemark.fit(cohort, exemplar, out=folder / "run", **recipe)
    return folder / "run"


def test_a_run_of_the_gpu_predicts_the_same_on_the_cpu(run: Path):
    cohort = onemark.open_cohort(run.parent / "xrays")
    there, here = (onemark.load(run, device).predict(cohort) for device in ("cuda", "cpu"))
    apart = np.concatenate([np.linalg.norm(a.xy - b.xy, axis=1) for a, b in zip(there, here, strict=True)])
    # Convolutions on a GPU round to 10 bits; an ambiguous point may jump.
    assert np.nanmedian(apart) < 0.05


def test_the_gpu_repeats_itself(run: Path):
    cohort = onemark.open_cohort(run.parent / "xrays")
    once, again = (onemark.load(run, "cuda").predict(cohort) for _ in range(2))
    for a, b in zip(once, again, strict=True):
        np.testing.assert_allclose(a.xy, b.xy, atol=1e-2)


def test_registration_on_the_gpu_agrees_with_the_cpu(tmp_path: Path):
    truth = write_phantom_cohort(tmp_path, 12, size=(128, 128))
    cohort = onemark.open_cohort(tmp_path)
    exemplar = LandmarkTable.from_sets([truth[cohort.names[0]]])
    settings = {"match.area": 128**2, "match.references": 3}
    tables = [
        onemark.fit(cohort, exemplar, recipe="groupwise", device=device, settings=settings).predict(cohort)
        for device in ("cuda", "cpu")
    ]
    apart = np.concatenate([np.linalg.norm(a.xy - b.xy, axis=1) for a, b in zip(*tables, strict=True)])
    assert np.nanmedian(apart) < 0.1


class Greedy:
    """A task whose whole batch takes more memory than the GPU has free, and a quarter of it less."""

    def __init__(self) -> None:
        self.module = nn.Linear(1, 1).cuda()
        free, _ = torch.cuda.mem_get_info()
        self.bytes = free // 3  # for each of 8 items: two of them fit

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"module": self.module}

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> torch.Tensor:
        return torch.rand(size or 8, 1, generator=generator, device="cuda")

    def loss(self, module: nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        wide = torch.empty(len(batch) * self.bytes, dtype=torch.uint8, device="cuda")
        del wide
        return (module(batch) - batch).square().mean(), {}

    def after(self, fraction: float) -> None:
        pass


def test_a_full_gpu_cuts_the_batch_and_goes_on():
    said: list[str] = []

    def sink(event: Progress) -> None:
        if event.message:
            said.append(event.message)

    train(Greedy(), Plan(3), TrainingContext(fabric_for("cuda"), sink=sink))
    assert said[-1].startswith("the device ran out of memory, so a batch of 8 is computed in 4 parts")
