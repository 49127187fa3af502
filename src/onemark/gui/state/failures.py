"""From an exception to what the person reads: a sentence or two, and a way out."""

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
        remedies: Keys of the remedies that the window can offer: `cpu`, `smaller`, `details`.
        details: The traceback, for a report to the developers; empty when the input was at fault.
    """

    text: str
    remedies: tuple[str, ...] = ()
    details: str = ""


def explain(error: BaseException, doing: str) -> Failure:
    """Explain an error to the person.

    Args:
        error: What was raised.
        doing: What was being done, such as `training`.
    """
    if isinstance(error, UserError) and not is_out_of_memory(error):
        return Failure(str(error))
    details = "".join(traceback.format_exception(error))
    if is_out_of_memory(error):
        return Failure(
            f"onemark ran out of memory during {doing}. Your points are safe. Close other programs and try again, or use "
            "one of these remedies.",
            ("cpu", "smaller", "details"),
            details,
        )
    if isinstance(error, ImportError | OSError) and _names_torch(error):
        return Failure(
            f"onemark cannot load PyTorch ({_first_line(error)}). Reinstall it in this environment. On Windows, "
            "install the Microsoft Visual C++ runtime first.",
            ("details",),
            details,
        )
    if isinstance(error, OSError):
        return Failure(f"{doing.capitalize()} failed: {_first_line(error)}.", ("details",), details)
    return Failure(
        f"{doing.capitalize()} stopped on an unexpected error: {type(error).__name__}: {_first_line(error)}. Your points "
        "are safe. Please send the details to the developers.",
        ("details",),
        details,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the computer or its GPU ran out of memory, which torch reports as a plain RuntimeError on some devices."""
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
