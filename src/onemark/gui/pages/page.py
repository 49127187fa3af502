"""A page that costs nothing while it is out of sight."""

from __future__ import annotations

from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QWidget


class Page(QWidget):
    """Refreshes when something changed and it is in view, or when it comes into view."""

    _stale = True

    def refresh(self) -> None:
        """Show the session as it is now."""

    def changed(self, *about: object) -> None:
        """Something changed."""
        self._stale = not self.isVisible()
        if not self._stale:
            self.refresh()

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up."""
        if self._stale:
            self._stale = False
            self.refresh()
        super().showEvent(event)
