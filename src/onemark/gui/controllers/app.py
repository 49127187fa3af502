"""The controllers behind the pages, wired together."""

from __future__ import annotations

from collections.abc import Sequence

from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from onemark.gui.controllers.context import Context
from onemark.gui.controllers.evidence import EvidenceView
from onemark.gui.controllers.exporting import Exporting
from onemark.gui.controllers.opening import Opening
from onemark.gui.controllers.preview import Preview
from onemark.gui.controllers.session_store import SessionStore
from onemark.gui.controllers.training import Training
from onemark.gui.controllers.viewing import Viewing
from onemark.gui.state.backend import Backend
from onemark.gui.state.session import Session

OPEN, ANNOTATE, TRAIN, REVIEW, EXPORT = range(5)


class App(QObject):
    """Everything the pages call.

    Attributes:
        desk: What all parts share.
        keeper: The autosave.
        opening: Step 1.
        viewing: The radiograph in view.
        training: Step 3.
        evidence: The maps of step 4.
        exporting: Step 5.
        step: Index of the step in view.
    """

    step_changed = Signal(int)

    def __init__(
        self, viewer: ViewerModel, backend: Backend | None = None, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.context = Context(viewer, backend, self)
        self.session_store = SessionStore(self.context, self)
        self.viewing = Viewing(self.context, self)
        self.opening = Opening(self.context, self.session_store, self)
        self.training = Training(self.context, self.session_store, self)
        self.evidence = EvidenceView(self.context, self.training, self)
        self.preview = Preview(self.context, self.training, self)
        self.exporting = Exporting(self.context, self.session_store, self)
        self.step = OPEN
        self.context.points.diameter = self.session_store.preferences.point_size
        self.context.points.limit_mm = self.session_store.preferences.error_limit
        self.opening.opened.connect(self._opened)
        self.training.ended.connect(self._ended)
        self.viewing.shown.connect(lambda name: self.preview.draw())
        self.viewing.shown.connect(lambda name: self.evidence.refresh())

    @property
    def session(self) -> Session:
        """The session."""
        return self.context.session

    def go(self, step: int) -> None:
        """Go to a step."""
        self.step = step
        self.context.points.ask_everywhere(step in (OPEN, ANNOTATE))
        self.step_changed.emit(step)

    def confirm(self) -> None:
        """Take the points in view as right, and go on to the next radiograph of the list."""
        self.session.confirm()
        self.viewing.step(1)

    def close(self) -> None:
        """Stop the training, write what is left, and let go of the viewer."""
        self.evidence.close()
        self.training.close()
        self.session_store.end()
        self.context.close()

    def _opened(self) -> None:
        if self.session.cohort is None:
            return
        self.training.open_run()
        self.go(self._first_step())

    def _first_step(self) -> int:
        if self.session_store.run is None:
            return ANNOTATE
        return TRAIN if self.training.unfinished else REVIEW

    def _ended(self, outcome: str) -> None:
        # Whoever does something else meanwhile keeps the page; the status line leads to the results.
        if outcome == "done" and self.step == TRAIN:
            self.go(REVIEW)
        if outcome == "suggested":
            self._suggested()

    def _suggested(self) -> None:
        session = self.session
        chosen = session.suggestion.chosen if session.suggestion is not None else ()
        left = [name for name in chosen if session.place_in_suggestion(name)]
        if not left:
            self.context.tell(
                "The radiographs worth marking first are marked already: go on to step 3.", "good"
            )
            return
        begun = session.current in session.list_unfinished()
        if begun or self.step in (REVIEW, EXPORT):
            self.context.tell(_advice(left), "good", [("Show it", lambda: self.mark(left[0]))])
        else:
            self.mark(left[0])
            self.context.tell(_advice(left), "good")

    def mark(self, name: str) -> None:
        """Show a radiograph, to be marked."""
        self.session.show(name)
        self.go(ANNOTATE)


def _advice(names: Sequence[str]) -> str:
    if len(names) == 1:
        return (
            f"Mark {names[0]} first: it looks most like all the others, so its points are found on them best."
        )
    return (
        f"Mark the {len(names)} radiographs on top of the list first: together they look most like all the others, so "
        "their points are found on them best."
    )
