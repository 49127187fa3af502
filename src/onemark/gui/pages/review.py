"""Step 4: worst first; see why; drag, confirm, retrain."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QDoubleSpinBox, QWidget

from onemark.gui.canvas.palette import error_colours
from onemark.gui.controllers.app import App
from onemark.gui.pages.page import Page
from onemark.gui.pages.switches import Switches
from onemark.gui.state.annotation import State
from onemark.gui.widgets.parts import button, column, label, name_control, row


class ReviewPage(Page):
    """What was found, how sure it is, and what it rests on."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self._summary = label("", "title")
        self._point = label("", "hint")
        self._legend = Legend(app)
        self._confirm = button(
            "confirm", "Confirm", "These points are right; go to the next (Enter)", self.confirm, main=True
        )
        self._undo = button(
            "review.undo", "Undo", "Take the last change of this radiograph back (Ctrl+Z)", app.session.undo
        )
        self._retrain = button(
            "retrain",
            "Retrain",
            "Go on learning with the corrected radiographs (Ctrl+Shift+Enter)",
            self.retrain,
            main=True,
        )
        self._minutes = self._minutes_box()
        self.switches = Switches(app)
        box = column(self)
        box.addWidget(self._summary)
        box.addWidget(self._legend)
        box.addWidget(self._point)
        box.addLayout(row(self._confirm, self._undo, 1, self._minutes, self._retrain))
        box.addWidget(label("Why there? Show on the radiograph:", "hint"))
        box.addWidget(self.switches)
        box.addStretch(1)
        session = app.session
        for signal in (
            session.predictions_changed,
            session.current_changed,
            session.landmark_changed,
            session.cohort_changed,
        ):
            signal.connect(self.changed)
        session.annotations_changed.connect(self.changed)
        app.training.began.connect(self.changed)
        app.training.ended.connect(self.changed)
        self.refresh()

    def confirm(self) -> None:
        """The points in view are right."""
        self.app.context.try_to("confirming", self.app.confirm)

    def retrain(self) -> None:
        """Go on from the current weights with the corrected radiographs as further exemplars."""
        self.app.context.try_to("training", lambda: self.app.training.start("retrain"))
        self.app.go(2)

    def refresh(self) -> None:
        """Show the counts, the point in view and what can be pressed."""
        session = self.app.session
        states = [session.state(image) for image in session.predictions]
        corrected = sum(state is State.CORRECTED for state in states)
        self._summary.setText(self._summary_text(len(states), corrected))
        self._point.setText(self._point_text())
        predicted = session.current in session.predictions
        self._confirm.setEnabled(predicted and session.shown_annotation.complete)
        self._retrain.setEnabled(
            corrected > 0 and self.app.training.running is None and self.app.session_store.run is not None
        )
        self.switches.setEnabled(bool(session.predictions))

    def _minutes_box(self) -> QDoubleSpinBox:
        box: QDoubleSpinBox = name_control(
            QDoubleSpinBox(), "retrain.minutes", "Time for learning from the corrected radiographs"
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

    def _summary_text(self, found: int, corrected: int) -> str:
        if not found:
            return "Nothing predicted yet"
        also = f", {corrected} corrected" if corrected else ""
        return f"{found} radiographs marked{also}"

    def _median_text(self) -> str:
        errors = np.array([e for e in self.app.session.errors.values() if np.isfinite(e)])
        return f"Median expected error {np.median(errors):.1f} {self._legend.unit}. " if len(errors) else ""

    def _point_text(self) -> str:
        session = self.app.session
        one = session.predictions.get(session.current or "")
        if one is None or not len(session.schema):
            return "Train in step 3; the least sure radiographs come first here."
        if session.state(one.image) in (State.EXEMPLAR, State.ANNOTATING):
            return f"{self._median_text()}In view: an exemplar, with your own points."
        name = session.schema.names[session.landmark]
        if name not in one.names or not one.expected_error.size:
            return f"{self._median_text()}Drag a point to correct it, then confirm."
        error = one.expected_error[one.names.index(name)]
        here = f"{name.capitalize()}: {error:.1f} {self._legend.unit}."
        return f"{self._median_text()}{here} Drag a point to correct it, then confirm."


class Legend(QWidget):
    """The colours of the expected error, as a bar with its numbers."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self.setObjectName("onemark.legend")
        self.setToolTip("Colour of a predicted point: how far off it is expected to be")
        self.setMinimumHeight(self.fontMetrics().height() + 14)
        app.viewing.shown.connect(lambda name: self.update())

    @property
    def unit(self) -> str:
        """`mm` when the radiograph in view tells its pixel size, else `px`."""
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
