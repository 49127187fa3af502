"""Step 4: look at the least certain radiographs first, see why, correct, confirm, retrain."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QDoubleSpinBox, QSizePolicy, QWidget

from onemark.gui.canvas.palette import error_colours
from onemark.gui.controllers.app import TRAIN, App
from onemark.gui.pages.page import Page
from onemark.gui.pages.questions import QuestionsDialog
from onemark.gui.pages.switches import Switches
from onemark.gui.state.annotation import State
from onemark.gui.widgets.parts import lay_column, lay_flow, make_button, make_label, name_control
from onemark.types import LandmarkSet


class ReviewPage(Page):
    """How far off the predictions probably are, the evidence for them, and the buttons to correct them."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self._summary = make_label("", "title")
        self._why = make_label("", "bad", name="review.why")
        self._go_on = make_button(
            "review.go_on",
            "Go on",
            "Train on with the same points, from the present model",
            self.go_on,
            main=True,
        )
        self._point = make_label("", "hint", name="review.point")
        self._legend = Legend(app)
        self._confirm = make_button(
            "confirm",
            "Confirm",
            "Confirm that these points are right, and go to the next radiograph (Enter)",
            self.confirm,
            main=True,
        )
        self._undo = make_button(
            "review.undo", "Undo", "Undo the last edit of this radiograph (Ctrl+Z)", app.undo
        )
        self._retrain = make_button(
            "retrain",
            "Retrain",
            "Train on, with the corrected and newly annotated radiographs as further exemplars (Ctrl+Shift+Enter)",
            self.retrain,
            main=True,
        )
        self._kept = make_label("", "hint", name="review.kept")
        self._ask = make_button(
            "review.ask",
            "Answer questions…",
            "Place single landmarks that teach the model most, one after the other",
            self.ask,
        )
        self._questions: QuestionsDialog | None = None
        self._minutes = self._make_minutes_box()
        self.switches = Switches(app)
        self._lay_out()
        self._follow_changes()
        self.refresh()

    def _lay_out(self) -> None:
        box = lay_column(self)
        box.addWidget(self._summary)
        box.addWidget(self._why)
        box.addLayout(lay_flow(self._go_on))
        box.addWidget(self._legend)
        box.addWidget(self._point)
        box.addLayout(lay_flow(self._confirm, self._undo, self._minutes, self._retrain))
        box.addWidget(self._kept)
        box.addLayout(lay_flow(self._ask))
        box.addWidget(make_label("Why there? Show the evidence on the radiograph:", "hint"))
        box.addWidget(self.switches)
        box.addStretch(1)

    def _follow_changes(self) -> None:
        session, training = self.app.session, self.app.training
        for signal in (
            session.predictions_changed,
            session.current_changed,
            session.landmark_changed,
            session.cohort_changed,
        ):
            signal.connect(self.note_change)
        session.annotations_changed.connect(self.note_change)
        training.began.connect(self.note_change)
        training.ended.connect(self.note_change)

    def confirm(self) -> None:
        """Confirm the points in view."""
        self.app.context.try_to("confirming", self.app.confirm)

    def retrain(self) -> None:
        """Train on from the current weights, with the corrected radiographs as further exemplars."""
        self.app.context.try_to("training", lambda: self.app.training.start("retrain"))
        self.app.go(TRAIN)

    def ask(self) -> None:
        """Show the dialog of questions, with a new round."""
        if self._questions is None:
            self._questions = QuestionsDialog(self.app, self)
        self._questions.show()
        self._questions.raise_()
        self.app.context.try_to("choosing questions", self.app.asking.start)

    def go_on(self) -> None:
        """Train on for as long as the verdict says."""
        verdict = self.app.session.verdict
        if verdict is not None:
            self.app.context.try_to(
                "training", lambda: self.app.training.start("retrain", minutes=verdict.minutes)
            )
            self.app.go(TRAIN)

    def refresh(self) -> None:
        """Show the counts, the point in view and what can be pressed."""
        session = self.app.session
        states = [session.state(image) for image in session.predictions]
        corrected = sum(state is State.CORRECTED for state in states)
        self._summary.setText(self._compose_summary(len(states), corrected))
        self._show_verdict()
        self._point.setText(self._compose_point())
        predicted = session.current in session.predictions
        self._confirm.setEnabled(predicted and session.shown_annotation.complete)
        self._retrain.setEnabled(
            (corrected > 0 or self._can_learn_more())
            and self.app.training.running is None
            and self.app.session_store.run is not None
        )
        self._show_kept()
        self._ask.setEnabled(
            bool(session.predictions)
            and self.app.training.running is None
            and self.app.session_store.run is not None
        )
        self.switches.setEnabled(bool(session.predictions))

    def _show_kept(self) -> None:
        kept = self.app.session_store.count_kept() if self.app.session.predictions else 0
        self._kept.setVisible(kept > 0)
        self._kept.setText(
            f"Retrain keeps {kept} exemplar{'s' * (kept > 1)} as taught, because the points here are unfinished or gone."
        )

    def _show_verdict(self) -> None:
        verdict = self.app.session.verdict
        self._why.setVisible(verdict is not None)
        self._go_on.setVisible(verdict is not None)
        self._summary.setProperty("role", "bad-title" if verdict is not None else "title")
        self._summary.style().polish(self._summary)
        if verdict is not None:
            self._why.setText(verdict.explain())
            self._go_on.setText(f"Go on for {verdict.minutes:g} min")
            self._go_on.setEnabled(
                self.app.training.running is None and self.app.session_store.run is not None
            )

    def _make_minutes_box(self) -> QDoubleSpinBox:
        box: QDoubleSpinBox = name_control(
            QDoubleSpinBox(), "retrain.minutes", "Time for retraining with the corrected radiographs"
        )
        box.setRange(0.1, 24 * 60)
        box.setDecimals(1)
        box.setSuffix(" min")
        box.setValue(self.app.session_store.preferences.retrain_minutes)
        box.valueChanged.connect(
            lambda value: setattr(self.app.session_store.preferences, "retrain_minutes", value)
        )
        self.app.opening.opened.connect(
            lambda: box.setValue(self.app.session_store.preferences.retrain_minutes)
        )
        return box

    def _compose_summary(self, predicted: int, corrected: int) -> str:
        if not predicted:
            return "No predictions yet"
        also = f", {corrected} corrected" if corrected else ""
        if self.app.session.verdict is not None:
            return f"{self.app.session.verdict.headline}. {predicted} radiographs predicted{also}"
        return f"{predicted} radiographs predicted{also}"

    def _compose_median(self) -> str:
        errors = np.array([e for e in self.app.session.errors.values() if np.isfinite(e)])
        unit = self.app.session.error_unit or self._legend.unit
        return f"Median expected error {np.median(errors):.1f} {unit}. " if len(errors) else ""

    def _list_unlearned(self) -> list[str]:
        session = self.app.session
        one = next(iter(session.predictions.values()), None)
        return [name for name in session.schema.names if name not in one.names] if one is not None else []

    def _can_learn_more(self) -> bool:
        if self.app.session.predictions and self.app.session_store.has_new_exemplar():
            return True
        rows = [self.app.session.schema.names.index(name) for name in self._list_unlearned()]
        sets = self.app.session.exemplar_sets() if rows else []
        return any(np.isfinite(one.xy[rows]).all(axis=1).any() for one in sets)

    def _compose_point(self) -> str:
        session = self.app.session
        unlearned = self._list_unlearned()
        if unlearned:
            return _compose_unlearned(unlearned)
        one = session.prediction_of(session.current or "")
        if one is None or not len(session.schema):
            return "Train in step 3. The least certain radiographs then come first in the list."
        if session.state(one.image) in (State.EXEMPLAR, State.ANNOTATING):
            return f"{self._compose_median()}In view: your own points."
        name = session.schema.names[session.landmark]
        if name not in one.names or not one.expected_error.size:
            return f"{self._compose_median()}Drag a point to correct it, then confirm."
        error = one.expected_error[one.names.index(name)]
        here = f"{error:.1f} {one.unit or self._legend.unit}{_compose_doubt(one, name)}"
        answered = name in session.answers.answers.get(one.image, {})
        if answered and session.state(one.image) is State.PREDICTED:
            here = "as you answered"
        return (
            f"{self._compose_median()}{name.capitalize()}: {here}. Drag a point to correct it, then confirm."
        )


def _compose_doubt(one: LandmarkSet, name: str) -> str:
    k = one.names.index(name)
    return f", if it is visible ({one.visible_probability[k]:.0%})" if one.probably_hidden[k] else ""


def _compose_unlearned(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    shown = ", ".join(names[:3]) + more
    return f"The model has not learned {shown} yet. Place it on one of your radiographs, then retrain."


class Legend(QWidget):
    """The colours of the expected error, as a bar with numbers."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self.setObjectName("onemark.legend")
        self.setToolTip(
            "The colour of a predicted point shows its expected error: how far off it probably is"
        )
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        app.viewing.shown.connect(lambda name: self.update())

    def sizeHint(self) -> QSize:
        """As high as the bar and a line of numbers."""
        return QSize(200, self.fontMetrics().height() + 14)

    @property
    def unit(self) -> str:
        """`mm` if the pixel size of the radiograph in view is known, else `px`."""
        radiograph = self.app.context.canvas.radiograph
        return "mm" if radiograph is not None and radiograph.spacing is not None else "px"

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the bar and three numbers."""
        painter = QPainter(self)
        limit, width = self.app.context.points.limit, self.width()
        gradient = QLinearGradient(0, 0, width, 0)
        for stop, colour in zip(
            np.linspace(0, 1, 9), error_colours(np.linspace(0, limit, 9), limit), strict=True
        ):
            gradient.setColorAt(float(stop), QColor.fromRgbF(*colour.tolist()))
        painter.fillRect(0, 2, width, 7, gradient)
        painter.setPen(self.palette().windowText().color())
        texts = (
            (f"0 {self.unit}", Qt.AlignmentFlag.AlignLeft),
            (f"{limit / 2:g}", Qt.AlignmentFlag.AlignHCenter),
        )
        for text, side in (*texts, (f"{limit:g} {self.unit} or more", Qt.AlignmentFlag.AlignRight)):
            painter.drawText(0, 11, width, self.fontMetrics().height(), side, text)
