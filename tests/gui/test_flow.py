"""The five steps in a real window, by clicks and keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from desktop import Desktop
from fake_backend import FakeBackend
from qtpy.QtCore import Qt

from onemark.data.landmarks.table import LandmarkTable, read_landmarks
from onemark.gui.state.marks import State
from onemark.gui.state.schema import typed


def test_folder_to_csv_without_leaving_the_window(
    desktop: Desktop, xrays: Path, truth: LandmarkTable, backend: FakeBackend
) -> None:
    desktop.drop(xrays)
    desktop.until(lambda: desktop.session.current and desktop.shown(desktop.session.current))
    assert desktop.session.cohort.names == truth.images

    schema = desktop.control("schema")
    desktop.widget.pages[1].use(typed("\n".join(truth.names)))
    assert schema.currentText() == "my landmarks"
    first = desktop.session.current
    desktop.mark(truth[first])
    placed = desktop.session.marks[first].xy
    assert np.abs(placed - truth[first].xy).max() < 1.0
    assert desktop.session.state(first) is State.EXEMPLAR

    desktop.push("mark.done")
    desktop.until(lambda: desktop.app.training.recipes)
    desktop.push("run")
    desktop.until(lambda: desktop.app.training.job is None)
    assert backend.orders[0].exemplars.images == (first,)
    assert set(desktop.session.found) == set(truth.images)
    assert desktop.app.step == 3

    order = desktop.widget.panel.model.order
    errors = [desktop.session.errors[name] for name in order[:-1]]
    assert errors == sorted(errors, reverse=True)
    assert order[-1] == first, "the exemplar has no expected error"

    worst = order[0]
    desktop.session.show(worst)
    desktop.until(lambda: desktop.shown(worst))
    before = desktop.session.shown_marks().xy.copy()
    desktop.drag(before[2], truth[worst].xy[2])
    assert desktop.session.state(worst) is State.CORRECTING
    after = desktop.session.marks[worst].xy
    assert np.abs(after[2] - truth[worst].xy[2]).max() < 1.0
    np.testing.assert_allclose(np.delete(after, 2, 0), np.delete(before, 2, 0))
    desktop.key(Qt.Key.Key_Return)
    assert desktop.session.state(worst) is State.CORRECTED

    desktop.go(4)
    desktop.push("retrain")
    desktop.until(lambda: desktop.app.training.job is None)
    assert backend.orders[1].task == "retrain"
    assert backend.orders[1].out == backend.orders[0].out
    assert set(backend.orders[1].exemplars.images) == {first, worst}

    desktop.go(5)
    for key in ("slicer", "tps", "coco", "report"):
        desktop.push(f"export.{key}")
    desktop.push("export")
    desktop.until(lambda: desktop.widget.banner.text.startswith("Exported"))
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
    desktop.session.set_schema(typed("a\nb\nc"))
    first = desktop.session.current
    for xy in truth[first].xy[:2]:
        desktop.click(xy)
    desktop.key(Qt.Key.Key_W)
    done = desktop.session.marks[first]
    ctrl, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
    for left in (2, 1, 0):
        desktop.key(Qt.Key.Key_Z, ctrl)
        assert desktop.session.shown_marks().done.sum() == left
    assert first not in desktop.session.marks
    assert len(desktop.layer.data) == 0
    for _ in range(3):
        desktop.key(Qt.Key.Key_Z, ctrl | shift)
    np.testing.assert_allclose(desktop.session.marks[first].xy, done.xy)
    assert desktop.session.state(first) is State.EXEMPLAR
    assert len(desktop.layer.data) == 2


def test_next_and_previous_by_keys(marked: Desktop) -> None:
    names = marked.session.cohort.names
    for key, expected in (
        (Qt.Key.Key_N, 1),
        (Qt.Key.Key_PageDown, 2),
        (Qt.Key.Key_B, 1),
        (Qt.Key.Key_PageUp, 0),
    ):
        marked.key(key)
        assert marked.session.current == names[expected]
        marked.until(lambda: marked.shown(marked.session.current))


def test_the_layer_asks_for_landmarks_by_name(marked: Desktop, truth: LandmarkTable) -> None:
    marked.session.show(truth.images[1])
    marked.until(lambda: marked.shown(truth.images[1]))
    ask = marked.viewer.canvas.overlays.text
    assert ask.visible
    assert truth.names[0] in ask.text
    marked.key(Qt.Key.Key_E)
    assert truth.names[1] in ask.text
    marked.click(truth[truth.images[1]].xy[1])
    assert truth.names[2] in ask.text, "the next one that is not placed"
    marked.key(Qt.Key.Key_W)
    assert marked.session.marks[truth.images[1]].hidden[2]
    assert truth.names[3] in ask.text
    marked.key(Qt.Key.Key_Q)
    assert truth.names[2] in ask.text
    assert list(marked.layer.features["landmark"]) == [truth.names[1]]


def test_a_corrected_point_is_not_lost_on_the_way(marked: Desktop, truth: LandmarkTable) -> None:
    marked.train()
    second = truth.images[1]
    marked.session.show(second)
    marked.until(lambda: marked.shown(second))
    before = marked.session.shown_marks().xy[0].copy()
    marked.drag(before, before + 12)
    marked.key(Qt.Key.Key_N)
    marked.session.show(second)
    marked.until(lambda: marked.shown(second))
    assert marked.session.state(second) is State.CORRECTING
    assert np.linalg.norm(marked.session.marks[second].xy[0] - before) > 8
    assert second not in [one.image for one in marked.session.exemplar_sets()], "not before it is confirmed"


def test_only_step_two_asks_for_points_on_untouched_radiographs(
    marked: Desktop, truth: LandmarkTable
) -> None:
    second = truth.images[1]
    marked.session.show(second)
    marked.until(lambda: marked.shown(second))
    marked.go(2)
    assert marked.viewer.canvas.overlays.text.visible
    marked.go(3)
    assert not marked.viewer.canvas.overlays.text.visible
    marked.click((100, 100))
    assert second not in marked.session.marks, "a click while looking places nothing"
    marked.go(2)
    marked.click((100, 100))
    assert marked.session.marks[second].placed.sum() == 1
    marked.go(3)
    assert marked.viewer.canvas.overlays.text.visible, "what is begun can be finished in any step"
