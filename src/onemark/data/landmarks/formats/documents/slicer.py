"""3D Slicer Markups (`.mrk.json`), one radiograph per file.

Positions are mm in LPS, where Slicer shows the pixel: with the origin, spacing and direction that ITK gives that very
file (`data.images.itk`), whatever spacing was measured or given. onemark writes that geometry along, so that its own
files need no radiographs to be read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from onemark.data.images.itk import Geometry, read_geometry
from onemark.data.images.spacing import given
from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.entries import NOWHERE, Entry, group_entries
from onemark.data.landmarks.formats.base import (
    Format,
    Reading,
    Source,
    Target,
    number,
    parse_number,
    place_of,
)
from onemark.data.landmarks.formats.tables.columns import UNITS
from onemark.types import LandmarkSet, UserError

SUFFIX = ".mrk.json"
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/"
    "Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
)
_MM = {"nm": 1e-6, "um": 1e-3, "µm": 1e-3, "mm": 1.0, "cm": 10.0, "dm": 100.0, "m": 1000.0}
_SIGNS = {"LPS": (1, 1, 1), "RAS": (-1, -1, 1)}
_POINTS = ("Fiducial", "PointList")
_NOT_ASKED, _NOT_VISIBLE = "not asked", "not visible"
_UNIT = "expected_error_unit"
_NOTE = re.compile(r"(score|expected_error|expected_error_unit)=([^\s;]+)")


def _render(target: Target) -> Mapping[Path, str]:
    several = len(target.table) > 1
    return {place_of(target.path, one.image, SUFFIX, several): _text(one, target) for one in target.table}


def _text(landmarks: LandmarkSet, target: Target) -> str:
    geometry = target.geometry(landmarks.image)
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "controlPoints": [
            _control_point(landmarks, index, geometry) for index in range(len(landmarks.names))
        ],
        "display": {"visibility": True, "pointLabelsVisibility": True},
    }
    about = {"image": landmarks.image, **vars(geometry)}
    document = {"@schema": _SCHEMA, "onemark": about, "markups": [markup]}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _control_point(landmarks: LandmarkSet, index: int, geometry: Geometry) -> dict[str, Any]:
    x, y = (float(v) for v in landmarks.xy[index])
    visible = math.isfinite(x) and math.isfinite(y)
    why = _NOT_VISIBLE if landmarks.answered[index] else _NOT_ASKED
    told = [why] if landmarks.tells_asked and not visible else []
    extras = {"score": landmarks.score, "expected_error": landmarks.expected_error}
    notes = [f"{k}={float(v[index])!r}" for k, v in extras.items() if v.size and math.isfinite(v[index])]
    if landmarks.unit and landmarks.expected_error.size and math.isfinite(landmarks.expected_error[index]):
        notes.append(f"{_UNIT}={landmarks.unit}")
    return {
        "id": str(index + 1),
        "label": landmarks.names[index],
        "description": "; ".join(told + notes),
        "position": list(geometry.to_mm((x, y))) if visible else [0.0, 0.0, 0.0],
        "selected": True,
        "locked": False,
        "visibility": True,
        "positionStatus": "defined" if visible else "undefined",
    }


def _read(source: Source) -> Reading:
    """The landmarks of a file, in px.

    Raises:
        UserError: not valid markups, no control points, a label twice, an unknown coordinate system or unit, points
            off the radiograph's plane, no way to know where the radiograph lies.
    """
    document = source.document
    try:
        points = [markup for markup in document["markups"] if markup.get("type", "Fiducial") in _POINTS]
        others = [str(markup.get("type")) for markup in document["markups"] if markup not in points]
        if others and not points:
            raise UserError(f"it holds {', '.join(sorted(set(others)))[:60]} and no points; place fiducials")
        image, geometry = _place(source, document)
        entries = [entry for markup in points for entry in _entries(markup, image, geometry)]
        unit = _stated_unit(points)
    except UserError as error:
        raise _named(source, error) from None
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UserError(
            f"{source.path} is no valid markups file ({error!r}); save it again from 3D Slicer"
        ) from error
    notes = [f"its {', '.join(sorted(set(others)))} hold no landmarks and were not used"] if others else []
    return Reading([replace(one, unit=unit) for one in group_entries(source.path, entries)], notes)


def _stated_unit(markups: list[dict[str, Any]]) -> str:
    """The unit of the expected errors that the descriptions state; empty where none does."""
    texts = [
        point.get("description") or "" for markup in markups for point in markup.get("controlPoints", [])
    ]
    found: set[str] = {value for text in texts for key, value in _NOTE.findall(text) if key == _UNIT}
    if len(found) > 1 or not found <= set(UNITS):
        raise UserError(
            f"it has the {_UNIT} {', '.join(sorted(found))[:60]}; give mm or px, the same for all points"
        )
    return found.pop() if found else ""


def _named(source: Source, error: UserError) -> UserError:
    message = str(error)
    return error if message.startswith(str(source.path)) else UserError(f"{source.path}: {message}")


def _place(source: Source, document: dict[str, Any]) -> tuple[str, Geometry]:
    about = document.get("onemark")
    if about:
        return image_key(about["image"]), _written_geometry(about)
    if source.cohort is None:
        raise UserError(
            "it holds mm, and the pixel spacing is not known; give the folder of radiographs with it"
        )
    image = source.own_image()
    return image, read_geometry(source.cohort.path(image))


def _written_geometry(about: dict[str, Any]) -> Geometry:
    if "direction" not in about:  # as up to 0.1.0
        return Geometry.flat(given(about["spacing_mm"] or None))
    origin, spacing, *rows = (
        tuple(number(value, "its geometry") for value in row)
        for row in (about["origin"], about["spacing"], *about["direction"])
    )
    if any(len(row) != 3 for row in (origin, spacing, *rows)) or len(rows) != 3:
        raise UserError("its geometry is not three numbers each; write it again")
    if not all(value > 0 for value in spacing) or not _is_rotation(rows):
        raise UserError(
            "its geometry is none (a spacing of 0 or a direction that is no rotation); write it again"
        )
    return Geometry(origin, spacing, tuple(rows))  # type: ignore[arg-type]


def _is_rotation(rows: list[tuple[float, ...]]) -> bool:
    return all(
        math.isclose(sum(a * b for a, b in zip(one, two, strict=True)), float(one is two), abs_tol=1e-2)
        for one in rows
        for two in rows
    )


def _entries(markup: dict[str, Any], image: str, geometry: Geometry) -> Iterator[Entry]:
    unit = markup.get("coordinateUnits", "mm")
    unit = unit if isinstance(unit, str) else str(unit[0])
    system = markup.get("coordinateSystem", "LPS")
    if system not in _SIGNS:
        raise UserError(
            f"its points are in the coordinate system {str(system)[:20]!r}, which is not read; save them as LPS"
        )
    if unit not in _MM:
        raise UserError(f"its points are in the unit {unit[:20]!r}, which is not read; save them in mm")
    scale = [sign * _MM[unit] for sign in _SIGNS[system]]
    for count, point in enumerate(markup.get("controlPoints", []), 1):
        yield _entry(point, count, image, geometry, scale)


def _entry(point: dict[str, Any], count: int, image: str, geometry: Geometry, scale: list[float]) -> Entry:
    xy = NOWHERE
    where = f"control point {count}"
    if point.get("positionStatus", "defined") == "defined" and point.get("position"):
        mm = [number(v, where) * s for v, s in zip(point["position"], scale, strict=True)]
        if not all(map(math.isfinite, mm)):
            raise UserError(f"{where} has a position that is not finite; correct it")
        xy = geometry.to_pixel(mm, where)
        if not all(map(math.isfinite, xy)):
            raise UserError(f"{where} has a position that is not finite; correct it")
    description = point.get("description") or ""
    notes = dict(_NOTE.findall(description))
    extras = [parse_number(notes.get(key, "")) for key in ("score", "expected_error")]
    if any(map(math.isinf, extras)):
        raise UserError(f"{where} has a score or error that is not finite; correct it")
    label = canonical(point.get("label") or "") or str(count)
    said = {_NOT_ASKED: False, _NOT_VISIBLE: True} if xy is NOWHERE else {}
    asked = next((answer for words, answer in said.items() if description.startswith(words)), None)
    if point.get("positionStatus") == "missing":  # Slicer's own word for what a person looked for in vain
        asked = True
    return Entry(image, label, (*xy, extras[0], extras[1]), where, asked)


FORMAT = Format(
    "slicer",
    "3D Slicer markups (.mrk.json)",
    SUFFIX,
    lambda source: source.has_keys("markups"),
    _read,
    _render,
    rank=1,
    separate=True,
    claims=True,
    tells_asked=True,
)
