"""The landmarks of the schema as a list: colour, label, name, and whether the radiograph in view has them."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt
from qtpy.QtGui import QFont

from onemark.gui.canvas.palette import landmark_colours, to_hex
from onemark.gui.state.session import Session
from onemark.gui.widgets.parts import draw_dot

LABEL, NAME, STATUS = range(3)
_Role = Qt.ItemDataRole


class LandmarkList(QAbstractTableModel):
    """Label, name and status of every landmark."""

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self._colours: list[str] = []
        session.schema_changed.connect(self._reset)
        session.cohort_changed.connect(self._reset)
        for signal in (session.current_changed, session.landmark_changed, session.predictions_changed):
            signal.connect(self._on_changed)
        session.annotations_changed.connect(lambda image: self._on_changed())

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Number of landmarks."""
        return 0 if parent is not None and parent.isValid() else len(self._colours)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Label, name, status."""
        return 0 if parent is not None and parent.isValid() else 3

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> Any:
        """One cell."""
        i, column = index.row(), index.column()
        if role == _Role.DisplayRole:
            return self._text(i, column)
        if role == _Role.DecorationRole and column == LABEL:
            return draw_dot(self._colours[i])
        if role == _Role.FontRole and i == self.session.landmark:
            font = QFont()
            font.setBold(True)
            return font
        if role == _Role.ToolTipRole:
            return f"{self.session.schema.names[i]}: click here to place or move it next"
        return None

    def _text(self, i: int, column: int) -> str:
        if column == LABEL:
            return self.session.schema.labels[i]
        if column == NAME:
            return self.session.schema.names[i]
        annotation = self.session.shown_annotation
        return "not visible" if annotation.hidden[i] else "✓" if annotation.placed[i] else ""

    def _reset(self) -> None:
        self.beginResetModel()
        self._colours = [to_hex(row) for row in landmark_colours(len(self.session.schema))]
        self.endResetModel()

    def _on_changed(self) -> None:
        if self._colours:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._colours) - 1, 2))
