"""One training or suggestion in the background: a thread that contains every error, and a mailbox for the window."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from onemark.data.suggestion import Suggestion
from onemark.evaluation.verdict import Verdict, judge
from onemark.gui.state.backend import Backend, Order, Trained
from onemark.gui.state.predictions import Predictions
from onemark.gui.state.run_status import read_suggestion
from onemark.nn.processor import OthersMeter
from onemark.progress import Cancelled, Progress
from onemark.types import LandmarkSet, UserError

if TYPE_CHECKING:
    from onemark.data.landmarks.table import LandmarkTable
    from onemark.pipeline.runs.folder import RunFolder

KEEP = 4000  # more than a training sends between two polls; a limit in case the window stops polling
T = TypeVar("T")


@dataclass
class News:
    """What happened since the window last emptied the mailbox.

    Attributes:
        events: Progress events in order, thinned out; `losses` holds the numbers of every step.
        losses: (seconds since the start, stage, loss), in order.
        others: Share of the processor, 0 to 1, that other programs have taken since the start; None while unknown.
    """

    events: list[Progress] = field(default_factory=list)
    losses: list[tuple[float, str, float]] = field(default_factory=list)
    others: float | None = None


class BackgroundRun:
    """Carries out one order: a training and a prediction of the whole cohort, or a suggestion.

    It knows nothing of Qt. The window polls `collect_news()`, so a run never calls a window that is gone.

    Attributes:
        order: The snapshot it works on.
        outcome: None while it works; then `done`, `suggested`, `stopped` or `failed`.
        model: The fitted model, once there is one.
        predictions: Landmarks of every radiograph when done; of some when stopped while it predicted.
        suggestion: What to annotate, when suggested.
        error: What went wrong, when failed.
    """

    def __init__(self, backend: Backend, order: Order) -> None:
        self.order = order
        self.outcome: str | None = None
        self.model: Trained | None = None
        self.predictions: Predictions | None = None
        self.suggestion: Suggestion | None = None
        self.error: BaseException | None = None
        self._backend = backend
        self._stop = threading.Event()
        self._events: deque[Progress] = deque(maxlen=KEEP)
        self._losses: deque[tuple[float, str, float]] = deque(maxlen=KEEP)
        self._started = time.monotonic()
        self._meter = OthersMeter()
        self._others: float | None = None
        self._predicted: dict[str, LandmarkSet] = {}
        self._thread = threading.Thread(target=self._run, name="onemark-training", daemon=True)

    def start(self) -> None:
        """Start the thread. Returns at once."""
        self._started = time.monotonic()
        self._meter.restart()
        self._thread.start()

    def stop(self) -> None:
        """Ask it to stop at the next step."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait until it ends; True if it ended in time."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    def collect_news(self) -> News:
        """Empty the mailbox; keep the last event of each stage, and every event with a preview or a message."""
        events, losses = _empty(self._events), _empty(self._losses)
        last = {event.stage: i for i, event in enumerate(events)}
        keep = [e for i, e in enumerate(events) if e.preview or e.message or last[e.stage] == i]
        return News(keep, losses, self._others)

    def watched(self) -> str | None:
        """Name of the radiograph in view, which the pipeline previews first: see `onemark.progress.watched_by`."""
        return self.order.watched()

    def __call__(self, event: Progress) -> None:
        """Take a progress event of the pipeline; raises Cancelled once a stop was asked for."""
        if self._stop.is_set():
            raise Cancelled
        self._events.append(event)
        if "loss" in event.metrics:
            self._others = self._meter.share()
            self._losses.append((time.monotonic() - self._started, event.stage, event.metrics["loss"]))
        if event.stage == "predict":
            self._predicted |= {one.image: one for one in event.preview}

    def _run(self) -> None:
        try:
            if self.order.kind == "suggest":
                self._backend.suggest(self.order, self)
                self.suggestion = read_suggestion(self.order.out)
                self.outcome = "suggested"
            else:
                self._train()
                self.outcome = "done"
        except Cancelled:
            self._keep_part()
            self.outcome = "stopped"
        except BaseException as error:  # whatever ends the thread, the window must be able to explain it
            self.error = error
            self.outcome = "failed"

    def _train(self) -> None:
        from onemark.pipeline.runs.folder import RunFolder
        from onemark.pipeline.runs.locks import locked

        with locked(self.order.out, make=True):
            self.model = self._backend.train(self.order, self)
            table = self.model.predict(self.order.cohort, self)
            kept = _keep_elsewhere(self.model)
            place = self.order.out if kept is None else kept[0].path
            table.to_csv(place / "landmarks.csv")
            RunFolder.open(place).note_predicted(self.order.cohort)
            if kept is not None:
                raise kept[1]
        self.predictions = Predictions.from_sets(table, self.order.cohort, self._judge(table))

    def _judge(self, table: LandmarkTable) -> Verdict | None:
        return judge(
            table,
            self.order.cohort,
            log=getattr(self.model, "log", ()),
            annotated=self.order.exemplars.annotated().images,
            minutes=self.order.minutes,
            others=self._others,
        )

    def _keep_part(self) -> None:
        # Predictions made before the stop are worth a look.
        if self._predicted:
            self.predictions = Predictions.from_sets(self._predicted.values(), self.order.cohort)


def _keep_elsewhere(model: Trained) -> tuple[RunFolder, UserError] | None:
    """Write a model whose run folder is gone elsewhere; None where nothing is to be done."""
    if getattr(model, "folder", None) is None:
        return None
    from onemark.pipeline.rescue import keep_model  # loads torch, as such a model has done

    return keep_model(model)


def _empty(box: deque[T]) -> list[T]:
    # The pipeline's thread appends meanwhile, so take one at a time instead of copying and clearing.
    out = []
    while box:
        out.append(box.popleft())
    return out
