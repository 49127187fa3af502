"""What of a set can be measured on a table: the measurements whose landmarks are all there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onemark.measurement.sets.reading import load_set
from onemark.measurement.sets.schema import MeasurementSet
from onemark.types import UserError

DEFAULT = "isbi19"
SYMBOL, ENOUGH = 3, 3  # letters of a symbol at most; names longer than that which leave no doubt


def fit_set(which: str | MeasurementSet, names: Sequence[str]) -> MeasurementSet:
    """Limit a set to the measurements whose landmarks are all among `names`.

    Raises:
        UserError: the set cannot be read, or nothing of it can be measured.
    """
    chosen = load_set(which)
    found = chosen.match_names(names)
    kept = tuple(one for one in chosen.measurements if set(one.needs) <= found.keys())
    if not kept:
        raise UserError(f"no measurement of the set {chosen.name} has all of its landmarks; give another set")
    return replace(chosen, measurements=kept)


def find_set(names: Sequence[str]) -> MeasurementSet | None:
    """The shipped set that these landmarks plainly belong to, limited to them; None where there is none.

    Landmarks called A and B may be anything, so some must be spelled out, or those that say which way the face looks
    must be there.
    """
    chosen = load_set(DEFAULT)
    try:
        found = chosen.match_names(names)
        spelled = sum(len(name) > SYMBOL for name in found.values())
        is_plain = spelled >= ENOUGH or set(chosen.facing or ()) <= found.keys()
        return fit_set(chosen, names) if is_plain else None
    except UserError:
        return None
