"""The Train step's work: begin, watch, stop, and hand the results over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from onemark.gui.controllers.context import Context
from onemark.gui.controllers.session_store import SessionStore
from onemark.gui.state.backend import Order, OrderKind, RecipeInfo, Trained
from onemark.gui.state.failures import explain
from onemark.gui.state.job import Job, News
from onemark.gui.state.session import Predictions
from onemark.gui.state.suggested import SUGGESTION, Suggested
from onemark.gui.state.units import in_unit_of, noted_spacing
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort

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
        self.job: Job | None = None
        self.model: Trained | None = None
        self.recipes: Sequence[RecipeInfo] = ()
        self.devices: Mapping[str, str] = {}
        self._skipped: list[str] = []
        self._suggested_before: Path | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._poll)
        context.session.cohort_changed.connect(self._forget)

    def look_around(self) -> None:
        """Find out, off the GUI thread because it loads torch, which recipes and devices there are."""
        backend = self.context.backend
        self.context.background.run(
            lambda: (backend.recipes(), backend.devices()),
            lambda found: self._found_out(*found),
            lambda error: self.context.fail(error, "loading the recipes"),
        )

    @property
    def unfinished(self) -> OrderKind | None:
        """What is left to do of the last run: `continue` its training, `predict` with it, or None."""
        run = self.session_store.run
        if run is None:
            return None
        if _state(run) in ("running", "stopped"):
            return "continue"
        return "predict" if _unmarked(run) else None

    def start(self, task: OrderKind = "new") -> None:
        """Begin a training on a snapshot of the points, or a suggestion.

        Args:
            task: See `Order`; a `new` training follows the suggestion where there is one with the same matcher.

        Raises:
            UserError: nothing to train on yet, or a training is under way.
        """
        if self.job is not None:
            raise UserError("a training is under way; stop it first")
        order = self._in_folder(self._order(task))
        self.job = Job(self.context.backend, order)
        self._suggested_before = self.session_store.suggested
        if task == "suggest":
            self.session_store.suggested = order.out
        else:
            self.session_store.begin_run(order.out)
        self.session_store.save()
        self._skipped = []
        self.began.emit()
        self.job.start()
        self._timer.start()

    def go_on(self) -> None:
        """Finish what the last run has left; when the points have changed since, ask which ones to use."""
        task = self.unfinished
        if task is None:
            raise UserError("there is no interrupted training; start one")
        if not self._points_changed():
            self.start(task)
            return
        ways = [
            ("Go on with the old points", lambda: self.context.try_to("training", lambda: self.start(task))),
            ("Train anew", lambda: self.context.try_to("training", self.start)),
        ]
        self.context.tell(
            "Your points have changed since this training began, and going on would not use the changes.",
            "warn",
            ways,
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

    def about_here(self, job: Job) -> bool:
        """Whether a training is of the folder that is open, and not of one that was open when it began."""
        now, then = self.context.session.cohort, job.order.cohort
        return now is not None and (now.folder, now.names) == (then.folder, then.names)

    @property
    def _busy_here(self) -> bool:
        """Whether what is under way will have newer results for the folder that is open."""
        return self.job is not None and self.about_here(self.job)

    def stop(self) -> None:
        """Ask the training to stop at its next step."""
        if self.job is not None:
            self.job.stop()

    def close(self, seconds: float = 5.0) -> None:
        """Stop and wait a little: the window is going."""
        self._timer.stop()
        if self.job is not None:
            self.job.stop()
            self.job.wait(seconds)
            self.job = None

    def open_run(self) -> None:
        """Bring the suggestion, the predictions and, lazily, the model of the session's last run back."""
        run, cohort = self.session_store.run, self.context.session.cohort
        self._open_suggestion()
        if run is None or cohort is None:
            return
        if (run / "landmarks.csv").is_file():
            self.context.background.run(
                lambda: _found_in(run, cohort),
                lambda found: self._reopened(cohort, found),
                lambda error: self.context.fail(error, "reading the last run"),
            )
        if (run / "weights.safetensors").is_file():
            self.context.background.run(
                lambda: self.context.backend.load(run),
                lambda model: self._loaded(cohort, model),
                lambda error: self.context.fail(error, "loading the last run's model"),
            )

    def _open_suggestion(self) -> None:
        run, cohort = self.session_store.suggested, self.context.session.cohort
        if run is not None and not _served(run, self.session_store.run):
            self.context.background.run(
                lambda: Suggested.read(run),
                lambda found: self._resuggested(cohort, found),
                lambda error: self.context.fail(error, "reading the suggestion"),
            )

    def _order(self, task: OrderKind) -> Order:
        from onemark.data.landmarks.table import LandmarkTable

        cohort, preferences = self.context.session.cohort, self.session_store.preferences
        if cohort is None:
            raise UserError("no radiographs are open; drop a folder on step 1 first")
        sets = self.context.session.exemplar_sets()
        if not sets and task != "suggest":
            raise UserError("no radiograph has all of its landmarks yet; finish one in step 2 first")
        return Order(
            cohort=cohort,
            exemplars=LandmarkTable.from_sets(sets),
            out=self.session_store.run or self.session_store.new_run(),
            recipe=preferences.recipe or (self.recipes[0].name if self.recipes else "onemark"),
            minutes=(preferences.retrain_minutes if task == "retrain" else preferences.minutes) or None,
            device=preferences.device,
            settings=dict(preferences.settings),
            task=task,
            number=min(preferences.suggest_number, len(cohort)),
            watched=lambda: self.context.session.current,
        )

    def _in_folder(self, order: Order) -> Order:
        """The order in the folder where it belongs: a suggestion's, when that has the matcher that is asked for."""
        if order.task not in ("new", "suggest"):
            return order
        kept, backend = self.session_store.suggested, self.context.backend
        runs = [kept, self.session_store.run] if order.task == "suggest" else [kept]
        usable = [
            run for run in runs if run and (_can_suggest(run) if order.task == "suggest" else _waits(run))
        ]
        same = next((run for run in usable if backend.same_matcher(run, order)), None)
        if same is not None:
            return replace(order, out=same, task="follow" if order.task == "new" else "suggest")
        if kept in usable:
            self.context.tell(
                "You have changed the recipe, its time or its options since the suggestion, so this begins anew."
            )
        return replace(order, out=self.session_store.new_run())

    def _poll(self) -> None:
        job = self.job
        if job is None:
            self._timer.stop()
            return
        outcome = job.outcome
        news: News = job.news()
        if news.events or news.losses:
            self.news.emit(news)
        self._skipped += [
            event.message for event in news.events if event.message and event.message not in self._skipped
        ]
        if outcome is not None:
            self._timer.stop()
            self.job = None
            self._end(job, outcome)

    def _end(self, job: Job, outcome: str) -> None:
        here = self.about_here(job)
        if job.order.task == "suggest":
            self._end_suggestion(job, here)
        elif outcome == "done" and here:
            # A suggestion has served when a model is there: what to correct is told by the expected errors.
            self.session_store.suggested = None
            self.context.session.set_suggested(None)
        if job.order.task != "suggest" and here:
            self.session_store.end_run(job.order.out)
        if job.found is not None:
            if here:
                self.model = job.model
                self._take(job.found, job.order)
                self.model_changed.emit()
            else:
                self.context.tell(
                    f"The training of {job.order.cohort.folder.name} has ended; it is kept in {job.order.out}."
                )
        if outcome == "failed" and job.error is not None:
            self._explain(job.error, job)
        elif self._skipped:
            first = self._skipped[0].removeprefix("skipped: ")
            self.context.tell(f"{len(self._skipped)} of the radiographs were passed over. {first}", "warn")
        self.session_store.save()
        self.ended.emit(outcome if here else "elsewhere")

    def _end_suggestion(self, job: Job, here: bool) -> None:
        if here and not job.order.out.is_dir():
            self.session_store.suggested = self._suggested_before
        if job.suggested is not None and here:
            self.context.session.set_suggested(job.suggested)
        elif job.outcome == "suggested":
            folder = job.order.cohort.folder.name
            self.context.tell(f"The suggestion for {folder} is ready; open {folder} to see it.")
        elif job.outcome == "stopped" and here:
            self.context.tell("Stopped. Press Suggest again to go on from here.")

    def _explain(self, error: BaseException, job: Job) -> None:
        failure = explain(error, "the suggestion" if job.order.task == "suggest" else "training")
        # One that was to follow a suggestion looks anew for what it can follow; a run that goes on keeps its settings.
        task: OrderKind = "new" if job.order.task == "follow" else job.order.task
        smaller = self._smaller(job.order) if task in ("new", "suggest") else None
        ways = []
        if "cpu" in failure.ways and job.order.device != "cpu":
            ways.append(("Train on the CPU", lambda: self._again(task, device="cpu")))
        if "smaller" in failure.ways and smaller is not None:
            name, value = smaller
            ways.append(
                (
                    f"Use {name.split('.')[-1].replace('_', ' ')} = {value}",
                    lambda: self._again(task, settings={name: value}),
                )
            )
        self.context.tell(failure.text, "bad", ways, failure.details)

    def _smaller(self, order: Order) -> tuple[str, int] | None:
        # Memory goes with the batch: offer half of it where the recipe has one.
        from onemark.gui.widgets.form import defaults

        info = next((one for one in self.recipes if one.name == order.recipe), None)
        values = {**defaults(info), **order.settings} if info else dict(order.settings)
        for name, value in values.items():
            if name.rsplit(".", 1)[-1].startswith("batch") and isinstance(value, int) and value > 1:
                return name, max(1, value // 2)
        return None

    def _again(
        self, task: OrderKind, *, device: str = "", settings: Mapping[str, object] | None = None
    ) -> None:
        preferences = self.session_store.preferences
        preferences.device = device or preferences.device
        preferences.settings = {**preferences.settings, **(settings or {})}
        self.ready.emit()
        self.context.try_to("training", lambda: self.start(task))

    def _found_out(self, recipes: Sequence[RecipeInfo], devices: Mapping[str, str]) -> None:
        self.recipes, self.devices = recipes, devices
        self.ready.emit()

    def _take(self, found: Predictions, order: Order) -> None:
        cohort = self.context.session.cohort
        assert cohort is not None
        if cohort.spacing_mm == order.cohort.spacing_mm:
            self.context.session.set_predictions(found)
            return
        # The size of a pixel was typed while it learned.
        self.context.background.run(
            lambda: Predictions.of(in_unit_of(cohort, found.sets.values(), order.cohort.spacing_mm)),
            lambda found: self._reopened(cohort, found),
            lambda error: self.context.fail(error, "reading the pixel sizes"),
        )

    def _reopened(self, cohort: object, found: Predictions) -> None:
        if cohort is self.context.session.cohort:
            self.context.session.set_predictions(found)

    def _resuggested(self, cohort: object, suggested: Suggested | None) -> None:
        if suggested is not None and not self._busy_here and cohort is self.context.session.cohort:
            self.context.session.set_suggested(suggested)

    def _loaded(self, cohort: object, model: Trained) -> None:
        if not self._busy_here and cohort is self.context.session.cohort:
            self.model = model
            self.model_changed.emit()

    def _forget(self) -> None:
        self.model = None


def _found_in(run: Path, cohort: Cohort) -> Predictions:
    from onemark.data.landmarks.table import read_landmarks

    sets = (one for one in read_landmarks(run / "landmarks.csv") if one.image in cohort)
    return Predictions.of(in_unit_of(cohort, sets, noted_spacing(run)))


def _unmarked(run: Path) -> bool:
    """Whether the run has learned something that its landmarks were not made with."""
    weights, landmarks = run / "weights.safetensors", run / "landmarks.csv"
    if not weights.is_file():
        return False
    return not landmarks.is_file() or landmarks.stat().st_mtime < weights.stat().st_mtime


def _can_suggest(run: Path) -> bool:
    """Whether a run has a matcher to be asked, or one that may go on learning without exemplars."""
    return (run / "weights.safetensors").is_file() or _waits(run)


def _served(suggestion: Path, run: Path | None) -> bool:
    """Whether the radiographs were marked by a run since the suggestion was made."""
    if run is None or not (run / "landmarks.csv").is_file() or not (suggestion / SUGGESTION).is_file():
        return False
    return (run / "landmarks.csv").stat().st_mtime > (suggestion / SUGGESTION).stat().st_mtime


def _waits(run: Path) -> bool:
    """Whether a run waits for its first exemplar."""
    from onemark.pipeline.runs import SUGGESTED

    return _state(run) == SUGGESTED


def _state(run: Path) -> str:
    from onemark.pipeline.runs import RunFolder

    try:
        return str(RunFolder.open(run).config.get("state", ""))
    except UserError:
        return ""
