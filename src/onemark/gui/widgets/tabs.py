"""Two or more pages in one place, with a row of small buttons to choose between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from qtpy.QtWidgets import QSizePolicy, QStackedLayout, QVBoxLayout, QWidget

from onemark.gui.widgets.flow import Flow
from onemark.gui.widgets.parts import make_tool


class Tabs(QWidget):
    """The pages, of which one is in view.

    Args:
        pages: Name of the button, its text, its tooltip and the page.
    """

    def __init__(self, pages: Sequence[tuple[str, str, str, QWidget]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row, self._stack = Flow(), QStackedLayout()
        self._buttons = []
        for index, (name, text, tip, page) in enumerate(pages):
            button = make_tool(name, text, tip, partial(self.go, index))
            button.setCheckable(True)
            button.setAutoExclusive(True)
            button.setProperty("role", "tab")
            button.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
            row.addWidget(button)
            self._buttons.append(button)
            self._stack.addWidget(page)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(4)
        box.addLayout(row)
        box.addLayout(self._stack, 1)
        self.go(0)

    def go(self, index: int) -> None:
        """Bring a page into view."""
        self._buttons[index].setChecked(True)
        self._stack.setCurrentIndex(index)
