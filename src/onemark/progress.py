"""Progress events. A sink is any callable that takes a Progress; raising Cancelled in it stops the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from onemark.types import LandmarkSet

SKIPPED = "skipped: "
"""Begins the message about a radiograph that is passed over; other messages do not begin so."""


class Cancelled(Exception):
    """Raised by a progress sink to stop the work at the next step; the run folder then holds a resumable state."""


@dataclass(frozen=True)
class Progress:
    """One event of a running job.

    Attributes:
        stage: What is being done: `read`, `match`, `select`, `detect`, `expect`, `predict`, `report`.
        step: Steps done in this stage, 0...total.
        total: Steps of this stage; an estimate while a time budget rules.
        metrics: Names and values such as `loss`, `images/s`.
        seconds_left: Of the whole job, when known.
        preview: Predictions on a few radiographs, now and then.
        message: One line for the person, such as the name of a radiograph that was skipped and why.
    """

    stage: str
    step: int
    total: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds_left: float | None = None
    preview: Sequence[LandmarkSet] = ()
    message: str = ""


Sink = Callable[[Progress], None]


def silent(event: Progress) -> None:
    """The sink that shows nothing."""


def watched_by(sink: Sink) -> str | None:
    """Name of the radiograph in view, where the sink tells it by a method `watched`: previews show it first."""
    watched = getattr(sink, "watched", None)
    return watched() if callable(watched) else None
