"""The dialog of questions: one landmark at a time, answered by a click and a key."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QDialog, QProgressBar, QWidget

from onemark.data.questions import Question
from onemark.gui.controllers.app import TRAIN, App
from onemark.gui.widgets.crop import Crop
from onemark.gui.widgets.parts import lay_column, lay_flow, make_button, make_label, name_control

_Key = Qt.Key


class QuestionsDialog(QDialog):
    """Shows each question as a zoomed crop with the model's guess."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self.setObjectName("onemark.questions")
        self.setWindowTitle("Questions")
        self._ask = make_label("", "ask", name="questions.ask")
        self._crop = Crop()
        self._progress: QProgressBar = name_control(QProgressBar(), "questions.progress", "Questions done")
        self._progress.setTextVisible(False)
        make = make_button
        self._buttons = [
            make(
                "questions.right",
                "Right",
                "The point is right where it is (Enter)",
                self.accept_point,
                main=True,
            ),
            make("questions.hidden", "Not visible", "The landmark is not visible (N)", self.hide_point),
            make("questions.skip", "Skip", "Leave this one out (S)", app.asking.skip),
        ]
        self._back = make(
            "questions.back", "Back", "Return to the question before (Backspace)", app.asking.back
        )
        self._teach = make("questions.teach", "Teach", "Train on with the answers", self.teach, main=True)
        box = lay_column(self, margin=12)
        box.addWidget(self._ask)
        box.addWidget(self._crop, 1)
        box.addWidget(self._progress)
        box.addLayout(lay_flow(*self._buttons, self._back, self._teach))
        box.addWidget(
            make_label(
                "Click to move the point. Enter: right, N: not visible, S: skip, Backspace: back.", "hint"
            )
        )
        for button in (*self._buttons, self._back, self._teach):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setAutoDefault(False)
        app.asking.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the question in view."""
        asking = self.app.asking
        round_ = asking.round
        question = round_.current if round_ is not None else None
        ready = question is not None and asking.radiograph is not None
        for button in self._buttons:
            button.setEnabled(ready)
        self._back.setEnabled(round_ is not None and round_.at > 0)
        self._teach.setEnabled(bool(self.app.session_store.answers.answers))
        self._progress.setRange(0, len(round_.questions) if round_ is not None else 0)
        self._progress.setValue(round_.at if round_ is not None else 0)
        self._ask.setText(self._compose(question))
        if question is None or round_ is None:
            self._crop.clear()
            return
        self._crop.show_point(
            asking.radiograph, (question.x, question.y), round_.place, self._doubt(question)
        )

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Answer by keys."""
        acts = {
            _Key.Key_Return: self.accept_point,
            _Key.Key_Enter: self.accept_point,
            _Key.Key_N: self.hide_point,
            _Key.Key_S: self.app.asking.skip,
            _Key.Key_Backspace: self.app.asking.back,
        }
        act = acts.get(event.key())  # a plain number where the layout has a letter that Qt has no name for
        if act is None:
            super().keyPressEvent(event)
        elif act == self.app.asking.back or (self._buttons[0].isEnabled() and not event.isAutoRepeat()):
            act()  # a key that is held answers one question, not all that follow

    def accept_point(self) -> None:
        """The point is right where it is."""
        self.app.asking.answer(self._crop.place)

    def hide_point(self) -> None:
        """The landmark is not visible."""
        self.app.asking.answer(None)

    def teach(self) -> None:
        """Train on with the answers, and show step 3."""
        self.app.context.try_to("training", self.app.asking.teach)
        self.app.go(TRAIN)
        self.accept()

    def _compose(self, question: Question | None) -> str:
        if question is not None:
            round_ = self.app.asking.round
            count = "" if round_ is None else f"{round_.at + 1} of {len(round_.questions)}: "
            return f"{count}where is {self.app.asking.landmark}?  ({question.image})"
        if self.app.asking.waiting:
            return "Choosing the questions that teach most…"
        return "All questions are done. Teach the answers, or close this window and do that later."

    def _doubt(self, question: Question) -> float:
        radiograph = self.app.asking.radiograph
        if question.unit != "mm" or radiograph is None:
            return question.expected_error
        return question.expected_error / radiograph.pixel_length
