"""Tables of points without a header: ISBI 2015 (`x,y` lines, then classes) and other files of one image each."""

from __future__ import annotations

import re

from onemark.data.keys import canonical
from onemark.data.landmarks.entries import Entry, group_entries, point
from onemark.data.landmarks.formats.base import Format, Reading, Source, parse_number
from onemark.data.landmarks.formats.tables.cells import is_number
from onemark.types import UserError

_CELLS = re.compile(r"[,;\t ]+")


def _cells(line: str) -> list[str]:
    return [cell.strip().strip('"') for cell in _CELLS.split(line.strip()) if cell.strip()]


def _is_point(cells: list[str]) -> bool:
    if len(cells) == 3 and not is_number(cells[0]):
        cells = cells[1:]
    return len(cells) == 2 and all(is_number(cell) for cell in cells)


def _recognises(source: Source) -> bool:
    """Points from the first line on; a name before x and y, as a first line of words, is a table's."""
    lines = source.lines
    return bool(lines) and _is_point(_cells(lines[0])) and (len(lines) == 1 or _is_line(lines[1]))


def _is_line(line: str) -> bool:
    cells = _cells(line)
    return _is_point(cells) or (len(cells) == 1 and is_number(cells[0]))


def _read(source: Source) -> Reading:
    image = source.own_image()
    entries: list[Entry] = []
    rest = 0
    for line, text in enumerate(source.text.splitlines(), 1):
        cells = _cells(text)
        if not cells:
            continue
        if _is_point(cells) and not rest:
            name = canonical(cells[0]) if len(cells) == 3 else str(len(entries) + 1)
            x, y = (_number(source, line, cell) for cell in cells[-2:])
            entries.append(point(image, name, (x, y), f"line {line}"))
        elif len(cells) == 1 and is_number(cells[0]):
            rest += 1
        else:
            raise UserError(f"{source.path}, line {line}: {text.strip()[:40]!r} is no point x,y; correct it")
    notes = [f"{rest} single numbers below the points, such as diagnoses, were not used"] if rest else []
    return Reading(group_entries(source.path, entries), notes)


def _number(source: Source, line: int, cell: str) -> float:
    value = parse_number(cell.replace(",", "."))
    if value in (float("inf"), float("-inf")):
        raise UserError(f"{source.path}, line {line}: {cell[:20]!r} is no finite number; correct it")
    return value


FORMAT = Format("isbi", "ISBI 2015 and other x,y lines (.txt)", ".txt", _recognises, _read, rank=60)
