"""Small building blocks of the pages: named, with a tooltip, reachable by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPainter, QPixmap
from qtpy.QtWidgets import (
    QAbstractButton,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from onemark.gui.widgets.keys import KeyFilter


def name_control(widget: Any, name: str, tip: str) -> Any:
    """Give a control its object name `onemark.<name>`, its tooltip, and the focus by Tab."""
    widget.setObjectName(f"onemark.{name}")
    widget.setToolTip(tip)
    widget.setAccessibleName(tip)
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    if isinstance(widget, QAbstractButton):
        widget.installEventFilter(KeyFilter(widget))
    return widget


def button(name: str, text: str, tip: str, act: Callable[[], Any], *, main: bool = False) -> QPushButton:
    """A push button; `main` marks the one to press next."""
    made: QPushButton = name_control(QPushButton(text), name, tip)
    made.clicked.connect(lambda checked=False: act())
    made.setProperty("role", "main" if main else "")
    return made


def tool(name: str, text: str, tip: str, act: Callable[[], Any]) -> QToolButton:
    """A small button."""
    made: QToolButton = name_control(QToolButton(), name, tip)
    made.setText(text)
    made.clicked.connect(lambda checked=False: act())
    return made


def label(text: str = "", role: str = "", *, wrap: bool = True) -> QLabel:
    """A text; roles are `title`, `ask` and `hint`."""
    made = QLabel(text)
    made.setProperty("role", role)
    made.setWordWrap(wrap)
    if wrap:
        made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return made


def row(*items: QWidget | int, spacing: int = 6) -> QHBoxLayout:
    """Widgets side by side; a number is a stretch."""
    made = QHBoxLayout()
    made.setSpacing(spacing)
    for item in items:
        if isinstance(item, int):
            made.addStretch(item)
        else:
            made.addWidget(item)
    return made


def column(parent: QWidget, margin: int = 0, spacing: int = 8) -> QVBoxLayout:
    """The vertical layout of a page."""
    made = QVBoxLayout(parent)
    made.setContentsMargins(margin, margin, margin, margin)
    made.setSpacing(spacing)
    return made


class Bar(QProgressBar):
    """How far something is."""

    def __init__(self, name: str, tip: str) -> None:
        super().__init__()
        name_control(self, name, tip)
        self.setTextVisible(False)

    def wait(self) -> None:
        """It has begun, and nobody knows how long it takes."""
        self.setRange(0, 0)

    def follow(self, step: int, total: int) -> None:
        """It is at `step` of `total`."""
        self.setRange(0, max(total, 1))
        self.setValue(min(step, total))


@cache
def draw_dot(colour: str) -> QPixmap:
    """A small disc of that colour, `#rrggbb`; drawn at three times its size so that it is round on every screen."""
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
