"""Shows a running job on stderr, and turns Ctrl-C into a clean stop."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from onemark.progress import SKIPPED, Cancelled, Progress

if TYPE_CHECKING:
    from onemark.nn.processor import OthersMeter

# Often enough to see that the job is alive, and seldom enough for a log file.
PLAIN_SECONDS = 10.0
# rich hides the cursor while it draws bars, and os._exit gives it no chance to show it again.
SHOW_CURSOR = b"\x1b[?25h"


def format_duration(seconds: float) -> str:
    """Format seconds as `3:05`, or as `1:02:03` from an hour on."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def format_details(event: Progress) -> str:
    """Format loss, speed and time left: `loss 2.31, 14.2 images/s, 3:05 left`."""
    parts = [f"loss {event.metrics['loss']:.3g}"] if "loss" in event.metrics else []
    parts += [f"{value:.3g} {name}" for name, value in event.metrics.items() if "/" in name]
    if event.seconds_left is not None:
        parts.append(f"{format_duration(event.seconds_left)} left")
    return ", ".join(parts)


class PlainLines:
    """Shows events as plain lines: the first and last of every stage, and one every `PLAIN_SECONDS` between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: Progress | None = None
        self._printed: Progress | None = None
        self._when = 0.0

    def show(self, event: Progress) -> None:
        """Print the event if it is due."""
        # A log must show where every stage began and ended, however short it was.
        if self._last is None or self._last.stage != event.stage:
            self.close()
            self._print(event)
        elif time.monotonic() - self._when >= PLAIN_SECONDS:
            self._print(event)
        self._last = event

    def close(self) -> None:
        """Print the last event if it has not been printed."""
        if self._last is not None and self._last is not self._printed:
            self._print(self._last)

    def _print(self, event: Progress) -> None:
        self._printed, self._when = event, time.monotonic()
        line = f"{event.stage} {event.step}/{event.total}  {format_details(event)}".rstrip()
        self._console.print(line, markup=False, soft_wrap=True)


class Show:
    """A progress sink and a context: bars on a terminal, plain lines elsewhere, both on stderr.

    The first Ctrl-C makes the next event raise Cancelled, the second ends the process at once. That is safe:
    every file is written under a temporary name and then renamed, so none is left half written.

    Attributes:
        messages: The messages about skipped radiographs, each once.
        others: Share of the processor, 0 to 1, that other programs took during the training; None before one.
    """

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.messages: list[str] = []
        self.others: float | None = None
        self._meter: OthersMeter | None = None
        self._said: set[str] = set()
        self._lines = PlainLines(self.console)
        self._bars = Bars(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[details]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._stopping = False
        self._old: Any = None

    def __enter__(self) -> Self:
        self._old = signal.signal(signal.SIGINT, self._interrupt)
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._bars.stop()
        signal.signal(signal.SIGINT, self._old)

    def __call__(self, event: Progress) -> None:
        """Show one event.

        Raises:
            Cancelled: Ctrl-C was pressed.
        """
        if "loss" in event.metrics:
            self._watch_others()
        if event.message:
            self._note(event.message)
        elif self.console.is_terminal:
            self._bar(event)
        else:
            self._lines.show(event)
        if self._stopping:
            raise Cancelled

    def _watch_others(self) -> None:
        from onemark.nn.processor import OthersMeter

        self._meter = self._meter or OthersMeter()
        self.others = self._meter.share()

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, soft_wrap=True)

    def _note(self, text: str) -> None:
        # Training and prediction both meet the same bad file.
        if text not in self._said:
            self._said.add(text)
            self.say(text)
            if text.startswith(SKIPPED):
                self.messages.append(text)

    def _bar(self, event: Progress) -> None:
        task = self._tasks.get(event.stage)
        if task is None:
            # Under a time budget the totals were estimates: end the bars of earlier stages where they are.
            for done in self._bars.tasks:
                self._bars.update(done.id, total=done.completed)
            task = self._bars.add_task(event.stage, total=event.total, details="")
            self._tasks[event.stage] = task
        self._bars.update(task, completed=event.step, total=event.total, details=format_details(event))

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        # os.write: a signal may arrive in the middle of a print, which is not re-entrant.
        if self._stopping:
            os.write(2, SHOW_CURSOR if self.console.is_terminal else b"")
            os._exit(130)
        self._stopping = True
        os.write(2, b"stopping at the next step; Ctrl-C again quits at once\n")
