"""What a training or a suggestion is doing, in words."""

from __future__ import annotations

from onemark.progress import Progress

STAGES = {
    "read": "Reading the radiographs",
    "match": "Learning to match",
    "select": "Comparing the radiographs",
    "pseudo-label": "Carrying the landmarks over",
    "detect": "Learning to detect",
    "refine": "Refining",
    "expect": "Learning how sure to be",
    "predict": "Marking every radiograph",
    "report": "Writing the report",
}


def doing(event: Progress, stopping: bool) -> str:
    """Such as "Learning to match"."""
    return ("Stopping… " if stopping else "") + STAGES.get(event.stage, event.stage.capitalize())


def left(event: Progress) -> str:
    """Such as " · 2:05 left"; empty when not known."""
    return "" if event.seconds_left is None else f" · {_clock(event.seconds_left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    return f"{minutes}:{rest:02d}" if minutes else f"{rest} s"
