"""A run of the recipe `small` on ten tiny radiographs, in parts of three."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from small_recipe import book, few_radiographs, place

import onemark
from onemark import Cohort, LandmarkSet, Model, Radiograph
from onemark.pipeline import recipes
from onemark.stages import trust


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Ten radiographs; read only."""
    return few_radiographs(tmp_path_factory.mktemp("archive") / "xrays")


@pytest.fixture(scope="session")
def run(few: Cohort) -> Path:
    """A finished run; read only."""
    out = few.folder.parent / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "RECIPES", book())
        patch.setattr(trust, "COPIES", 1)
        onemark.fit(few, place(few, 0), recipe="small", out=out, device="cpu", orient=False)
    return out


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe `small`."""
    monkeypatch.setattr(recipes, "RECIPES", book())


@pytest.fixture
def model(run: Path) -> Model:
    """The model of the run."""
    return onemark.load(run, "cpu")


@dataclass
class Located:
    """Names in the order in which a model was asked for them."""

    names: list[str] = field(default_factory=list)


@pytest.fixture
def located(monkeypatch: pytest.MonkeyPatch) -> Iterator[Located]:
    """Notes every radiograph that any model predicts, which it then does at once."""
    seen = Located()

    def note(self: Model, radiograph: Radiograph) -> LandmarkSet:
        seen.names.append(radiograph.name)
        xy = radiograph.pixels.mean() / np.array([[3.0, 1.0], [7.0, np.nan]])
        return LandmarkSet(radiograph.name, ("=a", "b"), xy, np.ones(2), np.full(2, 0.1), "px")

    monkeypatch.setattr(Model, "locate", note)
    return seen
