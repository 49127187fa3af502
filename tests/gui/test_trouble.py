"""What must not go wrong: stops, crashes, closed windows, removed layers, wrong folders."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari import Viewer
from qtpy.QtCore import QLocale, Qt
from qtpy.QtTest import QTest

from onemark.data.landmarks.table import LandmarkTable
from onemark.gui.state.annotation import State
from onemark.pipeline.runs.folder import RunFolder
from onemark.types import UserError

from .desktop import Desktop
from .fake_backend import FakeBackend, FakeModel, folder_of_phantoms


def begin(desktop: Desktop) -> None:
    desktop.go(3)
    desktop.until(lambda: desktop.app.training.recipes)
    desktop.push("run")


def preview_is(desktop: Desktop, xy: np.ndarray) -> bool:
    layer = desktop.app.context.canvas.layer("preview")
    return bool(layer and layer.visible and np.abs(layer.data[:, ::-1] - xy).max() < 5)


def training_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "onemark-training" and t.is_alive()]


def test_stop_stops_within_a_second_and_can_go_on(annotated: Desktop, backend: FakeBackend) -> None:
    backend.steps = 10_000
    begin(annotated)
    annotated.until(lambda: annotated.widget.train.plot.stages)
    annotated.push("stop")
    pressed = time.monotonic()
    annotated.until_idle()
    assert time.monotonic() - pressed < 30, "a step takes 0.02 s; the rest is a busy machine"
    assert RunFolder.open(backend.orders[0].out).config.state == "stopped"
    backend.steps = 8
    annotated.push("resume")
    annotated.until_idle()
    assert [order.kind for order in backend.orders] == ["new", "continue"]
    assert backend.orders[1].out == backend.orders[0].out
    assert len(annotated.session.predictions) == 6


def test_a_stop_while_predicting_keeps_the_predictions_and_can_go_on(
    annotated: Desktop, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeModel, "pause", 0.3)
    begin(annotated)
    annotated.until(lambda: "Predicting every" in annotated.control("activity").text())
    annotated.push("stop")
    annotated.until_idle()
    assert 0 < len(annotated.session.predictions) < 6
    monkeypatch.undo()
    annotated.push("resume")
    annotated.until_idle()
    assert [order.kind for order in backend.orders] == ["new", "predict"]
    assert len(annotated.session.predictions) == 6
    assert not annotated.control("resume").isVisibleTo(annotated.widget.train)


def test_going_on_after_the_points_changed_asks_first(annotated: Desktop, backend: FakeBackend) -> None:
    backend.steps = 10_000
    begin(annotated)
    annotated.push("stop")
    annotated.until_idle()
    annotated.session.place(0, (50, 50))
    annotated.push("resume")
    assert "You have changed points" in annotated.said
    assert len(backend.orders) == 1
    backend.steps = 4
    annotated.answer("Start over")
    annotated.until_idle()
    assert [order.kind for order in backend.orders] == ["new", "new"]
    assert backend.orders[1].out != backend.orders[0].out


def test_a_crash_while_training_is_reported_and_everything_still_works(
    annotated: Desktop, backend: FakeBackend
) -> None:
    backend.fail_at = 3
    begin(annotated)
    annotated.until_idle()
    assert "RuntimeError: boom" in annotated.said
    assert "points are safe" in annotated.said
    backend.fail_at = None
    annotated.push("run")
    annotated.until_idle()
    assert len(annotated.session.predictions) == 6


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        UserError("the device ran out of memory while training (match): lower match.batch"),
        MemoryError(),
    ],
)
def test_out_of_memory_has_a_way_out(annotated: Desktop, backend: FakeBackend, error: BaseException) -> None:
    backend.fail_at, backend.error = 2, error
    begin(annotated)
    annotated.until_idle()
    assert "ran out of memory" in annotated.said
    backend.fail_at = None
    annotated.answer("Use batch = 4")
    annotated.until_idle()
    assert backend.orders[-1].settings == {"match.batch": 4}
    assert len(annotated.session.predictions) == 6


def test_out_of_memory_on_the_gpu_offers_the_cpu(annotated: Desktop, backend: FakeBackend) -> None:
    backend.fail_at, backend.error = 2, RuntimeError("CUDA out of memory")
    begin(annotated)
    annotated.until_idle()
    backend.fail_at = None
    annotated.answer("Train on the CPU")
    annotated.until_idle()
    assert backend.orders[-1].device == "cpu"


def test_closing_the_viewer_while_training_stops_it(
    make_viewer: Callable[[], Viewer], xrays: Path, truth: LandmarkTable, backend: FakeBackend
) -> None:
    desktop = Desktop(make_viewer(), backend)
    desktop.open(xrays)
    desktop.widget.pages[1].import_points(str(_file(truth, xrays.parent)))
    backend.steps = 10_000
    begin(desktop)
    desktop.until(training_threads)
    desktop.viewer.close()
    assert not training_threads()
    assert RunFolder.open(backend.orders[0].out).config.state == "stopped"
    saved = json.loads((xrays.parent / "xrays-onemark" / "session.json").read_text())
    assert saved["closed"]
    assert saved["annotations"]


def test_removing_the_dock_widget_while_training_stops_it(annotated: Desktop, backend: FakeBackend) -> None:
    backend.steps = 10_000
    begin(annotated)
    annotated.until(training_threads)
    annotated.viewer.window.remove_dock_widget(annotated.dock)
    annotated.settle(20)
    assert not training_threads()


def test_removed_layers_come_back_and_the_points_are_kept(
    annotated: Desktop, truth: LandmarkTable, backend: FakeBackend
) -> None:
    backend.steps = 10_000
    begin(annotated)
    before = annotated.session.shown_annotation.xy.copy()
    annotated.until(lambda: annotated.app.context.canvas.layer("preview"))
    annotated.viewer.layers.clear()
    assert "onemark keeps your points" in annotated.said
    annotated.until(lambda: annotated.app.context.canvas.layer("preview"), 30)
    annotated.answer("Bring back")
    np.testing.assert_allclose(annotated.session.shown_annotation.xy, before)
    np.testing.assert_allclose(annotated.layer.data[:, ::-1], before)
    annotated.push("stop")
    annotated.until_idle()


def test_switching_radiographs_while_training(
    annotated: Desktop, truth: LandmarkTable, backend: FakeBackend
) -> None:
    backend.steps = 10_000
    begin(annotated)
    for _ in range(4):
        annotated.key(Qt.Key.Key_N)
        name = annotated.session.current
        annotated.until(lambda name=name: name in backend.watched and annotated.shown(name))
        early = FakeModel(truth, 33.0).locate(name).xy
        annotated.until(lambda early=early: preview_is(annotated, early))
    annotated.session.place(0, (10, 10))
    assert backend.orders[0].exemplars.images == (truth.images[0],), "the snapshot is not touched"
    annotated.push("stop")
    annotated.until_idle()
    assert not annotated.app.context.canvas.layer("preview").visible


def test_the_end_of_a_training_does_not_take_the_page_away_from_who_is_annotating(
    annotated: Desktop, truth: LandmarkTable, backend: FakeBackend
) -> None:
    backend.steps = 10_000
    begin(annotated)
    annotated.go(2)
    annotated.show(truth.images[1])
    annotated.click(truth[truth.images[1]].xy[0])
    backend.enough.set()
    annotated.until_idle()
    assert annotated.app.step == 1
    assert truth.names[1] in annotated.viewer.canvas.overlays.text.text, (
        "the next landmark is still asked for"
    )
    annotated.push("status")
    assert annotated.app.step == 3


def test_results_of_another_folder_are_not_shown_on_this_one(
    annotated: Desktop, backend: FakeBackend, tmp_path: Path
) -> None:
    backend.steps = 10_000
    begin(annotated)
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    annotated.open(tmp_path / "others")
    backend.enough.set()
    annotated.until_idle()
    assert not annotated.session.predictions
    assert "training of xrays has ended" in annotated.said
    assert (backend.orders[0].out / "landmarks.csv").is_file()
    assert annotated.app.step == 1, "there is nothing to review in the folder that is open"


def test_wrong_folders_are_reported_and_change_nothing(annotated: Desktop, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("hello")
    before = dict(annotated.session.annotations)
    for path, words in (("empty", "no radiographs"), ("note.txt", "note.txt"), ("gone", "does not exist")):
        annotated.drop(tmp_path / path)
        annotated.until(lambda words=words: words in annotated.said)
    assert annotated.session.annotations == before
    assert annotated.session.cohort.folder.name == "xrays"


def test_an_unreadable_radiograph_is_reported_and_passed_over(desktop: Desktop, xrays: Path) -> None:
    (xrays / "phantom-002.png").write_bytes(b"\x89PNG broken")
    desktop.open(xrays)
    desktop.key(Qt.Key.Key_N)
    desktop.until_said("phantom-002.png")
    desktop.key(Qt.Key.Key_N)
    desktop.until_shown("phantom-003.png")


def test_a_finished_run_reopens_where_it_was_left(
    make_viewer: Callable[[], Viewer], xrays: Path, truth: LandmarkTable, backend: FakeBackend
) -> None:
    first = Desktop(make_viewer(), backend)
    first.open(xrays)
    first.widget.pages[1].import_points(str(_file(truth, xrays.parent)))
    first.train()
    worst = truth.images[3]
    first.show(worst)
    first.session.place(1, truth[worst].xy[1])
    first.app.session_store.preferences.minutes = 3.5
    left = (dict(first.session.predictions), first.session.annotations[worst].xy.copy())
    first.viewer.close()

    second = Desktop(make_viewer(), backend)
    second.drop(backend.orders[0].out)
    second.until(lambda: second.session.predictions and second.shown(worst))
    assert second.session.current == worst
    assert second.session.state(truth.images[0]) is State.EXEMPLAR
    assert second.session.state(worst) is State.CORRECTING
    np.testing.assert_allclose(second.session.annotations[worst].xy, left[1])
    for name, one in left[0].items():
        np.testing.assert_allclose(second.session.predictions[name].xy, one.xy)
    assert second.control("minutes").value() == 3.5
    assert second.app.step == 3
    second.push("evidence.similarity")
    second.until(lambda: second.app.context.canvas.layer("similarity"))
    second.widget.shut()


def test_another_folder_empties_the_layer_of_points_and_keeps_it(annotated: Desktop, tmp_path: Path) -> None:
    """Removing a layer that shows points crashes the next drawing in Mesa's OpenGL."""
    layer = annotated.layer
    assert len(layer.data) > 1
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    annotated.open(tmp_path / "others")
    assert annotated.layer is layer
    assert len(layer.data) == 0
    assert not annotated.session.annotations


def test_the_size_of_a_pixel_that_was_typed_belongs_to_its_folder(
    desktop: Desktop, xrays: Path, tmp_path: Path
) -> None:
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    desktop.open(xrays)
    field = desktop.control("spacing")
    field.setText("0.25")
    field.editingFinished.emit()
    desktop.until(lambda: desktop.session.cohort.spacing_mm == (0.25, 0.25))
    desktop.open(tmp_path / "others")
    assert desktop.session.cohort.spacing_mm is None
    assert field.text() == ""
    desktop.open(xrays)
    assert desktop.session.cohort.spacing_mm == (0.25, 0.25)
    assert field.text() == "0.25"
    field.setText("")
    field.editingFinished.emit()
    desktop.until(lambda: desktop.session.cohort.spacing_mm is None)


@pytest.mark.parametrize("language", ["en_US", "de_DE"])
def test_the_size_of_a_pixel_is_typed_with_either_sign(desktop: Desktop, xrays: Path, language: str) -> None:
    desktop.open(xrays)
    field = desktop.control("spacing")
    field.setLocale(QLocale(language))
    for text in ("0.25", "0,5"):
        field.clear()
        QTest.keyClicks(field, text)
        QTest.keyClick(field, Qt.Key.Key_Return)
        said = float(text.replace(",", "."))
        desktop.until(lambda said=said: desktop.session.cohort.spacing_mm == (said, said))
    field.clear()
    QTest.keyClicks(field, "0")
    QTest.keyClick(field, Qt.Key.Key_Return)
    desktop.until_said("give a size from 0.001 to 10")
    assert desktop.session.cohort.spacing_mm == (0.5, 0.5)


def test_points_are_recovered_after_a_crash(
    make_viewer: Callable[[], Viewer], xrays: Path, truth: LandmarkTable, backend: FakeBackend
) -> None:
    first = Desktop(make_viewer(), backend)
    first.open(xrays)
    first.widget.pages[1].import_points(str(_file(truth, xrays.parent)))
    first.app.session_store.flush()
    crashed = (xrays.parent / "xrays-onemark" / "session.json").read_text()
    first.widget.shut()
    (xrays.parent / "xrays-onemark" / "session.json").write_text(crashed)

    second = Desktop(make_viewer(), backend)
    second.open(xrays)
    assert "recovered" in second.said
    np.testing.assert_allclose(second.session.annotations[truth.images[0]].xy, truth[truth.images[0]].xy)
    second.go(5)
    second.push("export")
    second.until(lambda: second.said.startswith("Exported"))
    second.push("message.close")
    assert "recovered" in second.said, "the question is still to be answered"
    second.answer("Start without them")
    second.settle()
    assert not second.session.annotations
    kept = list((xrays.parent / "xrays-onemark").glob("session-set-aside*.json"))
    assert len(kept) == 1
    assert json.loads(kept[0].read_text())["annotations"] == json.loads(crashed)["annotations"]
    second.widget.shut()


def test_a_read_only_place_keeps_the_session_elsewhere(
    desktop: Desktop, xrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onemark.gui.state.autosave.may_write", lambda path: False)
    desktop.open(xrays)
    desktop.app.session_store.flush()
    assert not (xrays.parent / "xrays-onemark").exists()
    assert (desktop.app.session_store.work / "session.json").is_file()
    shutil.rmtree(desktop.app.session_store.work)


def _file(truth: LandmarkTable, folder: Path) -> Path:
    """Points of the first radiograph as a file."""
    LandmarkTable.from_sets([truth[truth.images[0]]]).to_csv(folder / "exemplar.csv")
    return folder / "exemplar.csv"
