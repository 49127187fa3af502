"""The page of measurements: a set, the values of the radiograph in view, and their lines on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QHideEvent, QResizeEvent, QShowEvent
from qtpy.QtWidgets import QAbstractItemView, QCheckBox, QComboBox, QFileDialog, QHeaderView, QWidget

from onemark.gui.controllers.app import App
from onemark.gui.pages.reading import BeginReading
from onemark.gui.widgets.keys import KeyedTable
from onemark.gui.widgets.parts import ElidedBox, lay_column, lay_flow, make_label, name_control
from onemark.gui.widgets.readings_table import NAME, VALUE, Readings
from onemark.measurement.sets.fitting import DEFAULT

FILE = "file"


class MeasurePage(QWidget):
    """Angles, distances and ratios of the radiograph in view; they follow a point while it is dragged."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self.model = Readings(self)
        self._set = self._make_set_box()
        self._draw: QCheckBox = name_control(
            QCheckBox("Draw"), "measure.draw", "Draw the selected measurements on the radiograph"
        )
        self._says = make_label("", "hint", name="measure.says")
        self.view = self._make_table()
        box = lay_column(self, spacing=5)
        box.addLayout(lay_flow(self._set, self._draw))
        box.addWidget(self._says)
        box.addWidget(self.view, 1)
        box.addWidget(BeginReading(app))
        self._draw.toggled.connect(lambda on: self._on_selected())
        measuring = app.measuring
        measuring.chosen_changed.connect(self.refresh)
        measuring.stopped_drawing.connect(lambda: self._draw.setChecked(False))
        measuring.read.connect(self.model.show_readings)
        app.opening.opened.connect(self.refresh)
        self.refresh()

    def showEvent(self, event: QShowEvent) -> None:
        """Measure while the page is in view."""
        self.app.measuring.watch(True)
        super().showEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        """Measure no more."""
        self.app.measuring.watch(False)
        super().hideEvent(event)

    def minimumSizeHint(self) -> QSize:
        """As high as its rows are at this width, so that none covers the table."""
        hint = super().minimumSizeHint()
        width = max(self.width(), hint.width())
        return QSize(hint.width(), max(hint.height(), self.layout().minimumHeightForWidth(width)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Ask for more room where a narrower panel breaks a row."""
        super().resizeEvent(event)
        self.updateGeometry()

    def refresh(self) -> None:
        """Show the set and its measurements."""
        chosen = self.app.measuring.chosen
        self._fill_sets()
        self.model.show_set(chosen.measurements if chosen else ())
        self.model.show_readings(self.app.measuring.readings)
        if chosen and not self.view.selectionModel().hasSelection():
            self.view.selectRow(0)
        self._draw.setEnabled(chosen is not None)
        self._says.setText(_explain(chosen is not None, len(self.app.session.schema)))
        self._says.setVisible(bool(self._says.text()))

    def choose(self, which: str) -> None:
        """Measure another set."""
        self.app.context.try_to("reading the set", lambda: self.app.measuring.choose(which))
        self.refresh()

    def _on_selected(self, *about: Any) -> None:
        rows = self.view.selectionModel().selectedRows()
        names = [self.model.measurements[row.row()].name for row in rows]
        self.app.measuring.draw(names, self._draw.isChecked())

    def _make_set_box(self) -> QComboBox:
        box: QComboBox = name_control(ElidedBox(), "measure.set", "The set of measurements")
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(12)
        box.setPlaceholderText("Choose a set")
        box.activated.connect(self._on_set_chosen)
        return box

    def _fill_sets(self) -> None:
        which = self.app.session_store.preferences.measurements
        self._set.clear()
        self._set.addItem("Cephalometric (ISBI-19)", DEFAULT)
        if which not in ("", DEFAULT):
            self._set.addItem(Path(which).stem, which)
        self._set.addItem("Set from a file…", FILE)
        chosen = self.app.measuring.chosen
        self._set.setCurrentIndex(self._set.findData(which or (chosen.name if chosen else "")))

    def _on_set_chosen(self, index: int) -> None:
        which = self._set.itemData(index)
        if which == FILE:
            which, _ = QFileDialog.getOpenFileName(self, "Set of measurements", "", "Sets (*.toml)")
            if not which:
                self._fill_sets()
                return
        self.choose(which)

    def _make_table(self) -> KeyedTable:
        view: KeyedTable = name_control(
            KeyedTable(self), "measurements", "The measurements. Select the ones to draw"
        )
        view.setModel(self.model)
        view.setShowGrid(False)
        view.setWordWrap(False)
        view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        view.verticalHeader().hide()
        row = view.fontMetrics().height() + 7
        view.verticalHeader().setDefaultSectionSize(row)
        _fit_columns(view.horizontalHeader())
        view.setMinimumHeight(3 * row + 2 * view.frameWidth())
        view.selectionModel().selectionChanged.connect(self._on_selected)
        return view


def _fit_columns(header: QHeaderView) -> None:
    header.setHighlightSections(False)
    header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(VALUE, QHeaderView.ResizeMode.Stretch)


def _explain(measurable: bool, landmarks: int) -> str:
    if measurable:
        return ""
    if not landmarks:
        return "Choose landmarks in step 2 first."
    return "Choose a set for these landmarks. `onemark measure --template my.toml` in a terminal writes one to change."
