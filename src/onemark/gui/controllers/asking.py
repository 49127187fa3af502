"""The questions of step 4: fetch them, show one after the other, keep the answers, teach them."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject, Signal

from onemark.data.questions import Question, Questions
from onemark.gui.controllers.context import Context
from onemark.gui.controllers.session_store import SessionStore
from onemark.gui.controllers.training import Training
from onemark.gui.state.questioning import Place, Round
from onemark.gui.state.run_status import read_exemplars
from onemark.types import Radiograph, UserError

NUMBER = 20  # questions in a round: about two minutes


class Asking(QObject):
    """One round of questions at a time.

    Signals:
        changed: another question is in view, its radiograph has been decoded, or the round has ended.

    Attributes:
        round: The round, or None before the first.
        radiograph: The radiograph of the question in view, once it is decoded.
    """

    changed = Signal()

    def __init__(
        self,
        context: Context,
        session_store: SessionStore,
        training: Training,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.context, self.session_store, self.training = context, session_store, training
        self.round: Round | None = None
        self.radiograph: Radiograph | None = None
        self._token: object | None = None  # of the questions that are being chosen
        context.session.cohort_changed.connect(self._forget)
        # A blind reading takes no answers that show a guess.
        context.session.reading_changed.connect(self._forget)
        training.began.connect(self._on_began)

    @property
    def waiting(self) -> bool:
        """Whether questions are being chosen."""
        return self._token is not None

    def start(self) -> None:
        """Choose questions, outside the GUI thread, unless a round is under way.

        Raises:
            UserError: there is no trained run, or a training is under way.
        """
        run, cohort = self.session_store.run, self.context.session.cohort
        if run is None or cohort is None:
            raise UserError("there is no trained run to ask; train in step 3 first")
        if self.training.running is not None:
            raise UserError("a training is under way; ask when it has ended")
        self.context.session.check_not_reading()
        if self.waiting or (self.round is not None and self.round.current is not None):
            return
        number = NUMBER + self._count_idle(run, len(cohort))
        token = self._token = object()
        self.round = None
        self.context.background.run(
            lambda: self.context.backend.ask(run, cohort, number),
            lambda questions: self._take(token, questions),
            lambda error: self._fail(token, error),
        )
        self.changed.emit()

    @property
    def landmark(self) -> str:
        """The window's name of the landmark in question; empty when there is none."""
        question = self.round.current if self.round is not None else None
        return "" if question is None else self._own_name(question.landmark)

    def answer(self, place: Place | None) -> None:
        """Take a place in px, or None for "not visible", as the answer, and go on."""
        if self.round is None or self.round.current is None:
            return
        self.context.session.answer(self.round.current.image, self.landmark, place)  # which saves it as well
        self.round.answer(place)
        self._show()

    def skip(self) -> None:
        """Go on without an answer."""
        if self.round is None or self.round.current is None:
            return
        image = self.round.current.image
        self.session_store.answers.drop(image, self.landmark)
        self.round.skip()
        self.context.session.annotations_changed.emit(image)
        self._show()

    def back(self) -> None:
        """Return to the question before."""
        if self.round is not None:
            self.round.back()
            self._show()

    def teach(self) -> None:
        """Train on with the answers. Raises UserError where that is not possible."""
        self.training.start("retrain")

    def _own_name(self, landmark: str) -> str:
        return self.session_store.names_of_run().get(landmark, landmark)

    def _take(self, token: object, questions: Questions) -> None:
        if token is not self._token:
            return  # another folder was opened, or a training has begun
        finished = set(self.context.session.list_finished())
        open_ = [one for one in questions if one.image not in finished and self._is_open(one)]
        self._token, self.round = None, Round(open_[:NUMBER])
        self._show()

    def _count_idle(self, run: Path, radiographs: int) -> int:
        """How many questions the run may choose that are not open, because it knows only what it was taught."""
        answered = sum(map(len, self.session_store.answers.answers.values()))
        untaught = len(self.context.session.schema) * sum(1 for _ in self.session_store.list_untaught())
        taught = read_exemplars(run)
        absent = sum(not self._has(name) for name in (taught.names if taught is not None else ()))
        return answered + untaught + absent * radiographs

    def _has(self, landmark: str) -> bool:
        """Whether the window has a landmark of the run, which may have another name now."""
        names = self.session_store.names_of_run()
        taken_over = landmark in names.values() and landmark not in names
        return self._own_name(landmark) in self.context.session.schema.names and not taken_over

    def _is_open(self, question: Question) -> bool:
        """Whether the window has the landmark, and the person has not answered yet."""
        known = self.context.session.answers.answers.get(question.image, {})
        return self._has(question.landmark) and self._own_name(question.landmark) not in known

    def _fail(self, token: object, error: BaseException) -> None:
        if token is not self._token:
            return
        self._token = None
        self.context.fail(error, "choosing questions")
        self.changed.emit()

    def _show(self) -> None:
        self.radiograph = None
        question = self.round.current if self.round is not None else None
        if question is not None:
            self.context.loader.get(
                question.image, self._on_decoded, lambda error: self._pass_over(question, error)
            )
        self.changed.emit()

    def _pass_over(self, question: Question, error: BaseException) -> None:
        if self.round is not None and self.round.current is question:
            self.context.fail(error, f"reading {question.image}")
            self.round.skip()
            self._show()

    def _on_decoded(self, radiograph: Radiograph) -> None:
        question = self.round.current if self.round is not None else None
        # The person may have gone on during the decoding.
        if question is not None and question.image == radiograph.name:
            self.radiograph = radiograph
            self.changed.emit()

    def _on_began(self) -> None:
        # The guesses are those of a model that this training replaces.
        running = self.training.running
        if running is not None and running.order.kind != "suggest":
            self._forget()

    def _forget(self) -> None:
        self.round, self.radiograph, self._token = None, None, None
        self.changed.emit()
