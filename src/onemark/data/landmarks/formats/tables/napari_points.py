"""napari's own CSV of a Points layer: `index,axis-0,axis-1`, y before x, one file for each image."""

from __future__ import annotations

from onemark.data.keys import canonical
from onemark.data.landmarks.entries import group_entries, point
from onemark.data.landmarks.formats.base import Format, Reading, Source
from onemark.data.landmarks.formats.tables.cells import split
from onemark.types import UserError

_NAMES = ("landmark", "label", "name", "class")


def _recognises(source: Source) -> bool:
    return bool(source.lines) and {"axis-0", "axis-1"} <= set(source.lines[0].lower().split(","))


def _read(source: Source) -> Reading:
    rows = split(source.path, source.text)
    header = [cell.lower() for cell in rows.rows[0][1]]
    if not {"axis-0", "axis-1"} <= set(header):
        raise UserError(
            f"{rows.at(rows.rows[0][0])}: the columns axis-0 and axis-1 cannot be told apart; save it again from napari"
        )
    if "axis-2" in header:
        raise UserError(
            f"{source.path} holds points of a stack (axis-2); open one radiograph in napari and save its points"
        )
    image = source.own_image()
    named = next((header.index(name) for name in _NAMES if name in header), None)
    entries = []
    for count, (line, cells) in enumerate(rows.rows[1:], 1):
        if len(cells) < len(header):
            raise UserError(f"{rows.at(line)}: {len(cells)} cells, but the header has {len(header)}")
        y_cell, x_cell = (cells[header.index(axis)] for axis in ("axis-0", "axis-1"))
        x, y = rows.point(line, ("axis-1", x_cell), ("axis-0", y_cell))
        name = canonical(cells[named]) if named is not None else ""
        entries.append(point(image, name or str(count), (x, y), f"line {line}"))
    return Reading(group_entries(source.path, entries))


FORMAT = Format("napari", "napari Points (.csv, y before x)", ".csv", _recognises, _read, rank=10)
