"""The five numbered steps across the top of the widget."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QFontMetrics, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QAbstractButton, QHBoxLayout, QSizePolicy, QWidget

from onemark.gui.widgets.theme import Theme

STEPS = ("Open", "Annotate", "Train", "Review", "Export")
TIPS = (
    "Open a folder of radiographs",
    "Place the landmarks on one radiograph",
    "Train a model on it",
    "Look through the predictions, the least certain first, and correct them",
    "Write the landmarks to files",
)
RADIUS = 11


class StepButton(QAbstractButton):
    """One step: its number in a circle, or a tick when it is done, above its name.

    Attributes:
        done: Whether the step is done.
    """

    def __init__(self, index: int, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.index, self.theme, self.done = index, theme, False
        self.setText(STEPS[index])
        self.setCheckable(True)
        self.setAutoExclusive(True)
        self.setObjectName(f"onemark.step.{STEPS[index].lower()}")
        self.setToolTip(f"Step {index + 1}: {TIPS[index]} (Alt+{index + 1})")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Wide enough for the name, high enough for circle and name."""
        width = QFontMetrics(self._make_font(bold=True)).horizontalAdvance(self.text()) + 8
        return QSize(max(width, 3 * RADIUS), 2 * RADIUS + self.fontMetrics().height() + 10)

    def minimumSizeHint(self) -> QSize:
        """The same, so that no step is cut off."""
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the line to the neighbours, the circle and the name."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        centre = QPointF(self.width() / 2, RADIUS + 3)
        self._draw_line(painter, centre)
        self._draw_circle(painter, centre)
        self._draw_name(painter)

    def _draw_line(self, painter: QPainter, centre: QPointF) -> None:
        painter.setPen(QPen(QColor(self.theme.line), 2))
        gap = RADIUS + 4
        if self.index > 0:
            painter.drawLine(QPointF(0, centre.y()), QPointF(centre.x() - gap, centre.y()))
        if self.index < len(STEPS) - 1:
            painter.drawLine(QPointF(centre.x() + gap, centre.y()), QPointF(self.width(), centre.y()))

    def _draw_circle(self, painter: QPainter, centre: QPointF) -> None:
        theme, here = self.theme, self.isChecked()
        colour = theme.accent if here else theme.good if self.done else theme.line
        painter.setPen(QPen(QColor(theme.text if self.hasFocus() else colour), 1.6))
        painter.setBrush(QColor(colour) if here or self.done else QColor(theme.ground))
        painter.drawEllipse(centre, RADIUS, RADIUS)
        painter.setPen(QPen(QColor("#ffffff" if here or self.done else theme.muted), 2))
        if self.done and not here:
            x, y = centre.x(), centre.y()
            tick = [QPointF(x - 4.5, y + 0.5), QPointF(x - 1.5, y + 3.5), QPointF(x + 5, y - 3.5)]
            painter.drawPolyline(QPolygonF(tick))  # PyQt takes no list
            return
        painter.setFont(self._make_font(bold=True))
        box = QRectF(centre.x() - RADIUS, centre.y() - RADIUS, 2 * RADIUS, 2 * RADIUS)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(self.index + 1))

    def _draw_name(self, painter: QPainter) -> None:
        here = self.isChecked()
        painter.setFont(self._make_font(bold=here))
        painter.setPen(QColor(self.theme.text if here or self.underMouse() else self.theme.muted))
        box = QRectF(0, 2 * RADIUS + 7, self.width(), self.fontMetrics().height() + 2)
        painter.drawText(box, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, self.text())

    def _make_font(self, *, bold: bool) -> QFont:
        font = QFont(self.font())
        font.setBold(bold)
        return font


class Stepper(QWidget):
    """The row of steps.

    Signals:
        chosen: Index of the step that the person has clicked.
    """

    chosen = Signal(int)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 2, 0, 0)
        row.setSpacing(0)
        self.buttons = [StepButton(i, theme, self) for i in range(len(STEPS))]
        for button in self.buttons:
            row.addWidget(button)
            button.clicked.connect(lambda checked=False, i=button.index: self.chosen.emit(i))
        self.buttons[0].setChecked(True)

    def set_theme(self, theme: Theme) -> None:
        """Follow the theme."""
        for button in self.buttons:
            button.theme = theme
            button.update()

    def go(self, index: int) -> None:
        """Highlight the step in view."""
        self.buttons[index].setChecked(True)

    def set_done(self, done: list[bool]) -> None:
        """Tick the steps that are done."""
        for button, value in zip(self.buttons, done, strict=True):
            button.done = value
            button.update()
