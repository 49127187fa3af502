"""A row that continues on the next line where the panel is too narrow, so that no control is ever cut off."""

from __future__ import annotations

from qtpy.QtCore import QPoint, QRect, QSize, Qt
from qtpy.QtWidgets import QLayout, QLayoutItem, QSizePolicy, QWidget


class Flow(QLayout):
    """Lays controls out from left to right, in as many lines as they need.

    Controls that expand share the width that is left on their line. A control that is alone on its line and still too
    wide shrinks to the width there is.
    """

    def __init__(self, parent: QWidget | None = None, spacing: int = 6) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self.setContentsMargins(0, 0, 0, 0)
        self.setSpacing(spacing)

    def addItem(self, item: QLayoutItem) -> None:
        """Add an item at the end."""
        self._items.append(item)

    def count(self) -> int:
        """Number of items."""
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        """The item at this place, or None."""
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        """Remove and return the item at this place, or None."""
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        """It takes the width it gets, and no height beyond its lines."""
        return Qt.Orientation.Horizontal

    def hasHeightForWidth(self) -> bool:
        """The narrower it is, the more lines it has."""
        return True

    def heightForWidth(self, width: int) -> int:
        """The height of all lines at this width."""
        return self._arrange(QRect(0, 0, width, 0), move=False)

    def setGeometry(self, rect: QRect) -> None:
        """Place the controls."""
        super().setGeometry(rect)
        self._arrange(rect, move=True)

    def sizeHint(self) -> QSize:
        """All in one line."""
        shown = self._list_shown()
        widths = [_width(one) for one in shown]
        height = max((int(one.sizeHint().height()) for one in shown), default=0)
        return QSize(sum(widths) + self.spacing() * max(len(widths) - 1, 0), height)

    def minimumSize(self) -> QSize:
        """As wide as the widest control can shrink to."""
        shown = self._list_shown()
        width = max((one.minimumSize().width() for one in shown), default=0)
        return QSize(width, max((one.sizeHint().height() for one in shown), default=0))

    def _list_shown(self) -> list[QLayoutItem]:
        return [one for one in self._items if not one.isEmpty()]

    def _arrange(self, rect: QRect, *, move: bool) -> int:
        y = int(rect.y())
        for line in self._break_lines(rect.width()):
            height = max(one.sizeHint().height() for one in line)
            if move:
                self._place(line, QRect(rect.x(), y, rect.width(), height))
            y += height + self.spacing()
        return max(y - int(rect.y()) - int(self.spacing()), 0)

    def _break_lines(self, width: int) -> list[list[QLayoutItem]]:
        lines: list[list[QLayoutItem]] = []
        used = 0
        for one in self._list_shown():
            if not lines or used + self.spacing() + _width(one) > width:
                lines.append([])
                used = -self.spacing()
            lines[-1].append(one)
            used += self.spacing() + _width(one)
        return lines

    def _place(self, line: list[QLayoutItem], rect: QRect) -> None:
        widths = [min(_width(one), rect.width()) for one in line]
        left = rect.width() - sum(widths) - self.spacing() * (len(line) - 1)
        growing = [i for i, one in enumerate(line) if _grows(one)]
        for i in growing:
            widths[i] += max(left, 0) // len(growing)
        x = rect.x()
        for one, width in zip(line, widths, strict=True):
            height = one.sizeHint().height()
            one.setGeometry(QRect(QPoint(x, rect.y() + (rect.height() - height) // 2), QSize(width, height)))
            x += width + self.spacing()


def _ignores_hint(item: QLayoutItem) -> bool:
    widget = item.widget()
    return widget is not None and widget.sizePolicy().horizontalPolicy() == QSizePolicy.Policy.Ignored


def _grows(item: QLayoutItem) -> bool:
    return _ignores_hint(item) or bool(item.expandingDirections() & Qt.Orientation.Horizontal)


def _width(item: QLayoutItem) -> int:
    if _ignores_hint(item):
        return int(item.minimumSize().width())
    return int(max(item.sizeHint().width(), item.minimumSize().width()))
