"""One reader of JSON, for files that anybody may have written."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onemark.data.paths import printable, read_regular
from onemark.types import UserError

_MEBI = 1 << 20


@dataclass(frozen=True)
class JsonLimits:
    """What a JSON document may hold. Together the limits keep the peak of memory below 1 GiB.

    Attributes:
        size: Bytes, or characters of text.
        depth: Objects and arrays inside each other.
        containers: Objects and arrays.
        values: Numbers, texts and other values.
        digits: Characters of a number.
        finite: Refuse NaN and Infinity, which are not JSON, and numbers that overflow.
    """

    size: int = 64 * _MEBI
    depth: int = 64
    containers: int = 1_000_000
    values: int = 4_000_000
    digits: int = 64
    finite: bool = True


LIMITS = JsonLimits()
"""For landmarks and whatever else people bring."""
SMALL = JsonLimits(size=_MEBI)
"""For the configuration of a run and other files of a few lines."""


def parse_json(data: str | bytes, where: object, limits: JsonLimits = LIMITS) -> Any:
    """The value of a JSON document.

    Args:
        data: Its text, or its bytes as UTF-8, UTF-16 or UTF-32.
        where: Names the document in messages, such as its path.
        limits: What it may hold.

    Raises:
        UserError: not JSON, or beyond the limits; it names `where` and, where there is one, the line.
    """
    where = printable(where)
    if len(data) > limits.size:
        raise UserError(f"{where} is larger than {limits.size // _MEBI} MiB of JSON; check the path")
    text = data if isinstance(data, str) else _decoded(data, where)
    containers = text.count("[") + text.count("{")
    if containers > limits.containers or containers + text.count(",") > limits.values:
        raise UserError(f"{where} holds far more values than onemark takes; split it into several files")
    try:
        value = json.loads(
            text,
            parse_int=_Number(where, limits, int),
            parse_float=_Number(where, limits, float),
            parse_constant=_Constant(where, limits),
        )
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where}, line {error.lineno}: not readable as JSON ({error.msg}); fix that line"
        ) from None
    except RecursionError:
        raise _too_deep(where) from None
    _check_depth(value, where, limits.depth)
    return value


def read_json(path: Path | str, limits: JsonLimits = LIMITS) -> Any:
    """The value of a JSON file.

    Raises:
        UserError: as `parse_json`; or a pipe, or a device.
        OSError: as `open`.
    """
    return parse_json(read_regular(path, limits.size), path, limits)


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        raise UserError(f"{where} is not readable as JSON (it is no UTF-8 text); save it as UTF-8") from None


@dataclass(frozen=True)
class _Number:
    where: str
    limits: JsonLimits
    kind: type[int] | type[float]

    def __call__(self, text: str) -> float:
        if len(text) > self.limits.digits:
            raise UserError(f"{self.where} holds a number of {len(text)} digits; correct it")
        value = self.kind(text)
        if self.limits.finite and not math.isfinite(value):
            raise UserError(f"{self.where} holds the number {text}, which is too large; correct it")
        return value


@dataclass(frozen=True)
class _Constant:
    where: str
    limits: JsonLimits

    def __call__(self, text: str) -> float:
        if self.limits.finite:
            raise UserError(f"{self.where} holds {text}, which is not a finite number; correct it")
        return float(text)


def _check_depth(value: Any, where: str, depth: int) -> None:
    level = [value]
    while level := [one for one in level if isinstance(one, (dict, list))]:
        if depth == 0:
            raise _too_deep(where)
        depth -= 1
        level = [one for outer in level for one in (outer.values() if isinstance(outer, dict) else outer)]


def _too_deep(where: str) -> UserError:
    return UserError(f"{where} nests its values too deeply; give a file that a program wrote for landmarks")
