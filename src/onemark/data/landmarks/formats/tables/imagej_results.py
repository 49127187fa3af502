"""ImageJ's Results table: a row for each point, with the columns X, Y and Label."""

from __future__ import annotations

from collections import Counter

from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.entries import group_entries, point
from onemark.data.landmarks.formats.base import Format, Reading, Source
from onemark.data.landmarks.formats.tables.cells import split
from onemark.types import UserError

_UNITS = (
    "X and Y count as pixels; if ImageJ had a scale set, remove it (Analyze > Set Scale) and measure again"
)


def _header(line: str) -> list[str]:
    separator = "\t" if "\t" in line else ","
    return [cell.strip().strip('"') for cell in line.split(separator)]


def _recognises(source: Source) -> bool:
    header = _header(source.text.lstrip("\ufeff").split("\n", 1)[0].rstrip("\r")) if source.lines else []
    return {"X", "Y"} <= set(header) and "landmark" not in header and header[0] == ""


def _read(source: Source) -> Reading:
    rows = split(source.path, source.text)
    header = rows.rows[0][1]
    x_at, y_at = header.index("X"), header.index("Y")
    label = header.index("Label") if "Label" in header else None
    alone = source.own_image() if label is None else ""
    counts: Counter[str] = Counter()
    entries = []
    for line, cells in rows.rows[1:]:
        if len(cells) < len(header):
            raise UserError(f"{rows.at(line)}: {len(cells)} cells, but the header has {len(header)}")
        image, name = alone, ""
        if label is not None:
            image, _, name = cells[label].partition(":")
        counts[image] += 1
        xy = rows.point(line, ("X", cells[x_at]), ("Y", cells[y_at]))
        entries.append(point(image_key(image), canonical(name) or str(counts[image]), xy, f"line {line}"))
    return Reading(group_entries(source.path, entries), [_UNITS])


FORMAT = Format("imagej-results", "ImageJ Results (.csv)", ".csv", _recognises, _read, rank=20)
