"""Step 3: recipe, time, device; run and stop; watch it learn."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QGridLayout, QWidget

from onemark.gui.controllers.app import App
from onemark.gui.pages.page import Page
from onemark.gui.state.activity import describe_activity, describe_time_left
from onemark.gui.state.backend import Order
from onemark.gui.state.background_run import News
from onemark.gui.widgets.form import SettingsForm
from onemark.gui.widgets.loss_plot import LossPlot
from onemark.gui.widgets.parts import Bar, button, column, label, name_control, row, tool
from onemark.gui.widgets.theme import Theme


class TrainPage(Page):
    """The choices, the two buttons, and what the training says."""

    said = Signal(str)

    def __init__(self, app: App, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self._inputs = label("", "hint")
        self._recipe: QComboBox = name_control(
            QComboBox(), "recipe", "How it learns; the first one suits most radiographs"
        )
        self._recipe.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._recipe.setMinimumContentsLength(10)
        self._recipe_says = label("", "hint")
        self._minutes = self._minutes_box()
        self._device: QComboBox = name_control(QComboBox(), "device", "Where it computes")
        self._device_says = label("Looking for a GPU…", "hint")
        self._choices = QWidget()
        self._more = tool("advanced", "▸ Advanced", "Every option of the recipe", self.toggle_advanced)
        self._more.setProperty("role", "link")
        self._form = SettingsForm()
        self._form.hide()
        self._advanced = False
        self._run = button("run", "Train", "Start training (Ctrl+Enter)", self.run, main=True)
        self._resume = button("resume", "Go on", "Go on where the last training was stopped", self.resume)
        self._stop = button(
            "stop", "Stop", "Stop after this step; you can go on later (Ctrl+.)", app.training.stop
        )
        self._bar = Bar("progress", "How far the training is")
        self._says = label("", "")
        self.plot = LossPlot(theme)
        self._lay_out()
        self._listen()
        self.refresh()

    def run(self) -> None:
        """Start anew."""
        self._choose()
        self.app.context.try_to("training", self.app.training.start)

    def resume(self) -> None:
        """Go on with the interrupted run."""
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
        """Show what would be trained on and which buttons can be pressed."""
        session, busy = self.app.session, self.app.training.running is not None
        ready, unfinished = list(session.list_finished()), session.list_unfinished()
        self._inputs.setText(_inputs_text(ready, unfinished))
        if self.app.training.running is not None:
            self._inputs.setText(self._order_text(self.app.training.running.order))
        self._run.setEnabled(bool(ready) and not busy)
        self._run.setVisible(not busy)
        self._stop.setVisible(busy)
        self._bar.setVisible(busy)
        self._resume.setVisible(not busy and self.app.training.unfinished is not None)
        self._choices.setVisible(not busy)
        self._more.setVisible(not busy)
        self._form.setVisible(not busy and self._advanced)
        self.plot.setVisible(bool(self.plot.stages) or busy)

    def _order_text(self, order: Order) -> str:
        # Of the snapshot, not of the boxes: what was asked for, whatever has been chosen or placed since.
        learns = _inputs_text(list(order.exemplars.images), [])
        time = "the recipe's own length" if order.minutes is None else f"{order.minutes:g} min"
        device = self.app.training.devices.get(order.device, order.device)
        if order.kind == "suggest":
            return f"Looks for the radiographs to mark first. {order.recipe}, a part of {time}, {device}."
        if order.kind == "new":
            return f"{learns} {order.recipe}, {time}, {device}."
        return (
            f"{learns} "
            + {
                "follow": f"Goes on from the suggestion. {order.recipe}, {time} in all, {device}.",
                "retrain": f"Goes on from what is known, {time}.",
                "continue": "Goes on where the last training was stopped.",
                "predict": "Marks with what was learned before.",
            }[order.kind]
        )

    def _lay_out(self) -> None:
        grid = QGridLayout(self._choices)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.setVerticalSpacing(5)
        lines = (("Recipe", self._recipe, self._recipe_says), ("Minutes", self._minutes, None))
        for text, widget, says in (*lines, ("Device", self._device, self._device_says)):
            name, at = label(text, wrap=False), grid.rowCount()
            name.setBuddy(widget)
            grid.addWidget(name, at, 0)
            grid.addWidget(widget, at, 1)
            if says is not None:
                grid.addWidget(says, at + 1, 1)
        box = column(self)
        box.addWidget(self._inputs)
        box.addWidget(self._choices)
        box.addLayout(row(self._run, self._resume, self._stop, 1, self._more))
        box.addWidget(self._form)
        box.addWidget(self._bar)
        box.addWidget(self._says)
        box.addWidget(self.plot, 1)
        box.addStretch(0)

    def _listen(self) -> None:
        training, session = self.app.training, self.app.session
        training.ready.connect(self._fill)
        training.began.connect(self._began)
        training.news.connect(self._heard)
        training.ended.connect(self._ended)
        self.app.opening.opened.connect(self._fill)
        session.annotations_changed.connect(self.changed)
        session.cohort_changed.connect(self.changed)
        self._recipe.activated.connect(self._recipe_chosen)
        self._device.activated.connect(lambda index: self._choose())
        self._form.changed.connect(self._choose)
        self._minutes.valueChanged.connect(lambda value: self._choose())

    def _minutes_box(self) -> QDoubleSpinBox:
        box: QDoubleSpinBox = name_control(
            QDoubleSpinBox(), "minutes", "Time for learning; more is better, with less and less gain"
        )
        box.setRange(0, 24 * 60)
        box.setDecimals(1)
        box.setSpecialValueText("as the recipe says")
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

    def _recipe_chosen(self, index: int) -> None:
        self.app.session_store.preferences.settings = {}
        self._choose(with_form=False)
        self._show_form()

    def _show_form(self) -> None:
        index = self._recipe.currentIndex()
        if index >= 0:
            self._recipe_says.setText(_sentence(self.app.training.recipes[index].title))
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

    def _began(self) -> None:
        self.plot.clear()
        self._bar.wait()
        self._says.setText("Getting ready…")
        self.refresh()

    def _heard(self, news: News) -> None:
        self.plot.add(news.losses)
        if not news.events or self.app.training.running is None:
            return
        event = news.events[-1]
        self._bar.follow(event.step, event.total)
        what = describe_activity(event, self.app.training.running.stopping)
        self._says.setText(f"{what}: {event.step} of {event.total}{describe_time_left(event)}")
        self.said.emit(f"{what}{describe_time_left(event)}")

    def _ended(self, outcome: str) -> None:
        can_go_on = self.app.training.unfinished is not None
        self._says.setText(
            {
                "done": "Done. Step 4 shows every radiograph, the least sure first.",
                "suggested": "The list shows which radiograph to mark first. Mark it in step 2.",
                "stopped": "Stopped." + (" Go on when you like, or train anew." if can_go_on else ""),
                "failed": "",
                "elsewhere": "",
            }[outcome]
        )
        self.refresh()


def _inputs_text(ready: list[str], unfinished: list[str]) -> str:
    if not ready:
        return "Place all landmarks of one radiograph in step 2; then it can learn."
    names = ready[0] if len(ready) == 1 else f"{len(ready)} radiographs"
    left_out = f" {len(unfinished)} unfinished will be left out." if unfinished else ""
    return f"Learns from your points on {names}.{left_out}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
