"""From an exception to what the person reads: one sentence, and a way out."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from onemark.types import UserError

OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


@dataclass(frozen=True)
class Failure:
    """A readable failure.

    Attributes:
        text: What happened and what to do.
        ways: Keys of the buttons offered: `cpu`, `smaller`, `details`.
        details: The traceback, for a report to the developers; empty when the input was at fault.
    """

    text: str
    choices: tuple[str, ...] = ()
    details: str = ""


def explain(error: BaseException, doing: str) -> Failure:
    """Turn an error into words.

    Args:
        error: What was raised.
        doing: What was being done, such as `training`.
    """
    if isinstance(error, UserError) and not is_out_of_memory(error):
        return Failure(str(error))
    details = "".join(traceback.format_exception(error))
    if is_out_of_memory(error):
        return Failure(
            f"The memory ran out during {doing}. Your points are safe. Close other programs and try again, or use one of "
            "these ways out.",
            ("cpu", "smaller", "details"),
            details,
        )
    if isinstance(error, ImportError | OSError) and _names_torch(error):
        return Failure(
            f"PyTorch cannot be loaded ({_first_line(error)}). Install it again in this environment; on Windows, install "
            "the Microsoft Visual C++ runtime first.",
            ("details",),
            details,
        )
    if isinstance(error, OSError):
        return Failure(f"{doing.capitalize()} failed: {_first_line(error)}.", ("details",), details)
    return Failure(
        f"{doing.capitalize()} stopped on an unexpected error: {type(error).__name__}: {_first_line(error)}. Your points "
        "are safe; please send the details to the developers.",
        ("details",),
        details,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the computer or its GPU ran out of memory; torch says so with plain RuntimeErrors on some devices."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError | UserError) and any(
        words in str(error).lower() for words in OUT_OF_MEMORY
    )


def _names_torch(error: BaseException) -> bool:
    text = str(error).lower()
    return "torch" in text or "c10" in text


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]
