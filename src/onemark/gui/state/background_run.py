"""One training in the background: a thread that nothing escapes from, and a mailbox that the window empties."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TypeVar

from onemark.data.suggestion import Suggestion
from onemark.gui.state.backend import Backend, Order, Trained
from onemark.gui.state.session import Predictions
from onemark.gui.state.units import note_predictions
from onemark.progress import Cancelled, Progress
from onemark.types import LandmarkSet

KEEP = 4000
T = TypeVar("T")


@dataclass
class News:
    """What happened since the mailbox was last emptied.

    Attributes:
        events: Progress events in order; the numbers of those in between are in `losses`.
        losses: (seconds since the start, stage, loss), in order.
    """

    events: list[Progress] = field(default_factory=list)
    losses: list[tuple[float, str, float]] = field(default_factory=list)


class BackgroundRun:
    """A training, then a prediction of the whole cohort, on a snapshot of the inputs; or a suggestion what to annotate.

    Nothing of Qt in here: the window polls `news()`, so that a window that is gone cannot be called.

    Attributes:
        order: The snapshot.
        outcome: None while it works; then `done` (of a suggestion `suggested`), `stopped` or `failed`.
        model: The fitted model, once there is one.
        predictions: Landmarks of every radiograph when done; of some when stopped while predicting.
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
        self._begun = time.monotonic()
        self._found: dict[str, LandmarkSet] = {}
        self._thread = threading.Thread(target=self._run, name="onemark-training", daemon=True)

    def start(self) -> None:
        """Begin. Returns at once."""
        self._begun = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Ask it to stop at the next step."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait for its end; True when it came."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    def news(self) -> News:
        """Empty the mailbox. Of the events only the last of each stage, those with a preview and messages remain."""
        events, losses = _empty(self._events), _empty(self._losses)
        last = {event.stage: i for i, event in enumerate(events)}
        keep = [e for i, e in enumerate(events) if e.preview or e.message or last[e.stage] == i]
        return News(keep, losses)

    def watched(self) -> str | None:
        """Name of the radiograph in view; the pipeline asks before it makes a preview."""
        return self.order.watched()

    def __call__(self, event: Progress) -> None:
        """The progress sink given to the pipeline; raises Cancelled when a stop was asked for."""
        if self._stop.is_set():
            raise Cancelled
        self._events.append(event)
        if "loss" in event.metrics:
            self._losses.append((time.monotonic() - self._begun, event.stage, event.metrics["loss"]))
        if event.stage == "predict":
            self._found |= {one.image: one for one in event.preview}

    def _run(self) -> None:
        try:
            if self.order.kind == "suggest":
                self._backend.suggest(self.order, self)
                self.suggestion = Suggestion.read_csv(self.order.out / "suggestion.csv")
                self.outcome = "suggested"
            else:
                self._train()
                self.outcome = "done"
        except Cancelled:
            self._keep_part()
            self.outcome = "stopped"
        except BaseException as error:  # a thread must end in words, whatever happens in it
            self.error = error
            self.outcome = "failed"

    def _train(self) -> None:
        self.model = self._backend.train(self.order, self)
        table = self.model.predict(self.order.cohort, self)
        table.to_csv(self.order.out / "landmarks.csv")
        note_predictions(self.order.out, self.order.cohort)
        self.predictions = Predictions.of(table)

    def _keep_part(self) -> None:
        # Stopped while predicting: what is predicted already is worth seeing.
        if self._found:
            self.predictions = Predictions.of(self._found.values())


def _empty(box: deque[T]) -> list[T]:
    out = []
    while box:
        out.append(box.popleft())
    return out
