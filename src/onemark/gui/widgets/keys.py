"""The plugin's keys inside the panel, where Qt would use them for something else."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QTableView

_Key = Qt.Key
ARROWS = (_Key.Key_Left, _Key.Key_Right, _Key.Key_Up, _Key.Key_Down)
PAGES = (_Key.Key_PageUp, _Key.Key_PageDown)
ROWS = (_Key.Key_Up, _Key.Key_Down, _Key.Key_Home, _Key.Key_End)
PLAIN = (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)


class KeyedTable(QTableView):
    """A table that leaves letters and page keys to the plugin, where Qt would search and scroll.

    Signals:
        letters_changed: Its letters have another size; its rows already have the height for them.
    """

    letters_changed = Signal()

    def sizeHint(self) -> QSize:
        """No more than its least height, because a table takes what is left of a page."""
        return QSize(super().sizeHint().width(), self.minimumHeight())

    def changeEvent(self, event: QEvent) -> None:
        """Fit the rows to the letters."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 7)
            self.letters_changed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Use the keys that go from row to row; pass all others on."""
        if event.key() in ROWS and event.modifiers() in PLAIN:
            super().keyPressEvent(event)
        else:
            event.ignore()


class KeyFilter(QObject):
    """Passes Shift+arrows and page keys on, where a button would move the focus and a scroll area would scroll."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Pass the event on to the parent and finally to the viewer."""
        if event.type() != QEvent.Type.KeyPress:
            return False
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        passed = event.key() in PAGES or (event.key() in ARROWS and shift)
        if passed:
            event.ignore()
        return passed
