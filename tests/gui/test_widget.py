"""The widget itself: controls, keys, themes, size, and 10,000 radiographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtGui import QFontMetrics
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QTableView

from onemark.data import cohort as cohorts
from onemark.data.landmarks.schema import load_shipped, schema_from_names
from onemark.data.landmarks.table import LandmarkTable
from onemark.gui.canvas.palette import to_hex
from onemark.gui.controllers import opening
from onemark.gui.state.annotation import State
from onemark.gui.state.predictions import Predictions
from onemark.gui.widgets.keys_dialog import KeysDialog
from onemark.types import Evidence, LandmarkSet, Radiograph

from .desktop import WINDOW, Desktop
from .fake_backend import FakeBackend, FakeModel

KINDS = (QAbstractButton, QComboBox, QAbstractSpinBox, QLineEdit, QTableView)
PROMISED = (
    "open images schema points recipe minutes device run stop previous next retrain export "
    "sample confirm resume filter undo redo landmark.next landmark.previous landmark.skip keys"
)


def test_every_control_has_a_name_a_tooltip_and_the_focus_by_tab(desktop: Desktop) -> None:
    desktop.until(lambda: desktop.app.training.recipes)
    for name in PROMISED.split():
        desktop.control(name)
    controls = [one for kind in KINDS for one in desktop.widget.findChildren(kind)]
    controls = [one for one in controls if not one.objectName().startswith("qt_") and _own(one)]
    assert len(controls) > 40
    for one in controls:
        assert one.objectName().startswith("onemark."), one
        assert one.toolTip(), one.objectName()
        assert one.focusPolicy() & Qt.FocusPolicy.TabFocus, one.objectName()


def _own(control: object) -> bool:
    """Not a part that Qt or pyqtgraph put inside a control of ours."""
    parent = control.parent()  # type: ignore[attr-defined]
    kind = type(parent).__name__
    inside = isinstance(parent, (QComboBox, QAbstractSpinBox, QLineEdit, QTableView)) or "Header" in kind
    return not inside and "Plot" not in kind and "Spin" not in kind


def test_it_fits_beside_the_canvas_without_scrolling_sideways(annotated: Desktop) -> None:
    annotated.train()
    annotated.go(3)
    annotated.push("advanced")
    for step in range(1, 6):
        annotated.go(step)
        annotated.settle()
        area = annotated.page
        assert area.widget().minimumSizeHint().width() <= area.viewport().width(), f"step {step}"
    assert (annotated.window.width(), annotated.window.height()) == WINDOW
    assert annotated.canvas.width() >= 500


def test_the_keys_are_listed_one_key_away(desktop: Desktop) -> None:
    desktop.key(Qt.Key.Key_F1)
    dialog = desktop.widget.findChild(KeysDialog)
    assert dialog.isVisible()
    from qtpy.QtWidgets import QLabel

    texts = {label.text() for label in dialog.findChildren(QLabel)}
    for action in desktop.widget.key_actions:
        if action.text:
            assert action.text in texts
            assert action.label in texts
    dialog.close()


def test_no_key_of_napari_is_taken(desktop: Desktop) -> None:
    from napari.utils.key_bindings import coerce_keybinding
    from napari.utils.shortcuts import default_shortcuts

    napari = {str(key) for name, keys in default_shortcuts.items() if _ours(name) for key in keys}
    mine = {str(coerce_keybinding(key)) for action in desktop.widget.key_actions for key in action.keys}
    assert not mine & napari


def _ours(name: str) -> bool:
    """Bindings that are live while onemark is used: not those of Labels and Shapes layers."""
    others = (
        "label",
        "polygon",
        "shape",
        "vertex",
        "ellipse",
        "rectangle",
        "line",
        "path",
        "lasso",
        "brush",
        "plane",
    )
    return not any(part in name for part in (*others, "direct_mode", "image", "contrast"))


def test_the_keys_are_given_back(desktop: Desktop) -> None:
    bound = len(desktop.viewer.keymap)
    desktop.widget.shut()
    left = [key for key, act in desktop.viewer.keymap.items() if act is not None]
    assert bound > len(left)
    assert not any("onemark" in getattr(desktop.viewer.keymap[key], "__module__", "") for key in left)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_text_is_legible_in_every_theme(desktop: Desktop, theme: str) -> None:
    desktop.viewer.theme = theme
    desktop.settle()
    ours = desktop.widget.theme
    assert ours.dark == (theme == "dark")
    for colour in (ours.text, ours.muted, ours.good, ours.warn, ours.bad):
        assert _contrast(colour, ours.ground) > 3.5, colour
    assert _contrast(ours.on_accent, ours.accent) > 3.5


def _contrast(first: str, second: str) -> float:
    """WCAG contrast ratio."""

    def luminance(colour: str) -> float:
        values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(values <= 0.03928, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_the_form_follows_the_recipe_and_reaches_the_training(
    annotated: Desktop, backend: FakeBackend
) -> None:
    annotated.go(3)
    annotated.until(lambda: annotated.app.training.recipes)
    annotated.push("advanced")
    steps = annotated.control("settings.match.steps")
    assert "How many steps" in steps.toolTip()
    assert (steps.minimum(), steps.maximum(), steps.value()) == (1, 100_000, 20)
    steps.setValue(33)
    annotated.control("settings.match.learning_rate").setValue(0.0005)
    annotated.push("run")
    annotated.until_idle()
    assert backend.orders[0].settings == pytest.approx({"match.steps": 33, "match.learning_rate": 0.0005})
    assert "no NVIDIA GPU" in annotated.control("device.description").text()
    box = annotated.control("recipe")
    box.setCurrentIndex(1)
    box.activated.emit(1)
    assert not annotated.widget.findChildren(QAbstractSpinBox, "onemark.settings.match.steps")
    assert not annotated.app.session_store.preferences.settings


def test_ten_thousand_radiographs_open_without_reading_one(
    desktop: Desktop, xrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(10_000):
        (folder / f"x{number}.png").hardlink_to(xrays / "phantom-001.png")
    read: list[str] = []
    original = cohorts.decode_radiograph

    def counted(source: object, where: object, name: str, spacing: object = None) -> object:
        read.append(name)
        return original(source, where, name, spacing)

    monkeypatch.setattr(cohorts, "decode_radiograph", counted)
    desktop.open(folder)
    model = desktop.widget.panel.model
    assert model.rowCount() == 10_000
    assert model.order[:3] == ["x0.png", "x1.png", "x2.png"]
    desktop.settle(20)
    assert set(read) <= {"x0.png", "x1.png"}, "the one in view and the next"
    errors = np.random.default_rng(0).uniform(0, 9, 10_000)
    names = desktop.session.cohort.names
    desktop.session.set_schema(load_shipped("lung6"))
    one = np.full((6, 2), 50.0)
    found = (
        LandmarkSet(n, load_shipped("lung6").names, one, np.ones(6), np.full(6, e), "px")
        for n, e in zip(names, errors, strict=True)
    )
    desktop.session.set_predictions(Predictions.from_sets(found, desktop.session.cohort))
    assert model.order[0] == names[int(errors.argmax())]
    desktop.control("filter").setText("x99")
    assert model.rowCount() == 111
    assert set(read) <= {"x0.png", "x1.png"}


def test_typed_letters_go_to_the_field_and_not_to_the_keys(annotated: Desktop) -> None:
    from qtpy.QtTest import QTest

    field = annotated.control("filter")
    field.setFocus()
    QTest.keyClicks(field, "new")
    assert field.text() == "new"
    assert annotated.session.current == "phantom-001.png"


def test_enter_ends_the_typing_and_confirms_nothing(annotated: Desktop) -> None:
    from qtpy.QtTest import QTest

    annotated.train()
    name = annotated.widget.panel.model.order[0]
    annotated.show(name)
    for control in ("retrain.minutes", "filter"):
        field = annotated.control(control)
        field.setFocus()
        QTest.keyClicks(field, "2n")
        QTest.keyClick(field, Qt.Key.Key_Return)
        annotated.settle()
    assert annotated.session.current == name
    assert annotated.session.state(name) is State.PREDICTED
    annotated.control("images").setFocus()
    QTest.keyClick(annotated.control("images"), Qt.Key.Key_Return)
    assert annotated.session.state(name) is State.CORRECTED


def test_predicted_points_are_coloured_by_expected_error(annotated: Desktop) -> None:
    annotated.train()
    name = next(n for n in annotated.widget.panel.model.order if n != "phantom-001.png")
    annotated.show(name)
    errors = annotated.session.predictions[name].expected_error
    colours = annotated.layer.border_color
    worst, best = int(np.argmax(errors)), int(np.argmin(errors))
    assert to_hex(colours[worst]) != to_hex(colours[best])
    assert colours[worst][0] > colours[best][0]


def test_evidence_is_one_layer_per_kind_and_follows_the_landmark(annotated: Desktop) -> None:
    annotated.train()
    model = annotated.app.training.model
    annotated.push("evidence.similarity")
    annotated.until(lambda: annotated.app.context.canvas.layer("similarity"))
    first = annotated.app.context.canvas.layer("similarity").data.copy()
    annotated.key(Qt.Key.Key_E)
    annotated.until(lambda: not np.array_equal(annotated.app.context.canvas.layer("similarity").data, first))
    for kind in ("heatmap", "warped-exemplar", "deformation-grid"):
        annotated.push(f"evidence.{kind}")
    annotated.until(lambda: annotated.app.context.canvas.layer("deformation grid"))
    annotated.key(Qt.Key.Key_N)
    annotated.until(lambda: annotated.app.context.canvas.layer("similarity").visible)
    tags = [layer.metadata.get("onemark") for layer in annotated.viewer.layers]
    assert len(tags) == len(set(tags)) == 7, "with the hidden preview"
    assert model.asked[-1][0] == annotated.session.current
    scales = {tuple(layer.scale) for layer in annotated.viewer.layers}
    assert len(scales) == 1
    level = annotated.control("evidence.similarity.level")
    assert [level.itemText(i) for i in range(level.count())] == ["s2", "s4", "s8", "product"]
    annotated.push("evidence.similarity")
    assert not annotated.app.context.canvas.layer("similarity").visible


class Warping(FakeModel):
    """Matches by a deformation: no heatmap, another kind of map, and nothing known outside its canvas."""

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        found = super().explain(radiograph, landmark)
        assert found.field is not None
        found.field[:40] = np.nan
        warped = found.maps["warped exemplar"].copy()
        warped[:40] = np.nan
        maps = {"warped exemplar": warped, "edges s1": warped, "edges s2": warped}
        return Evidence(found.image, found.landmark, maps, found.field)


def test_a_recipe_that_bends_the_exemplar_shows_it_and_its_grid(
    annotated: Desktop, backend: FakeBackend
) -> None:
    annotated.train()
    annotated.push("evidence.heatmap")
    annotated.until(lambda: annotated.app.context.canvas.layer("heatmap"))
    backend.model = Warping
    annotated.app.training.open_run()
    annotated.until(lambda: not annotated.control("evidence.heatmap").isVisibleTo(annotated.widget))
    assert not annotated.app.context.canvas.layer("heatmap").visible, "the map of the last model"
    for kind in ("warped-exemplar", "deformation-grid", "edges"):
        annotated.push(f"evidence.{kind}")
    annotated.until(lambda: annotated.app.context.canvas.layer("edges"))
    canvas = annotated.app.context.canvas
    assert canvas.layer("warped exemplar").data.shape == canvas.radiograph.size
    assert np.isfinite(canvas.layer("warped exemplar").data).all()
    grid = canvas.layer("deformation grid").data
    assert np.isfinite(grid).all()
    assert grid[:, 0, 0].min() > 30, "no line where the deformation is not known"
    assert len(grid) > 200
    level = annotated.control("evidence.edges.level")
    assert [level.itemText(i) for i in range(level.count())] == ["s1", "s2"]


def test_removed_evidence_is_switched_off(annotated: Desktop) -> None:
    annotated.train()
    annotated.push("evidence.similarity")
    canvas = annotated.app.context.canvas
    annotated.until(lambda: canvas.layer("similarity"))
    annotated.viewer.layers.remove(canvas.layer("similarity"))
    assert not annotated.control("evidence.similarity").isChecked()
    annotated.key(Qt.Key.Key_E)
    annotated.settle(100)
    assert canvas.layer("similarity") is None
    annotated.push("evidence.similarity")
    annotated.until(lambda: canvas.layer("similarity"))


def test_a_smaller_radiograph_fills_the_canvas_whatever_was_shown_before(
    desktop: Desktop, xrays: Path, truth: LandmarkTable
) -> None:
    first = truth.images[0]
    with Image.open(xrays / first) as large:
        large.resize((64, 80)).save(xrays / "small.png")
    desktop.open(xrays)
    desktop.session.set_schema(schema_from_names(truth.names, "phantom"))
    desktop.session.import_annotations(LandmarkTable.from_sets([truth[first]]))
    desktop.train()
    desktop.push("evidence.deformation-grid")
    desktop.push("evidence.similarity")
    canvas = desktop.app.context.canvas
    desktop.until(lambda: canvas.layer("similarity"))
    desktop.show("small.png")
    assert "not in view" not in desktop.said
    height = canvas.placement["scale"][0] * 80 * desktop.viewer.scene.camera.zoom
    assert height > 0.8 * desktop.canvas.height()
    desktop.show(first)
    desktop.until(lambda: canvas.layer("similarity") and canvas.layer("similarity").visible)
    assert len(desktop.layer.data) == len(truth.names)


def test_the_training_page_says_what_was_really_asked_for(annotated: Desktop, backend: FakeBackend) -> None:
    annotated.go(3)
    annotated.until(lambda: annotated.app.training.recipes)
    annotated.control("minutes").setValue(2.5)
    backend.steps = 10_000
    annotated.push("run")
    assert "onemark, 2.5 min, CPU" in annotated.control("inputs").text()
    backend.enough.set()
    annotated.until_idle()
    backend.enough.clear()
    second = annotated.widget.panel.model.order[0]
    annotated.show(second)
    annotated.push("confirm")
    annotated.control("retrain.minutes").setValue(0.7)
    annotated.push("retrain")
    assert "0.7 min" in annotated.control("inputs").text()
    assert "2.5" not in annotated.control("inputs").text()
    backend.enough.set()
    annotated.until_idle()


def test_folders_opened_lately_fit_however_long_their_names(
    desktop: Desktop, xrays: Path, tmp_path: Path
) -> None:
    long = tmp_path / ("a very long name of a clinic" * 3) / ("and of one of its many studies" * 3)
    long.mkdir(parents=True)
    opening.remember_folder(long)
    desktop.widget.pages[0].refresh()
    desktop.settle()
    area = desktop.page
    assert desktop.control("recent.0").isVisibleTo(desktop.widget)
    assert area.widget().minimumSizeHint().width() <= area.viewport().width()
    assert str(long) in desktop.control("recent.0").toolTip()


def test_it_is_sharp_and_fits_at_large_fonts(desktop: Desktop) -> None:
    font = desktop.widget.font()
    font.setPointSizeF(font.pointSizeF() * 1.5)
    desktop.widget.setFont(font)
    desktop.settle()
    for button in desktop.widget.stepper.buttons:
        assert button.width() >= QFontMetrics(button.font()).horizontalAdvance(button.text())
