"""Questions, answered by keys and clicks in their dialog, kept at once, and taught."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from onemark.data.cohort import Cohort
from onemark.data.landmarks.schema import schema_from_names
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.questions import Questions
from onemark.gui.controllers.asking import NUMBER

from .desktop import Desktop
from .fake_backend import FakeBackend, folder_of_phantoms

KEY = Qt.Key


@pytest.fixture
def asked(annotated: Desktop) -> Desktop:
    """The first question is in view."""
    annotated.train()
    annotated.go(4)
    annotated.push("review.ask")
    annotated.until(lambda: annotated.app.asking.radiograph is not None)
    return annotated


def press(desktop: Desktop, key: Any) -> None:
    """Press a key in the dialog, and wait for the next question."""
    QTest.keyClick(desktop.control("questions"), key)
    round_ = desktop.app.asking.round
    desktop.until(lambda: round_.current is None or desktop.app.asking.radiograph is not None)


def saved_answers(desktop: Desktop) -> dict[str, Any]:
    desktop.app.session_store.flush()
    answers: dict[str, Any] = json.loads((desktop.app.session_store.work / "session.json").read_text())[
        "answers"
    ]
    return answers


def test_a_round_by_keys_and_a_click(asked: Desktop, truth: LandmarkTable, backend: FakeBackend) -> None:
    questions = asked.app.asking.round.questions
    names = truth.names
    assert names[0] in asked.control("questions.ask").text()
    press(asked, KEY.Key_Return)
    assert saved_answers(asked) == {truth.images[1]: {names[0]: [questions[0].x, questions[0].y]}}

    crop = asked.control("questions.crop")
    at = crop.to_widget((questions[1].x + 4, questions[1].y - 3)).toPoint()
    QTest.mouseClick(crop, Qt.MouseButton.LeftButton, pos=at)
    assert asked.app.asking.round.at == 1, "a click only moves the point"
    press(asked, KEY.Key_Return)
    place = saved_answers(asked)[truth.images[2]][names[1]]
    np.testing.assert_allclose(place, (questions[1].x + 4, questions[1].y - 3), atol=0.5)

    press(asked, KEY.Key_N)
    press(asked, KEY.Key_S)
    assert saved_answers(asked)[truth.images[3]] == {names[2]: None}
    assert asked.control("questions.progress").value() == 4
    press(asked, KEY.Key_Backspace)
    press(asked, KEY.Key_Backspace)
    assert names[2] in asked.control("questions.ask").text()
    press(asked, KEY.Key_S)
    assert saved_answers(asked)[truth.images[3]] == {}

    asked.control("questions.teach").click()
    asked.until_idle()
    assert asked.app.asking.round is None, "its guesses were those of the former model"
    order = backend.orders[-1]
    assert order.kind == "retrain"
    assert order.exemplars.images == truth.images[:3]
    assert order.exemplars.sets[0].answered.all()
    assert np.flatnonzero(order.exemplars.sets[1].answered).tolist() == [0]
    assert np.flatnonzero(order.exemplars.sets[2].answered).tolist() == [1]


def test_a_key_that_is_held_answers_one_question(asked: Desktop, truth: LandmarkTable) -> None:
    press(asked, KEY.Key_Return)
    held = QKeyEvent(QEvent.Type.KeyPress, KEY.Key_Return, Qt.KeyboardModifier.NoModifier, "\r", True)
    QApplication.sendEvent(asked.control("questions"), held)
    assert asked.app.asking.round.at == 1
    assert list(saved_answers(asked)) == [truth.images[1]]


def test_a_blind_reading_ends_the_round(asked: Desktop) -> None:
    press(asked, KEY.Key_Return)
    asked.session.reading_changed.emit()
    assert asked.app.asking.round is None
    QTest.keyClick(asked.control("questions"), KEY.Key_Return)
    assert len(saved_answers(asked)) == 1


def test_answers_come_back_with_the_folder(asked: Desktop, xrays: Path, truth: LandmarkTable) -> None:
    press(asked, KEY.Key_N)
    answers = asked.app.session_store.answers
    asked.open(xrays)
    asked.until(lambda: asked.app.asking.round is None)
    asked.until(lambda: answers.answers == {truth.images[1]: {truth.names[0]: None}})


def test_asking_again_passes_over_what_is_answered(
    asked: Desktop, truth: LandmarkTable, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, numbers = backend.ask, []

    def count(run: Path, cohort: Cohort, number: int) -> Questions:
        numbers.append(number)
        return ask(run, cohort, number)

    monkeypatch.setattr(backend, "ask", count)
    press(asked, KEY.Key_Return)
    given = saved_answers(asked)
    while asked.app.asking.round.current is not None:
        press(asked, KEY.Key_S)
    asked.app.asking.start()
    asked.until(lambda: asked.app.asking.radiograph is not None)
    assert numbers == [NUMBER + 1]
    assert [one.image for one in asked.app.asking.round.questions] == list(truth.images[2:])
    press(asked, KEY.Key_S)
    assert saved_answers(asked) == given


def test_a_radiograph_that_is_finished_since_is_not_asked_about(
    annotated: Desktop, truth: LandmarkTable, backend: FakeBackend
) -> None:
    annotated.train()
    session, done = annotated.session, truth.images[1]
    session.show(done)
    session.confirm()
    annotated.app.asking.start()
    annotated.until(lambda: annotated.app.asking.radiograph is not None)
    assert done not in {one.image for one in annotated.app.asking.round.questions}


def test_a_landmark_that_the_window_no_longer_has_is_not_asked_for(
    annotated: Desktop, truth: LandmarkTable, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotated.train()
    session, names, ask, numbers = annotated.session, truth.names, backend.ask, []
    monkeypatch.setattr(
        backend, "ask", lambda run, cohort, number: (numbers.append(number), ask(run, cohort, number))[1]
    )
    session.set_schema(schema_from_names(names[1:], "shorter"), renaming=False)
    annotated.app.asking.start()
    annotated.until(lambda: not annotated.app.asking.waiting)
    assert names[0] not in {one.landmark for one in annotated.app.asking.round.questions}
    assert numbers == [NUMBER + len(session.cohort)], "all that the run may ask about it"
    session.set_schema(schema_from_names((names[0], *names[2:]), "renamed"))
    assert annotated.app.session_store.names_of_run() == {names[1]: names[0]}
    annotated.app.asking.start()
    annotated.until(lambda: annotated.app.asking.radiograph is not None)
    asked = {one.landmark for one in annotated.app.asking.round.questions}
    assert names[0] not in asked, "the run means another landmark by this name"


def test_answers_are_shown_on_their_radiograph_and_confirmed_with_it(
    asked: Desktop, truth: LandmarkTable
) -> None:
    session, image, names = asked.session, truth.images[1], truth.names
    press(asked, KEY.Key_N)
    session.answers.put(image, names[2], (7.0, 9.0))
    session.show(image)
    guess = session.predictions[image].xy
    shown = session.shown_annotation
    assert np.isnan(shown.xy[0]).all()
    assert shown.hidden[0]
    np.testing.assert_allclose(shown.xy[[1, 2]], [guess[1], (7, 9)])
    said = asked.control("review.point").text
    session.select(2)
    asked.until(lambda: "as you answered" in said())
    session.select(1)
    asked.until(lambda: "as you answered" not in said())
    exported = {one.image: one for one in session.collect_results()}[image]
    np.testing.assert_allclose(exported.xy[[1, 2]], [guess[1], (7, 9)])
    assert exported.expected_error[2] == 0 < exported.expected_error[1]
    session.confirm()
    sets = {one.image: one for one in asked.app.session_store.collect_sets()}
    np.testing.assert_allclose(sets[image].xy[[0, 2]], [(np.nan, np.nan), (7, 9)])


def test_an_answer_is_put_into_a_correction_that_is_begun(asked: Desktop, truth: LandmarkTable) -> None:
    session, image, names = asked.session, truth.images[1], truth.names
    session.show(image)
    session.place(3, (5, 6))
    press(asked, KEY.Key_N)
    assert session.annotations[image].hidden[0]
    session.answer(image, names[1], (7.0, 9.0))
    np.testing.assert_allclose(session.annotations[image].xy[[1, 3]], [(7, 9), (5, 6)])
    session.confirm()
    sets = {one.image: one for one in asked.app.session_store.collect_sets()}
    np.testing.assert_allclose(sets[image].xy[[0, 1, 3]], [(np.nan, np.nan), (7, 9), (5, 6)])


def test_a_second_press_goes_on_with_the_round(asked: Desktop) -> None:
    press(asked, KEY.Key_Return)
    before = asked.app.asking.round
    asked.push("review.ask")
    asked.until(lambda: not asked.app.asking.waiting)
    assert asked.app.asking.round is before
    assert before.at == 1


def test_questions_of_another_folder_do_not_arrive_here(
    annotated: Desktop, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    annotated.train()
    annotated.go(4)
    chosen, ask = threading.Event(), backend.ask

    def slow(run: Path, cohort: Cohort, number: int) -> Questions:
        chosen.wait(20)
        return ask(run, cohort, number)

    monkeypatch.setattr(backend, "ask", slow)
    annotated.push("review.ask")
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    annotated.open(tmp_path / "others")
    chosen.set()
    annotated.until(lambda: not annotated.app.context.background.busy)
    assert annotated.app.asking.round is None


def test_a_question_about_an_unreadable_radiograph_is_passed_over(asked: Desktop, xrays: Path) -> None:
    asked.until(lambda: not asked.app.context.background.busy)
    asked.app.context.loader.use(asked.session.cohort)  # forget what was decoded ahead
    broken = asked.app.asking.round.questions[1].image
    (xrays / broken).write_bytes(b"\x89PNG broken")
    press(asked, KEY.Key_Return)
    assert asked.app.asking.round.at == 2
    assert broken in asked.said
