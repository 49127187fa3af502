"""DeepLabCut's `CollectedData_NAME.csv`: rows scorer, bodyparts and coords, then one row for each image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.entries import Entry, group_entries
from onemark.data.landmarks.formats.base import Format, Reading, Source
from onemark.data.landmarks.formats.tables.cells import Rows, split
from onemark.types import UserError

_HEAD = ("scorer", "individuals", "bodyparts", "coords")
_AXES = ("x", "y", "likelihood")


def _recognises(source: Source) -> bool:
    return bool(source.lines) and source.lines[0].lower().startswith(("scorer,", "scorer;", "scorer\t"))


def _read(source: Source) -> Reading:
    rows = split(source.path, source.text)
    head = {cells[0].lower(): cells for _, cells in rows.rows[:4] if cells[0].lower() in _HEAD}
    if "bodyparts" not in head or "coords" not in head:
        raise UserError(
            f"{source.path} starts as a table of DeepLabCut but lacks the rows bodyparts and coords; export it again"
        )
    if len({name for name in head.get("individuals", ())[1:] if name}) > 1:
        raise UserError(f"{source.path} holds several individuals on an image; give a table of one of them")
    body = rows.rows[len(head) :]
    start = next((i for i, axis in enumerate(head["coords"]) if i and axis), 0)
    if not start:
        raise UserError(f"{source.path} has no columns of x and y; export it again")
    entries = [entry for line, cells in body for entry in _row(rows, line, cells, head, start)]
    return Reading(group_entries(source.path, entries))


def _row(
    rows: Rows, line: int, cells: Sequence[str], head: dict[str, Sequence[str]], start: int
) -> Iterator[Entry]:
    names, axes = head["bodyparts"], head["coords"]
    if len(cells) < len(axes) or len(names) != len(axes):
        raise UserError(
            f"{rows.at(line)}: {len(cells)} cells, but the header has {len(axes)}; complete the line"
        )
    image = image_key("/".join(part for part in cells[:start] if part))
    if not image:
        raise UserError(f"{rows.at(line)}: the image has no name; fill it in or remove the line")
    values: dict[str, dict[str, float]] = {}
    for column in range(start, len(axes)):
        axis = axes[column].lower()
        if axis not in _AXES or not names[column]:
            raise UserError(
                f"{rows.path}: column {column + 1} is neither x, y nor likelihood; export it again"
            )
        values.setdefault(canonical(names[column]), {})[axis] = rows.number(
            line, names[column], cells[column]
        )
    for name, one in values.items():
        xy = (one.get("x", math.nan), one.get("y", math.nan))
        if any(map(math.isnan, xy)):
            xy = (math.nan, math.nan)
        yield Entry(image, name, (*xy, one.get("likelihood", math.nan), math.nan), f"line {line}")


FORMAT = Format("deeplabcut", "DeepLabCut (CollectedData_*.csv)", ".csv", _recognises, _read, rank=10)
