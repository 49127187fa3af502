"""The list of keys."""

from __future__ import annotations

from itertools import groupby

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QGridLayout, QScrollArea, QVBoxLayout, QWidget

from onemark.gui.controllers.actions import Action
from onemark.gui.widgets.parts import make_label


class KeysDialog(QDialog):
    """Every key and what it does; F1 or Escape closes it."""

    def __init__(self, actions: list[Action], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("onemark.keys")
        self.setWindowTitle("onemark: keys")
        area = QScrollArea()
        area.setWidget(_list_keys([action for action in actions if action.text]))
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        QVBoxLayout(self).addWidget(area)
        self.resize(440, 600)

    def keyPressEvent(self, event) -> None:  # type: ignore[no-untyped-def]
        """Close also on the key that opened it."""
        if event.key() == Qt.Key.Key_F1:
            self.accept()
        else:
            super().keyPressEvent(event)


def _list_keys(actions: list[Action]) -> QWidget:
    inside = QWidget()
    grid = QGridLayout(inside)
    grid.setHorizontalSpacing(18)
    grid.setColumnStretch(1, 1)
    for group, members in groupby(actions, key=lambda action: action.group):
        grid.addWidget(make_label(group, "title", wrap=False), grid.rowCount(), 0, 1, 2)
        for action in members:
            at = grid.rowCount()
            grid.addWidget(make_label(action.label, "hint", wrap=False), at, 0)
            grid.addWidget(make_label(action.text, wrap=False), at, 1)
    grid.setRowStretch(grid.rowCount(), 1)
    return inside
