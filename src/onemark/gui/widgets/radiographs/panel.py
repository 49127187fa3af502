"""The list of radiographs below the steps: find, sort, go to the next."""

from __future__ import annotations

from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtWidgets import QAbstractItemView, QComboBox, QHeaderView, QLineEdit, QSizePolicy, QWidget

from onemark.gui.controllers.app import App
from onemark.gui.widgets.keys import KeyedTable
from onemark.gui.widgets.parts import (
    ElidedBox,
    group,
    lay_column,
    lay_flow,
    make_label,
    make_tool,
    name_control,
)
from onemark.gui.widgets.radiographs.table import ERROR, NAME, STATE, Radiographs


class RadiographPanel(QWidget):
    """The list, the filter, previous and next."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self.model = Radiographs(app.session, self)
        self.view = self._make_table()
        self._where = make_label("", "hint", wrap=False)
        self._filter = _make_filter()
        self._filter.textChanged.connect(self.model.filter)
        previous = make_tool("previous", "◀", "Previous radiograph (B)", lambda: app.viewing.step(-1))
        following = make_tool("next", "▶", "Next radiograph (N)", lambda: app.viewing.step(1))
        self._column = self._make_column_box()
        box = lay_column(self, spacing=5)
        box.addLayout(lay_flow(self._filter, self._column, group(self._where, previous, following)))
        box.addWidget(self.view, 1)
        self._listen()

    def sort_worst_first(self) -> None:
        """Sort by expected error, the largest on top."""
        self.view.sortByColumn(ERROR, Qt.SortOrder.DescendingOrder)

    def sort_suggested_first(self) -> None:
        """Sort by state, which puts suggested radiographs on top."""
        self.view.sortByColumn(STATE, Qt.SortOrder.AscendingOrder)

    def _listen(self) -> None:
        self.model.modelReset.connect(self._on_reset)
        self.app.session.current_changed.connect(self._follow)
        self.app.session.predictions_changed.connect(self._on_predicted)
        self.app.session.suggestion_changed.connect(self._on_suggestion)
        for changed in (self.app.session.cohort_changed, self.app.session.reading_changed):
            changed.connect(lambda: self.view.sortByColumn(NAME, Qt.SortOrder.AscendingOrder))
        self.app.viewing.shown.connect(self._show_unit)
        self.app.measuring.chosen_changed.connect(self._fill_columns)
        self.app.measuring.column_changed.connect(self._on_column_changed)

    def _make_column_box(self) -> QComboBox:
        box: QComboBox = name_control(
            ElidedBox(), "column", "What the last column shows; click its title to sort by it"
        )
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(10)
        box.addItem("Exp. error", "")
        box.activated.connect(lambda index: self.app.measuring.show_column(box.itemData(index)))
        return box

    def _fill_columns(self) -> None:
        chosen, wanted = self.app.measuring.chosen, self.app.session_store.preferences.column
        while self._column.count() > 1:
            self._column.removeItem(1)
        for one in chosen.measurements if chosen else ():
            self._column.addItem(one.name, one.name)
        self._column.setCurrentIndex(max(self._column.findData(wanted), 0))

    def _on_column_changed(self) -> None:
        self._fill_columns()
        self.model.set_column(self.app.measuring.column)

    def _on_predicted(self) -> None:
        # A person who sorts by a measurement wants to keep that order.
        if self.model.column is None:
            self.sort_worst_first()

    def _make_table(self) -> KeyedTable:
        view: KeyedTable = name_control(KeyedTable(self), "images", "The radiographs; click a column to sort")
        view.setModel(self.model)
        view.setSortingEnabled(True)
        view.setShowGrid(False)
        view.setWordWrap(False)
        view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        view.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        view.verticalHeader().hide()
        view.verticalHeader().setDefaultSectionSize(view.fontMetrics().height() + 7)
        header = view.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        view.letters_changed.connect(lambda: _fit_columns(view))
        _fit_columns(view)
        view.setMinimumHeight(110)
        view.sortByColumn(NAME, Qt.SortOrder.AscendingOrder)
        view.selectionModel().currentRowChanged.connect(self._on_row_changed)
        return view

    def _on_row_changed(self, now: QModelIndex, before: QModelIndex) -> None:
        if now.isValid() and self.model.order[now.row()] != self.app.session.current:
            self.app.session.show(self.model.order[now.row()])

    def _on_reset(self) -> None:
        self.app.viewing.order = self.model.order
        self._follow()

    def _on_suggestion(self) -> None:
        if self.app.session.suggestion is not None:
            self.sort_suggested_first()

    def _follow(self) -> None:
        at = self.model.row_of(self.app.session.current)
        total = len(self.model.order)
        self._where.setText(f"{at + 1:,} / {total:,}" if at is not None else f"{total:,}" if total else "")
        if at is not None and at != self.view.currentIndex().row():
            self.view.setCurrentIndex(self.model.index(at, NAME))
            self.view.scrollTo(self.model.index(at, NAME))

    def _show_unit(self, name: str) -> None:
        radiograph = self.app.context.canvas.radiograph
        self.model.unit = "mm" if radiograph is not None and radiograph.spacing else "px"
        self.model.headerDataChanged.emit(Qt.Orientation.Horizontal, ERROR, ERROR)


def _fit_columns(view: KeyedTable) -> None:
    text, header = view.fontMetrics(), view.horizontalHeader()
    header.resizeSection(STATE, text.horizontalAdvance("annotate 1st") + 26)
    header.resizeSection(ERROR, text.horizontalAdvance("Exp. error (mm)") + 30)
    header.setMinimumHeight(text.height() + 10)
    header.setMinimumSectionSize(text.horizontalAdvance("Radiograph") + 26)


def _make_filter() -> QLineEdit:
    box: QLineEdit = name_control(
        QLineEdit(), "filter", "Show only radiographs whose name or state contains this"
    )
    box.setPlaceholderText("Find…")
    box.setClearButtonEnabled(True)
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    box.setMinimumWidth(8 * box.fontMetrics().averageCharWidth() + 30)
    return box
