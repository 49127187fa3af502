"""The work of the Train step: start, watch, stop, and hand the results over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from onemark.data.landmarks.schema import rename_pairs
from onemark.data.suggestion import Suggestion
from onemark.gui.controllers.context import Context
from onemark.gui.controllers.session_store import SessionStore
from onemark.gui.state import run_status
from onemark.gui.state.backend import Order, OrderKind, RecipeInfo, Trained
from onemark.gui.state.background_run import BackgroundRun, News
from onemark.gui.state.failures import explain
from onemark.gui.state.predictions import Predictions, rename
from onemark.gui.state.second_reading import Known
from onemark.gui.state.session import Session
from onemark.gui.state.units import convert_errors
from onemark.progress import SKIPPED
from onemark.types import Evidence, Radiograph, UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort

# Often enough to look continuous, rarely enough that drawing never delays the person's clicks.
POLL_MS = 100
FETCHING = "fetching "  # such a message is of no use afterwards


class Training(QObject):
    """One training or suggestion at a time, in the background.

    Signals:
        ended: `done`, `suggested`, `stopped` or `failed`; `elsewhere` when another folder is open by then.

    Attributes:
        running: The training or suggestion under way, or None.
        model: The last fitted model, or None.
        recipes: What can be trained; empty until `discover` has found out.
        devices: Device -> one line about it; empty until then, too.
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
        self._said: list[str] = []
        self._former_suggestion: Path | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._poll)
        context.session.cohort_changed.connect(self._forget_model)

    def discover(self) -> None:
        """Find out which recipes and devices there are, outside the GUI thread because that loads torch."""
        backend = self.context.backend
        self.context.background.run(
            lambda: (backend.list_recipes(), backend.list_devices(), backend.list_problems()),
            lambda lists: self._on_discovered(*lists),
            lambda error: self.context.fail(error, "loading the recipes"),
        )

    @property
    def unfinished(self) -> OrderKind | None:
        """What is left to do of the last run: `continue` its training, `predict` with its model, or None."""
        return run_status.find_unfinished(self.session_store.run)

    def start(self, kind: OrderKind = "new", *, minutes: float | None = None) -> None:
        """Start a training or a suggestion on a snapshot of the points.

        Args:
            kind: See `Order`; a `new` training follows the suggestion if that has the same matcher.
            minutes: Time to take instead of what the person has chosen.

        Raises:
            UserError: there is nothing to train on yet, or a training is under way.
        """
        if self.running is not None:
            raise UserError("a training is under way; stop it first")
        self.context.session.check_not_reading()
        order = self._choose_folder(self._make_order(kind))
        order = order if minutes is None else replace(order, minutes=minutes)
        self.running = BackgroundRun(self.context.backend, order)
        self._former_suggestion = self.session_store.suggestion_run
        if kind == "suggest":
            self.session_store.suggestion_run = order.out
        else:
            self.session_store.begin_run(order.out)
        self.session_store.save()
        self._said = []
        # Listeners prepare their layers and plots now, before the first news can arrive.
        self.began.emit()
        self.running.start()
        self._timer.start()

    def resume(self) -> None:
        """Finish what the last run has left; ask which points to use if they have changed since."""
        kind = self.unfinished
        if kind is None:
            raise UserError("there is no interrupted training; start one")
        if not self._have_points_changed():
            self.start(kind)
            return
        self.context.tell(
            "You have changed points since this training started. If you continue it, it ignores the changes.",
            "warn",
            [
                (
                    "Continue with the old points",
                    partial(self.context.try_to, "training", partial(self.start, kind)),
                ),
                ("Start over", partial(self.context.try_to, "training", self.start)),
            ],
        )

    def _have_points_changed(self) -> bool:
        from onemark.data.landmarks.table import LandmarkTable

        old = run_status.read_exemplars(self.session_store.run)
        own = {name: mine for mine, name in self.session_store.names_of_run().items()}
        new = LandmarkTable.from_sets(rename(one, own) for one in self.session_store.collect_sets())
        return old is not None and not run_status.are_same_points(old, new)

    def belongs_here(self, run: BackgroundRun) -> bool:
        """Whether a run works on the folder that is open now."""
        # Not by identity: opening the same folder again, as for a typed pixel size, makes a new cohort.
        now, then = self.context.session.cohort, run.order.cohort
        return now is not None and (now.folder, now.names) == (then.folder, then.names)

    @property
    def _busy_here(self) -> bool:
        """Whether the run under way will have newer results for the folder that is open."""
        return self.running is not None and self.belongs_here(self.running)

    def stop(self) -> None:
        """Ask the training to stop at its next step."""
        if self.running is not None:
            self.running.stop()

    def close(self, seconds: float = 5.0) -> None:
        """Stop the training and wait for it a little, because the window closes."""
        self._timer.stop()
        if self.running is not None:
            self.running.stop()
            self.running.wait(seconds)
            self.running = None

    def open_run(self) -> None:
        """Bring back the suggestion, the predictions and, when it is loaded, the model of the session's last run."""
        run, cohort = self.session_store.run, self.context.session.cohort
        self._open_suggestion()
        if run is None or cohort is None:
            return
        if (run / "landmarks.csv").is_file():
            self.context.background.run(
                lambda: run_status.read_predictions(run, cohort),
                lambda predictions: self._show_predictions(cohort, self._translate(predictions)),
                lambda error: self.context.fail(error, "reading the last run"),
            )
        if run_status.has_model(run):
            self.context.background.run(
                lambda: self.context.backend.load(run),
                lambda model: self._take_model(cohort, model),
                lambda error: self.context.fail(error, "loading the last run's model"),
            )

    def _open_suggestion(self) -> None:
        run, cohort = self.session_store.suggestion_run, self.context.session.cohort
        if run is not None and not run_status.has_predicted(run):
            self.context.background.run(
                lambda: run_status.read_suggestion(run),
                lambda suggestion: self._show_suggestion(cohort, suggestion),
                lambda error: self.context.fail(error, "reading the suggestion"),
            )

    def _make_order(self, kind: OrderKind) -> Order:
        from onemark.data.landmarks.table import LandmarkTable

        cohort, preferences = self.context.session.cohort, self.session_store.preferences
        if cohort is None:
            raise UserError("no radiographs are open; open a folder in step 1 first")
        sets = self.session_store.collect_sets()
        if not sets and kind != "suggest":
            raise UserError("no radiograph has all of its landmarks yet; annotate one in step 2 first")
        goes_on = kind in ("retrain", "continue", "predict")
        renamed = self.session_store.names_of_run().items() if goes_on else ()
        own = {name: mine for mine, name in renamed}
        return Order(
            cohort=cohort,
            exemplars=LandmarkTable.from_sets(rename(one, own) for one in sets),
            out=self.session_store.run or self.session_store.choose_new_run(),
            recipe=preferences.recipe or (self.recipes[0].name if self.recipes else "onemark"),
            minutes=(preferences.retrain_minutes if kind == "retrain" else preferences.minutes) or None,
            device=preferences.device,
            settings=dict(preferences.settings),
            kind=kind,
            number=min(preferences.suggest_number, len(cohort)),
            swap=rename_pairs(self.context.session.schema.swap, own),
            watched=lambda: self.context.session.current,
        )

    def _choose_folder(self, order: Order) -> Order:
        """Put the order into the run folder where it belongs: a suggestion's, if that has the matcher asked for."""
        if order.kind not in ("new", "suggest"):
            return order
        kept, suggests = self.session_store.suggestion_run, order.kind == "suggest"
        runs = [kept, self.session_store.run] if suggests else [kept]
        is_usable = run_status.can_suggest if suggests else run_status.awaits_exemplar
        usable = [run for run in runs if run and is_usable(run)]
        same = next((run for run in usable if self.context.backend.has_same_matcher(run, order)), None)
        if same is not None:
            return replace(order, out=same, kind="suggest" if suggests else "follow")
        if kept in usable:
            self.context.tell(
                "You have changed the recipe, its time or its options since the suggestion, so the matcher is trained "
                "again."
            )
        return replace(order, out=self.session_store.choose_new_run())

    def _poll(self) -> None:
        running = self.running
        if running is None:
            self._timer.stop()
            return
        # Read before the mailbox is emptied, so that no event that came before the end is lost.
        outcome = running.outcome
        news: News = running.collect_news()
        if news.events or news.losses:
            self.news.emit(news)
        self._said += [
            event.message for event in news.events if event.message and event.message not in self._said
        ]
        if outcome is not None:
            self._timer.stop()
            self.running = None
            self._end(running, outcome)

    def _end(self, run: BackgroundRun, outcome: str) -> None:
        here = self.belongs_here(run)
        if run.order.kind == "suggest":
            self._end_suggestion(run, here)
        else:
            self._end_training(run, here)
        if outcome == "failed" and run.error is not None:
            self._explain(run.error, run, here)
        elif self._said:
            self._repeat()
        self.session_store.save()
        self.ended.emit(outcome if here else "elsewhere")

    def _repeat(self) -> None:
        """Say at the end what the pipeline has said on its way, which nobody may have seen."""
        skipped = [text.removeprefix(SKIPPED) for text in self._said if text.startswith(SKIPPED)]
        notes = [text for text in self._said if not text.startswith((SKIPPED, FETCHING))]
        parts = [f"onemark skipped {len(skipped)} of the radiographs. {skipped[0]}"] if skipped else []
        parts += [f"{text[:1].upper()}{text[1:]}." for text in notes]
        if parts:
            self.context.tell(" ".join(parts), "warn")

    def _end_training(self, run: BackgroundRun, here: bool) -> None:
        if here:
            if run.outcome == "done":
                # With a model there, the expected errors say what to look at next, and the suggestion no longer does.
                self.session_store.suggestion_run = None
                self.context.session.set_suggestion(None)
            self.session_store.end_run(run.order.out)
        if run.predictions is None:
            return
        if here:
            self.model = run.model
            self._take_predictions(self._translate(run.predictions), run)
            self.model_changed.emit()
        else:
            self.context.tell(
                f"The training of {run.order.cohort.folder.name} has ended. Its run is in {run.order.out}."
            )

    def _end_suggestion(self, run: BackgroundRun, here: bool) -> None:
        if here and not run.order.out.is_dir():
            self.session_store.suggestion_run = self._former_suggestion
        if run.suggestion is not None and here:
            self.context.session.set_suggestion(run.suggestion)
        elif run.outcome == "suggested":
            folder = run.order.cohort.folder.name
            self.context.tell(f"The suggestion for {folder} is ready. Open {folder} to see it.")
        elif run.outcome == "stopped" and here:
            self.context.tell("Stopped. Press Suggest again to continue from here.")

    def _explain(self, error: BaseException, run: BackgroundRun, here: bool) -> None:
        failure = explain(error, "the suggestion" if run.order.kind == "suggest" else "training")
        # A run that was to follow a suggestion looks again for one to follow; a continued run keeps its settings.
        kind: OrderKind = "new" if run.order.kind == "follow" else run.order.kind
        smaller = self._halve_batch(run.order) if kind in ("new", "suggest") else None
        choices = []
        if "cpu" in failure.remedies and run.order.device != "cpu":
            choices.append(("Train on the CPU", lambda: self._retry(kind, device="cpu")))
        if "smaller" in failure.remedies and smaller is not None:
            name, value = smaller
            choices.append(
                (
                    f"Use {name.split('.')[-1].replace('_', ' ')} = {value}",
                    lambda: self._retry(kind, settings={name: value}),
                )
            )
        # The remedies start again with the folder that is open.
        self.context.tell(failure.text, "bad", choices if here else (), failure.details)

    def _halve_batch(self, order: Order) -> tuple[str, int] | None:
        # Memory grows with the batch, so half a batch is the remedy where the recipe has one.
        info = next((one for one in self.recipes if one.name == order.recipe), None)
        values = {**info.defaults(), **order.settings} if info else dict(order.settings)
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

    def _take_predictions(self, predictions: Predictions, run: BackgroundRun) -> None:
        session, before = self.context.session, run.order.cohort.spacing_mm
        cohort = session.cohort
        assert cohort is not None
        known: Known | Session = session if session.reading is None else session.reading.known
        former = dict(known.predictions) if run.outcome == "stopped" else {}
        if cohort.spacing_mm == before and not former:
            session.set_predictions(predictions)
            return
        verdict = known.verdict if former else predictions.verdict
        # The pixel size may have been typed during the training. After a stop, former predictions fill the gaps.
        self.context.background.run(
            lambda: Predictions.from_sets(
                [*former.values(), *convert_errors(cohort, predictions.sets.values(), before)],
                cohort,
                verdict,
            ),
            lambda converted: self._show_predictions(cohort, converted),
            lambda error: self.context.fail(error, "reading the pixel sizes"),
        )

    def _translate(self, predictions: Predictions) -> Predictions:
        return predictions.rename(self.session_store.names_of_run())

    def explain(self, radiograph: Radiograph, landmark: str) -> Callable[[Trained], Evidence]:
        """Return what asks a model for the evidence of a landmark, which the run may know by another name."""
        own = {name: mine for mine, name in self.session_store.names_of_run().items()}.get(landmark, landmark)

        def ask(model: Trained) -> Evidence:
            evidence = model.explain(radiograph, own)
            return evidence if evidence.landmark is None else replace(evidence, landmark=landmark)

        return ask

    def _show_predictions(self, cohort: Cohort, predictions: Predictions) -> None:
        if cohort is self.context.session.cohort:
            self.context.session.set_predictions(predictions)

    def _show_suggestion(self, cohort: Cohort | None, suggestion: Suggestion | None) -> None:
        if suggestion is not None and not self._busy_here and cohort is self.context.session.cohort:
            self.context.session.set_suggestion(suggestion)

    def _take_model(self, cohort: Cohort, model: Trained) -> None:
        if not self._busy_here and cohort is self.context.session.cohort:
            self.model = model
            self.model_changed.emit()

    def _forget_model(self) -> None:
        self.model = None
