"""Answers that a person corrects: what they said before no longer counts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lying import SIZE, Lying, lay_phantoms
from PIL import Image
from small_recipe import book, few_radiographs, place

import onemark
from onemark import Cancelled, Cohort, LandmarkSet, LandmarkTable, Progress
from onemark.imaging.orientation import ALL
from onemark.phantom import write_phantom_cohort
from onemark.pipeline import recipes
from onemark.pipeline.questions.answering import forget_moved, note_answers
from onemark.stages.trust import ask


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes that are trained in milliseconds."""
    monkeypatch.setattr(recipes, "RECIPES", book())


@pytest.fixture(scope="module")
def lying(tmp_path_factory: pytest.TempPathFactory) -> Lying:
    return lay_phantoms(tmp_path_factory.mktemp("lying"))


def test_answers_that_were_wrong_no_longer_count_once_they_are_corrected(lying: Lying, tmp_path: Path):
    cohort, truth, ways = lying
    run, side = tmp_path / "run", sum(SIZE) / 2
    onemark.fit(cohort, LandmarkTable.from_sets(truth.sets[:1]), recipe="small", out=run, device="cpu")
    right = [truth[image] for image in list(ways)[:2]]
    assert any(way.mirrored for way in list(ways.values())[:2])
    wrong = [replace(one, xy=one.xy + np.eye(len(one.xy))[:, :1] * 0.1 * side) for one in right]
    largest, hidden = [], np.where(np.arange(len(right[0].xy))[:, None] == 0, np.nan, right[0].xy)
    for taught in (wrong, right, [replace(right[0], xy=hidden), right[1]]):
        model = onemark.resume(run, exemplars=LandmarkTable.from_sets(taught))
        assert model.mean_error is not None
        errors = np.linalg.norm(model.mean_error.errors, axis=-1)
        largest.append(np.nanmax(errors[:, 0]))
    assert largest[0] > 0.08
    assert largest[1] < 0.05
    assert np.isfinite(errors[:, 1:]).all()
    assert np.isnan(errors[:, 0]).tolist() == [True, False]


def test_a_place_given_for_what_was_not_visible_counts(lying: Lying, tmp_path: Path):
    cohort, truth, ways = lying
    run, one = tmp_path / "run", truth[next(iter(ways))]
    onemark.fit(cohort, LandmarkTable.from_sets(truth.sets[:1]), recipe="small", out=run, device="cpu")
    hidden = replace(one, xy=np.where(np.arange(len(one.xy))[:, None] == 0, np.nan, one.xy))
    for taught, known in ((hidden, False), (one, True)):
        model = onemark.resume(run, exemplars=LandmarkTable.from_sets([taught]))
        assert model.mean_error is not None
        assert np.isfinite(model.mean_error.errors[:, 0]).any() == known


@pytest.mark.parametrize("way", [0, 5])
def test_answers_on_a_picture_that_was_replaced_are_measured_on_the_new_one(
    lying: Lying, tmp_path: Path, way: int
):
    cohort, truth, ways = lying
    run, name, first = tmp_path / "run", next(iter(ways)), truth.images[0]
    cohort = onemark.open_cohort(shutil.copytree(cohort.folder, tmp_path / "xrays"))
    onemark.fit(cohort, LandmarkTable.from_sets([truth[first]]), recipe="small", out=run, device="cpu")
    answers = LandmarkTable.from_sets(truth[image] for image in list(ways)[:2])
    onemark.resume(run, exemplars=answers)
    now = ALL[way]
    turned = now.turn_pixels(cohort[name].pixels)
    Image.fromarray((turned * 255).round().astype(np.uint8)).save(cohort.path(name))
    again = replace(now.turn_landmarks(truth[name], cohort[name].size), image=name)
    model = onemark.resume(run, exemplars=LandmarkTable.from_sets([again]))
    assert model.mean_error is not None
    assert np.nanmax(np.linalg.norm(model.mean_error.errors, axis=-1)) < 0.1


def test_mean_errors_begin_anew_where_the_first_exemplar_lies_otherwise(lying: Lying, tmp_path: Path):
    cohort, truth, ways = lying
    run, first = tmp_path / "run", truth.images[0]
    cohort = onemark.open_cohort(shutil.copytree(cohort.folder, tmp_path / "xrays"))
    onemark.fit(cohort, LandmarkTable.from_sets([truth[first]]), recipe="small", out=run, device="cpu")
    onemark.resume(run, exemplars=LandmarkTable.from_sets(truth[image] for image in list(ways)[:2]))
    half = ALL[2]
    turned = half.turn_pixels(cohort[first].pixels)
    Image.fromarray((turned * 255).round().astype(np.uint8)).save(cohort.path(first))
    again = half.turn_landmarks(truth[first], cohort[first].size)
    model = onemark.resume(run, exemplars=LandmarkTable.from_sets([again]))
    assert model.mean_error is None
    upright = next(image for image in cohort.names[1:] if image not in ways)
    assert model.orientation(cohort[upright]) == half


def test_an_answer_that_is_corrected_before_it_was_learned_does_not_count(tmp_path: Path):
    few, run = few_radiographs(tmp_path / "xrays"), tmp_path / "run"
    onemark.fit(few, place(few, 0), recipe="small", out=run, device="cpu", orient=False)

    def stop(event: Progress) -> None:
        if (event.stage, event.step) == ("detect", 1):
            raise Cancelled

    right = place(few, 1).merged(place(few, 2))
    off = LandmarkTable.from_sets(replace(one, xy=one.xy + np.array([[9.0, 0], [0, 0]])) for one in right)
    with pytest.raises(Cancelled):
        onemark.resume(run, exemplars=off, progress=stop)
    model = onemark.resume(run, exemplars=right)
    assert model.mean_error is not None
    known = np.isfinite(model.mean_error.errors).all(-1)
    assert not known[:, 0].any()
    assert known[:, 1].all()


def test_a_picture_that_was_only_saved_again_is_no_news(lying: Lying, tmp_path: Path):
    cohort, truth, ways = lying
    run, name, first = tmp_path / "run", next(iter(ways)), truth.images[0]
    cohort = onemark.open_cohort(shutil.copytree(cohort.folder, tmp_path / "xrays"))
    onemark.fit(cohort, LandmarkTable.from_sets([truth[first]]), recipe="small", out=run, device="cpu")
    answers = LandmarkTable.from_sets(truth[image] for image in list(ways)[:2])
    before = onemark.resume(run, exemplars=answers).mean_error
    pixels = np.asarray(Image.open(cohort.path(name))) // 2 * 2
    Image.fromarray(pixels.astype(np.uint8)).save(cohort.path(name))
    again = onemark.resume(run, exemplars=answers).mean_error
    assert before is not None
    assert again is not None
    assert again.images == before.images
    ratios = json.loads((run / "config.json").read_text())["ratios"]
    assert len(ratios) <= 2


def test_mean_errors_stay_where_another_picture_of_the_first_exemplar_lies_as_before(
    lying: Lying, tmp_path: Path
):
    cohort, truth, ways = lying
    run, first = tmp_path / "run", truth.images[0]
    cohort = onemark.open_cohort(shutil.copytree(cohort.folder, tmp_path / "xrays"))
    onemark.fit(cohort, LandmarkTable.from_sets([truth[first]]), recipe="small", out=run, device="cpu")
    onemark.resume(run, exemplars=LandmarkTable.from_sets(truth[image] for image in list(ways)[:2]))
    darker = cohort[first].pixels ** 1.5
    Image.fromarray((darker * 255).round().astype(np.uint8)).save(cohort.path(first))
    model = onemark.resume(run, exemplars=LandmarkTable.from_sets([truth[first]]))
    assert model.mean_error is not None
    assert len(model.mean_error.images) >= 2


def test_a_teaching_that_lies_anew_and_is_stopped_measures_no_mean_errors_across(tmp_path: Path):
    truth = write_phantom_cohort(tmp_path / "xrays", 9, size=SIZE)
    cohort, run, first = onemark.open_cohort(tmp_path / "xrays"), tmp_path / "run", truth.images[0]
    onemark.fit(cohort, LandmarkTable.from_sets([truth[first]]), recipe="small", out=run, device="cpu")
    onemark.resume(run, exemplars=LandmarkTable.from_sets(truth.sets[1:3]))
    half = ALL[2]
    turned = half.turn_pixels(cohort[first].pixels)
    Image.fromarray((turned * 255).round().astype(np.uint8)).save(cohort.path(first))
    again = LandmarkTable.from_sets([half.turn_landmarks(truth[first], cohort[first].size)])

    def stop(event: Progress) -> None:
        if (event.stage, event.step) == ("detect", 1):
            raise Cancelled

    with pytest.raises(Cancelled):
        onemark.resume(run, exemplars=again, progress=stop)
    assert onemark.load(run).mean_error is None
    assert onemark.resume(run).mean_error is None


def answer(cohort: Cohort, index: int, landmark: str) -> LandmarkSet:
    """One of the two landmarks of a radiograph, as the answer to a question."""
    one = place(cohort, index).sets[0]
    asked = np.array([name == landmark for name in one.names])
    return replace(one, xy=np.where(asked[:, None], one.xy, np.nan), asked=asked)


def test_mean_errors_go_on_where_every_radiograph_has_an_answer(tmp_path: Path):
    few, run = few_radiographs(tmp_path / "xrays"), tmp_path / "run"
    onemark.fit(few, place(few, 0), recipe="small", out=run, device="cpu", orient=False)
    answers = [answer(few, index, "a" if index < 5 else "b") for index in range(1, 10)]
    model = onemark.resume(run, exemplars=LandmarkTable.from_sets(answers))
    assert model.mean_error is not None
    assert np.isfinite(model.mean_error.errors).all(-1).sum(0).tolist() == [4, 5]
    now = {index: ask(model.stages, few[index], model.trust).final.xy for index in range(1, 10)}
    side = sum(few[0].size) / 2
    for k, some in enumerate((range(1, 5), range(5, 10))):
        off = np.mean([place(few, index).sets[0].xy[k] - now[index][k] for index in some], 0)
        np.testing.assert_allclose(np.nanmean(model.mean_error.errors[:, k], 0) * side, off, atol=0.3)


def test_mean_errors_of_what_every_radiograph_answers_are_forgotten(tmp_path: Path):
    few, run = few_radiographs(tmp_path / "xrays"), tmp_path / "run"
    onemark.fit(few, place(few, 0), recipe="small", out=run, device="cpu", orient=False)
    answers = LandmarkTable.from_sets(answer(few, index, "a") for index in range(1, 10))
    model = onemark.resume(run, exemplars=answers)
    assert model.mean_error is not None
    assert np.isnan(model.mean_error.errors).all(), "nothing tells how far the answers of the model moved"


def test_radiographs_that_were_answered_since_say_nothing_of_how_predictions_move(tmp_path: Path):
    few, run = few_radiographs(tmp_path / "xrays"), tmp_path / "run"
    model = onemark.fit(few, place(few, 0), recipe="small", out=run, device="cpu", orient=False)
    taught = place(few, 0).merged(place(few, 1))
    former = note_answers(model, place(few, 0), taught, few)
    assert former.images == few.names[2:]
    later = forget_moved(former, taught, LandmarkTable.from_sets([answer(few, 3, "a")]))
    assert later.images == (few.names[2], *few.names[4:])
    np.testing.assert_array_equal(later.xy, np.delete(former.xy, 1, 0))


def test_the_same_answers_given_again_are_no_news(tmp_path: Path):
    few, run = few_radiographs(tmp_path / "xrays"), tmp_path / "run"
    model = onemark.fit(few, place(few, 0), recipe="small", out=run, device="cpu", orient=False)
    answers = LandmarkTable.from_sets(answer(few, index, "a") for index in range(1, 10))
    former = note_answers(model, place(few, 0), answers, few)
    assert former.images == few.names[1:]
    again = forget_moved(former, place(few, 0).merged(answers), answers)
    assert again.images == former.images
    np.testing.assert_array_equal(again.xy, former.xy)
