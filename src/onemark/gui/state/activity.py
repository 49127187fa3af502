"""What a training or a suggestion is doing, in words for the person."""

from __future__ import annotations

from onemark.evaluation.verdict import BUSY
from onemark.progress import Progress

STAGES = {
    "read": "Reading the radiographs",
    "match": "Training the matcher",
    "register": "Registering radiographs with each other",
    "orientation": "Looking how the radiographs lie",
    "select": "Comparing the radiographs",
    "pseudo-label": "Predicting pseudo-labels",
    "detect": "Training the detector",
    "refine": "Training the refiner",
    "error_model": "Estimating the expected errors",
    "predict": "Predicting every radiograph",
    "report": "Writing the report",
}
"""Stage of a progress event -> what the person reads."""


def describe_activity(event: Progress, stopping: bool) -> str:
    """Describe the stage, as in "Training the matcher"."""
    return ("Stopping… " if stopping else "") + STAGES.get(event.stage, event.stage.capitalize())


def describe_time_left(event: Progress) -> str:
    """Describe the time left, as in " · 2:05 left"; empty where it is unknown."""
    return "" if event.seconds_left is None else f" · {_format_clock(event.seconds_left)} left"


def describe_speed(event: Progress, others: float | None) -> str:
    """Describe the speed, as in "14 images per second. Other programs use 62 % of the processor."; may be empty."""
    speed = event.metrics.get("images/s")
    parts = [] if speed is None else [f"{speed:.{0 if speed >= 10 else 1}f} images per second."]
    if others is not None and others > BUSY:
        parts.append(
            f"Other programs use {100 * others:.0f} % of the processor, so this learns less in its time."
        )
    return " ".join(parts)


def _format_clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    return f"{minutes}:{rest:02d}" if minutes else f"{rest} s"
