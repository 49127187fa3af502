"""The five steps in a real window, by clicks and keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from qtpy.QtCore import Qt

from onemark.data.landmarks.schema import parse_names
from onemark.data.landmarks.table import LandmarkTable, read_landmarks
from onemark.gui.state.annotation import State

from .desktop import Desktop
from .fake_backend import FakeBackend


def test_folder_to_csv_without_leaving_the_window(
    desktop: Desktop, xrays: Path, truth: LandmarkTable, backend: FakeBackend
) -> None:
    desktop.drop(xrays)
    desktop.until(lambda: desktop.session.current and desktop.shown(desktop.session.current))
    assert desktop.session.cohort.names == truth.images

    schema = desktop.control("schema")
    desktop.widget.pages[1].use_schema(parse_names("\n".join(truth.names)))
    assert schema.currentText() == "my landmarks"
    first = desktop.session.current
    desktop.annotate(truth[first])
    placed = desktop.session.annotations[first].xy
    assert np.abs(placed - truth[first].xy).max() < 1.0
    assert desktop.session.state(first) is State.EXEMPLAR

    desktop.push("annotate.done")
    desktop.until(lambda: desktop.app.training.recipes)
    desktop.push("run")
    desktop.until_idle()
    assert backend.orders[0].exemplars.images == (first,)
    assert set(desktop.session.predictions) == set(truth.images)
    assert desktop.app.step == 3

    order = desktop.widget.panel.model.order
    errors = [desktop.session.errors[name] for name in order[:-1]]
    assert errors == sorted(errors, reverse=True)
    assert order[-1] == first, "the exemplar has no expected error"

    worst = order[0]
    desktop.show(worst)
    before = desktop.session.shown_annotation.xy.copy()
    desktop.drag(before[2], truth[worst].xy[2])
    assert desktop.session.state(worst) is State.CORRECTING
    after = desktop.session.annotations[worst].xy
    assert np.abs(after[2] - truth[worst].xy[2]).max() < 1.0
    np.testing.assert_allclose(np.delete(after, 2, 0), np.delete(before, 2, 0))
    desktop.key(Qt.Key.Key_Return)
    assert desktop.session.state(worst) is State.CORRECTED

    desktop.go(4)
    desktop.push("retrain")
    desktop.until_idle()
    assert backend.orders[1].kind == "retrain"
    assert backend.orders[1].out == backend.orders[0].out
    assert set(backend.orders[1].exemplars.images) == {first, worst}

    desktop.go(5)
    for key in ("slicer", "tps", "coco", "report"):
        desktop.push(f"export.{key}")
    desktop.push("export")
    desktop.until(lambda: desktop.said.startswith("Exported"))
    folder = Path(desktop.control("export.folder").text())
    written = read_landmarks(folder / "landmarks.csv")
    np.testing.assert_allclose(written[worst].xy, after)
    assert set(written.images) == set(truth.images)
    header = (folder / "landmarks.csv").read_text().splitlines()[0]
    assert header.endswith("x_mm,y_mm")
    for name in ("landmarks.tps", "landmarks.json"):
        np.testing.assert_allclose(read_landmarks(folder / name)[worst].xy, after, atol=1e-3)
    assert len(list((folder / "landmarks").glob("*.mrk.json"))) == len(truth)
    assert worst in (folder / "report.html").read_text()


def test_every_edit_can_be_undone_and_done_again(desktop: Desktop, xrays: Path, truth: LandmarkTable) -> None:
    desktop.open(xrays)
    desktop.session.set_schema(parse_names("a\nb\nc"))
    first = desktop.session.current
    for xy in truth[first].xy[:2]:
        desktop.click(xy)
    desktop.key(Qt.Key.Key_W)
    done = desktop.session.annotations[first]
    ctrl, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
    for left in (2, 1, 0):
        desktop.key(Qt.Key.Key_Z, ctrl)
        assert desktop.session.shown_annotation.done.sum() == left
    assert first not in desktop.session.annotations
    assert len(desktop.layer.data) == 0
    for _ in range(3):
        desktop.key(Qt.Key.Key_Z, ctrl | shift)
    np.testing.assert_allclose(desktop.session.annotations[first].xy, done.xy)
    assert desktop.session.state(first) is State.EXEMPLAR
    assert len(desktop.layer.data) == 2


def test_next_and_previous_by_keys(annotated: Desktop) -> None:
    names = annotated.session.cohort.names
    for key, expected in (
        (Qt.Key.Key_N, 1),
        (Qt.Key.Key_PageDown, 2),
        (Qt.Key.Key_B, 1),
        (Qt.Key.Key_PageUp, 0),
    ):
        annotated.key(key)
        assert annotated.session.current == names[expected]
        annotated.until(lambda: annotated.shown(annotated.session.current))


def test_the_layer_asks_for_landmarks_by_name(annotated: Desktop, truth: LandmarkTable) -> None:
    annotated.show(truth.images[1])
    ask = annotated.viewer.canvas.overlays.text
    assert ask.visible
    assert truth.names[0] in ask.text
    annotated.key(Qt.Key.Key_E)
    assert truth.names[1] in ask.text
    annotated.click(truth[truth.images[1]].xy[1])
    assert truth.names[2] in ask.text, "the next one that is not placed"
    annotated.key(Qt.Key.Key_W)
    assert annotated.session.annotations[truth.images[1]].hidden[2]
    assert truth.names[3] in ask.text
    annotated.key(Qt.Key.Key_Q)
    assert truth.names[2] in ask.text
    assert list(annotated.layer.features["landmark"]) == [truth.names[1]]


def test_a_corrected_point_is_not_lost_on_the_way(annotated: Desktop, truth: LandmarkTable) -> None:
    annotated.train()
    second = truth.images[1]
    annotated.show(second)
    before = annotated.session.shown_annotation.xy[0].copy()
    annotated.drag(before, before + 12)
    annotated.key(Qt.Key.Key_N)
    annotated.show(second)
    assert annotated.session.state(second) is State.CORRECTING
    assert np.linalg.norm(annotated.session.annotations[second].xy[0] - before) > 8
    assert second not in [one.image for one in annotated.session.exemplar_sets()], (
        "not before it is confirmed"
    )


def test_only_step_two_asks_for_points_on_untouched_radiographs(
    annotated: Desktop, truth: LandmarkTable
) -> None:
    second = truth.images[1]
    annotated.show(second)
    annotated.go(2)
    assert annotated.viewer.canvas.overlays.text.visible
    annotated.go(3)
    assert not annotated.viewer.canvas.overlays.text.visible
    annotated.click((100, 100))
    assert second not in annotated.session.annotations, "a click while looking places nothing"
    annotated.go(2)
    annotated.click((100, 100))
    assert annotated.session.annotations[second].placed.sum() == 1
    annotated.go(3)
    assert annotated.viewer.canvas.overlays.text.visible, "what is begun can be finished in any step"
