"""The layers of the radiograph in view: one per kind, reused, all with the radiograph's own scale and units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer, Points, Vectors
from numpy.typing import NDArray

from onemark.types import Radiograph

TAG = "onemark"
RADIOGRAPH, LANDMARKS, PREVIEW = "radiograph", "landmarks", "preview"
LONG_UNITS = {"mm": ("millimeter", "millimeter"), "pixel": ("pixel", "pixel")}


class Canvas:
    """Finds, makes and updates onemark's layers in a viewer.

    A layer belongs to onemark by a tag in its metadata, so a renamed one is still found and a foreign one left alone.

    Attributes:
        viewer: The viewer.
        radiograph: What is in view, or None.
        on_removed: Called with the tag when the person removes one of the layers.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.radiograph: Radiograph | None = None
        self.on_removed: Callable[[str], None] = lambda tag: None
        self._removing = False
        self._blanked: list[Layer] = []
        viewer.layers.events.removed.connect(self._removed)

    def layer(self, tag: str) -> Any:
        """The layer with that tag, or None."""
        return next((one for one in self.viewer.layers if one.metadata.get(TAG) == tag), None)

    @property
    def placement(self) -> dict[str, Any]:
        """Scale and units that put an array of the radiograph's size where the radiograph is."""
        spacing = self.radiograph.spacing if self.radiograph else None
        if spacing is None:
            return {"scale": (1.0, 1.0), "units": ("pixel", "pixel")}
        return {"scale": (spacing[1], spacing[0]), "units": ("mm", "mm")}

    def show(self, radiograph: Radiograph) -> None:
        """Put a radiograph in view; the zoom is kept between radiographs of one size and scale."""
        before = self.radiograph
        same = before is not None and (before.size, before.spacing) == (radiograph.size, radiograph.spacing)
        self.radiograph = radiograph
        new = self.layer(RADIOGRAPH) is None
        self._drop_maps(same)
        while self._blanked:
            self._blanked.pop().visible = True
        self.image(RADIOGRAPH, "radiograph", radiograph.pixels, contrast_limits=(0, 1))
        for tag in (LANDMARKS, PREVIEW):
            if (layer := self.layer(tag)) is not None:
                if not same and len(layer.data):
                    layer.data = np.empty((0, 2))
                self._place(layer)
                layer.metadata = self._about(tag)
        self._scale_bar()
        if new or not same:
            self.viewer.reset_view()

    def blank(self) -> None:
        """Nothing is in view: hide what shows the last radiograph, until `show` is given the next."""
        self.radiograph = None
        for layer in self.viewer.layers:
            tag = layer.metadata.get(TAG)
            if tag is not None and layer.visible:
                layer.visible = False
                if tag in (RADIOGRAPH, LANDMARKS):
                    self._blanked.append(layer)

    def image(self, tag: str, name: str, pixels: NDArray[np.float32], **made_with: Any) -> Image:
        """Show `[H, W]` pixels in the layer of that tag, made on first use with these options."""
        layer = self.layer(tag)
        if layer is None:
            layer = Image(pixels, name=name, metadata={TAG: tag}, **self.placement, **made_with)
            self._insert(layer, below_points=tag != RADIOGRAPH)
            return layer
        layer.data = pixels
        self._place(layer)
        return layer

    def vectors(self, tag: str, name: str, segments: NDArray[np.float32], **made_with: Any) -> Vectors:
        """Show `[N, 2, 2]` segments (start, direction; y, x) in the layer of that tag."""
        layer = self.layer(tag)
        if layer is None:
            layer = Vectors(segments, name=name, metadata={TAG: tag}, **self.placement, **made_with)
            self._insert(layer, below_points=True)
            return layer
        layer.data = segments
        self._place(layer)
        return layer

    def points(self, tag: str, name: str, **made_with: Any) -> Points:
        """The Points layer of that tag, made empty on first use with these options."""
        layer = self.layer(tag)
        if layer is None:
            layer = Points(
                np.empty((0, 2)), ndim=2, name=name, metadata=self._about(tag), **self.placement, **made_with
            )
            self.viewer.add_layer(layer)
        return layer

    def remove(self, tag: str) -> None:
        """Take a layer out, when it is there."""
        layer = self.layer(tag)
        if layer is not None:
            self._removing = True
            try:
                self.viewer.layers.remove(layer)
            finally:
                self._removing = False

    def ask(self, text: str) -> None:
        """Write one line over the canvas; an empty one takes it away."""
        overlay = self.viewer.canvas.overlays.text
        overlay.text = text
        overlay.visible = bool(text)
        overlay.position = "top_center"
        overlay.font_size = 13

    def close(self) -> None:
        """Let go of the viewer; the layers stay."""
        self.viewer.layers.events.removed.disconnect(self._removed)
        self.ask("")

    def _place(self, layer: Layer) -> None:
        # Each of these makes napari look at every layer anew, also when nothing changes.
        placed = self.placement
        if tuple(str(unit) for unit in layer.units) != LONG_UNITS[placed["units"][0]]:
            layer.units = placed["units"]
        if tuple(layer.scale) != placed["scale"]:
            layer.scale = placed["scale"]

    def _about(self, tag: str) -> dict[str, Any]:
        # The name and size let napari's own Save write the points without the radiograph.
        if self.radiograph is None:
            return {TAG: tag}
        return {TAG: tag, "image": self.radiograph.name, "size": self.radiograph.size}

    def _insert(self, layer: Layer, below_points: bool) -> None:
        tags = [one.metadata.get(TAG) for one in self.viewer.layers]
        annotation = [i for i, tag in enumerate(tags) if tag in (LANDMARKS, PREVIEW)]
        at = min(annotation) if annotation and below_points else (0 if annotation else len(tags))
        active = self.viewer.layers.selection.active
        self.viewer.layers.insert(at, layer)
        if active is not None:
            self.viewer.layers.selection.active = active

    def _drop_maps(self, same: bool) -> None:
        # Evidence speaks of one radiograph: hide it until that of the new one is there. Of another size or scale even a
        # hidden layer would count when the view is fitted.
        for layer in list(self.viewer.layers):
            tag = layer.metadata.get(TAG)
            if tag is not None and tag not in (RADIOGRAPH, LANDMARKS, PREVIEW):
                layer.visible = False
                if not same:
                    self.remove(tag)

    def _scale_bar(self) -> None:
        bar = self.viewer.canvas.overlays.scale_bar
        bar.visible = self.radiograph is not None and self.radiograph.spacing is not None

    def _removed(self, event: Any) -> None:
        tag = event.value.metadata.get(TAG)
        if tag is not None and not self._removing:
            self.on_removed(tag)
