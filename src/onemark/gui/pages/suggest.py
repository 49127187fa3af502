"""The line of step 2 that suggests which radiographs to annotate first."""

from __future__ import annotations

from qtpy.QtWidgets import QSpinBox, QWidget

from onemark.gui.controllers.app import App
from onemark.gui.state.annotation import State
from onemark.gui.state.background_run import News
from onemark.gui.widgets.parts import Bar, lay_column, lay_flow, make_button, name_control

MOST = 25  # more than anybody annotates before the first predictions


class SuggestLine(QWidget):
    """The button and the number of radiographs; while it works, a progress bar and Stop in their place."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self._button = make_button(
            "suggest",
            "Suggest which to annotate",
            "Compare all radiographs and suggest which ones to annotate first (Alt+S). This uses part of the minutes of "
            "step 3, and Train continues from there.",
            lambda: app.context.try_to("the suggestion", lambda: app.training.start("suggest")),
        )
        self._number: QSpinBox = name_control(
            QSpinBox(), "suggest_number", "How many radiographs you want to annotate"
        )
        self._number.setRange(1, MOST)
        self._number.valueChanged.connect(self._set_count)
        self._bar = Bar("suggest.progress", "Progress of the suggestion")
        self._stop = make_button(
            "suggest.stop",
            "Stop",
            "Stop after this step. Suggest continues later (Ctrl+.)",
            app.training.stop,
        )
        lay_column(self).addLayout(lay_flow(self._button, self._number, self._bar, self._stop))
        app.training.began.connect(self._bar.wait)
        app.training.news.connect(self._on_news)
        app.opening.opened.connect(self._on_opened)
        self._on_opened()

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

    def _on_opened(self) -> None:
        cohort, wanted = self.app.session.cohort, self.app.session_store.preferences.suggest_number
        self._number.setMaximum(min(MOST, len(cohort)) if cohort is not None else MOST)
        self._number.setValue(wanted)
        self._set_count(self._number.value())
        self.refresh()

    def _set_count(self, value: int) -> None:
        self._number.setSuffix(" radiograph" if value == 1 else " radiographs")
        self.app.session_store.preferences.suggest_number = value

    def _on_news(self, news: News) -> None:
        if news.events:
            self._bar.follow(news.events[-1].step, news.events[-1].total)
