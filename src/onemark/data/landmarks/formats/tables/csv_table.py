"""Landmark tables in CSV: long (`image,landmark,x,y`) or wide (`image`, then `NAME_x`, `NAME_y` and so on).

Separator `,`, `;` or tab; a decimal comma where the separator is not one or where quotes hold it; blanks around
cells do not count; extra columns are ignored. A landmark with neither x nor y is not visible, but where a long table has
a column `answer`, an empty answer says that nobody was asked for the landmark. The usual other words for the columns are
understood.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onemark.data.cohort import Cohort
from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.entries import NOWHERE, Entry, group_entries
from onemark.data.landmarks.formats.base import Format, Reading, Source, Target
from onemark.data.landmarks.formats.tables.answers import read_answer
from onemark.data.landmarks.formats.tables.cells import SHAPE, Rows, split
from onemark.data.landmarks.formats.tables.columns import (
    ANSWER,
    ELLIPSE,
    EXTRAS,
    GUESS,
    LONG,
    MM,
    UNIT,
    UNITS,
    Pair,
    find_column,
    find_pairs,
)
from onemark.types import LandmarkSet, UserError

_SHOWN = 6


@dataclass(frozen=True)
class _Table:
    """A table with a header.

    Attributes:
        rows: Of the file, without the header.
        header: Names of the columns.
        image: Column of the image's name; None where the file's own name says it.
        alone: The image of the whole file where there is no such column.
    """

    rows: Rows
    header: tuple[str, ...]
    image: int | None
    alone: str

    def image_of(self, line: int, cells: Sequence[str]) -> str:
        """The image of a row. Raises UserError where it has no name."""
        image = self.alone if self.image is None else image_key(cells[self.image])
        if not image:
            raise UserError(f"{self.rows.at(line)}: the image has no name; fill it in or remove the line")
        return image


def read(source: Source) -> Reading:
    """The landmark sets of a file, in the order of the file.

    Raises:
        UserError: no text, no rows, missing columns, words for numbers, infinite numbers, x without y, the
            same landmark twice on an image; with file and line.
    """
    rows = split(source.path, source.text)
    header, rows = _header(rows)
    landmark, x, y = (find_column(header, what) for what in LONG[1:])
    image = find_column(
        header, "image", () if landmark is None or header[landmark] != "name" else (landmark,)
    )
    if landmark is not None and (image == landmark or not _is_long(header, landmark, x, y)):
        landmark, image = None, find_column(header, "image")
    if image is None:
        image = _row_names(source, header, rows)
    if landmark is not None and x is not None and y is not None:
        table = _Table(rows, header, image, _alone(source, header, image))
        sets = group_entries(source.path, list(_long(table, (landmark, x, y))))
        return Reading(_with_units(sets, table), _renamed(header, image))
    return _read_wide(source, rows, header, image)


def _row_names(source: Source, header: Sequence[str], rows: Rows) -> int | None:
    """The first column where it has no name and holds radiographs, as R and pandas write row names."""
    if header[0] or source.cohort is None:
        return None
    return 0 if any(row and row[0] and _is_known(source.cohort, row[0]) for _, row in rows.rows) else None


def _is_known(cohort: Cohort, name: str) -> bool:
    try:
        return bool(cohort.resolve(name))
    except UserError:
        return False


def _with_units(sets: Sequence[LandmarkSet], table: _Table) -> list[LandmarkSet]:
    """The sets with the unit of their expected errors, where onemark's column states it."""
    if UNIT not in table.header or EXTRAS[1] not in table.header or ANSWER in table.header:
        return list(sets)
    at = table.header.index(UNIT)
    units: dict[str, str] = {}
    for line, row in table.rows.rows:
        if len(row) > at and row[at] in UNITS:
            units.setdefault(table.image_of(line, row), row[at])
    return [replace(one, unit=units.get(one.image, "")) for one in sets]


def _is_long(header: Sequence[str], landmark: int, x: int | None, y: int | None) -> bool:
    return header[landmark].lower() == "landmark" or (x is not None and y is not None)


def _read_wide(source: Source, rows: Rows, header: tuple[str, ...], image: int | None) -> Reading:
    _check_columns(source.path, header, LONG[1:], "landmark" in header)
    pairs, others, faults = find_pairs(header, () if image is None else (image,))
    if faults:
        line = ", line 1" if "twice" in faults[0] else ""
        raise UserError(f"{source.path}{line}: {faults[0]}")
    if not pairs:
        _check_columns(source.path, header, LONG, True, image)
    table = _Table(rows, header, image, _alone(source, header, image))
    notes = [*_renamed(header, image), _used(header, pairs)]
    if others:
        notes.append(f"{', '.join(others[:_SHOWN])} are no landmarks and were not used")
    return Reading(group_entries(source.path, list(_wide(table, pairs))), notes)


def _header(rows: Rows) -> tuple[tuple[str, ...], Rows]:
    """The names of the columns and the rows below; a header of two rows (landmark, then x and y) counts as one."""
    header, body = [_column(cell) for cell in rows.rows[0][1]], rows.rows[1:]
    axes = [cell.lower() for cell in body[0][1]] if body else []
    if axes.count("x") > 1 and axes.count("x") == axes.count("y") and set(axes) <= {"", "x", "y", "image"}:
        name = ""
        for index, axis in enumerate(axes):
            name = (header[index] if index < len(header) else "") or name
            if axis in ("x", "y"):
                header[index : index + 1] = [f"{name}_{axis}"]
        body = body[1:]
    return tuple(header), replace(rows, rows=body)


def _column(cell: str) -> str:
    return cell.lower() if cell.lower() in (*LONG, *EXTRAS, ANSWER, *GUESS) else cell


def _alone(source: Source, header: Sequence[str], image: int | None) -> str:
    if image is not None:
        return ""
    if source.in_folder or source.cohort is not None:
        try:
            return source.own_image()
        except UserError:
            pass
    _check_columns(source.path, header, LONG[:1], True)
    return source.stem


def _renamed(header: Sequence[str], image: int | None) -> list[str]:
    if image is None or header[image].lower() == "image":
        return []
    if not header[image]:
        return ["the first column, which has no name, names the images"]
    return [f"the column {header[image]!r} names the images"]


def _used(header: Sequence[str], pairs: Sequence[Pair]) -> str:
    shown = ", ".join(f"{pair.name} ({header[pair.x]}, {header[pair.y]})" for pair in pairs[:_SHOWN])
    more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
    return f"{len(pairs)} landmark{'s' if len(pairs) != 1 else ''} from its columns: {shown}{more}"


def _check_columns(
    path: Path, header: Sequence[str], wanted: Sequence[str], asked: bool, image: int | None = None
) -> None:
    if not asked:
        return
    plain = {what: find_column(header, what) for what in wanted}
    if image is not None:
        plain["image"] = image
    missing = [what for what in wanted if plain.get(what) is None]
    if missing:
        if set(missing) == {"x", "y"} and set(MM) <= {cell.lower() for cell in header}:
            raise UserError(f"{path} has its points in mm only ({', '.join(MM)}); give x, y in pixels")
        have = ",".join(header)[:80]
        word = "column" if len(missing) == 1 else "columns"
        also = ", or call the file after its radiograph" if missing == ["image"] else ""
        raise UserError(f"{path} lacks the {word} {', '.join(missing)} (it has {have}); {SHAPE}{also}")
    twice = [what for what in wanted if header.count(what) > 1]
    if twice:
        raise UserError(f"{path} has the column {twice[0]} more than once; remove one of them")


def _long(table: _Table, at: tuple[int, int, int]) -> Iterator[Entry]:
    _check_columns(table.rows.path, table.header, LONG[1:], True)
    answer = table.header.index(ANSWER) if ANSWER in table.header else None
    # Guesses tell questions, of which someone may have removed the column of answers: what is empty was not asked then.
    asks = answer is not None or set(GUESS) <= set(table.header)
    # Predictions have no answers: beside these, scores and expected errors are those of the guesses.
    known = () if asks else _own_columns(table.header)
    extras = [table.header.index(name) if name in known else None for name in EXTRAS]
    last = max(*at, table.image or 0)
    for line, row in table.rows.rows:
        cells = _cells(table, line, row, last)
        image, name = table.image_of(line, cells), canonical(cells[at[0]])
        if not name:
            raise UserError(f"{table.rows.at(line)}: the landmark has no name; fill it in or remove the line")
        xy = table.rows.point(line, (f"{name!r} x", cells[at[1]]), (f"{name!r} y", cells[at[2]]))
        asked = None
        if asks:
            said = "" if answer is None else cells[answer]
            asked, xy = read_answer(table.rows.at(line), said, xy, _guess(table, line, cells))
        more = [
            table.rows.number(line, EXTRAS[i], cells[k]) if k is not None else math.nan
            for i, k in enumerate(extras)
        ]
        yield Entry(image, name, (*xy, *more), f"line {line}", asked)


def _own_columns(header: Sequence[str]) -> tuple[str, ...]:
    """The columns that onemark writes for predictions. An `angle` alone is another program's."""
    whole = set(ELLIPSE) <= set(header)
    return tuple(name for name in EXTRAS if name in header and (whole or name not in ELLIPSE))


def _guess(table: _Table, line: int, cells: Sequence[str]) -> tuple[float, float]:
    """What the model predicted, in a file of questions; NaN in another one."""
    if not set(GUESS) <= set(table.header):
        return NOWHERE
    x, y = (cells[table.header.index(name)] for name in GUESS)
    return table.rows.point(line, (GUESS[0], x), (GUESS[1], y))


def _wide(table: _Table, pairs: Sequence[Pair]) -> Iterator[Entry]:
    last = max(max(pair.x, pair.y) for pair in pairs)
    seen: dict[str, int] = {}
    for line, row in table.rows.rows:
        cells = _cells(table, line, row, last)
        image = table.image_of(line, cells)
        if (first := seen.setdefault(image, line)) != line:
            raise UserError(
                f"{table.rows.at(line)}: image {image!r} is already in line {first}; remove one of the two"
            )
        for pair in pairs:
            x, y = table.rows.point(
                line, (table.header[pair.x], cells[pair.x]), (table.header[pair.y], cells[pair.y])
            )
            yield Entry(image, pair.name, (x, y, math.nan, math.nan), f"line {line}")


def _cells(table: _Table, line: int, row: Sequence[str], last: int) -> Sequence[str]:
    width = len(table.header)
    if any(row[width:]):
        hint = (
            ""
            if table.rows.decimal_comma
            else "; decimal commas need ; between the cells, commas in names need quotes"
        )
        raise UserError(
            f"{table.rows.at(line)}: {len(row)} cells, but the header has {width}{hint or '; remove the rest'}"
        )
    if len(row) <= last:
        raise UserError(
            f"{table.rows.at(line)}: {len(row)} cells, but the header has {width}; complete the line"
        )
    return [*row, *[""] * (width - len(row))]


def _recognises(source: Source) -> bool:
    # Whatever no other format knows is held to be a table, whose reader says what it lacks.
    return bool(source.lines) and source.document is None and source.root is None


def _render(target: Target) -> Mapping[Path, str]:
    stream = io.StringIO()
    target.table.write_csv(stream)
    return {target.path: stream.getvalue()}


FORMAT = Format(
    "csv",
    "CSV table (px, and mm where known)",
    ".csv",
    _recognises,
    read,
    _render,
    rank=99,
    claims=True,
    tells_asked=True,
)
