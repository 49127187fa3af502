"""3D Slicer Markups (`.mrk.json`), one radiograph per file.

Positions are mm in LPS: `(x * spacing_x, y * spacing_y, 0)`, which is where Slicer puts pixel `(x, y)` of a
radiograph that it opened with the same spacing and no origin of its own. An unknown spacing counts as 1 mm,
as in Slicer.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from onemark.data.cohort import Cohort
from onemark.data.images.spacing import Spacing, given
from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.tables import Entry, grouped
from onemark.types import LandmarkSet, UserError

SUFFIX = ".mrk.json"
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/"
    "Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
)
_MM = {"mm": 1.0, "um": 0.001}
_UNKNOWN: Spacing = (1.0, 1.0)
_LONGEST_NUMBER = 64
_NOTE = re.compile(r"(score|expected_error)=([^\s;]+)")


def render(landmarks: LandmarkSet, spacing: Spacing | None) -> str:
    """The file's text.

    Args:
        landmarks: Of one radiograph, in px.
        spacing: `(x, y)` mm per pixel, or None when unknown.
    """
    points = [_control_point(landmarks, index, spacing or _UNKNOWN) for index in range(len(landmarks.names))]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "controlPoints": points,
        "display": {"visibility": True, "pointLabelsVisibility": True},
    }
    about = {"image": landmarks.image, "spacing_mm": spacing}
    document = {"@schema": _SCHEMA, "onemark": about, "markups": [markup]}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parse(path: Path, document: dict[str, Any], name: str, cohort: Cohort | None) -> LandmarkSet:
    """The landmarks of a parsed file, in px.

    Args:
        path: For messages.
        document: The file's JSON.
        name: Image name when the file does not tell one, as after an edit in Slicer.
        cohort: Gives the spacing when the file does not tell one.

    Raises:
        UserError: not valid markups, no control points, a label twice, no way to know the spacing.
    """
    try:
        image, spacing = _about(document, name, cohort)
        entries = [entry for markup in document["markups"] for entry in _entries(markup, image, spacing)]
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
        if isinstance(error, UserError):
            raise UserError(f"{path}: {error}") from None
        raise UserError(
            f"{path} is no valid markups file ({error!r}); save it again from 3D Slicer"
        ) from error
    return grouped(path, entries)[0]


def _control_point(landmarks: LandmarkSet, index: int, spacing: Spacing) -> dict[str, Any]:
    x, y = (float(v) for v in landmarks.xy[index])
    visible = math.isfinite(x) and math.isfinite(y)
    extras = {"score": landmarks.score, "expected_error": landmarks.expected_error}
    notes = [f"{k}={float(v[index])!r}" for k, v in extras.items() if v.size and math.isfinite(v[index])]
    return {
        "id": str(index + 1),
        "label": landmarks.names[index],
        "description": "; ".join(notes),
        "position": [x * spacing[0], y * spacing[1], 0.0] if visible else [0.0, 0.0, 0.0],
        "selected": True,
        "locked": False,
        "visibility": True,
        "positionStatus": "defined" if visible else "undefined",
    }


def _about(document: dict[str, Any], name: str, cohort: Cohort | None) -> tuple[str, Spacing]:
    about = document.get("onemark")
    if about:
        return image_key(about["image"]), given(about["spacing_mm"] or _UNKNOWN) or _UNKNOWN
    if cohort is None:
        raise UserError(
            "it holds mm, and the pixel spacing is not known; give the folder of radiographs with it"
        )
    image = cohort.resolve(name)
    return image, cohort.header(image).spacing or _UNKNOWN


def _entries(markup: dict[str, Any], image: str, spacing: Spacing) -> list[Entry]:
    unit = markup.get("coordinateUnits", "mm")
    mm = _MM[unit if isinstance(unit, str) else unit[0]]
    flip = -mm if markup.get("coordinateSystem", "LPS") == "RAS" else mm
    scale = (flip / spacing[0], flip / spacing[1])
    points = markup.get("controlPoints", [])
    return [_entry(point, number, image, scale) for number, point in enumerate(points, 1)]


def _entry(point: dict[str, Any], number: int, image: str, scale: Spacing) -> Entry:
    xy = [math.nan, math.nan]
    if point.get("positionStatus", "defined") == "defined" and point.get("position"):
        xy = [float(v) * s for v, s in zip(point["position"][:2], scale, strict=True)]
        if not all(map(math.isfinite, xy)):
            raise UserError(f"control point {number} has a position that is not finite; correct it")
    notes = dict(_NOTE.findall(point.get("description") or ""))
    extras = [float(notes.get(key, "nan")[:_LONGEST_NUMBER]) for key in ("score", "expected_error")]
    if any(map(math.isinf, extras)):
        raise UserError(f"control point {number} has a score or error that is not finite; correct it")
    label = canonical(point.get("label") or "") or str(number)
    return Entry(image, label, (xy[0], xy[1], extras[0], extras[1]), f"control point {number}")
