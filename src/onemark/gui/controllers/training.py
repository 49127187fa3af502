"""The Train step's work: begin, watch, stop, and hand the results over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from onemark.data.suggestion import Suggestion
from onemark.gui.controllers.context import Context
from onemark.gui.controllers.session_store import SessionStore
from onemark.gui.state.backend import Order, OrderKind, RecipeInfo, Trained
from onemark.gui.state.background_run import BackgroundRun, News
from onemark.gui.state.failures import explain
from onemark.gui.state.session import Predictions
from onemark.gui.state.units import convert_errors, read_spacing
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.pipeline.runs import RunStatus

POLL_MS = 100


class Training(QObject):
    """One training, or suggestion, at a time, in the background.

    Signals:
        ended: `done`, `suggested`, `stopped` or `failed`; `elsewhere` when another folder is open by then.

    Attributes:
        job: The training or suggestion under way, or None.
        model: The last fitted model, or None.
        recipes: What can be trained; empty until known.
    """

    ready = Signal()
    began = Signal()
    news = Signal(object)
    ended = Signal(str)
    model_changed = Signal()

    def __init__(self, context: Context, session_store: SessionStore, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.context, self.session_store = context, session_store
        self.running: BackgroundRun | None = None
        self.model: Trained | None = None
        self.recipes: Sequence[RecipeInfo] = ()
        self.devices: Mapping[str, str] = {}
        self._skipped: list[str] = []
        self._suggested_before: Path | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._poll)
        context.session.cohort_changed.connect(self._forget)

    def discover(self) -> None:
        """Find out, off the GUI thread because it loads torch, which recipes and devices there are."""
        backend = self.context.backend
        self.context.background.run(
            lambda: (backend.recipes(), backend.devices(), backend.problems()),
            lambda found: self._on_discovered(*found),
            lambda error: self.context.fail(error, "loading the recipes"),
        )

    @property
    def unfinished(self) -> OrderKind | None:
        """What is left to do of the last run: `continue` its training, `predict` with it, or None."""
        status = _status(self.session_store.run)
        if status is None or status.waits_for_exemplar:
            return None
        if status.is_unfinished:
            return "continue"
        return None if status.predicted else "predict"

    def start(self, kind: OrderKind = "new") -> None:
        """Begin a training on a snapshot of the points, or a suggestion.

        Args:
            task: See `Order`; a `new` training follows the suggestion where there is one with the same matcher.

        Raises:
            UserError: nothing to train on yet, or a training is under way.
        """
        if self.running is not None:
            raise UserError("a training is under way; stop it first")
        order = self._in_folder(self._order(kind))
        self.running = BackgroundRun(self.context.backend, order)
        self._suggested_before = self.session_store.suggestion_run
        if kind == "suggest":
            self.session_store.suggestion_run = order.out
        else:
            self.session_store.begin_run(order.out)
        self.session_store.save()
        self._skipped = []
        self.began.emit()
        self.running.start()
        self._timer.start()

    def resume(self) -> None:
        """Finish what the last run has left; when the points have changed since, ask which ones to use."""
        kind = self.unfinished
        if kind is None:
            raise UserError("there is no interrupted training; start one")
        if not self._points_changed():
            self.start(kind)
            return
        choices = [
            ("Go on with the old points", lambda: self.context.try_to("training", lambda: self.start(kind))),
            ("Train anew", lambda: self.context.try_to("training", self.start)),
        ]
        self.context.tell(
            "Your points have changed since this training began, and going on would not use the changes.",
            "warn",
            choices,
        )

    def _points_changed(self) -> bool:
        from onemark.data.landmarks.table import LandmarkTable, read_landmarks

        assert self.session_store.run is not None
        try:
            old = {one.image: one for one in read_landmarks(self.session_store.run / "exemplars.csv")}
        except UserError:
            return False
        new = {one.image: one for one in LandmarkTable.from_sets(self.context.session.exemplar_sets())}
        if old.keys() != new.keys():
            return True
        return not all(
            np.allclose(old[i].xy, new[i].xy, equal_nan=True) for i in new if old[i].names == new[i].names
        )

    def belongs_here(self, running: BackgroundRun) -> bool:
        """Whether a training is of the folder that is open, and not of one that was open when it began."""
        now, then = self.context.session.cohort, running.order.cohort
        return now is not None and (now.folder, now.names) == (then.folder, then.names)

    @property
    def _busy_here(self) -> bool:
        """Whether what is under way will have newer results for the folder that is open."""
        return self.running is not None and self.belongs_here(self.running)

    def stop(self) -> None:
        """Ask the training to stop at its next step."""
        if self.running is not None:
            self.running.stop()

    def close(self, seconds: float = 5.0) -> None:
        """Stop and wait a little: the window is going."""
        self._timer.stop()
        if self.running is not None:
            self.running.stop()
            self.running.wait(seconds)
            self.running = None

    def open_run(self) -> None:
        """Bring the suggestion, the predictions and, lazily, the model of the session's last run back."""
        run, cohort = self.session_store.run, self.context.session.cohort
        self._open_suggestion()
        if run is None or cohort is None:
            return
        if (run / "landmarks.csv").is_file():
            self.context.background.run(
                lambda: read_predictions(run, cohort),
                lambda found: self._show_predictions(cohort, found),
                lambda error: self.context.fail(error, "reading the last run"),
            )
        if (run / "weights.safetensors").is_file():
            self.context.background.run(
                lambda: self.context.backend.load(run),
                lambda model: self._take_model(cohort, model),
                lambda error: self.context.fail(error, "loading the last run's model"),
            )

    def _open_suggestion(self) -> None:
        run, cohort = self.session_store.suggestion_run, self.context.session.cohort
        if run is not None and not _is_outdated(run):
            self.context.background.run(
                lambda: _read_suggestion(run),
                lambda found: self._show_suggestion(cohort, found),
                lambda error: self.context.fail(error, "reading the suggestion"),
            )

    def _order(self, kind: OrderKind) -> Order:
        from onemark.data.landmarks.table import LandmarkTable

        cohort, preferences = self.context.session.cohort, self.session_store.preferences
        if cohort is None:
            raise UserError("no radiographs are open; drop a folder on step 1 first")
        sets = self.context.session.exemplar_sets()
        if not sets and kind != "suggest":
            raise UserError("no radiograph has all of its landmarks yet; finish one in step 2 first")
        return Order(
            cohort=cohort,
            exemplars=LandmarkTable.from_sets(sets),
            out=self.session_store.run or self.session_store.choose_new_run(),
            recipe=preferences.recipe or (self.recipes[0].name if self.recipes else "onemark"),
            minutes=(preferences.retrain_minutes if kind == "retrain" else preferences.minutes) or None,
            device=preferences.device,
            settings=dict(preferences.settings),
            kind=kind,
            number=min(preferences.suggest_number, len(cohort)),
            watched=lambda: self.context.session.current,
        )

    def _in_folder(self, order: Order) -> Order:
        """The order in the folder where it belongs: a suggestion's, when that has the matcher that is asked for."""
        if order.kind not in ("new", "suggest"):
            return order
        kept, backend = self.session_store.suggestion_run, self.context.backend
        runs = [kept, self.session_store.run] if order.kind == "suggest" else [kept]
        usable = [
            run
            for run in runs
            if run and (_can_suggest(run) if order.kind == "suggest" else _waits_for_exemplar(run))
        ]
        same = next((run for run in usable if backend.same_matcher(run, order)), None)
        if same is not None:
            return replace(order, out=same, kind="follow" if order.kind == "new" else "suggest")
        if kept in usable:
            self.context.tell(
                "You have changed the recipe, its time or its options since the suggestion, so this begins anew."
            )
        return replace(order, out=self.session_store.choose_new_run())

    def _poll(self) -> None:
        running = self.running
        if running is None:
            self._timer.stop()
            return
        outcome = running.outcome
        news: News = running.news()
        if news.events or news.losses:
            self.news.emit(news)
        self._skipped += [
            event.message for event in news.events if event.message and event.message not in self._skipped
        ]
        if outcome is not None:
            self._timer.stop()
            self.running = None
            self._end(running, outcome)

    def _end(self, running: BackgroundRun, outcome: str) -> None:
        here = self.belongs_here(running)
        if running.order.kind == "suggest":
            self._end_suggestion(running, here)
        elif outcome == "done" and here:
            # A suggestion has served when a model is there: what to correct is told by the expected errors.
            self.session_store.suggestion_run = None
            self.context.session.set_suggestion(None)
        if running.order.kind != "suggest" and here:
            self.session_store.end_run(running.order.out)
        if running.predictions is not None:
            if here:
                self.model = running.model
                self._take(running.predictions, running.order)
                self.model_changed.emit()
            else:
                self.context.tell(
                    f"The training of {running.order.cohort.folder.name} has ended; it is kept in {running.order.out}."
                )
        if outcome == "failed" and running.error is not None:
            self._explain(running.error, running)
        elif self._skipped:
            first = self._skipped[0].removeprefix("skipped: ")
            self.context.tell(f"{len(self._skipped)} of the radiographs were passed over. {first}", "warn")
        self.session_store.save()
        self.ended.emit(outcome if here else "elsewhere")

    def _end_suggestion(self, running: BackgroundRun, here: bool) -> None:
        if here and not running.order.out.is_dir():
            self.session_store.suggestion_run = self._suggested_before
        if running.suggestion is not None and here:
            self.context.session.set_suggestion(running.suggestion)
        elif running.outcome == "suggested":
            folder = running.order.cohort.folder.name
            self.context.tell(f"The suggestion for {folder} is ready; open {folder} to see it.")
        elif running.outcome == "stopped" and here:
            self.context.tell("Stopped. Press Suggest again to go on from here.")

    def _explain(self, error: BaseException, running: BackgroundRun) -> None:
        failure = explain(error, "the suggestion" if running.order.kind == "suggest" else "training")
        # One that was to follow a suggestion looks anew for what it can follow; a run that goes on keeps its settings.
        kind: OrderKind = "new" if running.order.kind == "follow" else running.order.kind
        smaller = self._halve_batch(running.order) if kind in ("new", "suggest") else None
        choices = []
        if "cpu" in failure.choices and running.order.device != "cpu":
            choices.append(("Train on the CPU", lambda: self._retry(kind, device="cpu")))
        if "smaller" in failure.choices and smaller is not None:
            name, value = smaller
            choices.append(
                (
                    f"Use {name.split('.')[-1].replace('_', ' ')} = {value}",
                    lambda: self._retry(kind, settings={name: value}),
                )
            )
        self.context.tell(failure.text, "bad", choices, failure.details)

    def _halve_batch(self, order: Order) -> tuple[str, int] | None:
        # Memory goes with the batch: offer half of it where the recipe has one.
        from onemark.gui.widgets.form import defaults

        info = next((one for one in self.recipes if one.name == order.recipe), None)
        values = {**defaults(info), **order.settings} if info else dict(order.settings)
        for name, value in values.items():
            if name.rsplit(".", 1)[-1].startswith("batch") and isinstance(value, int) and value > 1:
                return name, max(1, value // 2)
        return None

    def _retry(
        self, kind: OrderKind, *, device: str = "", settings: Mapping[str, object] | None = None
    ) -> None:
        preferences = self.session_store.preferences
        preferences.device = device or preferences.device
        preferences.settings = {**preferences.settings, **(settings or {})}
        self.ready.emit()
        self.context.try_to("training", lambda: self.start(kind))

    def _on_discovered(
        self, recipes: Sequence[RecipeInfo], devices: Mapping[str, str], problems: Sequence[str]
    ) -> None:
        self.recipes, self.devices = recipes, devices
        if problems:
            self.context.tell("; ".join(problems), "warn")
        self.ready.emit()

    def _take(self, found: Predictions, order: Order) -> None:
        cohort = self.context.session.cohort
        assert cohort is not None
        if cohort.spacing_mm == order.cohort.spacing_mm:
            self.context.session.set_predictions(found)
            return
        # The size of a pixel was typed while it learned.
        self.context.background.run(
            lambda: Predictions.of(convert_errors(cohort, found.sets.values(), order.cohort.spacing_mm)),
            lambda found: self._show_predictions(cohort, found),
            lambda error: self.context.fail(error, "reading the pixel sizes"),
        )

    def _show_predictions(self, cohort: object, found: Predictions) -> None:
        if cohort is self.context.session.cohort:
            self.context.session.set_predictions(found)

    def _show_suggestion(self, cohort: object, suggested: Suggestion | None) -> None:
        if suggested is not None and not self._busy_here and cohort is self.context.session.cohort:
            self.context.session.set_suggestion(suggested)

    def _take_model(self, cohort: object, model: Trained) -> None:
        if not self._busy_here and cohort is self.context.session.cohort:
            self.model = model
            self.model_changed.emit()

    def _forget(self) -> None:
        self.model = None


def read_predictions(run: Path, cohort: Cohort) -> Predictions:
    """The predictions of a run on the radiographs that are open, with errors in their unit."""
    from onemark.data.landmarks.table import read_landmarks

    sets = (one for one in read_landmarks(run / "landmarks.csv") if one.image in cohort)
    return Predictions.of(convert_errors(cohort, sets, read_spacing(run)))


def _read_suggestion(run: Path) -> Suggestion | None:
    """The suggestion of a run; None where it has not come to one."""
    path = run / "suggestion.csv"
    return Suggestion.read_csv(path) if path.is_file() else None


def _status(run: Path | None) -> RunStatus | None:
    from onemark.pipeline.runs import status_of

    return status_of(run)


def _can_suggest(run: Path) -> bool:
    """Whether a run has a matcher to be asked, or one that may go on learning without exemplars."""
    status = _status(run)
    return status is not None and (status.waits_for_exemplar or bool(status.learned))


def _waits_for_exemplar(run: Path) -> bool:
    status = _status(run)
    return status is not None and status.waits_for_exemplar


def _is_outdated(suggestion: Path) -> bool:
    """Whether the run of a suggestion has gone on to predictions: then these say what to look at."""
    status = _status(suggestion)
    return status is not None and status.predicted
