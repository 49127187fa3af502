"""BoneFinder's and iBUG's `.pts`: one image each, points without names between braces."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from onemark.data.landmarks.entries import NOWHERE, group_entries, point
from onemark.data.landmarks.formats.base import (
    Format,
    Reading,
    Source,
    Target,
    bare_names,
    parse_number,
    place_of,
)
from onemark.types import LandmarkSet, UserError

SUFFIX = ".pts"
_HEAD = re.compile(r"(?P<key>version|n_points)\s*[:=]?\s*(?P<value>\d+)", re.IGNORECASE)
_GONE = "-1 -1"


def _recognises(source: Source) -> bool:
    return bool(source.lines) and bool(_HEAD.fullmatch(source.lines[0])) and "{" in source.lines[:6]


def _read(source: Source) -> Reading:
    image = source.own_image()
    lines = source.text.splitlines()
    asked = next(
        (
            int(m["value"])
            for line in lines[:6]
            if (m := _HEAD.fullmatch(line.strip())) and m["key"].lower() == "n_points"
        ),
        None,
    )
    rows = [
        (number, line.split())
        for number, line in enumerate(lines, 1)
        if line.strip() and line.strip() not in "{}" and not _HEAD.fullmatch(line.strip())
    ]
    if asked is not None and asked != len(rows):
        raise UserError(
            f"{source.path}: n_points is {asked}, but there are {len(rows)} points; complete them"
        )
    entries = []
    for count, (line, cells) in enumerate(rows, 1):
        x, y = map(parse_number, cells) if len(cells) == 2 else (math.nan, math.nan)
        if not (math.isfinite(x) and math.isfinite(y)):
            raise UserError(
                f"{source.path}, line {line}: {' '.join(cells)[:40]!r} is no point of two numbers; correct it"
            )
        gone = x < 0 and y < 0
        entries.append(point(image, str(count), NOWHERE if gone else (x, y), f"line {line}"))
    return Reading(group_entries(source.path, entries))


def _render(target: Target) -> Mapping[Path, str]:
    bare, several = bare_names(target.table.images), len(target.table) > 1
    return {place_of(target.path, one.image, SUFFIX, several, bare=bare): _text(one) for one in target.table}


def _text(one: LandmarkSet) -> str:
    rows = [f"{x!r} {y!r}" if math.isfinite(x) and math.isfinite(y) else _GONE for x, y in one.xy.tolist()]
    return "\n".join(["version: 1", f"n_points: {len(rows)}", "{", *rows, "}", ""])


FORMAT = Format(
    "pts",
    "BoneFinder points (.pts for each image)",
    SUFFIX,
    _recognises,
    _read,
    _render,
    rank=10,
    separate=True,
    claims=True,
)
