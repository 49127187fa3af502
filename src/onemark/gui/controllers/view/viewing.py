"""One radiograph at a time: decode it, show it, go to the next."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QObject, QTimer, Signal

from onemark.gui.canvas.layers import LANDMARKS, PREVIEW, RADIOGRAPH
from onemark.gui.controllers.context import Context
from onemark.gui.state.failures import explain
from onemark.types import Radiograph


class Viewing(QObject):
    """Keeps the session's current radiograph on the canvas.

    Attributes:
        order: The names in the order of the list, which next and previous follow.
    """

    shown = Signal(str)
    unreadable = Signal(str)
    removed = Signal(str)

    def __init__(self, context: Context, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.context = context
        self.order: Sequence[str] = ()
        self._points_next = QTimer(self)  # unlike QTimer.singleShot, it dies with the panel
        self._points_next.setSingleShot(True)
        self._points_next.timeout.connect(self._show_points)
        session = context.session
        session.cohort_changed.connect(self._on_cohort_changed)
        session.current_changed.connect(self._load)
        session.annotations_changed.connect(lambda image: self._redraw(image))
        session.schema_changed.connect(context.points.draw)
        session.predictions_changed.connect(context.points.draw)
        session.landmark_changed.connect(context.points.follow)
        context.canvas.report_removal = self._on_removed

    def step(self, by: int) -> None:
        """Show the radiograph `by` places further down the list."""
        if not self.order:
            return
        current = self.context.session.current
        at = self.order.index(current) + by if current in self.order else 0
        if 0 <= at < len(self.order):
            self.context.session.show(self.order[at])
        else:
            self.context.tell(
                "This is the last radiograph of the list."
                if by > 0
                else "This is the first radiograph of the list."
            )

    def blank(self) -> None:
        """Show nothing, so that nobody places points on the picture of another radiograph."""
        self.context.canvas.blank()
        self.context.points.clear()

    def clear_layers(self) -> None:
        """Remove the layers of the radiograph, because napari adds the next one itself."""
        self.blank()
        for tag in (RADIOGRAPH, LANDMARKS, PREVIEW):
            self.context.canvas.remove(tag)

    def _on_cohort_changed(self) -> None:
        cohort = self.context.session.cohort
        assert cohort is not None
        self.order = cohort.names
        self.context.loader.use(cohort)
        self.context.canvas.radiograph = None
        # Removing a layer that shows points crashes the next drawing of the image in Mesa's OpenGL.
        self.context.points.clear()
        for tag in (LANDMARKS, PREVIEW):
            self.context.canvas.empty(tag)

    def _load(self) -> None:
        name = self.context.session.current
        if name is not None:
            self.context.loader.get(name, self._show, lambda error: self._on_failed(name, error))

    def _show(self, radiograph: Radiograph) -> None:
        # The person may have gone to another radiograph while this one was decoded.
        if radiograph.name != self.context.session.current:
            return
        # In two turns of the event loop, so that neither blocks the window for long.
        self.context.canvas.show(radiograph)
        self._points_next.start()

    def _show_points(self) -> None:
        radiograph = self.context.canvas.radiograph
        if radiograph is None or radiograph.name != self.context.session.current:
            return
        self.context.points.draw()
        self.context.region.draw()
        self.shown.emit(radiograph.name)
        self.context.loader.fetch_ahead(self._list_neighbours(radiograph.name))

    def _on_failed(self, name: str, error: BaseException) -> None:
        if name == self.context.session.current:
            self.blank()
            self.context.tell(explain(error, f"reading {name}").text, "warn")
            self.unreadable.emit(name)

    def _list_neighbours(self, name: str) -> list[str]:
        at = self.order.index(name) if name in self.order else -1
        return [self.order[i] for i in (at + 1, at - 1) if at >= 0 and 0 <= i < len(self.order)]

    def _redraw(self, image: str) -> None:
        if image in (self.context.session.current, ""):
            self.context.points.draw()
            self.context.region.draw()

    def _on_removed(self, tag: str) -> None:
        self.removed.emit(tag)
        if tag in (RADIOGRAPH, LANDMARKS):
            what = {RADIOGRAPH: "radiograph's layer", LANDMARKS: "landmarks layer"}[tag]
            self.context.tell(
                f"You have removed the {what}. onemark keeps your points.",
                "warn",
                [("Bring back", self._bring_back)],
            )

    def _bring_back(self) -> None:
        radiograph = self.context.canvas.radiograph
        if radiograph is not None:
            self.context.canvas.show(radiograph)
            self.context.points.draw()
