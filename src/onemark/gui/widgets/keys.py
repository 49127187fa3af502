"""The plugin's keys inside the panel, where Qt would take them for something else."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QTableView

_Key = Qt.Key
ARROWS = (_Key.Key_Left, _Key.Key_Right, _Key.Key_Up, _Key.Key_Down)
PAGES = (_Key.Key_PageUp, _Key.Key_PageDown)
ROWS = (_Key.Key_Up, _Key.Key_Down, _Key.Key_Home, _Key.Key_End)
PLAIN = (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)


class KeyedTable(QTableView):
    """A table in which letters are the plugin's keys and not a search, and pages go to the next radiograph."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keep what goes from row to row; hand everything else on."""
        if event.key() in ROWS and event.modifiers() in PLAIN:
            super().keyPressEvent(event)
        else:
            event.ignore()


class KeyFilter(QObject):
    """Lets Shift+arrows and pages through: a button would move the focus, and a scroll area would scroll."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Hand the event on to the parent, and at last to the viewer."""
        if event.type() != QEvent.Type.KeyPress:
            return False
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        passed = event.key() in PAGES or (event.key() in ARROWS and shift)
        if passed:
            event.ignore()
        return passed
