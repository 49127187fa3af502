"""Read a set of measurements from TOML; every mistake is named with its line and column."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sized
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from onemark.data.atomic import reading_errors
from onemark.data.keys import canonical
from onemark.data.paths import read_regular
from onemark.measurement.formulas.grammar import FormulaError, Node, parse_formula
from onemark.measurement.formulas.kinds import (
    LINE,
    NUMBER,
    POINT,
    Scope,
    check_kind,
    is_oriented,
    landmarks_in,
)
from onemark.measurement.sets.schema import UNITS, Class, Measurement, MeasurementSet, Norm
from onemark.types import UserError

MOST_BYTES = 1 << 22
"""Largest file of a set."""
SHIPPED = ("isbi19",)
TEMPLATE = "template"

_KEYS = ("title", "source", "facing", "numbered", "landmarks", "points", "lines", "measurement")
_OF_MEASUREMENT = ("name", "formula", "unit", "description", "source", "norm", "classes")
_LARGEST = 1e12
_MOST = 500
"""Landmarks, named points, lines and measurements of a set, each."""
_LIMITS = ("below", "above", "at_least", "at_most")


def load_set(which: str | Path | MeasurementSet) -> MeasurementSet:
    """A set of measurements.

    Args:
        which: The name of a shipped set (`isbi19`), a TOML file, or a set, which is given back.

    Raises:
        UserError: no such set or file, or a mistake in it, with line and column.
    """
    if isinstance(which, MeasurementSet):
        return which
    if str(which) in SHIPPED:
        return parse_set(shipped_text(str(which)), str(which), str(which))
    path = Path(which)
    if not path.exists():
        known = ", ".join(SHIPPED)
        raise UserError(f"there is no set of measurements {str(which)!r}; give {known} or a TOML file")
    with reading_errors(path):
        data = read_regular(path, MOST_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None
    return parse_set(text, path.stem, str(path))


def shipped_text(name: str) -> str:
    """The TOML text of a shipped set, or of the `template`."""
    return files("onemark.measurement.sets").joinpath(f"{name}.toml").read_text("utf-8")


def parse_set(text: str, name: str, where: str) -> MeasurementSet:
    """The set that a TOML text holds.

    Args:
        text: The text.
        name: Name of the set.
        where: The file, for messages.

    Raises:
        UserError: a mistake, with line and column where it has one.
    """
    try:
        content = tomllib.loads(text)
    except ValueError as error:  # no TOML, or a number of thousands of digits
        raise UserError(f"{where}: not readable as TOML ({error}); correct that place") from None
    except RecursionError:
        raise UserError(f"{where}: brackets within brackets without end; correct the file") from None
    return _Reader(text, content, where).read(name)


class _Reader:
    """Reads one file; keeps what formulas may use so far."""

    def __init__(self, text: str, content: Mapping[str, Any], where: str) -> None:
        self.text, self.content, self.where = text, content, where
        self.scope = Scope()
        self.taken: set[str] = set()
        self.needs: dict[str, set[str]] = {}
        self.oriented: dict[str, bool] = {}

    def read(self, name: str) -> MeasurementSet:
        self.known_keys(self.content, _KEYS, "the file")
        landmarks = self.landmarks()
        facing = self.facing(landmarks)
        self.scope.points, self.scope.lines, self.scope.oriented = set(landmarks), set(), facing is not None
        self.order, self.facing_names, self.taken = list(landmarks), facing or (), set(landmarks)
        points, lines = self.named()
        entries = self.content.get("measurement", [])
        if not isinstance(entries, list) or not entries:
            self.fail("no [[measurement]]; give at least one")
        self.check_count(entries, "measurements")
        if not isinstance(self.content.get("numbered", False), bool):
            self.fail("numbered must be true or false", "numbered")
        measurements = tuple(self.measurement(entry) for entry in entries)
        return MeasurementSet(
            name,
            self.string(self.content, "title", "the file", name),
            self.string(self.content, "source", "the file", ""),
            landmarks,
            measurements,
            points,
            lines,
            facing,
            self.content.get("numbered", False),
        )

    def landmarks(self) -> dict[str, tuple[str, ...]]:
        table = self.content.get("landmarks")
        if not isinstance(table, dict) or not table:
            self.fail("no table [landmarks]; give each landmark a line SYMBOL = [other names]")
        self.check_count(table, "landmarks")
        found: dict[str, tuple[str, ...]] = {}
        meant: dict[str, str] = {}
        for symbol, others in table.items():
            if not isinstance(others, list) or not all(isinstance(one, str) for one in others):
                self.fail(f"the landmark {symbol} needs a list of other names, such as {symbol} = []", symbol)
            own = canonical(symbol)
            found[own] = tuple(map(canonical, others))
            for name in {own, *found[own]}:
                if not name or meant.setdefault(name, own) != own or (name == own and symbol != own):
                    self.fail(
                        f"the landmark {symbol!r} has a name that is empty or another one's; change it",
                        symbol,
                    )
        return found

    def facing(self, landmarks: Mapping[str, tuple[str, ...]]) -> tuple[str, str, str] | None:
        value = self.content.get("facing")
        if value is None:
            return None
        texts = isinstance(value, list) and all(isinstance(one, str) for one in value)
        if not texts or len(value) != 3 or len({*value} & {*landmarks}) != 3:
            self.fail("facing must be three landmarks of the set: [BACK, FRONT, BELOW]", "facing")
        back, front, below = value
        return back, front, below

    def named(self) -> tuple[dict[str, Node], dict[str, Node]]:
        """Named points and lines; one may use another, in any order."""
        found: dict[str, dict[str, Node]] = {POINT: {}, LINE: {}}
        waiting = [*self.texts("points", POINT), *self.texts("lines", LINE)]
        known = {POINT: self.scope.points, LINE: self.scope.lines}
        while waiting:
            left, errors = [], []
            for name, text, kind in waiting:
                try:
                    found[kind][name] = self.formula(text, kind, name)[0]
                    known[kind].add(name)
                except UserError as error:
                    left.append((name, text, kind))
                    errors.append(error)
            if len(left) == len(waiting):
                raise _root_of(errors, waiting)
            waiting = left
        return found[POINT], found[LINE]

    def texts(self, section: str, kind: str) -> Iterator[tuple[str, str, str]]:
        table = self.content.get(section, {})
        if not isinstance(table, dict):
            self.fail(f"{section} must be a table of formulas", section)
        self.check_count(table, section)
        for name, text in table.items():
            if name in self.taken:
                self.fail(f"the name {name!r} is taken; choose another", name)
            if not isinstance(text, str):
                self.fail(f"{name} must be a formula in quotes", name)
            self.taken.add(name)
            yield name, text, kind

    def measurement(self, entry: Any) -> Measurement:
        name = self.string(entry, "name", "a [[measurement]]")
        self.known_keys(entry, _OF_MEASUREMENT, f"measurement {name!r}")
        if not name or canonical(name) != name:
            self.fail(f"the name {name!r} is empty or holds signs that do not show; rename the measurement")
        if name in self.taken:
            self.fail(f"the name {name!r} is taken; rename the measurement", f'"{name}"')
        self.taken.add(name)
        text, unit = self.string(entry, "formula", name), self.string(entry, "unit", name)
        if unit not in UNITS:
            self.fail(
                f"measurement {name!r} has the unit {unit!r}; use deg, mm, mm2, % or an empty one", unit
            )
        formula, length = self.formula(text, NUMBER, name)
        if length != UNITS[unit]:
            self.fail(f"measurement {name!r} is {_name_kind(length)}, which has not the unit {unit!r}", text)
        if not self.needs[name]:
            self.fail(
                f"the formula of {name!r} uses no landmark; give an angle, a distance or a ratio of some",
                text,
            )
        self.scope.numbers[name] = length
        needs = tuple(symbol for symbol in self.order if symbol in self.needs[name])
        description, source = (self.string(entry, key, name, "") for key in ("description", "source"))
        listed = entry.get("classes", [])
        if not isinstance(listed, list):
            self.fail(f"the classes of {name!r} are no [[measurement.classes]]; correct them", name)
        classes = tuple(self.a_class(one, name) for one in listed)
        return Measurement(
            name, formula, text, unit, needs, description, source, self.norm(entry, name), classes
        )

    def formula(self, text: str, kind: str, name: str) -> tuple[Node, int]:
        try:
            node = parse_formula(text)
            power = check_kind(node, kind, self.scope)
        except FormulaError as error:
            line, column = self.place(text, error.at)
            raise UserError(
                f"{self.where}, line {line}, column {column}: {error}; correct {name!r}"
            ) from None
        names = landmarks_in(node)
        self.oriented[name] = is_oriented(node) or any(self.oriented.get(one, False) for one in names)
        self.needs[name] = set().union(*(self.needs.get(one, {one}) for one in names))
        if self.oriented[name]:
            self.needs[name] |= set(self.facing_names)
        return node, power

    def norm(self, entry: Mapping[str, Any], name: str) -> Norm | None:
        norm = entry.get("norm")
        if norm is None:
            return None
        if not isinstance(norm, dict) or not all(_is_number(norm.get(key)) for key in ("mean", "sd")):
            self.fail(f"the norm of {name!r} needs {{ mean = NUMBER, sd = NUMBER }}", name)
        self.known_keys(norm, ("mean", "sd", "source"), f"the norm of {name!r}")
        if norm["sd"] <= 0:
            self.fail(f"the norm of {name!r} has an sd of {norm['sd']}; it must be more than 0", name)
        return Norm(float(norm["mean"]), float(norm["sd"]), self.string(norm, "source", name, ""))

    def a_class(self, entry: Any, name: str) -> Class:
        what = f"a class of {name!r}"
        own = self.string(entry, "name", what)
        self.known_keys(entry, ("name", "label", *_LIMITS), what)
        limits = {key: entry[key] for key in _LIMITS if key in entry}
        if not all(map(_is_number, limits.values())):
            self.fail(f"{what} has a limit that is no number; correct it", own)
        return Class(own, self.string(entry, "label", what, ""), **{k: float(v) for k, v in limits.items()})

    def string(self, table: Any, key: str, what: str, default: str | None = None) -> str:
        value = table.get(key, default) if isinstance(table, dict) else None
        if not isinstance(value, str):
            self.fail(f"{what} needs {key} = TEXT in quotes", what)
        return value

    def check_count(self, items: Sized, what: str) -> None:
        if len(items) > _MOST:
            self.fail(f"{len(items)} {what}, more than the {_MOST} that a set may have; make two sets")

    def known_keys(self, table: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
        for key in table:
            if key not in known:
                self.fail(f"{what} has {key!r}, which means nothing; use {', '.join(known)}", key)

    def place(self, formula: str, at: int) -> tuple[int, int]:
        """Line and column, counted from 1, of a place in a formula; the file's text is searched for it."""
        for quote in ('"', "'"):
            for number, line in enumerate(self.text.splitlines(), 1):
                column = line.find(quote + formula + quote)
                if column >= 0 and not line.lstrip().startswith("#"):
                    return number, column + at + 2
        return 1, at + 1

    def fail(self, message: str, near: str = "") -> NoReturn:
        lines = (n for n, line in enumerate(self.text.splitlines(), 1) if near and near in line)
        line = next(lines, None)
        raise UserError(f"{self.where}{f', line {line}' if line else ''}: {message}")


def _root_of(errors: list[UserError], waiting: list[tuple[str, str, str]]) -> UserError:
    """The error of a formula that fails for another reason than one that waits as well."""
    names = [f"there is no {kind} {name!r}" for name, _, kind in waiting]
    roots = [error for error in errors if not any(name in str(error) for name in names)]
    return (roots or errors)[0]


def _name_kind(length: int) -> str:
    return {0: "an angle or a plain number", 1: "a length", 2: "an area"}.get(length, f"mm^{length}")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= _LARGEST  # compares whole numbers that no float can hold, too; false for NaN
