"""A zoomed part of a radiograph with one point, which a click moves."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from onemark.types import Radiograph

LEAST, SHARE = 20.0, 0.09  # half the crop's side: at least these px, else this share of the mean side
DOUBTFUL = 3.0  # times the expected error that the crop shows at least, to each side
SIDE, RING, GAP = 380, 8, 5  # px on the screen
GUESSED, MOVED = "#4aa3ff", "#ffb020"


class Crop(QWidget):
    """The crop and the point.

    Attributes:
        place: Where the point is, px of the radiograph.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("onemark.questions.crop")
        self.setMinimumSize(SIDE, SIDE)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.place: tuple[float, float] | None = None
        self._radiograph: Radiograph | None = None
        self._centre, self._reach, self._guess = (0.0, 0.0), LEAST, (0.0, 0.0)

    def show_point(
        self,
        radiograph: Radiograph | None,
        guess: tuple[float, float],
        place: tuple[float, float],
        doubt: float,
    ) -> None:
        """Show the surroundings of a guess.

        Args:
            radiograph: None while it is decoded.
            guess: What the model predicts, px.
            place: Where the point is, px.
            doubt: The expected error, px.
        """
        self._radiograph, self._guess, self.place = radiograph, guess, place
        self._centre = place
        side = LEAST if radiograph is None else SHARE * sum(radiograph.size) / 2
        self._reach = max(LEAST, side, DOUBTFUL * doubt if np.isfinite(doubt) else 0.0)
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self._radiograph, self.place = None, None
        self.update()

    def to_widget(self, xy: tuple[float, float]) -> QPointF:
        """Where a position of the radiograph is on the widget."""
        middle = QPointF(self.width() / 2, self.height() / 2)
        return middle + QPointF(xy[0] - self._centre[0], xy[1] - self._centre[1]) * self._scale

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Move the point there, if it is on the radiograph."""
        if self._radiograph is None or event.button() != Qt.MouseButton.LeftButton:
            return
        away = (event.position() - QPointF(self.width() / 2, self.height() / 2)) / self._scale
        x, y = self._centre[0] + away.x(), self._centre[1] + away.y()
        height, width = self._radiograph.size
        if -0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5:
            self.place = (x, y)
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the pixels, and a cross with a gap and a ring at the point."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor("black"))
        if self._radiograph is None or self.place is None:
            return
        self._paint_pixels(painter, self._radiograph)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(GUESSED if self.place == self._guess else MOVED), 1.6))
        at = self.to_widget(self.place)
        painter.drawEllipse(at, RING, RING)
        for way in (QPointF(1, 0), QPointF(-1, 0), QPointF(0, 1), QPointF(0, -1)):
            painter.drawLine(at + way * (RING + GAP), at + way * (RING + 4 * GAP))

    @property
    def _scale(self) -> float:
        """Px on the screen for one of the radiograph."""
        return float(min(self.width(), self.height()) / (2 * self._reach))

    def _paint_pixels(self, painter: QPainter, radiograph: Radiograph) -> None:
        size = np.array(radiograph.size[::-1])
        reach = np.array([self.width(), self.height()]) / self._scale / 2
        low = np.clip(np.floor(self._centre - reach), 0, size).astype(int)
        high = np.clip(np.ceil(self._centre + reach) + 1, 0, size).astype(int)
        part = radiograph.pixels[low[1] : high[1], low[0] : high[0]]
        if not part.size:
            return
        grey = np.ascontiguousarray(255 * np.clip(part, 0, 1), np.uint8)
        image = QImage(
            grey.tobytes(), grey.shape[1], grey.shape[0], grey.shape[1], QImage.Format.Format_Grayscale8
        )
        # Pixel centres are integers, so the picture of a pixel begins half a pixel before it.
        first, last = self.to_widget(tuple(low - 0.5)), self.to_widget(tuple(high - 0.5))
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(QRectF(first, last), image)
