"""The example of a method in a package of its own: installed, then taken through all that a recipe is used for."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import onemark
from onemark import RECIPES, Cancelled, Cohort, LandmarkTable, Progress
from onemark.cli import main
from onemark.pipeline import recipes
from onemark.pipeline.recipes import GROUP, RecipeBook
from onemark.testing import check_stage

EXAMPLE = Path(__file__).parents[2] / "examples" / "onemark-ncc"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the example is installed as a person would install it."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(EXAMPLE)], check=True, capture_output=True)
    return target


@pytest.fixture(autouse=True)
def book(site: Path, monkeypatch: pytest.MonkeyPatch) -> RecipeBook:
    """The recipes as a process sees them in which the example is installed."""
    monkeypatch.syspath_prepend(str(site))
    book = RecipeBook([recipe for recipe in RECIPES.values() if recipe.origin == "onemark"])
    monkeypatch.setattr(recipes, "RECIPES", book)
    return book


def test_its_stage_keeps_to_the_contract(book: RecipeBook):
    stage = book["ncc"].matcher
    check_stage(stage, stage.Config(area=8192))


def test_it_is_listed_with_its_origin(book: RecipeBook, capsys: pytest.CaptureFixture[str]):
    assert book["ncc"].origin == "onemark-ncc"
    assert not book.problems
    assert next(iter(book)) == "onemark"
    assert main(["recipes", "ncc"]) == 0
    assert "match.patch=10" in capsys.readouterr().out


def test_fit_stop_resume_predict_evaluate(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable, tmp_path: Path
):
    def stop(event: Progress) -> None:
        if event.stage == "detect" and event.step == 2:
            raise Cancelled

    settings = {"match.area": 8192, "detect.area": 4096, "detect.batch": 2, "detect.steps": 3}
    fit = {"recipe": "ncc-detect", "settings": settings}
    whole = onemark.fit(phantoms, exemplars, **fit, out=tmp_path / "whole")
    with pytest.raises(Cancelled):
        onemark.fit(phantoms, exemplars, **fit, out=tmp_path / "run", progress=stop)
    assert list(onemark.load(tmp_path / "run").stages) == ["match"]
    again = onemark.resume(tmp_path / "run")
    for model in (again, onemark.load(tmp_path / "whole")):
        for ours, theirs in zip(model.predict(phantoms), whole.predict(phantoms), strict=True):
            assert (ours.xy == theirs.xy).all()
    alone = onemark.fit(phantoms, exemplars, recipe="ncc", settings={"match.area": 8192})
    found = alone.predict(phantoms)
    scores = onemark.evaluate(found, truth, exclude=exemplars.images)
    assert scores.median < 8  # px of 160 x 128; a landmark's own patch is 25 px wide
    assert alone.explain(phantoms[3], exemplars.names[1]).maps.keys() == {"correlation"}
    with pytest.raises(onemark.UserError, match="learns nothing before a radiograph is annotated"):
        onemark.suggest(phantoms, recipe="ncc")


def test_the_window_offers_it():
    from onemark.gui.state.backend import Pipeline

    offered = {info.name: info.label for info in Pipeline().list_recipes()}
    assert offered["ncc"] == "ncc (from onemark-ncc)"
    assert offered["onemark"] == "onemark"


def test_a_package_that_does_not_import_is_named_and_skipped(monkeypatch: pytest.MonkeyPatch):
    def entries(group: str) -> list[importlib.metadata.EntryPoint]:
        assert group == GROUP
        return [
            importlib.metadata.EntryPoint("lost", "no_such_package:RECIPES", group),
            importlib.metadata.EntryPoint("odd", "json:loads", group),
            importlib.metadata.EntryPoint("ncc", "onemark_ncc:RECIPES", group),
        ]

    monkeypatch.setattr(recipes, "entry_points", entries)
    book = RecipeBook([])
    assert list(book) == ["ncc", "ncc-detect"]
    lost, odd = book.problems
    assert lost.startswith("no_such_package was skipped")
    assert "ModuleNotFoundError" in lost
    assert odd.startswith("json was skipped")


def test_a_recipe_that_does_not_fit_together_is_refused_where_it_is_defined(book: RecipeBook):
    ncc, tpl = book["ncc-detect"].slots["match"], book["ncc-detect"].slots["detect"]
    for slots, said in (
        ({"detect": tpl}, "recipe bad of onemark: it has no matcher"),
        ({"match": tpl}, "TPL cannot fill the slot match: derive it from Matcher"),
        ({"match": ncc, "sharpen": tpl}, "there is no slot 'sharpen'"),
        ({"match": ncc, "detect": tpl, "refine": tpl}, "TPL cannot fill the slot refine"),
    ):
        with pytest.raises(onemark.UserError, match=said):
            recipes.Recipe("bad", "bad", slots)
    with pytest.raises(onemark.UserError, match="shares must give every slot a share above 0"):
        recipes.Recipe("bad", "bad", {"match": ncc}, shares={"match": 0})
    with pytest.raises(onemark.UserError, match=r"recipe bad of onemark: unknown setting match\.speed"):
        recipes.Recipe("bad", "bad", {"match": ncc}, {"match.speed": 3}, {"match": 1})
    learns = {"refine.learn": "nothing"}
    f2 = book["onemark"].slots["refine"]
    with pytest.raises(onemark.UserError, match="compares by a compact matcher's network"):
        recipes.Recipe("bad", "bad", {"match": ncc, "refine": f2}, learns, {"match": 1, "refine": 1})
