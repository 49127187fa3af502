"""What all controllers share: the session, the canvas, the threads, and a way to tell the person something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from onemark.gui.canvas.layers import Canvas
from onemark.gui.canvas.points import PointsEditor
from onemark.gui.canvas.region import RegionView
from onemark.gui.controllers.background import Background
from onemark.gui.controllers.loader import Loader
from onemark.gui.state.backend import Backend, Pipeline
from onemark.gui.state.failures import explain
from onemark.gui.state.session import Session

Choice = tuple[str, Callable[[], None]]


@dataclass(frozen=True)
class Message:
    """Something to tell the person.

    Attributes:
        text: One or two sentences.
        kind: `info` or `good`, which disappear by themselves, `warn` or `bad`.
        choices: Buttons below it: label, and what the button does.
        details: Text behind a "Details" button, or empty.
    """

    text: str
    kind: str = "info"
    choices: Sequence[Choice] = ()
    details: str = ""


class Context(QObject):
    """The shared objects.

    Attributes:
        viewer: The napari viewer.
        session: What the person is doing.
        backend: What does the heavy work.
        background: Threads for short work.
        loader: Decodes radiographs.
        canvas: The layers.
        points: The editor of the landmarks layer.
        region: Where the selected landmark may be.
    """

    said = Signal(object)

    def __init__(
        self, viewer: ViewerModel, backend: Backend | None = None, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.session = Session()
        self.backend: Backend = backend or Pipeline()
        self.background = Background(self)
        self.loader = Loader(self.background)
        self.canvas = Canvas(viewer)
        self.points = PointsEditor(self.canvas, self.session, self.tell)
        self.region = RegionView(self.canvas, self.session, self.points)

    def tell(self, text: str, kind: str = "info", choices: Sequence[Choice] = (), details: str = "") -> None:
        """Tell the person something."""
        self.said.emit(Message(text, kind, choices, details))

    def fail(self, error: BaseException, doing: str, choices: Sequence[Choice] = ()) -> None:
        """Tell the person what went wrong while `doing` something."""
        failure = explain(error, doing)
        self.tell(failure.text, "bad", choices, failure.details)

    def try_to(self, doing: str, act: Callable[[], None]) -> None:
        """Call `act`; an error becomes a message to the person."""
        try:
            act()
        except Exception as error:
            self.fail(error, doing)

    def close(self) -> None:
        """Release the viewer and the threads."""
        self.region.close()
        self.points.close()
        self.canvas.close()
        self.background.close()
