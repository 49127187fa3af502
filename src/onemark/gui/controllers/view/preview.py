"""Predictions on the radiograph in view during a training."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from napari.layers import Points
from qtpy.QtCore import QObject
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication

from onemark.gui.canvas.layers import PREVIEW
from onemark.gui.canvas.palette import landmark_colours
from onemark.gui.controllers.context import Context
from onemark.gui.controllers.training import Training
from onemark.gui.state.background_run import News
from onemark.types import LandmarkSet

STYLE = {"symbol": "cross", "border_width": 0.0, "opacity": 0.9, "face_color": "white"}


class Preview(QObject):
    """Shows the newest preview of the radiograph in view in one layer, which is hidden when nothing trains."""

    def __init__(self, context: Context, training: Training, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.context, self.training = context, training
        self._newest: dict[str, LandmarkSet] = {}
        training.began.connect(self._on_began)
        training.news.connect(self._on_news)
        training.ended.connect(lambda outcome: self._clear())
        context.session.cohort_changed.connect(self._clear)

    def draw(self) -> None:
        """Show the newest preview of the radiograph in view, or none."""
        newest = self._find_newest()
        if newest is None:
            self._hide()
            return
        layer = self._make_layer()
        there = ~np.isnan(newest.xy).any(axis=1)
        layer.data = newest.xy[there][:, ::-1]
        layer.face_color = landmark_colours(len(newest.names))[there]
        layer.size = self.context.points.diameter_in_pixels() * 0.8
        # Setting it makes napari lay out all layers again, even if nothing changes.
        if not layer.visible:
            layer.visible = True
        # The landmarks layer is the one to edit.
        layer.editable = False

    def _find_newest(self) -> LandmarkSet | None:
        radiograph, running = self.context.canvas.radiograph, self.training.running
        if radiograph is None or running is None or not self.training.belongs_here(running):
            return None
        if self.context.session.reading is not None:
            return None  # it is blind
        return self._newest.get(radiograph.name)

    def _make_layer(self) -> Points:
        active = self.context.viewer.layers.selection.active
        layer = self.context.canvas.ensure_points(PREVIEW, "preview", **STYLE)
        if active is not None:
            self.context.viewer.layers.selection.active = active
        return layer

    def _on_news(self, news: News) -> None:
        sets: Iterable[LandmarkSet] = (one for event in news.events for one in event.preview)
        fresh = {one.image: one for one in sets}
        self._newest |= fresh
        radiograph = self.context.canvas.radiograph
        if radiograph is not None and radiograph.name in fresh:
            self.draw()

    def _hide(self) -> None:
        layer = self.context.canvas.layer(PREVIEW)
        if layer is not None and layer.visible:
            layer.visible = False

    def _clear(self) -> None:
        self._newest.clear()
        self._hide()

    def _on_began(self) -> None:
        # Making a layer and painting its first points are slow, so do both now, while the person waits for the button
        # anyway, and not in the middle of the training.
        self._clear()
        if self.context.canvas.radiograph is not None and self.context.canvas.layer(PREVIEW) is None:
            layer = self._make_layer()
            layer.add(np.zeros((1, 2)))
            layer.face_color = "transparent"
            _paint()
            layer.data = np.empty((0, 2))
            layer.visible = False


def _paint() -> None:
    """Paint the canvas now instead of in a later turn of the event loop."""
    for window in QApplication.topLevelWidgets():
        for canvas in window.findChildren(QOpenGLWidget):
            canvas.repaint()
