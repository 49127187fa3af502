"""labelme: a JSON file for each image, with a shape `point` for each landmark.

labelme shows a picture turned as its EXIF orientation says, so its points lie in the turned picture. Landmarks without
a shape stand among the flags of the picture, as `not visible: NAME` or `not asked: NAME`, which labelme shows as boxes to
tick.
"""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.entries import NOWHERE, Entry, group_entries, point
from onemark.data.landmarks.formats.base import (
    Format,
    Reading,
    Source,
    Target,
    bare_names,
    number,
    place_of,
)
from onemark.data.paths import quoted
from onemark.types import LandmarkSet, UserError

_VERSION = "5.5.0"
_NOT_VISIBLE, _NOT_ASKED = "not visible: ", "not asked: "


def _read(source: Source) -> Reading:
    document: dict[str, Any] = source.document
    shapes, path = document["shapes"], document.get("imagePath")
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise UserError(f"{source.path} has shapes that are none; save it again from labelme")
    image = _named(source, str(path)) if path else source.own_image()
    image = source.locate(image) or image
    entries = []
    others = 0
    for count, shape in enumerate(shapes, 1):
        points = shape.get("points")
        if shape.get("shape_type", "point") != "point" or not isinstance(points, list) or len(points) != 1:
            others += 1
            continue
        where = f"shape {count}"
        x, y = _pair(points[0], f"{source.path}: {where}")
        entries.append(point(image, canonical(str(shape.get("label", ""))) or str(count), (x, y), where))
    entries += _without_shape(document.get("flags"), image, {entry.name for entry in entries})
    notes = [f"{others} shapes that are no points were not used"] if others else []
    return Reading(group_entries(source.path, entries), notes, _stated_size(document, image))


def _without_shape(flags: object, image: str, shown: Collection[str]) -> Iterator[Entry]:
    """What the picture's flags say of landmarks that have no shape."""
    for flag, ticked in flags.items() if isinstance(flags, dict) else ():
        for start, asked in ((_NOT_VISIBLE, True), (_NOT_ASKED, False)):
            name = canonical(flag.removeprefix(start))
            if ticked is True and flag.startswith(start) and name and name not in shown:
                yield point(image, name, NOWHERE, f"flag {quoted(flag)}", asked=asked)


def _named(source: Source, path: str) -> str:
    """The image at a path that begins at the file's own folder; a path from elsewhere stays as it is."""
    image = image_key(path)
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(source.name), image))
    return image if joined.startswith(("../", "/")) or ":" in image else joined


def _stated_size(document: dict[str, Any], image: str) -> dict[str, tuple[int, int]]:
    height, width = document.get("imageHeight"), document.get("imageWidth")
    return {image: (height, width)} if isinstance(height, int) and isinstance(width, int) else {}


def _pair(values: object, where: str) -> tuple[float, float]:
    if not isinstance(values, list) or len(values) != 2:
        raise UserError(f"{where} is no point of two numbers; correct it")
    return number(values[0], where), number(values[1], where)


def _render(target: Target) -> Mapping[Path, str]:
    bare = bare_names(target.table.images)
    several = len(target.table) > 1
    return {
        place_of(target.path, one.image, ".json", several, bare=bare): _text(one, target)
        for one in target.table
    }


def _text(one: LandmarkSet, target: Target) -> str:
    (height, width), places = target.shown(one)
    shapes = [
        _shape(name, xy)
        for name, xy in zip(one.names, places.tolist(), strict=True)
        if all(map(math.isfinite, xy))
    ]
    flags = {
        f"{_NOT_VISIBLE if answered else _NOT_ASKED}{name}": True
        for name, answered, visible in zip(one.names, one.answered, one.visible, strict=True)
        if not visible
    }
    document: dict[str, Any] = {
        "version": _VERSION,
        "flags": flags,
        "shapes": shapes,
        "imagePath": PurePosixPath(one.image).name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _shape(name: str, xy: list[float]) -> dict[str, Any]:
    return {
        "label": name,
        "points": [xy],
        "group_id": None,
        "description": "",
        "shape_type": "point",
        "flags": {},
        "mask": None,
    }


FORMAT = Format(
    "labelme",
    "labelme (.json for each image)",
    ".json",
    lambda source: source.has_keys("shapes") and not source.has_keys("annotations"),
    _read,
    _render,
    rank=3,
    oriented=True,
    separate=True,
    tells_asked=True,
)
