"""Points belong to the radiograph in view, and nothing is decided that the person did not decide."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractSpinBox, QWidget

from onemark.data import cohort as cohorts
from onemark.data.landmarks.schema import schema_from_names
from onemark.data.landmarks.table import LandmarkTable
from onemark.gui import contributions
from onemark.gui.state.annotation import State
from onemark.gui.state.backend import RecipeInfo
from onemark.gui.state.session import Session
from onemark.gui.widgets.form import SettingsForm
from onemark.types import LandmarkSet, UserError

from .desktop import Desktop
from .fake_backend import MatchConfig


@pytest.fixture
def begun(desktop: Desktop, xrays: Path, truth: LandmarkTable) -> Desktop:
    """Four landmarks of the first radiograph are placed."""
    desktop.open(xrays)
    desktop.session.set_schema(schema_from_names(truth.names, "phantom"))
    for xy in truth[truth.images[0]].xy[:4]:
        desktop.click(xy)
    return desktop


def test_an_unreadable_radiograph_leaves_nothing_to_click_on(
    begun: Desktop, xrays: Path, truth: LandmarkTable
) -> None:
    first, second, third = truth.images[:3]
    (xrays / second).write_bytes(b"\x89PNG broken")
    begun.session.show(third)  # the second was decoded ahead
    begun.until_shown(third)
    begun.app.context.loader.use(begun.session.cohort)
    begun.show(first)
    placed = begun.session.annotations[first].xy[2].copy()
    begun.session.show(second)
    begun.until(lambda: second in begun.said)
    canvas = begun.app.context.canvas
    assert not any(canvas.layer(tag).visible for tag in ("radiograph", "landmarks"))
    assert not begun.viewer.canvas.overlays.text.visible
    assert canvas.radiograph is None
    assert len(begun.layer.data) == 0
    begun.drag(placed, placed + 20)
    begun.layer.mode = "add"
    begun.click(placed)
    assert second not in begun.session.annotations
    assert len(begun.layer.data) == 0
    np.testing.assert_allclose(begun.session.annotations[first].xy[2], placed)
    begun.show(first)
    assert all(canvas.layer(tag).visible for tag in ("radiograph", "landmarks"))
    assert len(begun.layer.data) == 4
    assert begun.layer.mode == "add"
    assert truth.names[4] in begun.viewer.canvas.overlays.text.text


def test_points_wait_for_a_radiograph_that_is_slow_to_decode(
    begun: Desktop, truth: LandmarkTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = truth.images[0], truth.images[5]
    placed = begun.session.annotations[first].xy[2].copy()
    decoded, original = threading.Event(), cohorts.decode_radiograph

    def slow(*args: object) -> object:
        decoded.wait(20)
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(cohorts, "decode_radiograph", slow)
    begun.session.show(last)
    begun.settle()
    begun.drag(placed, placed + 20)
    begun.click((40, 40))
    begun.app.context.points.nudge(1, 0)
    assert last not in begun.session.annotations
    assert len(begun.layer.data) == 4, "no ring that nobody keeps"
    assert "not in view yet" in begun.said
    np.testing.assert_allclose(begun.session.annotations[first].xy[2], placed)
    decoded.set()
    begun.until_shown(last)
    begun.click((40, 40))
    np.testing.assert_allclose(begun.session.annotations[last].xy[0], (40, 40), atol=0.6)


def test_a_click_places_a_point_after_the_folder_is_opened_again(begun: Desktop, xrays: Path) -> None:
    begun.open(xrays)
    begun.until(lambda: begun.shown(begun.session.current))
    assert begun.viewer.canvas.overlays.text.text.startswith("Click: ")
    assert begun.layer.mode == "add"
    begun.click((40, 40))
    np.testing.assert_allclose(begun.session.annotations[begun.session.current].xy[4], (40, 40), atol=0.6)


def test_the_sample_takes_the_place_of_the_radiograph_in_view(
    begun: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onemark.gui.controllers import opening

    monkeypatch.setattr("onemark.gui.controllers.opening.PHANTOMS", 3)
    monkeypatch.setattr(contributions, "open_widget", lambda viewer: begun.widget)
    threads = []
    written = opening.ensure_phantom
    monkeypatch.setattr(
        opening, "ensure_phantom", lambda: threads.append(threading.current_thread()) or written()
    )
    first = dict(begun.session.annotations)
    begun.viewer.open_sample("onemark", "phantom")
    assert [layer.name for layer in begun.viewer.layers] == ["radiograph"]
    begun.click((40, 40))
    assert begun.session.annotations == first, "nothing is placed by the phantom's picture"
    begun.until(lambda: begun.session.cohort.folder.name == "phantom")
    begun.until_shown("phantom-001.png")
    begun.show("phantom-002.png")
    assert [layer.name for layer in begun.viewer.layers] == ["radiograph", "landmarks"]
    shown = begun.app.context.canvas.layer("radiograph").data
    np.testing.assert_array_equal(shown, begun.session.cohort["phantom-002.png"].pixels)
    assert threads
    assert threading.main_thread() not in threads


def test_a_duplicated_landmarks_layer_is_listened_to_when_it_is_used(begun: Desktop, xrays: Path) -> None:
    from napari.layers import Points

    original = begun.layer
    copy = Points.create(*original.as_layer_data_tuple())
    copy.name = "landmarks copy"
    begun.viewer.add_layer(copy)
    begun.viewer.layers.remove(original)
    begun.open(xrays)
    begun.until(lambda: begun.layer is copy and begun.shown(begun.session.current))
    begun.settle()
    assert begun.layer.mode == "add"
    begun.click((40, 40))
    np.testing.assert_allclose(begun.session.annotations[begun.session.current].xy[4], (40, 40), atol=0.6)
    old = begun.session.annotations[begun.session.current].xy[2].copy()
    begun.drag(old, old + np.array([12, -9]))
    np.testing.assert_allclose(
        begun.session.annotations[begun.session.current].xy[2], old + np.array([12, -9]), atol=0.6
    )


def test_a_renamed_landmark_keeps_its_predictions_and_a_new_one_is_yet_to_be_placed(
    annotated: Desktop, truth: LandmarkTable
) -> None:
    annotated.train()
    second = truth.images[1]
    annotated.show(second)
    before = annotated.session.shown_annotation.xy.copy()
    names = ("turcica", *truth.names[1:], "novel")
    annotated.widget.pages[1].use_schema(schema_from_names(names, "phantom"), renaming=True)
    annotation = annotated.session.shown_annotation
    np.testing.assert_allclose(annotation.xy[:-1], before)
    assert not annotation.hidden.any()
    assert not annotation.complete
    assert "novel" in annotated.viewer.canvas.overlays.text.text
    assert not annotated.control("confirm").isEnabled()
    with pytest.raises(UserError, match="novel is not placed"):
        annotated.session.confirm()
    assert {one.names for one in annotated.session.collect_results()} == {names[:-1]}
    annotated.click((40, 40))
    annotated.key(Qt.Key.Key_Return)
    assert annotated.session.state(second) is State.CORRECTED
    np.testing.assert_allclose(annotated.session.annotations[second].xy[-1], (40, 40), atol=0.6)
    annotated.widget.pages[1].use_schema(schema_from_names(names[2:], "phantom"))
    annotated.answer("Change anyway")
    assert {name for one in annotated.session.collect_results() for name in one.names} == set(names[2:])


def test_points_of_a_part_of_the_landmarks_are_no_exemplar(
    desktop: Desktop, xrays: Path, truth: LandmarkTable, tmp_path: Path
) -> None:
    desktop.open(xrays)
    desktop.session.set_schema(schema_from_names(truth.names, "phantom"))
    one, blank = truth[truth.images[0]], truth[truth.images[1]].xy[:5].copy()
    blank[1] = np.nan
    part = [
        LandmarkSet(one.image, one.names[:5], one.xy[:5]),
        LandmarkSet(truth.images[1], one.names[:5], blank),
    ]
    LandmarkTable.from_sets(part).to_csv(tmp_path / "part.csv")
    desktop.widget.pages[1].import_points(str(tmp_path / "part.csv"))
    assert desktop.session.state(one.image) is State.ANNOTATING
    assert not desktop.session.annotations[one.image].hidden.any()
    assert list(np.flatnonzero(desktop.session.annotations[truth.images[1]].hidden)) == [1], (
        "the file knows it"
    )
    assert f"lacks {truth.names[5]}" in desktop.said


def test_another_set_asks_before_it_takes_the_place_of_placed_points(desktop: Desktop, xrays: Path) -> None:
    desktop.open(xrays)
    schema = desktop.control("schema")

    def choose(key: str) -> None:
        schema.setCurrentIndex(schema.findData(key))
        schema.activated.emit(schema.findData(key))
        desktop.settle(2)

    choose("lung6")
    for i in range(6):
        desktop.click((60 + 10 * i, 80))
    lungs = desktop.session.schema.names
    choose("isbi19")
    assert desktop.session.schema.names == lungs
    assert schema.currentText() == "6-point lung"
    assert f"the points of {lungs[0]}" in desktop.said
    desktop.answer("Change anyway")
    assert desktop.session.schema.names[0] == "sella"
    assert not desktop.session.shown_annotation.placed.any()


def test_a_form_that_nobody_has_touched_changes_no_setting_of_any_recipe(qtbot: Any) -> None:
    from onemark.gui.state.backend import Pipeline

    form = SettingsForm()
    qtbot.addWidget(form)
    form.show()
    for info in Pipeline().list_recipes():
        form.show_recipe(info, {})
        assert form.settings() == {}, info.name


def test_a_form_keeps_a_setting_that_has_more_decimals_than_it_shows(qtbot: Any) -> None:
    form = SettingsForm()
    qtbot.addWidget(form)
    info = RecipeInfo("onemark", "quick", {"match": MatchConfig()})
    form.show_recipe(info, {"match.learning_rate": 1 / 3000})
    assert form.settings() == {"match.learning_rate": 1 / 3000}
    form.show()
    assert form.settings() == {"match.learning_rate": 1 / 3000}
    form.findChild(QAbstractSpinBox, "onemark.settings.match.learning_rate").setValue(0.0005)
    form.findChild(QAbstractSpinBox, "onemark.settings.match.steps").setValue(33)
    assert form.settings() == pytest.approx({"match.learning_rate": 0.0005, "match.steps": 33})


def test_an_import_of_many_exemplars_is_reported_once(
    desktop: Desktop, xrays: Path, truth: LandmarkTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desktop.open(xrays)
    desktop.session.set_schema(schema_from_names(truth.names, "phantom"))
    desktop.go(2)
    truth.to_csv(tmp_path / "truth.csv")
    told: list[str] = []
    built: list[object] = []
    desktop.session.annotations_changed.connect(told.append)
    original = Session.exemplar_sets
    monkeypatch.setattr(Session, "exemplar_sets", lambda self: built.append(self) or original(self))
    desktop.widget.pages[1].import_points(str(tmp_path / "truth.csv"))
    assert told == [""]
    assert len(desktop.layer.data) == len(truth.names), "those of the radiograph in view are drawn"
    model = desktop.widget.panel.model
    assert {model.index(row, 1).data() for row in range(model.rowCount())} == {"exemplar"}
    desktop.settle()
    desktop.session.place(0, (50, 50))
    desktop.settle()
    assert not built, "nobody has asked for the exemplars yet"
    desktop.go(3)
    assert "6 radiographs" in desktop.control("inputs").text()
    assert desktop.widget.stepper.buttons[1].done


def test_an_import_asks_for_the_first_landmark_it_does_not_know(begun: Desktop, truth: LandmarkTable) -> None:
    second = truth.images[1]
    begun.show(second)
    part = LandmarkSet(second, truth.names[:3], truth[second].xy[:3])
    begun.session.import_annotations(LandmarkTable.from_sets([part]))
    assert begun.session.landmark == 3
    assert truth.names[3] in begun.viewer.canvas.overlays.text.text


def press(control: QWidget, *keys: Any, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
    control.setFocus()
    for key in keys:
        QTest.keyClick(control, key, modifier)


def test_the_keys_work_in_the_table_of_landmarks(begun: Desktop, truth: LandmarkTable) -> None:
    begun.go(2)
    table, session = begun.control("points"), begun.session
    press(table, Qt.Key.Key_Down)
    assert session.landmark == 5
    assert truth.names[5] in begun.viewer.canvas.overlays.text.text
    press(table, Qt.Key.Key_Up, Qt.Key.Key_Up)
    assert session.landmark == 3
    assert table.currentIndex().row() == 3
    press(table, Qt.Key.Key_E)
    assert session.landmark == 4
    press(table, Qt.Key.Key_W)
    assert session.shown_annotation.hidden[4]
    session.select(2)
    before = session.shown_annotation.xy[2].copy()
    press(table, Qt.Key.Key_Right, modifier=Qt.KeyboardModifier.ShiftModifier)
    np.testing.assert_allclose(session.shown_annotation.xy[2], before + np.array([1, 0]))
    for key, expected in ((Qt.Key.Key_N, 1), (Qt.Key.Key_PageDown, 2), (Qt.Key.Key_PageUp, 1)):
        press(table, key)
        assert session.current == truth.images[expected]
        begun.until(lambda: begun.shown(session.current))


def test_pages_in_the_list_of_radiographs_go_to_the_next(begun: Desktop, truth: LandmarkTable) -> None:
    press(begun.control("images"), Qt.Key.Key_PageDown)
    assert begun.session.current == truth.images[1]
    press(begun.control("images"), Qt.Key.Key_Down)
    assert begun.session.current == truth.images[2]
    begun.until(lambda: begun.shown(begun.session.current))


@pytest.mark.parametrize(("step", "name"), [(2, "landmark.next"), (5, "export.csv"), (2, "next")])
def test_the_keys_work_while_a_button_has_the_focus(
    begun: Desktop, truth: LandmarkTable, step: int, name: str
) -> None:
    begun.go(step)
    session, button = begun.session, begun.control(name)
    session.select(2)
    before = session.shown_annotation.xy[2].copy()
    press(button, Qt.Key.Key_Down, Qt.Key.Key_Left, modifier=Qt.KeyboardModifier.ShiftModifier)
    np.testing.assert_allclose(session.shown_annotation.xy[2], before + np.array([-1, 1]))
    session.select(2)
    press(button, Qt.Key.Key_PageDown)
    assert session.current == truth.images[1]
    begun.until(lambda: begun.shown(session.current))


def test_colours_go_by_the_size_of_the_radiograph_where_no_scale_is_known(begun: Desktop) -> None:
    points, canvas = begun.app.context.points, begun.app.context.canvas
    assert points.limit == 4.0, "mm, of the preferences"
    canvas.radiograph = replace(canvas.radiograph, pixels=np.zeros((900, 700), np.float32), spacing=None)
    assert points.limit == 16
