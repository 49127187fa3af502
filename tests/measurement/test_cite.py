"""The methods paragraph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onemark.data.landmarks.table import LandmarkTable
from onemark.data.suggestion import Suggestion
from onemark.measurement.cite import PAPERS, RECIPE_PAPERS, RunFacts, read_facts, write_methods
from onemark.pipeline.recipes import RECIPES
from onemark.pipeline.runs.config import RunConfig
from onemark.pipeline.runs.folder import RunFolder
from onemark.types import UserError

from .faces import faces

FACTS = RunFacts(
    version="0.1.0",
    recipe="onemark",
    device="cpu",
    seed=3,
    seconds=612.0,
    radiographs=150,
    annotated=("0.png",),
    answers={},
    landmarks=19,
    is_done=True,
    spacing=None,
    suggested=False,
    predictions=faces(6),
)


def test_every_recipe_names_its_papers():
    assert set(RECIPE_PAPERS) == {name for name, recipe in RECIPES.items() if recipe.origin == "onemark"}
    assert {key for keys in RECIPE_PAPERS.values() for key in keys} == set(PAPERS)


def test_the_paragraph_says_what_was_learned_from_what():
    text = write_methods(FACTS)
    for words in (
        "19 landmarks",
        "onemark 0.1.0 [1]",
        "one radiograph of a cohort of 150",
        "10.2 minutes on a CPU",
        "seed 3",
    ):
        assert words in text
    assert "[2] Yao Q" in text
    assert "[3] Miao J" in text
    assert "follow [2], [3]" in text
    assert "mean radial error" not in text


def test_single_answers_are_not_called_annotated_radiographs(tmp_path: Path):
    one, two = faces(2)
    asked = np.arange(len(two.names)) < 3
    single = replace(two, xy=np.where(asked[:, None], two.xy, np.nan), asked=asked)
    names = tuple(f"{k}.png" for k in range(9))
    config = RunConfig("onemark", {}, 0, "cpu", None, "/x", None, names)
    facts = read_facts(
        RunFolder.create(tmp_path / "run", config, LandmarkTable.from_sets([one, single])).path
    )
    text = write_methods(replace(facts, is_done=True))
    assert "one radiograph of a cohort of 9 and answered for 3 single landmarks of others" in text
    facts = replace(FACTS, answers=facts.answers)
    assert "annotation of 4 radiographs" in write_methods(facts, faces(6))


def test_a_suggested_exemplar_cites_the_suggestion():
    text = write_methods(replace(FACTS, suggested=True, annotated=("0.png", "1.png")))
    assert "2 radiographs, which onemark had suggested," in text
    assert "[4] Quan Q" in text


def test_only_exemplars_that_were_suggested_count_as_suggested(tmp_path: Path):
    names = tuple(f"{k}.png" for k in range(4))
    config = RunConfig("onemark", {}, 0, "cpu", None, "/x", None, names)
    run = RunFolder.create(tmp_path / "run", config, faces(2))
    assert not read_facts(run.path).suggested
    for chosen, suggested in ((("2.png", "1.png", "0.png"), True), (("2.png", "0.png"), False)):
        Suggestion(chosen, 0.5, tuple((name, 0.5) for name in names)).to_csv(run.suggestion)
        assert read_facts(run.path).suggested == suggested
    run.suggestion.write_bytes(b"\xff")
    assert not read_facts(run.path).suggested


def test_accuracy_is_stated_without_the_exemplars():
    moved = LandmarkTable.from_sets(replace(one, xy=one.xy + np.array([3.0, 4.0])) for one in faces(6))
    text = write_methods(FACTS, moved, spacing_mm=0.5)
    assert "annotation of 5 radiographs" in text
    assert "2.50 mm (95 % interval 2.50 to 2.50" in text
    assert "0.0 % of the landmarks lay within 2 mm" in text
    assert "5.00 px" in write_methods(FACTS, moved)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (replace(FACTS, is_done=False), "not finished"),
        (replace(FACTS, predictions=None), "no predictions"),
    ],
)
def test_runs_that_cannot_be_cited_say_why(facts: RunFacts, message: str):
    with pytest.raises(UserError, match=message):
        write_methods(facts, faces(6))


def test_a_recipe_from_elsewhere_points_to_its_documentation():
    assert "recipe 'theirs': see its documentation" in write_methods(replace(FACTS, recipe="theirs"))
