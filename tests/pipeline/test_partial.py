"""Exemplars of which a person annotated only some landmarks, through a whole run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import onemark
from onemark import Cohort, LandmarkSet, LandmarkTable, Model, UserError
from onemark.cli import main

Fails = Callable[..., str]
Settings = dict[str, object]


def answer(one: LandmarkSet, landmark: int, *, visible: bool = True) -> LandmarkSet:
    """The answer of a person who was asked for one landmark."""
    asked = np.arange(len(one.names)) == landmark
    xy = np.where(asked[:, None] & visible, one.xy, np.nan)
    return replace(one, xy=xy, asked=asked)


@pytest.fixture(scope="module")
def taught(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    truth: LandmarkTable,
    tiny: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Path, Model]:
    """A run before and after four answers on two radiographs; read only."""
    run = tmp_path_factory.mktemp("taught") / "run"
    onemark.fit(phantoms, exemplars, settings=tiny, out=run)
    before = shutil.copytree(run, run.with_name("before"))
    several = [answer(truth.sets[1], 0), answer(truth.sets[2], 3, visible=False), answer(truth.sets[0], 1)]
    several[2] = replace(several[2], xy=several[2].xy + 1)
    nothing = np.full_like(truth.sets[3].xy, np.nan)  # of another part of the body
    several.append(replace(truth.sets[3], xy=nothing, asked=np.ones(len(nothing), bool)))
    onemark.resume(run, exemplars=LandmarkTable.from_sets(several), minutes=0.1)
    return before, run, onemark.load(run)


def test_the_run_keeps_who_was_asked_for_what(
    taught: tuple[Path, Path, Model], phantoms: Cohort, truth: LandmarkTable
):
    kept = onemark.read_landmarks(taught[1] / "exemplars.csv")
    first, point, hidden = (kept[image] for image in truth.images[:3])
    assert first.answered.all()
    np.testing.assert_allclose(first.xy[[0, 1, 2]], truth.sets[0].xy[[0, 1, 2]] + [[0], [1], [0]])
    assert point.answered.tolist() == [n == 0 for n in range(len(point.names))]
    assert hidden.answered.tolist() == [n == 3 for n in range(len(point.names))]
    assert not hidden.visible.any()
    assert kept[truth.images[3]].answered.all()
    assert not kept[truth.images[3]].visible.any()
    assert not taught[2].locate(phantoms[3]).visible.any()
    assert "answer" not in taught[2].predict(phantoms).columns(), (
        "which readers take for guesses without scores"
    )


def test_answers_are_given_back_and_the_rest_is_predicted(
    taught: tuple[Path, Path, Model], phantoms: Cohort, truth: LandmarkTable
):
    model = taught[2]
    point = model.locate(phantoms[1])
    np.testing.assert_array_equal(point.xy[0], truth.sets[1].xy[0])
    assert point.visible.all()
    assert (point.score[0], point.expected_error[0]) == (1, 0)
    assert (point.expected_error[1:] > 0).all()
    hidden = model.locate(phantoms[2])
    assert hidden.visible.tolist() == [n != 3 for n in range(len(hidden.names))]


def test_answers_that_show_nothing_are_no_beginning(phantoms: Cohort, truth: LandmarkTable, tiny: Settings):
    nothing = LandmarkTable.from_sets([answer(truth.sets[1], 0, visible=False)])
    with pytest.raises(UserError, match="shows a landmark"):
        onemark.fit(phantoms, nothing, settings=tiny)


def test_a_run_asks_for_what_it_was_not_told(taught: tuple[Path, Path, Model], phantoms: Cohort):
    model = taught[2]
    told = {(one.image, name) for one in model.exemplars for name in np.array(one.names)[one.answered]}
    everything = {(image, name) for image in phantoms.names for name in model.names}
    questions = onemark.ask(taught[1], number=len(everything))
    assert len(questions) == len(everything - told)
    assert {(one.image, one.landmark) for one in questions} == everything - told
    guesses = {name: model.locate(phantoms[name]) for name in phantoms.names}
    for one in questions:
        guess = guesses[one.image]
        np.testing.assert_allclose((one.x, one.y), guess.xy[guess.names.index(one.landmark)])
        assert one.expected_error > 0


def test_questions_that_nobody_filled_in_teach_nothing(taught: tuple[Path, Path, Model], tmp_path: Path):
    onemark.ask(taught[1], number=2).to_csv(tmp_path / "q.csv")
    with pytest.raises(UserError, match="no landmarks at all"):
        onemark.resume(taught[1], exemplars=onemark.read_landmarks(tmp_path / "q.csv"))


def test_the_answers_to_its_questions_teach_it(
    taught: tuple[Path, Path, Model], tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Fails
):
    run, file = shutil.copytree(taught[1], tmp_path / "run"), tmp_path / "q.csv"
    assert main(["ask", str(run), "--number", "3", "--out", str(file)]) == 0
    assert f"onemark resume {run} --exemplar {file}" in capsys.readouterr().out
    assert str(file) in fails("ask", run, "--out", file)
    header, first, *rest = file.read_text().splitlines()
    image, landmark = first.split(",")[:2]
    file.write_text("\n".join([header, first.replace(",,,,", ",,,right,"), *rest]) + "\n")
    before = {one.image: one.answered.sum() for one in taught[2].exemplars}
    model = onemark.resume(run, exemplars=onemark.read_landmarks(file), minutes=0.1)
    kept = model.exemplars[image]
    guess = [float(cell) for cell in first.split(",")[5:7]]
    np.testing.assert_array_equal(kept.xy[kept.names.index(landmark)], guess)
    assert kept.answered.sum() == 1 + before.get(image, 0)
    assert len(model.exemplars) == len(before | {image: 1})


def test_it_is_known_how_far_the_model_was_off_before_it_learned(
    taught: tuple[Path, Path, Model], phantoms: Cohort, truth: LandmarkTable
):
    before, run, model = taught
    assert not (run / "answers.safetensors").exists()
    assert model.mean_error is not None
    assert model.mean_error.images == (truth.images[1],)
    assert np.flatnonzero(np.isfinite(model.mean_error.errors[0]).all(1)).tolist() == [0]
    assert onemark.load(before).mean_error is None


def test_mean_errors_are_taken_away_from_predictions(taught: tuple[Path, Path, Model], phantoms: Cohort):
    model = taught[2]
    assert model.mean_error is not None
    moved = np.full((2, len(model.names), 2), 0.02)
    # Instead of the answers so far, whose error is that of a model which was taught for as long as six seconds are here.
    agreed = replace(model.mean_error, images=("p", "q"), errors=moved)
    shown = replace(model, mean_error=agreed)
    way = shown.predict_one(phantoms[5]).xy - model.predict_one(phantoms[5]).xy
    assert np.linalg.norm(way, axis=1).max() > 0.5
    np.testing.assert_array_equal(shown.locate(phantoms[1]).xy[0], model.exemplars.sets[1].xy[0])
