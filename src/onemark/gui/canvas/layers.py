"""The layers of the radiograph in view: one per kind, reused, each with the radiograph's own scale and units."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer, Points, Vectors
from numpy.typing import NDArray

from onemark.types import Radiograph

LayerT = TypeVar("LayerT", bound=Layer)
TAG = "onemark"
RADIOGRAPH, LANDMARKS, PREVIEW, STROKES = "radiograph", "landmarks", "preview", "measurements"
REGION = "80 % region"
# napari accepts short names of units but returns long ones.
LONG_UNITS = {"mm": ("millimeter", "millimeter"), "pixel": ("pixel", "pixel")}


class Canvas:
    """Finds, makes and updates onemark's layers in a viewer.

    A tag in its metadata marks a layer as onemark's, so the person may rename it, and foreign layers stay untouched.

    Attributes:
        viewer: The viewer.
        radiograph: The radiograph in view, or None.
        report_removal: Called with the tag when the person removes one of the layers.
        quietly: Wraps what onemark itself does to the points, so that nobody takes it for the person's doing.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.radiograph: Radiograph | None = None
        self.report_removal: Callable[[str], None] = lambda tag: None
        self.quietly: Callable[[], AbstractContextManager[None]] = nullcontext
        self._removing = False
        self._blanked: list[Layer] = []
        viewer.layers.events.removed.connect(self._on_removed)

    def layer(self, tag: str) -> Any:
        """The layer with this tag, or None."""
        return next((one for one in self.viewer.layers if one.metadata.get(TAG) == tag), None)

    @property
    def placement(self) -> dict[str, Any]:
        """Scale and units that lay an array of the radiograph's size over the radiograph."""
        spacing = self.radiograph.spacing if self.radiograph else None
        if spacing is None:
            return {"scale": (1.0, 1.0), "units": ("pixel", "pixel")}
        return {"scale": (spacing[1], spacing[0]), "units": ("mm", "mm")}

    def show(self, radiograph: Radiograph) -> None:
        """Show a radiograph; the zoom stays between radiographs of the same size and scale."""
        before = self.radiograph
        same = before is not None and (before.size, before.spacing) == (radiograph.size, radiograph.spacing)
        self.radiograph = radiograph
        new = self.layer(RADIOGRAPH) is None
        self._drop_evidence(same)
        while self._blanked:
            self._blanked.pop().visible = True
        self.show_image(RADIOGRAPH, "radiograph", radiograph.pixels, contrast_limits=(0, 1))
        for tag in (LANDMARKS, PREVIEW):
            if (layer := self.layer(tag)) is not None:
                self._move_here(layer, tag, same)
        self._show_scale_bar()
        if new or not same:
            self.viewer.reset_view()

    def _move_here(self, layer: Points, tag: str, same: bool) -> None:
        # Points of a larger radiograph would count when napari fits the view.
        if not same and len(layer.data):
            with self.quietly():
                layer.data = np.empty((0, 2))
        self.place(layer)
        layer.metadata = self._make_metadata(tag)

    def blank(self) -> None:
        """Hide the layers of the last radiograph until `show` gets the next one."""
        self.radiograph = None
        for layer in self.viewer.layers:
            tag = layer.metadata.get(TAG)
            if tag is not None and layer.visible:
                layer.visible = False
                if tag in (RADIOGRAPH, LANDMARKS):
                    self._blanked.append(layer)

    def show_image(self, tag: str, name: str, pixels: NDArray[np.float32], **made_with: Any) -> Image:
        """Show `[H, W]` pixels in the layer of this tag, which the first call makes with these options."""
        layer = self.layer(tag)
        if layer is None:
            layer = Image(pixels, name=name, **self.describe(tag), **made_with)
            self._insert(layer, below_points=tag != RADIOGRAPH)
            return layer
        layer.data = pixels
        self.place(layer)
        return layer

    def show_vectors(self, tag: str, name: str, segments: NDArray[np.float32], **made_with: Any) -> Vectors:
        """Show `[N, 2, 2]` segments (start, direction; y, x) in the layer of this tag."""
        layer = self.layer(tag)
        if layer is None:
            layer = Vectors(segments, name=name, **self.describe(tag), **made_with)
            return self.insert_below_points(layer)
        layer.data = segments
        self.place(layer)
        return layer

    def ensure_points(self, tag: str, name: str, **made_with: Any) -> Points:
        """Get the Points layer of this tag, which the first call makes, empty, with these options."""
        layer = self.layer(tag)
        if layer is None:
            layer = Points(
                np.empty((0, 2)),
                ndim=2,
                name=name,
                metadata=self._make_metadata(tag),
                **self.placement,
                **made_with,
            )
            self.viewer.add_layer(layer)
        return layer

    def describe(self, tag: str) -> dict[str, Any]:
        """Make the arguments of a new layer: its tag, and where the radiograph in view lies."""
        return {"metadata": {TAG: tag}, **self.placement}

    def insert_below_points(self, layer: LayerT) -> LayerT:
        """Insert a new layer below the landmarks, which stay the layer that takes the clicks."""
        self._insert(layer, below_points=True)
        return layer

    def remove(self, tag: str) -> None:
        """Remove a layer, if it is there."""
        layer = self.layer(tag)
        if layer is not None:
            # Only a removal by the person is worth reporting.
            self._removing = True
            try:
                self.viewer.layers.remove(layer)
            finally:
                self._removing = False

    def empty(self, tag: str) -> None:
        """Take all points out of a layer, if it is there."""
        layer = self.layer(tag)
        if layer is not None and len(layer.data):
            with self.quietly():
                layer.data = np.empty((0, 2))

    def ask(self, text: str) -> None:
        """Write one line over the canvas; an empty text removes it."""
        overlay = self.viewer.canvas.overlays.text
        overlay.text = text
        overlay.visible = bool(text)
        overlay.position = "top_center"
        overlay.font_size = 13

    def close(self) -> None:
        """Release the viewer; the layers stay."""
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self.ask("")

    def place(self, layer: Layer) -> None:
        """Lay a layer over the radiograph in view."""
        # Each assignment makes napari look at every layer again, even if nothing changes.
        placed = self.placement
        if tuple(str(unit) for unit in layer.units) != LONG_UNITS[placed["units"][0]]:
            layer.units = placed["units"]
        if tuple(layer.scale) != placed["scale"]:
            layer.scale = placed["scale"]

    def _make_metadata(self, tag: str) -> dict[str, Any]:
        # With name and size, napari's own Save can write the points without the radiograph's layer.
        if self.radiograph is None:
            return {TAG: tag}
        return {TAG: tag, "image": self.radiograph.name, "size": self.radiograph.size}

    def _insert(self, layer: Layer, below_points: bool) -> None:
        tags = [one.metadata.get(TAG) for one in self.viewer.layers]
        points = [i for i, tag in enumerate(tags) if tag in (LANDMARKS, PREVIEW)]
        at = min(points) if points and below_points else (0 if points else len(tags))
        # napari activates what it inserts, but clicks must still go to the landmarks.
        active = self.viewer.layers.selection.active
        self.viewer.layers.insert(at, layer)
        if active is not None:
            self.viewer.layers.selection.active = active

    def _drop_evidence(self, same: bool) -> None:
        # Evidence belongs to one radiograph, so hide it until that of the new one arrives. When napari fits the view, it
        # counts hidden layers too, so a layer of another size or scale must go.
        for layer in list(self.viewer.layers):
            tag = layer.metadata.get(TAG)
            if tag is not None and tag not in (RADIOGRAPH, LANDMARKS, PREVIEW):
                layer.visible = False
                if not same:
                    self.remove(tag)

    def _show_scale_bar(self) -> None:
        bar = self.viewer.canvas.overlays.scale_bar
        bar.visible = self.radiograph is not None and self.radiograph.spacing is not None

    def _on_removed(self, event: Any) -> None:
        tag = event.value.metadata.get(TAG)
        if tag is not None and not self._removing:
            self.report_removal(tag)
