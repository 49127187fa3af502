"""The lines and arcs of measurements on the radiograph: one Shapes layer for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray

from onemark.gui.canvas.layers import STROKES, Canvas
from onemark.measurement.drawing import LINE, Stroke

WIDTH_SHARE = 1 / 400  # of the mean side: the lines look equally thin on small and large radiographs
Coloured = tuple[Stroke, NDArray[np.float64]]


def show_strokes(canvas: Canvas, strokes: Sequence[Coloured]) -> None:
    """Show these strokes, each with its RGBA colour `[4]`, in place of the last ones; none hides the layer."""
    layer: Shapes | None = canvas.layer(STROKES)
    if canvas.radiograph is None or not strokes:
        if layer is not None and layer.visible:
            layer.visible = False
        return
    if layer is None:
        layer = canvas.insert_below_points(
            Shapes(ndim=2, name="measurements", opacity=0.9, **canvas.describe(STROKES))
        )
        # Clicks belong to the landmarks.
        layer.editable = False
    canvas.place(layer)
    _fill(layer, strokes, fmean(canvas.radiograph.size) * WIDTH_SHARE)
    layer.refresh()
    layer.visible = True


def _fill(layer: Shapes, strokes: Sequence[Coloured], width: float) -> None:
    with layer.events.set_data.blocker():
        layer.data = []
        layer.add(
            [stroke.xy[:, ::-1] for stroke, _ in strokes],
            shape_type=["line" if stroke.kind == LINE else "path" for stroke, _ in strokes],
            edge_width=width,
            edge_color=np.array([colour for _, colour in strokes]),
            face_color="transparent",
        )
