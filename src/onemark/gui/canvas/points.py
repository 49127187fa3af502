"""The editor of the Points layer: it asks for one landmark after the other, and keeps each exactly once."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Points
from numpy.typing import NDArray
from psygnal import Signal

from onemark.gui.canvas.layers import LANDMARKS, Canvas
from onemark.gui.canvas.palette import error_colours, landmark_colours
from onemark.gui.state.annotation import Annotation, State
from onemark.gui.state.session import Session

DRAG_PIXELS = 5  # on the screen: a hand that clicks moves the mouse less than this
LIMIT_SHARE = 0.02  # of the mean side: the error with the warmest colour where no scale in mm is known
STYLE = {
    "face_color": "#00000000",
    "border_width": 0.16,
    "features": pd.DataFrame({"landmark": pd.Series(dtype=str), "label": pd.Series(dtype=str)}),
    "text": {"string": "  {label}", "size": 10, "color": "white", "anchor": "upper_left"},
}


def ceil_to_digit(value: float) -> float:
    """The next larger number with one digit that is not zero, such as 800 for 732."""
    power = 10.0 ** math.floor(math.log10(value))
    return math.ceil(value / power) * power


class PointsEditor:
    """Keeps the `landmarks` layer equal to the session's points.

    A click places the landmark that the canvas asks for, a drag moves one, Delete removes the selected ones. The editor
    undoes any other change to the layer, such as pasted points, because the session is what is trained on and saved.

    Signals:
        moving: Index of a landmark under the mouse of a drag, and where it is now, `[2]` xy; the session follows when
            the person lets go.

    Args:
        canvas: Where the layer lives.
        session: The points.
        tell: Tells the person something.

    Attributes:
        limit_mm: Expected error, mm, with the warmest colour.
        diameter: Diameter of a point on the screen, in px.
        drawn_for: Name of the radiograph whose points the layer shows, or None.
    """

    moving = Signal(int, object)

    def __init__(self, canvas: Canvas, session: Session, tell: Callable[[str], None]) -> None:
        self.canvas, self.session = canvas, session
        self.limit_mm = 4.0
        self.diameter = 15.0
        self._tell = tell
        self._drawing = False
        self._drawn: list[int] = []
        self.drawn_for: str | None = None
        self._asking = True
        self._was: tuple[str | None, str] = (None, "")
        self._content: tuple[object, ...] = ()
        self._adopted: Points | None = None
        canvas.quietly = self._silence_events
        canvas.viewer.scene.camera.events.zoom.connect(self._resize)

    @property
    def limit(self) -> float:
        """Expected error with the warmest colour, in the unit of the radiograph in view.

        The scale grows with the errors, because one on which every point is red says nothing.
        """
        radiograph = self.canvas.radiograph
        in_mm = radiograph is None or radiograph.spacing is not None
        usual = self.limit_mm if in_mm else round(LIMIT_SHARE * fmean(radiograph.size))  # type: ignore[union-attr]
        typical = self.session.typical_error
        if radiograph is not None and radiograph.spacing is not None and self.session.error_unit == "px":
            typical *= fmean(radiograph.spacing)
        return usual if typical <= usual else ceil_to_digit(1.3 * typical)

    @property
    def layer(self) -> Points | None:
        """The layer, if it is there."""
        layer: Points | None = self.canvas.layer(LANDMARKS)
        return layer

    def draw(self) -> None:
        """Show the points of the radiograph in view."""
        if not self._in_view:
            return
        layer = self.layer or self.canvas.ensure_points(LANDMARKS, "landmarks", **STYLE)
        if layer is not self._adopted:
            self._adopt(layer)
        annotation = self.session.shown_annotation
        self._drawn = [int(i) for i in np.flatnonzero(annotation.placed)]
        self.drawn_for = self.session.current
        yx, colours = annotation.xy[self._drawn][:, ::-1], self._compute_colours()
        content = (self.session.schema, yx.tobytes(), colours.tobytes())
        with self._silence_events():
            # Filling the layer takes napari 15 ms, so skip it if the layer already shows this.
            if content != self._content or not np.array_equal(layer.data, yx):
                self._content = content
                self._fill(layer, yx, colours)
            self._select(layer)
        self._follow_state(layer, annotation)
        self._ask(annotation)

    def follow(self) -> None:
        """Show which landmark comes next."""
        if self.layer is not None and not self._ignores_input:
            with self._silence_events():
                self._select(self.layer)
            self._ask(self.session.shown_annotation)

    def ask_everywhere(self, asking: bool) -> None:
        """Ask for landmarks on every radiograph, as step 2 does, or only on those that the person has begun."""
        if asking != self._asking:
            self._asking = asking
            if self.layer is not None and not self._ignores_input:
                annotation = self.session.shown_annotation
                self._follow_state(self.layer, annotation)
                self._ask(annotation)

    def nudge(self, dx: float, dy: float) -> None:
        """Move the selected landmark by so many pixels, if it is placed."""
        at, annotation = self.session.landmark, self.session.shown_annotation
        if not self._ignores_input and at < len(annotation.xy) and annotation.placed[at]:
            xy = self._clip(annotation.xy[at][None] + (dx, dy))[0]
            self.session.edit(lambda annotation: annotation.place(at, xy), ask_next=False)

    def clear(self) -> None:
        """Show no points and ask for none, because nothing is in view."""
        self._drawn, self.drawn_for, self._was = [], None, (None, "")
        if self.layer is not None:
            with self._silence_events():
                self.layer.data = np.empty((0, 2))
                self.layer.mode = "pan_zoom"
        self.canvas.ask("")

    def close(self) -> None:
        """Release the viewer."""
        self.canvas.viewer.scene.camera.events.zoom.disconnect(self._resize)
        self._release()

    def _adopt(self, layer: Points) -> None:
        # The layer is new, or napari has duplicated it, which copies our tag but not our callbacks.
        self._release()
        self._adopted, self._content = layer, ()
        self._was = (None, "")  # a new layer starts with a tool of its own
        layer.mouse_drag_callbacks.insert(0, self._drag)
        layer.events.data.connect(self._on_data)
        layer.events.highlight.connect(self._on_highlight)
        layer.events.set_data.connect(self._on_refreshed)
        # napari emits no event when it pastes.
        layer.bind_key("Control-V", lambda layer: self._refuse(), overwrite=True)

    def _release(self) -> None:
        if self._adopted is not None:
            self._adopted.mouse_drag_callbacks.remove(self._drag)
            self._adopted.events.data.disconnect(self._on_data)
            self._adopted.events.highlight.disconnect(self._on_highlight)
            self._adopted.events.set_data.disconnect(self._on_refreshed)
            self._adopted = None

    def _fill(self, layer: Points, yx: NDArray[np.float64], colours: NDArray[np.float64]) -> None:
        names, labels = self.session.schema.names, self.session.schema.labels
        layer.selected_data = set()
        # One refresh at the end instead of one for every attribute.
        with layer.events.set_data.blocker():
            layer.data = yx
            rows = {"landmark": [names[i] for i in self._drawn], "label": [labels[i] for i in self._drawn]}
            layer.features = pd.DataFrame(rows, dtype=str)
            layer.size = self.diameter_in_pixels()
            if len(yx):
                layer.border_color = colours
                layer.text.color = {"array": colours, "default": "white"}
        layer.refresh()

    def _compute_colours(self) -> NDArray[np.float64]:
        image = str(self.session.current)
        prediction = self.session.prediction_of(image)
        if prediction is not None and self.session.state(image) is State.PREDICTED:
            errors = dict(zip(prediction.names, prediction.expected_error, strict=False))
            names = self.session.schema.names
            return error_colours(
                np.array([errors.get(names[i], np.nan) for i in self._drawn], float), self.limit
            )
        return landmark_colours(len(self.session.schema))[self._drawn]

    def _select(self, layer: Points) -> None:
        at = self.session.landmark
        layer.selected_data = (
            {self._drawn.index(at)} if at in self._drawn and layer.mode == "select" else set()
        )

    def _follow_state(self, layer: Points, annotation: Annotation) -> None:
        # Choose the tool only when the task changes, so that the person may choose another one in between.
        now = (
            self.session.current,
            "select" if annotation.complete else "add" if self._wanted else "pan_zoom",
        )
        if now != self._was:
            self._was = now
            layer.mode = now[1]
            self.canvas.viewer.layers.selection.active = layer

    @property
    def _wanted(self) -> bool:
        # A prediction lacks landmarks that are newer than its training, so ask for these in any step.
        begun = self.session.current in self.session.annotations or self.session.shown_annotation.done.any()
        return len(self.session.schema) > 0 and (self._asking or bool(begun))

    def _ask(self, annotation: Annotation) -> None:
        if annotation.complete or not self._wanted:
            self.canvas.ask("")
            return
        schema, at = self.session.schema, self.session.landmark
        verb = "Move" if annotation.placed[at] else "Click"
        self.canvas.ask(f"{verb}: {schema.names[at]} ({schema.labels[at]})   {at + 1} of {len(schema)}")

    def _on_data(self, event: Any) -> None:
        action = getattr(event.action, "value", event.action)
        if self._drawing or self.layer is None or action not in ("added", "removed", "changed"):
            return
        if self._ignores_input:
            self._refuse_out_of_view(self.layer, added=action == "added")
            return
        {"added": self._take_added, "removed": self._take_removed, "changed": self._take_moved}[action](
            self.layer
        )

    def _take_added(self, layer: Points) -> None:
        clicked = layer.mode == "add" and len(layer.data) == len(self._drawn) + 1
        if not clicked:
            self._refuse()
            self.draw()
        elif len(self.session.schema):
            self._put(self.session.landmark, layer.data[-1][::-1], layer)

    def _refuse(self) -> None:
        self._tell(
            "onemark does not accept pasted points, because every landmark exists once. Click to place one."
        )

    def check_in_view(self) -> bool:
        """Whether the current radiograph is in view with its points; tells the person where it is not yet."""
        in_view = self._in_view and self.drawn_for == self.session.current
        if not in_view and self.session.current is not None:
            self._tell(f"{self.session.current} is not in view yet, so onemark has changed nothing.")
        return in_view

    def _refuse_out_of_view(self, layer: Points, *, added: bool) -> None:
        self.check_in_view()
        if added:
            with self._silence_events():
                layer.data = layer.data[:-1]

    @property
    def _in_view(self) -> bool:
        return self.canvas.radiograph is not None and self.canvas.radiograph.name == self.session.current

    @property
    def _ignores_input(self) -> bool:
        # Until the next radiograph is decoded, the canvas and the layer still show the last one.
        return self._drawing or not self._in_view or self.drawn_for != self.session.current

    def _put(self, landmark: int, xy: NDArray[np.float64], layer: Points) -> None:
        if self._is_inside(xy):
            self.session.place(landmark, xy)
            return
        self._tell(
            f"onemark did not place {self.session.schema.names[landmark]}: the click was outside the radiograph."
        )
        self.draw()

    def _take_removed(self, layer: Points) -> None:
        names = list(layer.features["landmark"])
        gone = [i for i in self._drawn if self.session.schema.names[i] not in names]

        def clear_all(annotation: Annotation) -> Annotation:
            for landmark in gone:
                annotation = annotation.clear(landmark)
            return annotation

        if gone:
            self.session.landmark = gone[0]
            self.session.edit(clear_all, ask_next=False)

    def _take_moved(self, layer: Points) -> None:
        if len(layer.data) != len(self._drawn):
            self.draw()
            return
        before = self.session.shown_annotation.xy[self._drawn]
        after = self._clip(layer.data[:, ::-1])
        moved = np.flatnonzero(~np.isclose(before, after, atol=1e-6).all(axis=1))

        def move_all(annotation: Annotation) -> Annotation:
            for row in moved:
                annotation = annotation.place(self._drawn[row], after[row])
            return annotation

        if len(moved):
            self.session.landmark = self._drawn[moved[0]]
            self.session.edit(move_all, ask_next=False)

    def _drag(self, layer: Points, event: Any) -> Iterator[None]:
        # In add mode, a drag that starts on a point moves it, where napari would pan. A click still places the next one.
        if layer.mode != "add" or self._ignores_input:
            return
        hit = layer.get_value(
            event.position,
            view_direction=event.view_direction,
            dims_displayed=event.dims_displayed,
            world=True,
        )
        if hit is None:
            return
        landmark, start, image = self._drawn[hit], event.pos, self.session.current
        # Otherwise the camera would follow the drag as well.
        layer.mouse_pan = False
        yield
        while event.type == "mouse_move":
            if image == self.session.current:
                self._carry(layer, hit, event.position)
            yield
        layer.mouse_pan = True
        if image != self.session.current:
            return  # a key pressed during the drag has gone to the next radiograph
        if np.linalg.norm(event.pos - start) >= DRAG_PIXELS:
            self.session.landmark = landmark
            xy = self._clip(np.asarray(layer.world_to_data(event.position))[None, ::-1])[0]
            self.session.edit(lambda annotation: annotation.place(landmark, xy))
        elif len(layer.data) == len(self._drawn):
            self.draw()

    def _carry(self, layer: Points, row: int, position: Any) -> None:
        with self._silence_events():
            data = layer.data.copy()
            data[row] = layer.world_to_data(position)
            layer.data = data
        self.moving.emit(self._drawn[row], self._clip(layer.data[row : row + 1, ::-1])[0])

    def _on_refreshed(self) -> None:
        # napari's own drag of selected points says nothing until its end, but it draws every step.
        layer = self.layer
        if layer is None or layer.mode != "select" or self._ignores_input or not layer.selected_data:
            return
        row = min(layer.selected_data)
        if row < len(self._drawn) == len(layer.data):
            xy = self._clip(layer.data[row : row + 1, ::-1])[0]
            if not np.allclose(xy, self.session.shown_annotation.xy[self._drawn[row]], atol=1e-6):
                self.moving.emit(self._drawn[row], xy)

    def _on_highlight(self) -> None:
        layer = self.layer
        if self._ignores_input or layer is None or layer.mode != "select" or len(layer.selected_data) != 1:
            return
        row = next(iter(layer.selected_data))
        if row < len(self._drawn) and self._drawn[row] != self.session.landmark:
            self.session.select(self._drawn[row])

    def _resize(self) -> None:
        if self.layer is not None and len(self._drawn):
            with self._silence_events():
                self.layer.size = self.diameter_in_pixels()

    def diameter_in_pixels(self) -> float:
        """Diameter of a point, in pixels of the radiograph."""
        # Rings of constant size on the screen uncover the anatomy under them when the person zooms in.
        scale: float = self.canvas.placement["scale"][0]
        return float(self.diameter / (self.canvas.viewer.scene.camera.zoom * scale))

    def _is_inside(self, xy: NDArray[np.float64]) -> bool:
        return bool(np.allclose(self._clip(xy[None])[0], xy))

    def _clip(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self.canvas.radiograph is not None
        height, width = self.canvas.radiograph.size
        # Coordinates are pixel centres, so the picture reaches half a pixel beyond the first and the last.
        return np.clip(xy, -0.5, (width - 0.5, height - 0.5))

    @contextlib.contextmanager
    def _silence_events(self) -> Iterator[None]:
        # Calls nest, so restore what was there instead of setting False.
        before, self._drawing = self._drawing, True
        try:
            yield
        finally:
            self._drawing = before
