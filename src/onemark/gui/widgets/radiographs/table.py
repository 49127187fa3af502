"""The list of radiographs: a table model of names only, which sorts 10,000 of them without delay."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt

from onemark.gui.canvas.palette import STATES, SUGGESTED
from onemark.gui.state.annotation import State
from onemark.gui.state.measuring import Column
from onemark.gui.state.session import Session
from onemark.gui.widgets.parts import draw_dot

NAME, STATE, ERROR = range(3)
HEADERS = ("Radiograph", "State", "Exp. error")
TIPS = (
    "File name. Click to sort",
    "exemplar: you placed the points; predicted: the model did; corrected: you confirmed them; annotate 1st: suggested. "
    "Click to sort",
    "Expected error: how far off the points probably are, on average. Click to sort, the largest first",
)
MEASURED = "{} of each radiograph, your own points before the predictions. Click to sort"
_STATE_ORDER = {state: i for i, state in enumerate(State)}
_Role = Qt.ItemDataRole


class Radiographs(QAbstractTableModel):
    """Name, state and expected error of every radiograph of the session.

    Attributes:
        order: The names shown, in the order shown.
        unit: Unit of the radiograph in view, for the title until predictions have theirs.
        column: The measurement to show in place of the expected error, or None.
    """

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.order: list[str] = []
        self.unit = ""
        self.column: Column | None = None
        self._row: dict[str, int] = {}
        self._sorted = (NAME, Qt.SortOrder.AscendingOrder)
        self._filter = ""
        session.cohort_changed.connect(self.refresh)
        session.predictions_changed.connect(self.refresh)
        session.suggestion_changed.connect(self.refresh)
        session.reading_changed.connect(self.refresh)
        session.annotations_changed.connect(self._on_changed)

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Number of radiographs shown."""
        return 0 if parent is not None and parent.isValid() else len(self.order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Name, state, expected error."""
        return 0 if parent is not None and parent.isValid() else len(HEADERS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _Role.DisplayRole) -> Any:
        """Column titles, row numbers."""
        if role == _Role.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return self._title(section)
        if role == _Role.TextAlignmentRole and orientation == Qt.Orientation.Horizontal:
            middle = Qt.AlignmentFlag.AlignHCenter if section == ERROR else _side(section)
            return int(Qt.AlignmentFlag.AlignVCenter | middle)
        if role == _Role.ToolTipRole and orientation == Qt.Orientation.Horizontal:
            return (
                TIPS[section]
                if section != ERROR or self.column is None
                else MEASURED.format(self.column.name)
            )
        return None

    def _title(self, section: int) -> str:
        text, unit = HEADERS[section], self.session.error_unit or self.unit
        if section != ERROR:
            return text
        if self.column is not None:
            text, unit = self.column.name, self.column.unit
        return f"{text} ({unit})" if unit else text

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> Any:
        """One cell."""
        name, column = self.order[index.row()], index.column()
        if role == _Role.DisplayRole:
            return self._text(name, column)
        if role == _Role.DecorationRole and column == STATE and self._text(name, STATE):
            return draw_dot(
                SUGGESTED if self.session.place_in_suggestion(name) else STATES[self.session.state(name)]
            )
        if role == _Role.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignVCenter | _side(column))
        if role == _Role.ToolTipRole:
            return self._tip(name)
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; radiographs without an expected error come last either way."""
        self._sorted = (column, order)
        self.refresh()

    def filter(self, text: str) -> None:
        """Show only radiographs whose name or state contains the text."""
        self._filter = text.strip().lower()
        self.refresh()

    def set_column(self, column: Column | None) -> None:
        """Show another measurement, or the expected error, and sort by it if the list is sorted by this column."""
        self.column = column
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, ERROR, ERROR)
        self.refresh()

    def row_of(self, name: str | None) -> int | None:
        """The row that shows a radiograph, or None."""
        return self._row.get(name) if name is not None else None

    def refresh(self) -> None:
        """Sort and filter again."""
        self.beginResetModel()
        kept = [
            n
            for n in self.session.listed
            if not self._filter or self._filter in f"{n} {self._text(n, STATE)}".lower()
        ]
        self.order = [kept[i] for i in self._argsort(kept)]
        self._row = {name: row for row, name in enumerate(self.order)}
        self.endResetModel()

    def _argsort(self, names: list[str]) -> Any:
        column, order = self._sorted
        if column == NAME:
            return (
                range(len(names)) if order == Qt.SortOrder.AscendingOrder else range(len(names) - 1, -1, -1)
            )
        if column == STATE:
            keys = np.array([self._rank_state(n) for n in names], float)
        else:
            keys = np.array([self._number(n) for n in names], float)
        return np.argsort(keys if order == Qt.SortOrder.AscendingOrder else -keys, kind="stable")

    def _on_changed(self, name: str) -> None:
        shown = range(len(self.order)) if not name else [self._row[name]] if name in self._row else ()
        if shown:
            self.dataChanged.emit(self.index(shown[0], 0), self.index(shown[-1], len(HEADERS) - 1))

    def _text(self, name: str, column: int) -> str:
        if column == NAME:
            return name
        if column == STATE:
            place = self.session.place_in_suggestion(name)
            return str(self.session.state(name)) if place is None else f"annotate {format_ordinal(place)}"
        number = self._number(name)
        return "" if np.isnan(number) else f"{number:.{1 if self.column is None or abs(number) >= 2 else 2}f}"

    def _number(self, name: str) -> float:
        return self._error(name) if self.column is None else self.column.values.get(name, np.nan)

    def _rank_state(self, name: str) -> float:
        # Suggested radiographs come first; those that nobody has touched follow by similarity.
        suggestion, state = self.session.suggestion, self.session.state(name)
        if suggestion is None or name in self.session.annotations:
            return _STATE_ORDER[state]
        rank = suggestion.rank(name)
        return rank if rank < 0 else _STATE_ORDER[state] + rank / 2

    def _error(self, name: str) -> float:
        # The person's own points count as true, so they have no expected error.
        finished = self.session.state(name) in (State.EXEMPLAR, State.CORRECTED)
        return np.nan if finished else self.session.errors.get(name, np.nan)

    def _tip(self, name: str) -> str:
        suggestion, prediction = self.session.suggestion, self.session.prediction_of(name)
        if suggestion is not None and name in suggestion.similarity and prediction is None:
            place = self.session.place_in_suggestion(name)
            first = "" if place is None else f"annotate it {format_ordinal(place)}: "
            return f"{name}\n{first}{suggestion.similarity[name]:.0%} similar to the other radiographs"
        if prediction is None or not np.isfinite(prediction.expected_error).any():
            return name
        worst = int(np.nanargmax(prediction.expected_error))
        error = prediction.expected_error[worst]
        return f"{name}\nlargest expected error: {prediction.names[worst]}, {error:.1f} {prediction.unit or self.unit}"


def _side(column: int) -> Qt.AlignmentFlag:
    return Qt.AlignmentFlag.AlignRight if column == ERROR else Qt.AlignmentFlag.AlignLeft


def format_ordinal(number: int) -> str:
    """Write a place as 1st, 2nd, 3rd, 4th, 11th and so on."""
    last = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{last}"
