"""Step 3: choose recipe, time and device, start and stop the training, and watch it."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QGridLayout, QWidget

from onemark.gui.controllers.app import App
from onemark.gui.pages.page import Page
from onemark.gui.state.activity import describe_activity, describe_speed, describe_time_left
from onemark.gui.state.backend import Order
from onemark.gui.state.background_run import News
from onemark.gui.widgets.form import SettingsForm
from onemark.gui.widgets.loss_plot import LossPlot
from onemark.gui.widgets.parts import (
    Bar,
    ElidedBox,
    lay_column,
    lay_flow,
    make_button,
    make_label,
    make_tool,
    name_control,
)
from onemark.gui.widgets.theme import Theme


class TrainPage(Page):
    """The choices, the buttons, and the progress of the training."""

    said = Signal(str)

    def __init__(self, app: App, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self._inputs = make_label("", "hint", name="inputs")
        self._recipe: QComboBox = name_control(
            ElidedBox(), "recipe", "The method. The first one suits most radiographs"
        )
        self._recipe.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._recipe.setMinimumContentsLength(10)
        self._recipe_says = make_label("", "hint")
        self._minutes = self._make_minutes_box()
        self._device: QComboBox = name_control(ElidedBox(), "device", "The processor that does the work")
        self._device_says = make_label("Looking for a GPU…", "hint", name="device.description")
        self._choices = QWidget()
        self._more = make_tool("advanced", "▸ Advanced", "All options of the recipe", self.toggle_advanced)
        self._more.setProperty("role", "link")
        self._form = SettingsForm()
        self._form.hide()
        self._advanced = False
        self._run = make_button("run", "Train", "Start training (Ctrl+Enter)", self.run, main=True)
        self._resume = make_button(
            "resume", "Continue", "Continue the training that was stopped", self.resume
        )
        self._stop = make_button(
            "stop", "Stop", "Stop after this step. You can continue later (Ctrl+.)", app.training.stop
        )
        self._bar = Bar("progress", "Progress of the training")
        self._says = make_label("", "", name="activity")
        self._speed = make_label("", "hint", name="speed")
        self.plot = LossPlot(theme)
        self._lay_out()
        self._listen()
        self.refresh()

    def run(self) -> None:
        """Start a new training."""
        self._choose()
        self.app.context.try_to("training", self.app.training.start)

    def resume(self) -> None:
        """Continue the interrupted training."""
        self._choose()
        self.app.context.try_to("training", self.app.training.resume)

    def toggle_advanced(self) -> None:
        """Show or hide the recipe's options."""
        self._advanced = not self._advanced
        self._form.setVisible(self._advanced)
        self._more.setText("▾ Advanced" if self._advanced else "▸ Advanced")

    def set_theme(self, theme: Theme) -> None:
        """Follow the theme."""
        self.plot.set_theme(theme)

    def refresh(self) -> None:
        """Show the inputs of the training, and which buttons the person can press."""
        session, busy = self.app.session, self.app.training.running is not None
        ready, unfinished = list(session.list_finished()), session.list_unfinished()
        self._inputs.setText(_describe_inputs(ready, unfinished))
        if self.app.training.running is not None:
            self._inputs.setText(self._describe_order(self.app.training.running.order))
        self._run.setEnabled(bool(ready) and not busy)
        self._run.setVisible(not busy)
        self._stop.setVisible(busy)
        self._bar.setVisible(busy)
        self._resume.setVisible(not busy and self.app.training.unfinished is not None)
        self._choices.setVisible(not busy)
        self._more.setVisible(not busy)
        self._form.setVisible(not busy and self._advanced)
        self.plot.setVisible(bool(self.plot.stages) or busy)

    def _describe_order(self, order: Order) -> str:
        # Describe the snapshot, not the boxes, because the person may have changed those since.
        source = _describe_inputs(list(order.exemplars.images), [])
        time = "the recipe's own time" if order.minutes is None else f"{order.minutes:g} min"
        device = self.app.training.devices.get(order.device, order.device)
        if order.kind == "suggest":
            return (
                f"Suggests which radiographs to annotate first. {order.recipe}, a part of {time}, {device}."
            )
        if order.kind == "new":
            return f"{source} {order.recipe}, {time}, {device}."
        ways = {
            "follow": f"Continues from the suggestion. {order.recipe}, {time} in total, {device}.",
            "retrain": f"Continues from the last model and all that it was taught, {time}.",
            "continue": "Continues the training that was stopped.",
            "predict": "Predicts with the last model.",
        }
        return f"{source} {ways[order.kind]}"

    def _lay_out(self) -> None:
        grid = QGridLayout(self._choices)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.setVerticalSpacing(5)
        lines = (("Recipe", self._recipe, self._recipe_says), ("Minutes", self._minutes, None))
        for text, widget, says in (*lines, ("Device", self._device, self._device_says)):
            name, at = make_label(text, wrap=False), grid.rowCount()
            name.setBuddy(widget)
            grid.addWidget(name, at, 0)
            grid.addWidget(widget, at, 1)
            if says is not None:
                grid.addWidget(says, at + 1, 1)
        box = lay_column(self)
        box.addWidget(self._inputs)
        box.addWidget(self._choices)
        box.addLayout(lay_flow(self._run, self._resume, self._stop, self._more))
        box.addWidget(self._form)
        box.addWidget(self._bar)
        box.addWidget(self._says)
        box.addWidget(self._speed)
        box.addWidget(self.plot, 1)
        box.addStretch(0)

    def _listen(self) -> None:
        training, session = self.app.training, self.app.session
        training.ready.connect(self._fill)
        training.began.connect(self._on_began)
        training.news.connect(self._on_news)
        training.ended.connect(self._on_ended)
        self.app.opening.opened.connect(self._fill)
        session.annotations_changed.connect(self.note_change)
        session.cohort_changed.connect(self.note_change)
        self._recipe.activated.connect(self._on_recipe_chosen)
        self._device.activated.connect(lambda index: self._choose())
        self._form.changed.connect(self._choose)
        self._minutes.valueChanged.connect(lambda value: self._choose())

    def _make_minutes_box(self) -> QDoubleSpinBox:
        box: QDoubleSpinBox = name_control(
            QDoubleSpinBox(),
            "minutes",
            "Time budget. More time gives better predictions, but each further minute gains less",
        )
        box.setRange(0, 24 * 60)
        box.setDecimals(1)
        box.setSpecialValueText("the recipe's own time")
        box.setSuffix(" min")
        box.setValue(self.app.session_store.preferences.minutes)
        return box

    def _fill(self) -> None:
        training, preferences = self.app.training, self.app.session_store.preferences
        self._recipe.clear()
        for info in training.recipes:
            self._recipe.addItem(info.label, info.name)
        self._recipe.setCurrentIndex(max(self._recipe.findData(preferences.recipe), 0))
        self._device.clear()
        for key in training.devices:
            self._device.addItem({"auto": "automatic", "cpu": "CPU"}.get(key, key.upper()), key)
        self._device.setCurrentIndex(max(self._device.findData(preferences.device), 0))
        self._minutes.blockSignals(True)
        self._minutes.setValue(preferences.minutes)
        self._minutes.blockSignals(False)
        self._show_form()
        self._show_device()
        self.refresh()

    def _on_recipe_chosen(self, index: int) -> None:
        self.app.session_store.preferences.settings = {}
        self._choose(with_form=False)
        self._show_form()

    def _show_form(self) -> None:
        index = self._recipe.currentIndex()
        if index >= 0:
            self._recipe_says.setText(_capitalise(self.app.training.recipes[index].title))
            self._form.show_recipe(
                self.app.training.recipes[index], self.app.session_store.preferences.settings
            )

    def _choose(self, *, with_form: bool = True) -> None:
        preferences = self.app.session_store.preferences
        preferences.recipe = self._recipe.currentData() or preferences.recipe
        preferences.minutes = self._minutes.value()
        preferences.device = self._device.currentData() or preferences.device
        if with_form and self._recipe.currentIndex() >= 0:
            preferences.settings = self._form.settings()
        self._show_device()
        self.app.session_store.save()

    def _show_device(self) -> None:
        says = self.app.training.devices.get(self._device.currentData() or "")
        if says is not None:
            self._device_says.setText(says)

    def _on_began(self) -> None:
        self.plot.clear()
        self._bar.wait()
        self._says.setText("Getting ready…")
        self._speed.setText("")
        self.refresh()

    def _on_news(self, news: News) -> None:
        self.plot.add(news.losses)
        if not news.events or self.app.training.running is None:
            return
        event = news.events[-1]
        self._bar.follow(event.step, event.total)
        what = describe_activity(event, self.app.training.running.stopping)
        self._speed.setText(describe_speed(event, news.others))
        self._says.setText(f"{what}: {event.step} of {event.total}{describe_time_left(event)}")
        self.said.emit(f"{what}{describe_time_left(event)}")

    def _on_ended(self, outcome: str) -> None:
        can_continue = self.app.training.unfinished is not None
        self._speed.setText("")
        verdict = self.app.session.verdict
        self._says.setText(
            {
                "done": "Done. Step 4 shows every radiograph, the least certain first."
                if verdict is None
                else f"{verdict.headline}. {verdict.explain()}",
                "suggested": "The list shows which radiographs to annotate first. Annotate them in step 2.",
                "stopped": "Stopped." + (" Press Continue, or Train to start over." if can_continue else ""),
                "failed": "",
                "elsewhere": "",
            }[outcome]
        )
        self.refresh()


def _describe_inputs(ready: list[str], unfinished: list[str]) -> str:
    if not ready:
        return "Place all landmarks of one radiograph in step 2 first."
    names = ready[0] if len(ready) == 1 else f"{len(ready)} radiographs"
    left_out = f" Unfinished radiographs left out: {len(unfinished)}." if unfinished else ""
    return f"Trains on your points on {names}.{left_out}"


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]
