"""Second thoughts about the landmarks, after annotation and training have begun."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qtpy.QtWidgets import QDialog, QPlainTextEdit

from onemark.data.landmarks.schema import match_names
from onemark.data.landmarks.table import read_landmarks
from onemark.gui.pages import annotate

from .desktop import Desktop
from .fake_backend import FakeBackend


@pytest.fixture
def trained(annotated: Desktop) -> Desktop:
    annotated.train()
    return annotated


def type_names(desktop: Desktop, monkeypatch: pytest.MonkeyPatch, change: object) -> None:
    """Edit the text of the names' dialog and press OK."""

    def execute(dialog: QDialog) -> bool:
        text = dialog.findChild(QPlainTextEdit)
        lines = text.toPlainText().splitlines()
        text.setPlainText("\n".join(change(lines)))  # type: ignore[operator]
        return True

    monkeypatch.setattr(annotate.NamesDialog, "exec", execute)
    desktop.go(2)
    desktop.push("schema.edit")
    desktop.settle()


def test_a_changed_name_is_told_from_an_added_one():
    old = ("a", "b", "c")
    assert match_names(old, ("a", "b2", "c")) == [0, 1, 2]
    assert match_names(old, ("x", "a", "b2", "c")) == [None, 0, 1, 2]
    assert match_names(old, ("c", "a", "b")) == [2, 0, 1]
    assert match_names(old, ("x", "y", "z")) == [0, 1, 2]
    assert match_names(old, ("a", "c", "d")) == [0, 2, None]


def test_points_predictions_and_undo_follow_a_changed_name(
    trained: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = trained.session
    name = next(n for n in session.predictions if n not in session.annotations)
    trained.show(name)
    before = session.shown_annotation.xy.copy()
    session.place(0, before[0] + 5)
    session.place(1, before[1] + 5)
    type_names(trained, monkeypatch, lambda lines: ["turkish saddle, TS", *lines[2:], lines[1]])
    assert session.schema.names[0] == "turkish saddle"
    assert np.allclose(session.shown_annotation.xy[[0, -1]], before[[0, 1]] + 5)
    assert "turkish saddle" in session.predictions[name].names
    session.undo()
    assert np.allclose(session.shown_annotation.xy[[0, -1]], before[[0, 1]] + [[5, 5], [0, 0]])
    session.undo()
    assert np.allclose(session.shown_annotation.xy[[0, -1]], before[[0, 1]])
    session.redo()
    assert np.allclose(session.shown_annotation.xy[0], before[0] + 5)


def test_the_run_follows_also_after_a_restart_and_a_retraining(
    trained: Desktop, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, xrays: Path
) -> None:
    second = trained.session.schema.names[1]
    type_names(trained, monkeypatch, lambda lines: [f"turkish saddle, TS, {second}", *lines[1:]])
    before = trained.session.cohort
    trained.widget.open(xrays)
    trained.until(lambda: trained.session.cohort is not before and trained.session.predictions)
    one = next(iter(trained.session.predictions.values()))
    assert "turkish saddle" in one.names
    assert "sella" not in one.names
    table = {one.image: one.names for one in trained.session.collect_results()}
    assert all("turkish saddle" in names for names in table.values())
    trained.until(lambda: trained.app.training.model)
    trained.show(next(n for n in trained.session.predictions if n not in trained.session.annotations))
    trained.session.confirm()
    trained.go(4)
    trained.push("retrain")
    trained.until_idle()
    assert backend.orders[-1].exemplars.names[0] == "sella"  # the run's networks go by its own name
    assert trained.session.schema.swap == (("turkish saddle", second),)
    assert backend.orders[-1].swap == (("sella", second),)
    assert "turkish saddle" in next(iter(trained.session.predictions.values())).names
    run = trained.app.session_store.run
    assert "sella" in read_landmarks(run / "landmarks.csv").names


def test_evidence_of_a_renamed_landmark_arrives(trained: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
    type_names(trained, monkeypatch, lambda lines: ["turkish saddle, TS", *lines[1:]])
    trained.show(next(n for n in trained.session.predictions if n not in trained.session.annotations))
    trained.session.select(0)
    trained.go(4)
    trained.push("evidence.similarity")
    trained.until(lambda: trained.app.context.canvas.layer("similarity"))
    assert trained.app.training.model.asked[-1][1] == "sella"


def test_a_new_landmark_is_asked_for_and_learned(trained: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
    own = next(iter(trained.session.annotations))
    type_names(trained, monkeypatch, lambda lines: [*lines, "tragus, T"])
    trained.go(4)
    trained.settle()
    assert "has not learned tragus yet" in trained.widget.review._point.text()
    assert not trained.control("retrain").isEnabled()
    trained.show(own)
    trained.click((60, 60))
    trained.settle()
    assert trained.control("retrain").isEnabled()


def test_a_deleted_landmark_is_gone_from_every_export(
    trained: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_names(trained, monkeypatch, lambda lines: lines[1:])
    trained.answer("Change anyway")
    assert all("sella" not in one.names for one in trained.session.collect_results())
