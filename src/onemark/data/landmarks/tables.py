"""Landmark tables in CSV: long (`image,landmark,x,y`) or wide (`image`, then `NAME_x`, `NAME_y` and so on).

Separator `,`, `;` or tab; a decimal comma where the separator is not one; blanks around cells do not count;
extra columns are ignored. A landmark with neither x nor y is not visible.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onemark.data.keys import canonical, image_key
from onemark.types import LandmarkSet, UserError

LONG = ("image", "landmark", "x", "y")
EXTRAS = ("score", "expected_error")
_LONGEST_NUMBER = 400
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_PAIR = re.compile(r"(?P<name>.+?)[\s_.\-]+(?P<axis>[xy])", re.IGNORECASE)
_MISSING = ("", "nan", "na")
_SHAPE = "a landmark table has the columns image,landmark,x,y or image,NAME_x,NAME_y,..."


@dataclass(frozen=True)
class Entry:
    """One landmark on one image; `values` are x, y, score and expected error, NaN where the file has none."""

    image: str
    name: str
    values: tuple[float, float, float, float]
    where: str


@dataclass(frozen=True)
class _Table:
    path: Path
    header: tuple[str, ...]
    rows: Sequence[tuple[int, Sequence[str]]]
    decimal_comma: bool

    def at(self, line: int) -> str:
        return f"{self.path}, line {line}"


def parse_csv(path: Path, text: str) -> list[LandmarkSet]:
    """The landmark sets of a CSV file's text, in the order of the file; `path` is for messages.

    Raises:
        UserError: no text, no rows, missing columns, words for numbers, infinite numbers, x without y, the
            same landmark twice on an image; with file and line.
    """
    table = _parse(path, text)
    entries = list(_long(table) if "landmark" in table.header else _wide(table))
    return grouped(path, entries)


def grouped(path: Path, entries: Sequence[Entry]) -> list[LandmarkSet]:
    """Entries as one set per image, in the order of first appearance.

    Raises:
        UserError: no entries, or the same landmark twice on an image.
    """
    if not entries:
        raise UserError(f"{path} holds no landmarks; give one row or point for each")
    images: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        of_image = images.setdefault(entry.image, {})
        if (first := of_image.setdefault(entry.name, entry)) is not entry:
            raise UserError(
                f"{path}, {entry.where}: landmark {entry.name!r} is on {entry.image!r} twice "
                f"(first in {first.where}); remove one of the two"
            )
    return [_landmark_set(image, of_image) for image, of_image in images.items()]


def _landmark_set(image: str, entries: Mapping[str, Entry]) -> LandmarkSet:
    values = np.array([entry.values for entry in entries.values()], np.float64)
    return LandmarkSet(image, tuple(entries), values[:, :2], values[:, 2], values[:, 3])


def _parse(path: Path, text: str) -> _Table:
    lines = text.splitlines(keepends=True)
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise UserError(f"{path} is empty; {_SHAPE}")
    forced = re.fullmatch(r"\s*sep=(.)\s*", lines[first])
    if forced and forced[1] in ",;\t":
        lines[first] = "\n"
        first = next((i for i, line in enumerate(lines) if line.strip()), first)
    reader = None
    try:
        delimiter = forced[1] if forced else max(",;\t", key=lambda d: _columns(lines[first], d))
        reader = csv.reader(
            io.StringIO("".join(lines), newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
        )
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        line = reader.line_num if reader else first + 1
        raise UserError(f"{path}, line {line}: not readable as CSV ({error}); mend that line") from None
    rows = [(line, row) for line, row in rows if any(row)]
    if not rows:
        raise UserError(f"{path} is empty; {_SHAPE}")
    header = tuple(_column(cell) for cell in rows[0][1])
    return _Table(path, header, rows[1:], delimiter != ",")


def _columns(line: str, delimiter: str) -> int:
    return len(next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), []))


def _column(cell: str) -> str:
    return cell.lower() if cell.lower() in (*LONG, *EXTRAS) else cell


def _long(table: _Table) -> Iterator[Entry]:
    at = _positions(table, LONG)
    extras = [table.header.index(name) if name in table.header else None for name in EXTRAS]
    for line, row in table.rows:
        cells = _cells(table, line, row, max(at))
        image, name = image_key(cells[at[0]]), canonical(cells[at[1]])
        for what, text in (("image", image), ("landmark", name)):
            if not text:
                raise UserError(f"{table.at(line)}: the {what} has no name; fill it in or remove the line")
        x, y = _point(table, line, (f"{name!r} x", cells[at[2]]), (f"{name!r} y", cells[at[3]]))
        more = [
            _number(table, line, EXTRAS[i], cells[k]) if k is not None else math.nan
            for i, k in enumerate(extras)
        ]
        yield Entry(image, name, (x, y, more[0], more[1]), f"line {line}")


def _wide(table: _Table) -> Iterator[Entry]:
    pairs = _pairs(table)
    if not pairs:
        _positions(table, LONG)
    (at,) = _positions(table, LONG[:1])
    last = max(max(columns) for columns in pairs.values())
    seen: dict[str, int] = {}
    for line, row in table.rows:
        cells = _cells(table, line, row, last)
        image = image_key(cells[at])
        if not image:
            raise UserError(f"{table.at(line)}: the image has no name; fill it in or remove the line")
        if (first := seen.setdefault(image, line)) != line:
            raise UserError(
                f"{table.at(line)}: image {image!r} is already in line {first}; remove one of the two"
            )
        for name, (x_at, y_at) in pairs.items():
            x, y = _point(table, line, (table.header[x_at], cells[x_at]), (table.header[y_at], cells[y_at]))
            yield Entry(image, name, (x, y, math.nan, math.nan), f"line {line}")


def _pairs(table: _Table) -> dict[str, tuple[int, int]]:
    """Landmark name -> columns of its x and its y."""
    found: dict[str, dict[str, int]] = {}
    for column, cell in enumerate(table.header):
        if cell not in LONG and (match := _PAIR.fullmatch(cell)):
            axes = found.setdefault(canonical(match["name"]), {})
            if match["axis"].lower() in axes:
                raise UserError(
                    f"{table.path}, line 1: the column {cell!r} is there twice; remove one of the two"
                )
            axes[match["axis"].lower()] = column
    for name, axes in found.items():
        if len(axes) == 1:
            missing = "y" if "x" in axes else "x"
            raise UserError(
                f"{table.path}: landmark {name!r} has no column for its {missing}; add {name}_{missing}"
            )
    return {name: (axes["x"], axes["y"]) for name, axes in found.items()}


def _positions(table: _Table, wanted: Sequence[str]) -> list[int]:
    missing = [name for name in wanted if name not in table.header]
    if missing:
        have = ",".join(table.header)[:80]
        word = "column" if len(missing) == 1 else "columns"
        raise UserError(f"{table.path} lacks the {word} {', '.join(missing)} (it has {have}); {_SHAPE}")
    twice = [name for name in wanted if table.header.count(name) > 1]
    if twice:
        raise UserError(f"{table.path} has the column {twice[0]} more than once; remove one of them")
    return [table.header.index(name) for name in wanted]


def _cells(table: _Table, line: int, row: Sequence[str], last: int) -> Sequence[str]:
    width = len(table.header)
    if any(row[width:]):
        hint = (
            ""
            if table.decimal_comma
            else "; decimal commas need ; between the cells, commas in names need quotes"
        )
        raise UserError(
            f"{table.at(line)}: {len(row)} cells, but the header has {width}{hint or '; remove the rest'}"
        )
    if len(row) <= last:
        raise UserError(f"{table.at(line)}: {len(row)} cells, but the header has {width}; complete the line")
    return [*row, *[""] * (width - len(row))]


def _point(table: _Table, line: int, x: tuple[str, str], y: tuple[str, str]) -> tuple[float, float]:
    found = _number(table, line, *x), _number(table, line, *y)
    if math.isnan(found[0]) != math.isnan(found[1]):
        there, gone = ("y", x[0]) if math.isnan(found[0]) else ("x", y[0])
        raise UserError(
            f"{table.at(line)}: {gone} is missing beside its {there}; give both, or neither if not visible"
        )
    return found


def _number(table: _Table, line: int, what: str, cell: str) -> float:
    if cell.lower() in _MISSING:
        return math.nan
    # A number of many thousand digits takes minutes to match and to read.
    if len(cell) > _LONGEST_NUMBER:
        raise UserError(f"{table.at(line)}: {what} has {len(cell)} characters, not a number; correct it")
    text = (
        cell.replace(",", ".") if table.decimal_comma and cell.count(",") == 1 and "." not in cell else cell
    )
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if math.isinf(value) or _INFINITE.fullmatch(text):
        raise UserError(f"{table.at(line)}: {what} is infinite ({cell}); give a finite number")
    if math.isnan(value):
        raise UserError(f"{table.at(line)}: {what} is {cell!r}, not a number; correct it")
    return value
