"""Progress events. A sink is any callable that takes a Progress; it may raise Cancelled to stop the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from onemark.types import LandmarkSet

SKIPPED = "skipped: "
"""Prefix of messages about a radiograph that is skipped; no other message starts with it."""


class Cancelled(Exception):
    """Raised by a progress sink to stop the work at once; a run folder then holds a resumable state."""


@dataclass(frozen=True)
class Progress:
    """One event of a running job.

    Attributes:
        stage: What is being done, such as `match`, `detect`, `refine`, `predict`, `overlays` or `report`.
        step: Steps done in this stage, from 0 to `total`.
        total: Steps of this stage; an estimate under a time budget.
        metrics: Name -> value, such as `loss` or `images/s`.
        seconds_left: Time left for the whole job, None when unknown.
        preview: Current predictions on a few radiographs; most events have none.
        message: One line for the user, such as which radiograph was skipped and why.
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
    """Ignore the event: the sink that shows nothing."""


def watched_by(sink: Sink) -> str | None:
    """Return the radiograph that previews should show first: what the sink's method `watched` says, if it has one."""
    watched = getattr(sink, "watched", None)
    return watched() if callable(watched) else None
