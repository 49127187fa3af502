"""TPS of tpsDig: points in pixels with y counted from the BOTTOM, `y_tps = image height - y`.

TPS knows neither landmark names nor missing points nor scores. onemark writes the names, the height and what nobody was
asked for into a `COMMENT=` line, which other programs pass over, and `-1 -1` for a landmark without a place, as tpsDig
does. Scores are left out. `SCALE=` is mm per pixel and only there when the pixels are square. A foreign
file's landmarks are called 1, 2, 3, ... Some programs count y from the top; a person has to say so.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from onemark.data.atomic import reading_errors
from onemark.data.images.header import Header
from onemark.data.images.read import read_size
from onemark.data.json import parse_json
from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.entries import NOWHERE, Entry, group_entries, point
from onemark.data.landmarks.formats.base import Format, Reading, Source, Target, numbered, parse_number
from onemark.data.paths import printable
from onemark.types import LandmarkSet, UserError

SUFFIX = ".tps"
_KEY = re.compile(r"\s*([A-Za-z0-9]+)\s*=(.*)")
_LINE_END = re.compile(r"\r\n|\r|\n")  # splitlines would also split names, such as at U+2028
_OURS = "onemark "
_MISSING = "-1 -1"
_NOT_ASKED = "not_asked"
_MOST_DIGITS = 9
_MOST_HEIGHT = 10**6
_SHOWN = 5


@dataclass
class _Specimen:
    """One block of the file: `fields` by upper-case key, points with the number of their line."""

    line: int
    count: int
    fields: dict[str, str] = field(default_factory=dict)
    points: list[tuple[int, str]] = field(default_factory=list)
    has_curves: bool = False


def _render(target: Target) -> Mapping[Path, str]:
    blocks = (_block(one, target.cohort.header(one.image), number) for number, one in enumerate(target.table))
    return {target.path: "".join(blocks)}


def _block(landmarks: LandmarkSet, header: Header, number: int) -> str:
    height = header.size[0]
    lines = [f"LM={len(landmarks.names)}"]
    for x, y in landmarks.xy.tolist():
        visible = math.isfinite(x) and math.isfinite(y)
        lines.append(f"{x!r} {height - y!r}" if visible else _MISSING)
    lines += [f"IMAGE={landmarks.image}", f"ID={number}"]
    about: dict[str, Any] = {"height": height, "landmarks": landmarks.names}
    if landmarks.tells_asked:
        about[_NOT_ASKED] = np.array(landmarks.names)[~landmarks.answered].tolist()
    lines.append(f"COMMENT={_OURS}{json.dumps(about)}")
    if header.spacing and math.isclose(*header.spacing, rel_tol=1e-3):
        lines.append(f"SCALE={header.spacing[0]!r}")
    return "".join(f"{line}\r\n" for line in lines)


def _read(source: Source) -> Reading:
    """The landmarks of a file, in px with y from the top.

    Raises:
        UserError: no `LM=`, 3-D points, too few points, no numbers, no image name, unknown height; with the
            line.
    """
    path = source.path
    found: dict[str, list[Entry]] = {}
    first: dict[str, _Specimen] = {}
    replicates: list[str] = []
    empty: list[str] = []
    curved = 0
    for specimen in _specimens(path, source.text):
        curved += specimen.has_curves
        image = _image(path, specimen)
        if not image:
            continue
        if _is_unplaced(specimen):
            empty.append(image)
            continue
        entries = _entries(source, specimen, image)
        if not entries:
            continue
        if entries[0].image not in found:
            found[entries[0].image], first[entries[0].image] = entries, specimen
        elif specimen.fields.get("ID") != first[entries[0].image].fields.get("ID"):
            replicates.append(image)
        else:
            raise UserError(
                f"{path}, {entries[0].where}: landmark '1' is on {image!r} twice "
                f"(first in line {first[entries[0].image].line + 1}); remove one of the two"
            )
    notes = [f"curves of {curved} specimen{'s' * (curved > 1)} were not used"] if curved else []
    if replicates:
        notes.append(f"it places {_few(replicates)} more than once, of which the first was used")
    if empty:
        notes.append(f"all points of {_few(empty)} are 0 0, so they count as not placed")
    entries = [entry for of_image in found.values() for entry in of_image]
    if not entries and source.missing:
        raise UserError(f"{path}: {next(iter(source.missing.values()))}")
    return Reading(group_entries(path, entries), notes)


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
            current, curve = _Specimen(number, _count(value, f"{path}, line {number}")), False
        elif current and key:
            current.fields[key] = value
            current.has_curves = curve = curve or key == "POINTS"
        elif current and value and not curve:
            current.points.append((number, value))
    if current is None:
        raise UserError(f"{path} has no LM= line, so it is no TPS file; save it again from tpsDig")
    yield current


def _count(value: str, where: str) -> int:
    if not value.isdecimal() or len(value) > _MOST_DIGITS:
        raise UserError(f"{where}: LM={value[:20]} is no number of landmarks; correct it")
    return int(value)


def _is_unplaced(specimen: _Specimen) -> bool:
    return len(specimen.points) > 1 and all(
        set(value.replace("\t", " ").split()) <= {"0", "0.0", "0.00", "0.000", "0.0000", "0.00000"}
        for _, value in specimen.points
    )


def _few(images: list[str]) -> str:
    names = [printable(image) for image in dict.fromkeys(images)]
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _image(path: Path, specimen: _Specimen) -> str:
    """The image's name in the file; empty where the specimen has no points."""
    found = len(specimen.points)
    if found != specimen.count:
        raise UserError(
            f"{path}, line {specimen.line}: LM={specimen.count}, but {found} points; complete them"
        )
    if not specimen.count:
        return ""
    image = image_key(specimen.fields.get("IMAGE") or specimen.fields.get("ID", ""))
    if not image:
        raise UserError(f"{path}, line {specimen.line}: no IMAGE= and no ID= for these landmarks; add IMAGE=")
    return image


def _entries(source: Source, specimen: _Specimen, image: str) -> list[Entry]:
    about = _about(specimen)
    found = len(specimen.points)
    names = about["landmarks"] if about else numbered(found)
    if len(names) != found:
        raise UserError(
            f"{source.path}, line {specimen.line}: {found} points, but its COMMENT= names {len(names)}; correct it"
        )
    if about:
        height = _stated_height(about, f"{source.path}, line {specimen.line}")
    elif (placed := _height(source, image)) is not None:
        image, height = placed
    else:
        return []
    unasked = about.get(_NOT_ASKED)
    return [
        _entry(source.path, image, name, None if unasked is None else name not in unasked, number, height)
        for name, number in zip(names, specimen.points, strict=True)
    ]


def _entry(
    path: Path, image: str, name: str, asked: bool | None, placed: tuple[int, str], height: float | None
) -> Entry:
    line, value = placed
    xy = _point(path, line, value, height)
    # Who placed it in another program since then has answered.
    told = asked if asked is None or xy is NOWHERE else True
    return point(image, canonical(name), xy, f"line {line}", asked=told)


def _stated_height(about: Mapping[str, Any], where: str) -> Any:
    if not 0 < about["height"] <= _MOST_HEIGHT:
        raise UserError(f"{where}: its COMMENT= has an impossible height; correct it")
    return about["height"]


def _about(specimen: _Specimen) -> dict[str, Any]:
    comment = specimen.fields.get("COMMENT", "")
    if not comment.startswith(_OURS):
        return {}
    try:
        about = parse_json(comment.removeprefix(_OURS), "COMMENT=")
        read = {"height": int(about["height"]), "landmarks": [str(name) for name in about["landmarks"]]}
        unasked = about.get(_NOT_ASKED)
        return read if unasked is None else read | {_NOT_ASKED: [str(name) for name in unasked]}
    except (ValueError, KeyError, TypeError, OverflowError):
        return {}


def _height(source: Source, image: str) -> tuple[str, float | None] | None:
    """The image's name as the cohort spells it, and its height in px, None where y counts from the top.

    None instead of both where the cohort lacks the image.
    """
    from_top = source.options.y_from_top
    if source.cohort is not None:
        name = source.locate(image)
        if name is None:
            return None
        return name, None if from_top else source.cohort.header(name).size[0]
    if from_top:
        return image, None
    for name in (image, image.rsplit("/", 1)[-1]):
        with reading_errors(source.path.parent / name):
            if (source.path.parent / name).is_file():
                return name, read_size(source.path.parent / name)[0]
    raise UserError(
        f"{source.path} counts y from the bottom and the height of {image!r} is unknown; give the folder of images"
    )


def _point(path: Path, line: int, value: str, height: float | None) -> tuple[float, float]:
    cells = value.replace("\t", " ").split()
    if len(cells) == 2 and [cell.upper() for cell in cells] == ["NA", "NA"]:
        return NOWHERE
    numbers = [parse_number(cell.replace(",", ".") if cell.count(",") == 1 else cell) for cell in cells]
    x, y = numbers if len(numbers) == 2 else (math.nan, math.nan)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise UserError(f"{path}, line {line}: {value[:40]!r} is not a point of two numbers; correct it")
    if x < 0 and y < 0:
        return NOWHERE
    return x, y if height is None else height - y


def _recognises(source: Source) -> bool:
    start = source.lines[0].upper() if source.lines else ""
    return source.suffix == SUFFIX or start.startswith(("LM=", "LM3="))


FORMAT = Format(
    "tps", "tpsDig (.tps)", SUFFIX, _recognises, _read, _render, rank=10, claims=True, tells_asked=True
)
