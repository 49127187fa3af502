"""Window and level of the radiographs: by dragging with the right button, by keys, kept for each cohort."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from onemark.gui.canvas.layers import RADIOGRAPH
from onemark.gui.controllers.context import Context
from onemark.gui.controllers.session_store import SessionStore
from onemark.gui.controllers.view.viewing import Viewing

RIGHT = 2
WHOLE = (0.0, 1.0)
LEAST_WINDOW, MOST_WINDOW = 0.02, 3.0
PIXELS = 250.0  # of a drag: to the side for e times the window, up or down for a level from black to white
SETTLE_MS = 400


class Contrast(QObject):
    """Follows the right button, and brings contrast and inversion to every radiograph of the cohort.

    Sideways narrows or widens the window, up makes the picture brighter, as in radiologists' viewers.
    """

    def __init__(
        self, context: Context, session_store: SessionStore, viewing: Viewing, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.context, self.session_store = context, session_store
        self._applying = False
        self._adopted: Any = None
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self.session_store.save)
        context.viewer.mouse_drag_callbacks.append(self._drag)
        viewing.shown.connect(lambda name: self.apply())

    def apply(self) -> None:
        """Show the radiograph in view with the contrast of its cohort."""
        layer, preferences = self.context.canvas.layer(RADIOGRAPH), self.session_store.preferences
        if layer is None:
            return
        self._adopt(layer)
        self._applying = True
        try:
            limits = tuple(preferences.contrast or WHOLE)
            if tuple(layer.contrast_limits) != limits:
                layer.contrast_limits = limits
            colours = "gray_r" if preferences.inverted else "gray"
            if layer.colormap.name != colours:
                layer.colormap = colours
        finally:
            self._applying = False

    def invert(self) -> None:
        """Turn black into white, or back."""
        self.session_store.preferences.inverted = not self.session_store.preferences.inverted
        self._keep()

    def reset(self) -> None:
        """Bring the original contrast back."""
        self.session_store.preferences.contrast, self.session_store.preferences.inverted = None, False
        self._keep()

    def close(self) -> None:
        """Release the viewer."""
        self._settle.stop()
        self._adopt(None)
        if self._drag in self.context.viewer.mouse_drag_callbacks:
            self.context.viewer.mouse_drag_callbacks.remove(self._drag)

    def _adopt(self, layer: Any) -> None:
        if layer is self._adopted:
            return
        if self._adopted is not None:
            self._adopted.events.contrast_limits.disconnect(self._on_changed)
        self._adopted = layer
        if layer is not None:
            layer.events.contrast_limits.connect(self._on_changed)

    def _on_changed(self) -> None:
        # The person has moved napari's own slider.
        if not self._applying:
            low, high = self._adopted.contrast_limits
            self.session_store.preferences.contrast = [float(low), float(high)]
            self._settle.start()

    def _keep(self) -> None:
        self.apply()
        self._settle.start()

    def _drag(self, viewer: Any, event: Any) -> Iterator[None]:
        if event.button != RIGHT or self.context.canvas.radiograph is None:
            return
        start, limits = np.array(event.pos, float), tuple(self.session_store.preferences.contrast or WHOLE)
        # The right button must neither place a point nor draw a box.
        points = self.context.points.layer
        mode = points.mode if points is not None else ""
        if points is not None:
            points.mode = "pan_zoom"
        event.handled = True
        yield
        while event.type == "mouse_move":
            event.handled = True  # or vispy would zoom
            by = np.array(event.pos, float) - start
            self.session_store.preferences.contrast = list(adjust(limits, by))
            self.apply()
            yield
        if points is not None:
            points.mode = mode
        self._settle.start()


def adjust(limits: tuple[float, ...], by: NDArray[np.float64]) -> tuple[float, float]:
    """Change the contrast.

    Args:
        limits: The grey values shown black and white.
        by: How far the mouse has moved, `[2]` px to the right and down.
    """
    low, high = limits
    window = min(max((high - low) * math.exp(by[0] / PIXELS), LEAST_WINDOW), MOST_WINDOW)
    level = min(max((low + high) / 2 + by[1] / PIXELS, -0.5), 1.5)
    return level - window / 2, level + window / 2
