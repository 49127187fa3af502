"""Options: dataclass fields that carry help, unit and range, and the checks that every surface shares."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from onemark.types import UserError

C = TypeVar("C")
# torch takes seeds of 64 bits, and stages add small numbers to the seed that the user gives.
SEED_LIMIT = 10**18
TYPE_WORDS = {int: "a whole number", float: "a number", bool: "yes or no", str: "text"}


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """Declare a dataclass field whose metadata holds its help, unit and inclusive range.

    Args:
        default: Default value.
        help: One phrase that a user understands.
        unit: Unit of the value, such as `px` or `steps`; empty when it has none.
        low: Smallest allowed number.
        high: Largest allowed number.
    """
    meta = {"help": help, "unit": unit, "low": low, "high": high}
    return dataclasses.field(default=default, metadata=meta)


def settings_of(config: Any) -> dict[str, Any]:
    """Return name -> value of a Config, ready for JSON; `from_settings` is the inverse."""
    return dataclasses.asdict(config)


def from_settings(config: type[C], settings: Mapping[str, Any], where: str = "") -> C:
    """Build a Config from names and values; values may be strings, as from a command line.

    Args:
        config: A frozen dataclass made of `option` fields.
        settings: Field name -> value.
        where: Prefix for messages, such as `match.`.

    Raises:
        UserError: a name is unknown, or a value has the wrong type or is out of range.
    """
    hints = get_type_hints(config)
    fields = {f.name: f for f in dataclasses.fields(config)}  # type: ignore[arg-type]
    unknown = [k for k in settings if k not in fields]
    if unknown:
        raise UserError(
            f"unknown setting {where}{unknown[0]}; this recipe has {', '.join(where + k for k in fields)}"
        )
    values = {k: _check_value(where + k, v, hints[k], fields[k].metadata) for k, v in settings.items()}
    return config(**values)


def check_budget_and_seed(minutes: float | None, seed: int = 0) -> None:
    """Check a time budget in minutes (None for no budget) and a seed before any work starts.

    Raises:
        UserError: the budget is not a finite number above 0, or the seed is too large for torch.
    """
    if minutes is not None and not 0 < minutes < math.inf:
        raise UserError(f"minutes must be a number above 0, not {minutes:g}")
    if abs(seed) >= SEED_LIMIT:
        raise UserError(f"seed must be a whole number of at most 18 digits, not {seed}")


def _check_value(name: str, value: Any, kind: Any, meta: Mapping[str, Any]) -> Any:
    try:
        value = _convert(value, kind)
    except (TypeError, ValueError):
        wanted = f"one of {', '.join(map(str, get_args(kind)))}" if _is_literal(kind) else TYPE_WORDS[kind]
        raise UserError(f"{name} must be {wanted}, not {value!r}") from None
    for bound, wrong, word in (("low", operator.lt, "at least"), ("high", operator.gt, "at most")):
        limit = meta.get(bound)
        if limit is not None and wrong(value, limit):
            raise UserError(
                f"{name} must be {word} {limit:g} {meta.get('unit', '')}".rstrip() + f", not {value}"
            )
    return value


def _is_literal(kind: Any) -> bool:
    return getattr(get_origin(kind), "_name", "") == "Literal"


def _convert(value: Any, kind: Any) -> Any:
    if _is_literal(kind):
        # A command line gives the numbers among the choices as strings.
        words = {str(one): one for one in get_args(kind)}
        if str(value) not in words:
            raise ValueError
        return words[str(value)]
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).lower() not in words:
            raise ValueError
        return words[str(value).lower()]
    # JSON and forms give 20.0 for 20; int() would also cut 2.5 to 2.
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError
    converted = kind(value)
    if kind is float and not math.isfinite(converted):
        raise ValueError
    return converted
