"""A page that does no work while it is out of sight."""

from __future__ import annotations

from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QWidget


class Page(QWidget):
    """Refreshes after a change if it is in view, or else when it comes into view."""

    _stale = True

    def refresh(self) -> None:
        """Show the session as it is now."""

    def note_change(self, *about: object) -> None:
        """Refresh now, or later if the page is out of sight."""
        self._stale = not self.isVisible()
        if not self._stale:
            self.refresh()

    def showEvent(self, event: QShowEvent) -> None:
        """Refresh if something has changed while the page was out of sight."""
        if self._stale:
            self._stale = False
            self.refresh()
        super().showEvent(event)
