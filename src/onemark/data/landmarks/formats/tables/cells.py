"""Rows and cells of CSV files, whatever separates them."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from onemark.data.landmarks.formats.base import LONGEST_NUMBER, parse_number
from onemark.types import UserError

_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_QUOTED_COMMA = re.compile(r"[+-]?\d+,(\d{1,2}|\d{4,})", re.ASCII)
_MISSING = ("", "nan", "na")
SHAPE = "a landmark table has the columns image,landmark,x,y or image,NAME_x,NAME_y,..."


@dataclass(frozen=True)
class Rows:
    """The rows of a file.

    Attributes:
        path: The file, for messages.
        rows: Number of the line and its cells without blanks around; blank lines are left out.
        decimal_comma: A comma separates no cells, so it may stand in numbers.
    """

    path: Path
    rows: Sequence[tuple[int, Sequence[str]]]
    decimal_comma: bool

    def at(self, line: int) -> str:
        """File and line, for messages."""
        return f"{self.path}, line {line}"

    def point(self, line: int, x: tuple[str, str], y: tuple[str, str]) -> tuple[float, float]:
        """The point in two cells, each with its name; NaN where both are empty.

        Raises:
            UserError: one of the two is empty, or no finite number.
        """
        found = self.number(line, *x), self.number(line, *y)
        if math.isnan(found[0]) != math.isnan(found[1]):
            there, gone = ("y", x[0]) if math.isnan(found[0]) else ("x", y[0])
            raise UserError(
                f"{self.at(line)}: {gone} is missing beside its {there}; give both, or neither if not visible"
            )
        return found

    def number(self, line: int, what: str, cell: str) -> float:
        """The number in a cell, NaN where it is empty. Raises UserError where it is no finite number."""
        if cell.lower() in _MISSING:
            return math.nan
        if len(cell) > LONGEST_NUMBER:
            raise UserError(f"{self.at(line)}: {what} has {len(cell)} characters, not a number; correct it")
        text = cell
        if cell.count(",") == 1 and "." not in cell and (self.decimal_comma or _QUOTED_COMMA.fullmatch(cell)):
            text = cell.replace(",", ".")
        value = parse_number(text)
        if math.isinf(value) or _INFINITE.fullmatch(text):
            raise UserError(f"{self.at(line)}: {what} is infinite ({cell}); give a finite number")
        if math.isnan(value):
            raise UserError(f"{self.at(line)}: {what} is {cell!r}, not a number; correct it")
        return value


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, a decimal comma included."""
    return not math.isnan(parse_number(cell.replace(",", ".")))


def split(path: Path, text: str) -> Rows:
    """The rows of a CSV file: separated by `,`, `;` or a tab, or as a first line `sep=` says.

    Raises:
        UserError: there are none, or a quote is not closed.
    """
    lines = text.splitlines(keepends=True)
    first = _first(lines)
    if first is None:
        raise UserError(f"{path} is empty; {SHAPE}")
    first = _skip_comments(lines, first)
    forced = re.fullmatch(r"\s*sep=(.)\s*", lines[first])
    if forced and forced[1] in ",;\t":
        lines[first] = "\n"
    delimiter = forced[1] if forced else ""
    rows = list(_rows(path, lines, delimiter))
    if not rows:
        raise UserError(f"{path} is empty; {SHAPE}")
    return Rows(path, rows, (delimiter or _delimiter(lines[first])) != ",")


def _rows(path: Path, lines: list[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = None
    start = _first(lines) or 0
    try:
        delimiter = delimiter or _delimiter(lines[start])
        reader = csv.reader(
            io.StringIO("".join(lines), newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
        )
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        line = reader.line_num if reader else start + 1
        raise UserError(f"{path}, line {line}: not readable as CSV ({error}); fix that line") from None


def _skip_comments(lines: list[str], first: int) -> int:
    """Blank the comments above the table, and the # before its header where NumPy wrote one; the header's index."""
    while lines[first].lstrip().startswith("#"):
        text, below = lines[first].lstrip()[1:], _first(lines[first + 1 :])
        following = "" if below is None else lines[first + 1 + below]
        if below is None or (not following.lstrip().startswith("#") and _width(text) == _width(following)):
            lines[first] = text
            break
        lines[first] = "\n"
        first += 1 + below
    return first


def _width(line: str) -> int:
    return len(_cells(line, _delimiter(line)))


def _first(lines: Sequence[str]) -> int | None:
    return next((i for i, line in enumerate(lines) if line.strip()), None)


def _delimiter(line: str) -> str:
    return max(",;\t", key=lambda d: len(_cells(line, d)))


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
