"""The line of step 2 that says which radiographs to mark first."""

from __future__ import annotations

from qtpy.QtWidgets import QSpinBox, QWidget

from onemark.gui.controllers.app import App
from onemark.gui.state.annotation import State
from onemark.gui.state.background_run import News
from onemark.gui.widgets.parts import Bar, button, column, name_control, row

MOST = 25


class SuggestLine(QWidget):
    """The button and how many are wanted; while it works, a bar and Stop in their place."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self._button = button(
            "suggest",
            "Suggest which to mark",
            "Look through all radiographs and say which ones are worth marking first (Alt+S). Takes a part of the "
            "minutes of step 3; Train goes on from there, so that no time is lost.",
            lambda: app.context.try_to("the suggestion", lambda: app.training.start("suggest")),
        )
        self._number: QSpinBox = name_control(
            QSpinBox(), "suggest_number", "How many radiographs you want to mark"
        )
        self._number.setRange(1, MOST)
        self._number.valueChanged.connect(self._count)
        self._bar = Bar("suggest.progress", "How far the suggestion is")
        self._stop = button(
            "suggest.stop", "Stop", "Stop after this step; Suggest goes on later (Ctrl+.)", app.training.stop
        )
        column(self).addLayout(row(self._button, self._number, self._bar, self._stop, 0))
        app.training.began.connect(self._bar.wait)
        app.training.news.connect(self._heard)
        app.opening.opened.connect(self._opened)
        self._opened()

    def refresh(self) -> None:
        """Show what can be pressed."""
        session, running = self.app.session, self.app.training.running
        working = running is not None and running.order.kind == "suggest"
        for widget in (self._button, self._number):
            widget.setVisible(not working)
        for widget in (self._bar, self._stop):
            widget.setVisible(working)
        finished = (State.EXEMPLAR, State.CORRECTED)
        left = session.cohort is not None and any(
            session.state(name) not in finished for name in session.cohort.names
        )
        self._button.setEnabled(running is None and left)
        self._number.setEnabled(running is None and left)

    def _opened(self) -> None:
        cohort, wanted = self.app.session.cohort, self.app.session_store.preferences.suggest_number
        self._number.setMaximum(min(MOST, len(cohort)) if cohort is not None else MOST)
        self._number.setValue(wanted)
        self._count(self._number.value())
        self.refresh()

    def _count(self, value: int) -> None:
        self._number.setSuffix(" radiograph" if value == 1 else " radiographs")
        self.app.session_store.preferences.suggest_number = value

    def _heard(self, news: News) -> None:
        if news.events:
            self._bar.follow(news.events[-1].step, news.events[-1].total)
