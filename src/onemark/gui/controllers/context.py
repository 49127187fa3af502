"""What every part of the widget shares: the session, the canvas, the threads, and a way to speak to the person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from onemark.gui.canvas.layers import Canvas
from onemark.gui.canvas.points import PointsEditor
from onemark.gui.controllers.background import Background
from onemark.gui.controllers.loader import Loader
from onemark.gui.state.backend import Backend, Pipeline
from onemark.gui.state.failures import explain
from onemark.gui.state.session import Session

Choice = tuple[str, Callable[[], None]]


@dataclass(frozen=True)
class Message:
    """One thing said to the person.

    Attributes:
        text: One or two sentences.
        kind: `info` (goes by itself), `good`, `warn` or `bad`.
        ways: Buttons beside it, label and what they do.
        details: Text behind a "Details" button, or empty.
    """

    text: str
    kind: str = "info"
    choices: Sequence[Choice] = ()
    details: str = ""


class Context(QObject):
    """The shared things.

    Attributes:
        viewer: The napari viewer.
        session: What the person is doing.
        backend: What does the heavy work.
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

    def tell(self, text: str, kind: str = "info", choices: Sequence[Choice] = (), details: str = "") -> None:
        """Say something to the person."""
        self.said.emit(Message(text, kind, choices, details))

    def fail(self, error: BaseException, doing: str, choices: Sequence[Choice] = ()) -> None:
        """Say readably what went wrong."""
        failure = explain(error, doing)
        self.tell(failure.text, "bad", choices, failure.details)

    def try_to(self, doing: str, act: Callable[[], None]) -> None:
        """Do it; a wrong input becomes a message."""
        try:
            act()
        except Exception as error:
            self.fail(error, doing)

    def close(self) -> None:
        """Let go of the viewer and the threads."""
        self.points.close()
        self.canvas.close()
        self.background.close()
