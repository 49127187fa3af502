"""The 80 % region of the selected landmark: an ellipse on the radiograph, once it is larger than the point's ring."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from onemark.gui.canvas.layers import REGION, Canvas
from onemark.gui.canvas.points import PointsEditor
from onemark.gui.state.measuring import collect_shown
from onemark.gui.state.session import Session
from onemark.imaging.ellipses import SHOWN, outline, region_factor

COLOUR = "#ffd166"
WIDTH = 1.5  # px on the screen


class RegionView:
    """Draws where the selected landmark may be: its predicted place's ellipse, which holds it in 80 % of cases.

    Nothing is drawn for a point that the person has moved, and as long as the ellipse would lie within the point's ring.

    Args:
        canvas: Where the layer lives.
        session: The predictions.
        points: The editor of the points, for the size of a ring.
    """

    def __init__(self, canvas: Canvas, session: Session, points: PointsEditor) -> None:
        self.canvas, self.session, self.points = canvas, session, points
        self._drawn: Any = None
        # napari zooms while it inserts the first layer, and a layer inserted within that breaks its list of layers.
        self._soon = QTimer()
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self.draw)
        canvas.viewer.scene.camera.events.zoom.connect(self._draw_soon)
        session.landmark_changed.connect(self.draw)
        session.predictions_changed.connect(self.draw)

    def draw(self) -> None:
        """Show the region that there is now, or none."""
        layer: Shapes | None = self.canvas.layer(REGION)
        yx = self._outline()
        if yx is None:
            if layer is not None and layer.visible:
                layer.visible = False
            return
        if layer is None:
            layer = self.canvas.insert_below_points(
                Shapes(ndim=2, name=REGION, **self.canvas.describe(REGION))
            )
            # Clicks belong to the landmarks.
            layer.editable = False
        self.canvas.place(layer)
        self._fill(layer, yx)
        layer.visible = True

    def close(self) -> None:
        """Release the viewer."""
        self.canvas.viewer.scene.camera.events.zoom.disconnect(self._draw_soon)
        self._soon.stop()

    def _draw_soon(self, event: Any = None) -> None:
        self._soon.start()

    def _outline(self) -> NDArray[np.float64] | None:
        """`[N, 2]` (y, x) px, or None where nothing is to be drawn."""
        radiograph, at = self.canvas.radiograph, self.session.landmark
        shown = collect_shown(self.session)
        if radiograph is None or shown is None or shown.image != radiograph.name or at >= len(shown.names):
            return None
        ellipse = shown.ellipse[at] if shown.ellipse.size else np.zeros(3)
        if not np.isfinite(ellipse).all() or not ellipse[0] > 0:
            return None
        pixel = radiograph.spacing if shown.unit == "mm" and radiograph.spacing is not None else (1.0, 1.0)
        xy = shown.xy[at] + outline(ellipse) * region_factor(SHOWN) / pixel
        widest = np.linalg.norm(xy - shown.xy[at], axis=1).max()
        return xy[:, ::-1] if 2 * widest > self.points.diameter_in_pixels() else None

    def _fill(self, layer: Shapes, yx: NDArray[np.float64]) -> None:
        width = WIDTH * self.points.diameter_in_pixels() / self.points.diameter
        content = (yx.tobytes(), width)
        if content == self._drawn and len(layer.data):
            return
        self._drawn = content
        with layer.events.set_data.blocker():
            layer.data = []
            layer.add([yx], shape_type="path", edge_width=width, edge_color=COLOUR, face_color="transparent")
        layer.refresh()
