"""3D Slicer's older fiducials (`.fcsv`), one radiograph per file: mm in LPS or RAS."""

from __future__ import annotations

import re

from onemark.data.images.itk import read_geometry
from onemark.data.keys import canonical
from onemark.data.landmarks.entries import NOWHERE, group_entries, point
from onemark.data.landmarks.formats.base import Format, Reading, Source, number
from onemark.data.landmarks.formats.tables.cells import split
from onemark.types import UserError

_SYSTEM = re.compile(r"#\s*CoordinateSystem\s*=\s*(\S+)", re.IGNORECASE)
_COLUMNS = re.compile(r"#\s*columns\s*=\s*(\S+)", re.IGNORECASE)
_USUAL = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
# Slicer wrote 0 and 1 before it wrote words.
_SIGNS = {"LPS": (1, 1), "1": (1, 1), "RAS": (-1, -1), "0": (-1, -1)}


def _recognises(source: Source) -> bool:
    start = source.lines[0].lower() if source.lines else ""
    return start.startswith("# markups fiducial file") or (source.suffix == ".fcsv" and start.startswith("#"))


def _read(source: Source) -> Reading:
    comments = [line for line in source.text.splitlines() if line.startswith("#")]
    system = next((match[1].upper() for line in comments if (match := _SYSTEM.match(line))), "RAS")
    if system not in _SIGNS:
        raise UserError(
            f"{source.path} has its points in the coordinate system {system[:20]}, which is not read; save them as LPS"
        )
    columns = next((match[1] for line in comments if (match := _COLUMNS.match(line))), _USUAL).split(",")
    if source.cohort is None:
        raise UserError(f"{source.path} holds mm; give the folder of radiographs with it")
    image = source.own_image()
    geometry = read_geometry(source.cohort.path(image))
    rows = split(
        source.path, "\n".join("" if line.startswith("#") else line for line in source.text.splitlines())
    )
    entries = []
    for count, (line, cells) in enumerate(rows.rows, 1):
        row = dict(zip(columns, cells, strict=False))
        signs = (*_SIGNS[system], 1)
        where = f"{source.path}, line {line}"
        mm = [sign * number(row.get(axis), where) for sign, axis in zip(signs, "xyz", strict=True)]
        xy = geometry.to_pixel(mm, where) if row.get("vis", "1") != "-1" else NOWHERE
        entries.append(point(image, canonical(row.get("label", "")) or str(count), xy, f"line {line}"))
    return Reading(group_entries(source.path, entries))


FORMAT = Format("fcsv", "3D Slicer fiducials (.fcsv)", ".fcsv", _recognises, _read, rank=5)
