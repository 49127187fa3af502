"""The lens: the radiograph's own pixels around the mouse, enlarged, while a point is placed or dragged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QWidget

from onemark.gui.canvas.layers import RADIOGRAPH
from onemark.gui.canvas.palette import landmark_colours, to_hex
from onemark.gui.controllers.app import App

SIDE = 176  # px on the screen
SCALE = 4.0  # px on the screen for one pixel of the radiograph
NEEDLESS = 3.0  # the canvas itself shows pixels that large
GAP, RING = 5, 7


class Lens(QWidget):
    """A square in a corner of the canvas, away from the mouse.

    Args:
        app: Whose radiograph it enlarges.
        panel: The panel, whose window has the canvas.
    """

    def __init__(self, app: App, panel: QWidget) -> None:
        super().__init__(panel)
        self.setObjectName("onemark.lens")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.resize(SIDE, SIDE)
        self.app, self._panel = app, panel
        self._canvas: QWidget | None = None
        self._at = np.zeros(2)
        self._landmark = 0
        self.on = True
        app.context.viewer.mouse_move_callbacks.append(self._on_hover)
        app.context.points.moving.connect(self._on_moving)
        app.session.annotations_changed.connect(lambda image: self.hide())
        app.session.current_changed.connect(lambda: self.hide())
        self.hide()

    def toggle(self) -> None:
        """Switch it off or on."""
        self.on = not self.on
        self.hide()

    def shut(self) -> None:
        """Release the viewer."""
        self.on = False
        callbacks = self.app.context.viewer.mouse_move_callbacks
        if self._on_hover in callbacks:
            callbacks.remove(self._on_hover)
        self.hide()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Hide when the mouse leaves the canvas."""
        if event.type() in (QEvent.Type.Leave, QEvent.Type.MouseButtonRelease):
            self.hide()
        return False

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the pixels, a cross with a gap, and a ring in the landmark's colour."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor("black"))
        pixels, corner = self._crop()
        if pixels.size:
            height, width = pixels.shape
            image = QImage(pixels.tobytes(), width, height, width, QImage.Format.Format_Grayscale8)
            # Pixel centres are integers, so the picture of a pixel begins half a pixel before it.
            start = (corner - 0.5 - self._at) * SCALE + SIDE / 2
            painter.drawImage(
                QRectF(QPointF(*start), QPointF(*(start + np.array([width, height]) * SCALE))), image
            )
        colours = landmark_colours(max(len(self.app.session.schema), 1))
        middle = QPointF(SIDE / 2, SIDE / 2)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(to_hex(colours[min(self._landmark, len(colours) - 1)])), 1.6))
        painter.drawEllipse(middle, RING, RING)
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            way = QPointF(dx, dy)
            painter.drawLine(middle + way * (RING + GAP), middle + way * (RING + 4 * GAP))
        painter.setPen(QPen(QColor("#8a93a0"), 2))
        painter.drawRect(self.rect().adjusted(1, 1, -1, -1))

    def _crop(self) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """The pixels in view as grey values, and the `[2]` xy of the first."""
        radiograph, layer = self.app.context.canvas.radiograph, self.app.context.canvas.layer(RADIOGRAPH)
        if radiograph is None or layer is None:
            return np.empty((0, 0), np.uint8), np.zeros(2)
        reach = SIDE / SCALE / 2 + 1
        size = np.array(radiograph.size[::-1])
        low = np.clip(np.floor(self._at - reach), 0, size).astype(int)
        high = np.clip(np.ceil(self._at + reach) + 1, 0, size).astype(int)
        black, white = layer.contrast_limits
        grey = (radiograph.pixels[low[1] : high[1], low[0] : high[0]] - black) / max(white - black, 1e-6)
        grey = np.clip(grey, 0, 1)
        shown = 1 - grey if layer.colormap.name == "gray_r" else grey
        return np.ascontiguousarray(255 * shown, np.uint8), low.astype(float)

    def _on_moving(self, landmark: int, xy: NDArray[np.float64]) -> None:
        self._look(landmark, xy)

    def _on_hover(self, viewer: Any, event: Any) -> None:
        points = self.app.context.points
        layer, asked = points.layer, self.app.session
        if event.is_dragging:
            return
        if layer is None or layer.mode != "add" or points.drawn_for != asked.current or not len(asked.schema):
            self.hide()
            return
        self._look(asked.landmark, np.asarray(layer.world_to_data(event.position))[-2:][::-1])

    def _look(self, landmark: int, xy: NDArray[np.float64]) -> None:
        radiograph, canvas = self.app.context.canvas.radiograph, self._find_canvas()
        if not self.on or radiograph is None or canvas is None:
            return
        size = np.array(radiograph.size[::-1])
        inside = bool((xy >= -0.5).all() and (xy <= size - 0.5).all())
        zoom = self.app.context.viewer.scene.camera.zoom * self.app.context.canvas.placement["scale"][0]
        if not inside or zoom >= NEEDLESS:
            self.hide()
            return
        self._landmark, self._at = landmark, np.asarray(xy, float)
        self._place(canvas)
        self.show()
        self.raise_()
        self.update()

    def _place(self, canvas: QWidget) -> None:
        mouse = canvas.mapFromGlobal(canvas.cursor().pos())
        # At the top is the question, so below it; on the other side of the mouse.
        left = 12 if mouse.x() > canvas.width() / 2 else canvas.width() - SIDE - 12
        self.move(left, max(40, canvas.height() - SIDE - 60) if mouse.y() < canvas.height() / 2 else 40)

    def _find_canvas(self) -> QWidget | None:
        if self._canvas is None:
            self._canvas = self._panel.window().findChild(QOpenGLWidget)
            if self._canvas is not None:
                self.setParent(self._canvas)
                self._canvas.installEventFilter(self)
        return self._canvas
