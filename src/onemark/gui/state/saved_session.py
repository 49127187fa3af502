"""What a session file may hold: all of it is checked before any of it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onemark.data.paths import printable
from onemark.types import UserError

_FARTHEST = 1e9
"""No place, no number of minutes and none of a preference is beyond; Qt and napari fail on larger ones."""
KEYS = ("annotations", "closed", "current", "preferences", "run", "saved", "schema")


def check_session(path: Path, session: Mapping[str, Any]) -> dict[str, Any]:
    """The session, which is whole.

    Args:
        path: Its file, for the message.
        session: The content, with the keys of today.

    Raises:
        UserError: something is missing, or of the wrong shape.
    """
    missing = [key for key in KEYS if key not in session]
    if missing:
        raise _refuse(path, f"lacks {missing[0]!r}")
    checks = {
        "annotations": _are_annotations(session["annotations"]),
        "closed": isinstance(session["closed"], bool),
        "current": _is_text_or_none(session["current"]),
        "preferences": _are_preferences(session["preferences"]),
        "saved": _is_number(session["saved"], 0, 1e11),
        "schema": _is_schema(session["schema"]),
    }
    checks["answers"] = _are_answers(session.get("answers", {}))
    checks["aliases"] = _are_aliases(session.get("aliases", {}))
    checks["reading"] = checks["schema"] and _is_reading(session.get("reading"), session["schema"]["names"])
    checks |= {key: _is_text_or_none(session.get(key)) for key in ("run", "former", "suggested")}
    wrong = [key for key, is_right in checks.items() if not is_right]
    if wrong:
        raise _refuse(path, f"has a wrong value in {wrong[0]!r}")
    return dict(session)


def _refuse(path: Path, why: str) -> UserError:
    return UserError(f"{printable(path)} {why}; onemark keeps the file and starts a new session beside it")


def _is_number(value: object, low: float = -_FARTHEST, high: float = _FARTHEST) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_text_or_none(value: object) -> bool:
    return value is None or (isinstance(value, str) and "\0" not in value)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_schema(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("title"), str):
        return False
    names, labels = value.get("names"), value.get("labels")
    if not isinstance(names, list) or not isinstance(labels, list):
        return False
    if not (_are_texts(names) and _are_texts(labels) and len(labels) == len(names) == len(set(names))):
        return False
    pairs = value.get("swap", [])
    if not isinstance(pairs, list) or not all(_are_texts(pair) and len(pair) == 2 for pair in pairs):
        return False
    paired = [name for pair in pairs for name in pair]
    return len(paired) == len(set(paired)) and set(paired) <= set(names)


def _are_annotations(value: object) -> bool:
    return isinstance(value, dict) and all(_is_annotation(one) for one in value.values())


def _is_annotation(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("xy"), list):
        return False
    hidden, count = value.get("hidden"), len(value["xy"])
    # One that waits for its radiograph has names of its own.
    if "names" in value and not (_are_texts(value["names"]) and len(value["names"]) == count):
        return False
    if not isinstance(hidden, list) or not all(
        isinstance(value.get(key), bool) for key in ("corrects", "confirmed")
    ):
        return False
    return all(_is_point(row) for row in value["xy"]) and all(
        type(index) is int and 0 <= index < count and value["xy"][index] is None for index in hidden
    )


def _are_answers(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, dict) and all(map(_is_point, one.values())) for one in value.values()
    )


def _are_aliases(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(names, dict) and all(isinstance(name, str) for name in names.values())
        for names in value.values()
    )


def _is_reading(value: object, names: list[str]) -> bool:
    """A second reading of radiographs; its annotations have all landmarks of the schema, or names of their own."""
    if value is None:
        return True
    if not isinstance(value, dict) or not isinstance(value.get("first"), list):
        return False
    again = value.get("annotations")
    return (
        all(map(_is_landmark_set, value["first"]))
        and isinstance(again, dict)
        and all(
            _is_annotation(one) and ("names" in one or len(one["xy"]) == len(names)) for one in again.values()
        )
    )


def _is_landmark_set(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("image"), str):
        return False
    names, xy, unit = value.get("names"), value.get("xy"), value.get("unit", "")
    if not isinstance(names, list) or not _are_texts(names) or not isinstance(xy, list):
        return False
    numbers = (value.get(key) for key in ("score", "expected_error"))
    return (
        len(xy) == len(names) == len(set(names))
        and all(map(_is_point, xy))
        and isinstance(unit, str)
        and all(_are_numbers(one, len(names)) for one in numbers)
    )


def _are_numbers(value: object, count: int) -> bool:
    """None of them, or one for each landmark."""
    return (
        isinstance(value, list)
        and len(value) in (0, count)
        and all(one is None or _is_number(one) for one in value)
    )


def _is_point(row: object) -> bool:
    return row is None or (isinstance(row, list) and len(row) == 2 and all(map(_is_number, row)))


def _are_preferences(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    settings = value.get("settings", {})
    checks = [
        isinstance(value.get("recipe", ""), str),
        isinstance(value.get("device", ""), str),
        all(isinstance(value.get(key, ""), str) for key in ("measurements", "column")),
        all(_is_number(value.get(key, 0), 0) for key in ("minutes", "retrain_minutes")),
        all(_is_number(value.get(key, 1), 1e-6) for key in ("point_size", "error_limit")),
        type(value.get("suggest_number", 1)) is int and _is_number(value.get("suggest_number", 1), 0),
        isinstance(value.get("inverted", False), bool),
        value.get("contrast") is None or _is_contrast(value["contrast"]),
        isinstance(settings, dict)
        and all(isinstance(one, str | int | float | bool) for one in settings.values()),
        value.get("spacing_mm") is None or _is_spacing(value["spacing_mm"]),
        _are_texts(value.get("formats", [])),
    ]
    return all(checks)


def _is_spacing(value: object) -> bool:
    """One number for square pixels, or one for each axis."""
    if isinstance(value, list):
        return len(value) == 2 and all(_is_number(one, 1e-9) for one in value)
    return _is_number(value, 1e-9)


def _is_contrast(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] < value[1]
