"""Small building blocks of the pages: each control has a name and a tooltip, and the Tab key reaches it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPixmap
from qtpy.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from onemark.gui.widgets.flow import Flow
from onemark.gui.widgets.keys import KeyFilter


def name_control(widget: Any, name: str, tip: str) -> Any:
    """Give a control the object name `onemark.<name>` and a tooltip, and let Tab focus it."""
    widget.setObjectName(f"onemark.{name}")
    widget.setToolTip(tip)
    widget.setAccessibleName(tip)
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    if isinstance(widget, QAbstractButton):
        widget.installEventFilter(KeyFilter(widget))
    return widget


def make_button(name: str, text: str, tip: str, act: Callable[[], Any], *, main: bool = False) -> QPushButton:
    """Make a push button; `main` highlights the one to press next."""
    made: QPushButton = name_control(QPushButton(text), name, tip)
    made.clicked.connect(lambda checked=False: act())
    made.setProperty("role", "main" if main else "")
    return made


def make_tool(name: str, text: str, tip: str, act: Callable[[], Any]) -> QToolButton:
    """Make a small button."""
    made: QToolButton = name_control(QToolButton(), name, tip)
    made.setText(text)
    made.clicked.connect(lambda checked=False: act())
    return made


def make_label(text: str = "", role: str = "", *, name: str = "", wrap: bool = True) -> QLabel:
    """Make a text; `role` is `title`, `ask`, `hint` or empty, and `name` gives the object name `onemark.<name>`."""
    made = QLabel(text)
    if name:
        made.setObjectName(f"onemark.{name}")
    made.setProperty("role", role)
    made.setWordWrap(wrap)
    if wrap:
        made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return made


class ElidedBox(QComboBox):
    """A combo box whose text ends in dots where it is too narrow, instead of in half a letter."""

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the box, then as much of the text as fits."""
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        room = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self
        )
        text = option.currentText or self.placeholderText()
        option.currentText = self.fontMetrics().elidedText(
            text, Qt.TextElideMode.ElideRight, room.width() - 4
        )
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)


def lay_row(*items: QWidget | int, spacing: int = 6) -> QHBoxLayout:
    """Lay widgets out side by side; a number is a stretch."""
    made = QHBoxLayout()
    made.setSpacing(spacing)
    for item in items:
        if isinstance(item, int):
            made.addStretch(item)
        else:
            made.addWidget(item)
    return made


def lay_flow(*items: QWidget, spacing: int = 6) -> Flow:
    """Lay widgets out side by side, on more than one line where the panel is narrow."""
    made = Flow(spacing=spacing)
    for item in items:
        made.addWidget(item)
    return made


def group(*items: QWidget, spacing: int = 6) -> QWidget:
    """Keep widgets side by side on one line of a flow."""
    made = QWidget()
    row = lay_row(*items, spacing=spacing)
    row.setContentsMargins(0, 0, 0, 0)
    made.setLayout(row)
    made.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
    return made


def lay_column(parent: QWidget, margin: int = 0, spacing: int = 8) -> QVBoxLayout:
    """Lay a page out as one column."""
    made = QVBoxLayout(parent)
    made.setContentsMargins(margin, margin, margin, margin)
    made.setSpacing(spacing)
    return made


class Bar(QProgressBar):
    """A thin progress bar."""

    def __init__(self, name: str, tip: str) -> None:
        super().__init__()
        name_control(self, name, tip)
        self.setTextVisible(False)

    def wait(self) -> None:
        """Show that it has started, for an unknown time."""
        self.setRange(0, 0)

    def follow(self, step: int, total: int) -> None:
        """Show `step` of `total`."""
        self.setRange(0, max(total, 1))
        self.setValue(min(step, total))


@cache
def draw_dot(colour: str) -> QPixmap:
    """Draw a small disc of this colour, `#rrggbb`, at three times its size so that it is round on every screen."""
    picture = QPixmap(36, 36)
    picture.setDevicePixelRatio(3)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colour))
    painter.drawEllipse(1, 1, 10, 10)
    painter.end()
    return picture
