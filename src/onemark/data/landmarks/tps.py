"""TPS of tpsDig: points in pixels with y counted from the BOTTOM, `y_tps = image height - y`.

TPS knows neither landmark names nor missing points nor scores. onemark writes the names and the height into a
`COMMENT=` line, which other programs pass over, and `-1 -1` for a landmark that is not visible, as tpsDig
does. Scores are left out. `SCALE=` is mm per pixel and only there when the pixels are square. A foreign
file's landmarks are called 1, 2, 3, ...
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onemark.data.atomic import reading_errors
from onemark.data.cohort import Cohort
from onemark.data.images.header import Header
from onemark.data.images.read import read_size
from onemark.data.json import parse_json
from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.tables import Entry, grouped
from onemark.types import LandmarkSet, UserError

SUFFIX = ".tps"
_KEY = re.compile(r"\s*([A-Za-z0-9]+)\s*=(.*)")
_LINE_END = re.compile(r"\r\n|\r|\n")  # splitlines would also split names, such as at U+2028
_OURS = "onemark "
_MISSING = "-1 -1"
_MOST_DIGITS = 9
_MOST_HEIGHT = 10**6


@dataclass
class _Specimen:
    """One block of the file: `fields` by upper-case key, points with the number of their line."""

    line: int
    count: int
    fields: dict[str, str] = field(default_factory=dict)
    points: list[tuple[int, str]] = field(default_factory=list)


def render(landmarks: LandmarkSet, header: Header, number: int) -> str:
    """The block of one radiograph.

    Args:
        landmarks: In px, y from the top.
        header: Of the radiograph's file, for its height and spacing.
        number: The `ID=`.
    """
    height = header.size[0]
    lines = [f"LM={len(landmarks.names)}"]
    for x, y in landmarks.xy.tolist():
        visible = math.isfinite(x) and math.isfinite(y)
        lines.append(f"{x!r} {height - y!r}" if visible else _MISSING)
    lines += [f"IMAGE={landmarks.image}", f"ID={number}"]
    about = {"height": height, "landmarks": landmarks.names}
    lines.append(f"COMMENT={_OURS}{json.dumps(about)}")
    if header.spacing and math.isclose(*header.spacing, rel_tol=1e-3):
        lines.append(f"SCALE={header.spacing[0]!r}")
    return "".join(f"{line}\r\n" for line in lines)


def parse(path: Path, text: str, cohort: Cohort | None) -> list[LandmarkSet]:
    """The landmarks of a file's text, in px with y from the top.

    Args:
        path: For messages; images beside it are asked for their height.
        text: The file's text.
        cohort: The radiographs; asked for their height first.

    Raises:
        UserError: no `LM=`, 3-D points, too few points, no numbers, no image name, unknown height; with the
            line.
    """
    entries: list[Entry] = []
    for specimen in _specimens(path, text):
        entries += _entries(path, specimen, cohort)
    return grouped(path, entries)


def _specimens(path: Path, text: str) -> Iterator[_Specimen]:
    current: _Specimen | None = None
    curve = False
    for number, line in enumerate(_LINE_END.split(text), 1):
        match = _KEY.fullmatch(line)
        key, value = (match[1].upper(), match[2].strip()) if match else ("", line.strip())
        if key == "LM3":
            raise UserError(f"{path}, line {number}: 3-D landmarks; give a TPS file with 2-D landmarks (LM=)")
        if key == "LM":
            if current:
                yield current
            if not value.isdecimal() or len(value) > _MOST_DIGITS:
                told = value[:20]
                raise UserError(f"{path}, line {number}: LM={told} is no number of landmarks; correct it")
            current, curve = _Specimen(number, int(value)), False
        elif current and key:
            current.fields[key] = value
            curve = curve or key == "POINTS"
        elif current and value and not curve:
            current.points.append((number, value))
    if current is None:
        raise UserError(f"{path} has no LM= line, so it is no TPS file; save it again from tpsDig")
    yield current


def _entries(path: Path, specimen: _Specimen, cohort: Cohort | None) -> list[Entry]:
    found = len(specimen.points)
    if found != specimen.count:
        raise UserError(
            f"{path}, line {specimen.line}: LM={specimen.count}, but {found} points; complete them"
        )
    if not specimen.count:
        return []
    image = image_key(specimen.fields.get("IMAGE") or specimen.fields.get("ID", ""))
    if not image:
        raise UserError(f"{path}, line {specimen.line}: no IMAGE= and no ID= for these landmarks; add IMAGE=")
    about = _about(specimen)
    if about and not 0 < about["height"] <= _MOST_HEIGHT:
        raise UserError(f"{path}, line {specimen.line}: its COMMENT= has an impossible height; correct it")
    image, height = (image, about["height"]) if about else _height(path, image, cohort)
    names = about["landmarks"] if about else [str(i) for i in range(1, found + 1)]
    if len(names) != found:
        raise UserError(
            f"{path}, line {specimen.line}: {found} points, but its COMMENT= names {len(names)}; mend it"
        )
    return [
        Entry(
            image, canonical(name), (*_point(path, line, value, height), math.nan, math.nan), f"line {line}"
        )
        for name, (line, value) in zip(names, specimen.points, strict=True)
    ]


def _about(specimen: _Specimen) -> dict[str, Any]:
    comment = specimen.fields.get("COMMENT", "")
    if not comment.startswith(_OURS):
        return {}
    try:
        about = parse_json(comment.removeprefix(_OURS), "COMMENT=")
        return {"height": int(about["height"]), "landmarks": [str(name) for name in about["landmarks"]]}
    except (ValueError, KeyError, TypeError, OverflowError):
        return {}


def _height(path: Path, image: str, cohort: Cohort | None) -> tuple[str, int]:
    """The image's name as the cohort spells it, and its height in px."""
    bare = image.rsplit("/", 1)[-1]
    if cohort is not None:
        try:
            name = cohort.resolve(image if image in cohort else bare)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        return name, cohort.header(name).size[0]
    for name in (image, bare):
        with reading_errors(path.parent / name):
            if (path.parent / name).is_file():
                return name, read_size(path.parent / name)[0]
    raise UserError(
        f"{path} counts y from the bottom and the height of {image!r} is unknown; give the folder of images"
    )


def _point(path: Path, line: int, value: str, height: int) -> tuple[float, float]:
    cells = value.replace("\t", " ").split()
    if len(cells) == 2 and [cell.upper() for cell in cells] == ["NA", "NA"]:
        return math.nan, math.nan
    try:
        x, y = (float(cell) for cell in cells)
    except ValueError:
        x = y = math.inf
    if not (math.isfinite(x) and math.isfinite(y)):
        raise UserError(f"{path}, line {line}: {value!r} is not a point of two numbers; correct it")
    if x < 0 and y < 0:
        return math.nan, math.nan
    return x, height - y
