"""A run folder dropped on the window: its landmarks, its exemplars and its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onemark.data.cohort import open_cohort
from onemark.data.landmarks.schema import schema_from_names
from onemark.data.landmarks.table import LandmarkTable
from onemark.gui.state.annotation import Annotation, State
from onemark.gui.state.backend import Order
from onemark.gui.state.questioning import AnswerBook
from onemark.pipeline.runs.folder import RunFolder
from onemark.progress import silent
from onemark.types import LandmarkSet

from .desktop import Desktop
from .fake_backend import FakeBackend, folder_of_phantoms


@pytest.fixture
def single(truth: LandmarkTable) -> LandmarkSet:
    """Two answers on the second radiograph: one place, one not visible."""
    one = truth[truth.images[1]]
    xy, asked = np.full_like(one.xy, np.nan), np.zeros(len(one.names), bool)
    xy[0], asked[:2] = one.xy[0], True
    return LandmarkSet(one.image, one.names, xy, asked=asked)


@pytest.fixture
def drop(
    desktop: Desktop, backend: FakeBackend, xrays: Path, tmp_path: Path
) -> Callable[[list[LandmarkSet]], None]:
    """Drops a run that was taught these sets, and waits for its predictions."""

    def drop_run(exemplars: list[LandmarkSet]) -> None:
        desktop.drop(make_run(tmp_path / "my-run", xrays, backend, exemplars))
        desktop.until(lambda: desktop.session.predictions)

    return drop_run


def make_run(path: Path, xrays: Path, backend: FakeBackend, exemplars: list[LandmarkSet]) -> Path:
    """A finished run with its predictions, as the command line leaves it."""
    cohort = open_cohort(xrays)
    model = backend.train(Order(cohort, LandmarkTable.from_sets(exemplars), path), silent)
    model.predict(cohort).to_csv(path / "landmarks.csv")
    RunFolder.open(path).note_predicted(cohort)
    return path


def test_landmarks_in_use_before_are_not_taken_for_those_of_the_run(
    desktop: Desktop, backend: FakeBackend, xrays: Path, truth: LandmarkTable, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "my-run", xrays, backend, [truth[truth.images[0]]])
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    desktop.open(tmp_path / "others")
    desktop.session.set_schema(schema_from_names([f"{name} of others" for name in truth.names], "others"))
    desktop.drop(run)
    desktop.until(lambda: desktop.session.predictions)
    assert desktop.session.schema.names == truth.names
    assert desktop.app.session_store.names_of_run() == {}
    assert {one.names for one in desktop.session.predictions.values()} == {truth.names}
    assert desktop.session.state(truth.images[0]) is State.EXEMPLAR


def test_single_answers_do_not_hide_the_predictions(
    desktop: Desktop, drop: Callable[[list[LandmarkSet]], None], truth: LandmarkTable, single: LandmarkSet
) -> None:
    first, second = truth.images[:2]
    drop([truth[first], single])
    assert desktop.session.state(first) is State.EXEMPLAR
    assert desktop.session.state(second) is State.PREDICTED
    known = desktop.app.session_store.answers.answers[second]
    assert set(known) == set(truth.names[:2])
    np.testing.assert_allclose(known[truth.names[0]], single.xy[0])
    assert known[truth.names[1]] is None
    sets = {one.image: one for one in desktop.app.session_store.collect_sets()}
    assert set(sets) == {first, second}
    assert np.flatnonzero(sets[second].answered).tolist() == [0, 1]


def test_answers_given_here_count_more_than_those_of_the_run() -> None:
    book = AnswerBook()
    book.put("a.png", "sella", None)
    book.add([LandmarkSet("a.png", ("sella", "nasion"), np.array([[9.0, 9.0], [3.0, 4.0]]))])
    assert book.answers == {"a.png": {"sella": None, "nasion": (3.0, 4.0)}}


def test_answers_for_a_landmark_that_had_the_new_name_before_are_dropped() -> None:
    book = AnswerBook()
    book.put("a.png", "sella", (1.0, 2.0))
    book.put("a.png", "nasion", (3.0, 4.0))
    book.rename({"sella": "nasion"})
    assert book.answers == {"a.png": {"nasion": (1.0, 2.0)}}


def test_imported_single_answers_are_answers_and_hide_no_prediction(
    desktop: Desktop, drop: Callable[[list[LandmarkSet]], None], truth: LandmarkTable, single: LandmarkSet
) -> None:
    first, second, third = truth.images[:3]
    drop([truth[first]])
    nothing = replace(
        single, image=third, xy=np.full_like(single.xy, np.nan), asked=np.zeros(len(single.xy), bool)
    )
    taken, kept = desktop.session.import_annotations(LandmarkTable.from_sets([single, nothing]))
    assert (taken, kept) == (1, [])
    assert [desktop.session.state(image) for image in (second, third)] == [State.PREDICTED] * 2
    assert set(desktop.session.answers.answers[second]) == set(truth.names[:2])
    assert third not in desktop.session.answers.answers
    moved = replace(single, xy=single.xy + 1)
    desktop.session.import_annotations(LandmarkTable.from_sets([moved]))
    np.testing.assert_allclose(desktop.session.answers.answers[second][truth.names[0]], moved.xy[0])


def test_imported_points_without_a_prediction_are_a_draft(
    desktop: Desktop, truth: LandmarkTable, single: LandmarkSet, xrays: Path
) -> None:
    desktop.open(xrays)
    session, second = desktop.session, truth.images[1]
    session.set_schema(schema_from_names(truth.names, "phantom"))
    assert session.import_annotations(LandmarkTable.from_sets([single])) == (1, [])
    assert session.state(second) is State.ANNOTATING
    np.testing.assert_allclose(session.annotations[second].xy[0], single.xy[0])
    assert not session.answers.answers


def test_exemplars_come_back_under_the_names_that_the_landmarks_have_here(
    desktop: Desktop, backend: FakeBackend, xrays: Path, truth: LandmarkTable, tmp_path: Path
) -> None:
    first, second = truth.images[:2]
    run = make_run(tmp_path / "my-run", xrays, backend, [truth[first], truth[second]])
    desktop.drop(run)
    desktop.until(lambda: desktop.session.predictions)
    session, before = desktop.session, desktop.session.cohort
    session.set_schema(schema_from_names(("turcica", *truth.names[1:]), "phantom"))
    session.show(second)
    session.edit(lambda annotation: Annotation.blank(len(annotation.xy)))
    desktop.drop(run)
    desktop.until(lambda: session.cohort is not before and session.predictions)
    assert session.state(second) is State.EXEMPLAR
    np.testing.assert_allclose(session.annotations[second].xy, truth[second].xy)
