"""Measurements in the window: live values, strokes on the radiograph, and a column of the list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtTest import QTest

from onemark.data.landmarks.schema import schema_from_names
from onemark.data.landmarks.table import LandmarkTable
from onemark.gui.canvas.layers import STROKES
from onemark.measurement.live import read_measurements
from onemark.measurement.sets import load_set

from .desktop import Desktop

SNP = """
title = "Two"
facing = ["sella", "nasion", "menton"]
[landmarks]
sella = []
nasion = []
menton = []
[[measurement]]
name = "S-N-Me"
formula = "angle(sella, nasion, menton)"
unit = "deg"
[[measurement]]
name = "S-Me"
formula = "distance(sella, menton)"
unit = "mm"
"""


@pytest.fixture
def measured(annotated: Desktop, tmp_path: Path) -> Desktop:
    """The page of measurements is in view, with a set of two."""
    (tmp_path / "two.toml").write_text(SNP, encoding="utf-8")
    annotated.push("tab.measurements")
    annotated.widget.measure.choose(str(tmp_path / "two.toml"))
    annotated.until(lambda: annotated.app.measuring.readings)
    return annotated


def _value(desktop: Desktop, name: str) -> float:
    readings = {one.name: one.value for one in desktop.app.measuring.readings}
    return float(readings[name])


def _point(desktop: Desktop, name: str) -> np.ndarray:
    session = desktop.session
    return np.array(session.shown_annotation.xy[session.schema.names.index(name)])


def test_it_shows_the_values_that_the_library_gives(measured: Desktop, tmp_path: Path) -> None:
    radiograph = measured.app.context.canvas.radiograph
    own = measured.session.exemplar_sets()[0]
    expected = read_measurements(own, load_set(tmp_path / "two.toml"), radiograph.spacing)
    table = measured.control("measurements").model()
    assert [table.index(row, 0).data() for row in range(2)] == ["S-N-Me", "S-Me"]
    measured.until(lambda: bool(table.index(0, 1).data()))
    for row, one in enumerate(expected):
        assert table.index(row, 1).data() == f"{one.value:.1f} {one.unit}"


def test_values_and_lines_follow_a_point_before_the_mouse_lets_go(measured: Desktop) -> None:
    measured.control("measurements").selectAll()
    measured.push("measure.draw")
    measured.until(lambda: measured.app.context.canvas.layer(STROKES))
    layer = measured.app.context.canvas.layer(STROKES)
    assert len(layer.data) == 4  # two legs, an arc, a distance
    start, before = _point(measured, "menton"), _value(measured, "S-Me")
    end = start - np.array([0, 40])
    measured.mouse(QEvent.Type.MouseMove, measured.at(start), pressed=False)
    measured.mouse(QEvent.Type.MouseButtonPress, measured.at(start))
    for share in (0.3, 0.6, 1.0):
        measured.mouse(QEvent.Type.MouseMove, measured.at(start + share * (end - start)))
        measured.settle(20)
    assert np.allclose(_point(measured, "menton"), start)  # the session follows at the end only
    during = _value(measured, "S-Me")
    assert abs(during - before) > 1
    assert any(np.allclose(line, end[::-1], atol=3) for stroke in layer.data for line in stroke)
    measured.mouse(QEvent.Type.MouseButtonRelease, measured.at(end))
    measured.until(lambda: not np.allclose(_point(measured, "menton"), start))
    measured.settle(40)
    assert _value(measured, "S-Me") == pytest.approx(during, rel=0.02)


def test_all_strokes_share_one_layer_which_can_be_removed(measured: Desktop) -> None:
    measured.control("measurements").selectAll()
    measured.push("measure.draw")
    measured.until(lambda: measured.app.context.canvas.layer(STROKES))
    names = list(measured.session.cohort.names)
    measured.show(names[1])
    assert sum(type(layer).__name__ == "Shapes" for layer in measured.viewer.layers) == 1
    measured.viewer.layers.remove(measured.app.context.canvas.layer(STROKES))
    measured.settle()
    assert not measured.control("measure.draw").isChecked()
    measured.show(names[0])
    measured.settle(40)
    assert measured.app.context.canvas.layer(STROKES) is None


def test_predictions_have_intervals_and_corrected_points_count_as_sure(measured: Desktop) -> None:
    measured.train()
    measured.push("tab.measurements")
    name = next(n for n in measured.session.predictions if n not in measured.session.annotations)
    measured.show(name)
    measured.until(lambda: measured.app.measuring.readings and "±" in _shown(measured))
    halves = [one.high - one.low for one in measured.app.measuring.readings]
    at = measured.session.schema.names.index("menton")
    measured.session.place(at, measured.session.shown_annotation.xy[at] + 4)
    measured.until(lambda: [o.high - o.low for o in measured.app.measuring.readings] < halves)


def _shown(desktop: Desktop) -> str:
    return str(desktop.control("measurements").model().index(0, 1).data())


def test_the_list_sorts_by_a_measurement(measured: Desktop, truth: LandmarkTable) -> None:
    measured.session.import_annotations(truth)
    box = measured.control("column")
    measured.push("tab.radiographs")
    box.setCurrentIndex(box.findData("S-Me"))
    box.activated.emit(box.currentIndex())
    measured.until(lambda: measured.app.measuring.column)
    model = measured.widget.panel.model
    assert model.headerData(2, Qt.Orientation.Horizontal).startswith("S-Me")
    header = measured.widget.panel.view.horizontalHeader()
    x = header.sectionViewportPosition(2) + 12
    QTest.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=header.rect().center().__class__(x, 8))
    measured.settle()
    values = [measured.app.measuring.column.values[name] for name in model.order]
    assert len(values) == len(truth)
    assert values == sorted(values) or values == sorted(values, reverse=True)
    box.setCurrentIndex(0)
    box.activated.emit(0)
    measured.until(lambda: measured.app.measuring.column is None)
    assert model.headerData(2, Qt.Orientation.Horizontal).startswith("Exp. error")


def test_a_set_that_does_not_fit_is_refused_and_landmarks_without_one_say_so(
    measured: Desktop, tmp_path: Path
) -> None:
    (tmp_path / "other.toml").write_text(SNP.replace("sella", "ulna"), encoding="utf-8")
    measured.widget.measure.choose(str(tmp_path / "other.toml"))
    assert "landmarks" in measured.said
    assert measured.app.measuring.chosen.title == "Two"
    measured.app.session_store.preferences.measurements = ""
    measured.session.set_schema(schema_from_names(["left", "right"], "hips"))
    measured.settle()
    assert "Choose a set for these landmarks" in measured.control("measure.says").text()


def test_the_set_and_the_column_come_back(measured: Desktop, xrays: Path, tmp_path: Path) -> None:
    measured.app.measuring.show_column("S-Me")
    measured.until(lambda: measured.app.measuring.column)
    measured.app.session_store.flush()
    measured.open(xrays)
    measured.until(lambda: measured.app.measuring.column)
    assert measured.app.measuring.chosen.title == "Two"
    assert measured.control("column").currentData() == "S-Me"
