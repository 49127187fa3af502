"""The controllers behind the pages, wired together."""

from __future__ import annotations

from collections.abc import Sequence

from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from onemark.gui.controllers.asking import Asking
from onemark.gui.controllers.context import Context
from onemark.gui.controllers.exporting import Exporting
from onemark.gui.controllers.measuring import Measuring
from onemark.gui.controllers.opening import Opening
from onemark.gui.controllers.second_reading import Rereading
from onemark.gui.controllers.session_store import SessionStore
from onemark.gui.controllers.training import Training
from onemark.gui.controllers.view.contrast import Contrast
from onemark.gui.controllers.view.evidence import EvidenceView
from onemark.gui.controllers.view.preview import Preview
from onemark.gui.controllers.view.viewing import Viewing
from onemark.gui.state.backend import Backend
from onemark.gui.state.session import Session

OPEN, ANNOTATE, TRAIN, REVIEW, EXPORT = range(5)


class App(QObject):
    """Everything the pages call.

    Attributes:
        context: What all controllers share.
        session_store: The autosave.
        opening: Step 1.
        viewing: The radiograph in view.
        training: Step 3.
        asking: The questions of step 4.
        evidence: The evidence of step 4.
        preview: The predictions on the radiograph in view during a training.
        exporting: Step 5.
        contrast: Window and level.
        measuring: The measurements.
        rereading: The second, blind reading.
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
        self.asking = Asking(self.context, self.session_store, self.training, self)
        self.evidence = EvidenceView(self.context, self.training, self)
        self.preview = Preview(self.context, self.training, self)
        self.exporting = Exporting(self.context, self.session_store, self)
        self.contrast = Contrast(self.context, self.session_store, self.viewing, self)
        self.measuring = Measuring(self.context, self.session_store, self.viewing, self)
        self.rereading = Rereading(self.context, self.session_store, self)
        self.step = OPEN
        self.context.points.diameter = self.session_store.preferences.point_size
        self.context.points.limit_mm = self.session_store.preferences.error_limit
        self.opening.opened.connect(self._on_opened)
        self.training.ended.connect(self._on_ended)
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
        """Confirm the points in view, and go to the next radiograph of the list."""
        if self.context.points.check_in_view():
            self.session.confirm()
            self.viewing.step(1)

    def hide_landmark(self) -> None:
        """Declare the landmark asked for not visible on the radiograph in view."""
        if self.context.points.check_in_view():
            self.session.hide(self.session.landmark)

    def undo(self) -> None:
        """Undo the last edit of the radiograph in view."""
        if self.context.points.check_in_view():
            self.session.undo()

    def redo(self) -> None:
        """Redo the last undone edit of the radiograph in view."""
        if self.context.points.check_in_view():
            self.session.redo()

    def close(self) -> None:
        """Stop the training, write what is pending, and release the viewer."""
        self.evidence.close()
        self.measuring.close()
        self.contrast.close()
        self.training.close()
        self.session_store.end()
        self.context.close()

    def _on_opened(self) -> None:
        if self.session.cohort is None:
            return
        # The saved choice arrives after the landmarks.
        self.measuring.follow_schema()
        self.training.open_run()
        self.rereading.restore()
        self.go(self._choose_step())

    def _choose_step(self) -> int:
        if self.session_store.run is None or self.session.reading is not None:
            return ANNOTATE
        return TRAIN if self.training.unfinished else REVIEW

    def _on_ended(self, outcome: str) -> None:
        # A person who does something else meanwhile keeps the page; the status line leads to the results.
        if outcome == "done" and self.step == TRAIN:
            self.go(REVIEW)
        if outcome == "suggested":
            self._announce_suggestion()

    def _announce_suggestion(self) -> None:
        session = self.session
        chosen = session.suggestion.chosen if session.suggestion is not None else ()
        left = [name for name in chosen if session.place_in_suggestion(name)]
        if not left:
            self.context.tell(
                "You have already annotated the suggested radiographs. Go on to step 3.", "good"
            )
            return
        begun = session.current in session.list_unfinished()
        if begun or self.step in (REVIEW, EXPORT):
            self.context.tell(_compose_advice(left), "good", [("Show it", lambda: self.annotate(left[0]))])
        else:
            self.annotate(left[0])
            self.context.tell(_compose_advice(left), "good")

    def annotate(self, name: str) -> None:
        """Show a radiograph in step 2."""
        self.session.show(name)
        self.go(ANNOTATE)


def _compose_advice(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"Annotate {names[0]} first. It resembles the other radiographs most, so its points carry over best."
    return (
        f"Annotate the {len(names)} radiographs at the top of the list first. Together they resemble the others most, so "
        "their points carry over best."
    )
