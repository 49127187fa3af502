"""The slot `refine`: behind which stages it stands, what it gets and what becomes of its answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

import onemark
from onemark import (
    RECIPES,
    Cancelled,
    Cohort,
    Evidence,
    LandmarkSet,
    LandmarkTable,
    Progress,
    Radiograph,
    UserError,
)
from onemark.imaging.letterbox import Size
from onemark.nn.training.canvases import ResolutionLevel
from onemark.nn.training.loop import train
from onemark.nn.training.schedule import Plan
from onemark.options import option
from onemark.pipeline.recipe import Recipe
from onemark.pipeline.recipes import RecipeBook
from onemark.stages.base import ChosenStage, StageContext
from onemark.stages.config import TrainedConfig
from onemark.stages.refiner import Refiner


@dataclasses.dataclass(frozen=True)
class ShiftConfig(TrainedConfig):
    area: int = option(4096, "size of the canvas", unit="px", low=64)
    steps: int = option(3, "training steps")
    by: float = option(1.0, "how far points are moved", unit="px")


class ShiftTask:
    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.modules = {"module": self.module}

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> torch.Tensor:
        return torch.rand(4, 1, generator=generator)

    def loss(self, module: nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        return module(batch).square().mean(), {}

    def after(self, fraction: float) -> None:
        pass


class Shift(Refiner):
    """A refiner that moves every point to the right."""

    Config = ShiftConfig
    explains = True
    config: ShiftConfig
    calls: list[tuple[float | None, bool]] = []  # noqa: RUF012

    def __init__(self, config: ShiftConfig, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        super().__init__(config, names, canvas, fabric)
        self.network = nn.Linear(1, 1)
        self.coarse = torch.empty(0)

    @classmethod
    def check(cls, chosen: Mapping[str, ChosenStage]) -> None:
        if chosen["refine"].config.by == chosen["match"].config.batch:
            raise UserError("a shift of one batch")

    def learn(self, context: StageContext, level: ResolutionLevel) -> None:
        assert "heads.0.weight" in context.before["match"].starting_weights()
        assert "refine" not in context.before
        self.calls.append((context.seconds, context.former is not None))
        train(ShiftTask(self.network), Plan(self.config.steps, None), context)
        self.coarse = torch.from_numpy(context.locate(context.cohort[1]).xy)

    def refine(self, radiograph: Radiograph, coarse: LandmarkSet) -> LandmarkSet:
        return dataclasses.replace(coarse, xy=coarse.xy + np.array([self.config.by, 0]))

    def explain(self, radiograph: Radiograph, coarse: LandmarkSet, landmark: str | None = None) -> Evidence:
        return Evidence(
            radiograph.name, landmark, {"refined": np.full(radiograph.size, coarse.xy[0, 0], np.float32)}
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        return super().tensors() | {"coarse": self.coarse}

    def load_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().load_tensors(tensors)
        self.coarse = tensors["coarse"]


@pytest.fixture(autouse=True)
def shifting(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = RECIPES["onemark"].slots
    shares = {"match": 0.4, "register": 0.1, "detect": 0.25, "refine": 0.25}
    recipes = [
        Recipe("all", "three stages", stages | {"refine": Shift}, shares=shares),
        Recipe(
            "two",
            "no detector",
            {"match": stages["match"], "refine": Shift},
            shares={"match": 0.5, "refine": 0.5},
        ),
    ]
    monkeypatch.setattr(onemark.pipeline.recipes, "RECIPES", RecipeBook([*RECIPES.values(), *recipes]))
    monkeypatch.setattr(Shift, "calls", [])
    # What a refiner is given is tested here, not what stages of two steps have earned.
    monkeypatch.setattr("onemark.pipeline.trainer.measure_trust", lambda *_: None)


@pytest.fixture
def tiny(tiny: dict[str, object]) -> dict[str, object]:
    """Without the settings of the refiner that `Shift` stands for."""
    return {name: value for name, value in tiny.items() if not name.startswith("refine.")}


@pytest.mark.parametrize(("recipe", "before"), [("all", "detect"), ("two", "match")])
def test_it_moves_what_the_stage_before_it_found(
    recipe: str,
    before: str,
    phantoms: Cohort,
    exemplars: LandmarkTable,
    tiny: dict[str, object],
    tmp_path: Path,
):
    settings = {k: v for k, v in tiny.items() if recipe == "all" or k.startswith("match")} | {"refine.by": 3}
    model = onemark.fit(phantoms, exemplars, recipe=recipe, settings=settings, out=tmp_path / "run")
    for fitted in (model, onemark.load(tmp_path / "run")):
        coarse = fitted.stages[before].locate(phantoms[1])
        np.testing.assert_array_equal(fitted.stages["refine"].tensors()["coarse"], coarse.xy)
        np.testing.assert_array_equal(fitted.locate(phantoms[1]).xy, coarse.xy + np.array([3, 0]))
        np.testing.assert_array_equal(fitted.locate(phantoms[0]).xy, exemplars.sets[0].xy)
        shown = fitted.explain(phantoms[1], fitted.names[2]).maps
        assert {"similarity product", "refined"} <= set(shown)
        assert shown["refined"][0, 0] == np.float32(coarse.xy[0, 0])
    assert [entry["stage"] for entry in model.log][-3:] == ["refine"] * 3


def test_a_run_stopped_while_it_learns_resumes_to_the_same_weights(
    phantoms: Cohort, exemplars: LandmarkTable, tiny: dict[str, object], tmp_path: Path
):
    def stop(event: Progress) -> None:
        if (event.stage, event.step) == ("refine", 2):
            raise Cancelled

    whole = onemark.fit(phantoms, exemplars, recipe="all", settings=tiny)
    with pytest.raises(Cancelled):
        onemark.fit(phantoms, exemplars, recipe="all", settings=tiny, out=tmp_path / "run", progress=stop)
    assert list(onemark.load(tmp_path / "run").stages) == ["match", "register", "detect"]
    events: list[Progress] = []
    model = onemark.resume(tmp_path / "run", progress=events.append)
    assert [event.step for event in events if event.stage == "refine"] == [3]
    theirs = whole.stages["refine"].tensors()
    assert all(torch.equal(value, theirs[name]) for name, value in model.stages["refine"].tensors().items())


def test_it_gets_its_share_of_the_time_and_its_former_self(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    tiny: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    for module in ("onemark.stages.match.cc2d.matcher", "onemark.stages.detector"):
        monkeypatch.setattr(f"{module}.train", lambda task, plan, job, preview: None)
    onemark.fit(
        phantoms, exemplars, recipe="two", settings={"match.area": 4096}, minutes=1, out=tmp_path / "run"
    )
    onemark.resume(tmp_path / "run", exemplars=exemplars, minutes=0.5)
    (seconds, first), (later, again) = Shift.calls
    assert seconds == pytest.approx(57, abs=20)  # the matcher took no time, so all is left
    assert later == pytest.approx(27, abs=20)
    assert (first, again) == (False, True)


def test_settings_that_do_not_go_together_are_refused_before_anything_is_learned(
    phantoms: Cohort, exemplars: LandmarkTable, tiny: dict[str, object], tmp_path: Path
):
    with pytest.raises(UserError, match="a shift of one batch"):
        onemark.fit(phantoms, exemplars, recipe="all", settings=tiny | {"refine.by": 2}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
