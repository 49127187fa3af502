"""COCO keypoints: one JSON file for the whole table, pixels as onemark's, `v = 0` for not visible.

Read are also the shapes that other programs give it: keypoints without names, a category or an annotation for each
landmark, ids as text, and points as boxes of a few pixels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.entries import NOWHERE, Entry, group_entries, point
from onemark.data.landmarks.formats.base import Format, Reading, Size, Source, Target, number, numbered
from onemark.data.landmarks.formats.tables.columns import ELLIPSE, UNITS
from onemark.data.paths import quoted
from onemark.types import LandmarkSet, UserError

_UNIT = "expected_error_unit"
_VISIBLE = 2
_WIDEST_POINT = 12.0
"""Longest side in px of a box that stands for a point; larger ones hold an object."""


def _render(target: Target) -> Mapping[Path, str]:
    """`images`, `annotations` (one per image) and one category with the landmarks' names.

    Scores and expected errors stand in `keypoint_scores` and `expected_errors` of an annotation, the errors' unit in
    `expected_error_unit`, their ellipses in `expected_errors_sd_major`, `_sd_minor` and `_angle`, and in
    `keypoints_asked` for which landmarks somebody was asked, where that were not all.
    """
    names, sets = target.table.names, target.table.sets
    category = {"id": 1, "name": "radiograph", "supercategory": "", "keypoints": list(names), "skeleton": []}
    document = {
        "info": {"description": "Landmarks written by onemark"},
        "images": [_image(number, one.image, target.size(one.image)) for number, one in enumerate(sets, 1)],
        "categories": [category],
        "annotations": [_annotation(number, one) for number, one in enumerate(sets, 1)],
    }
    return {target.path: json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"}


def _image(number: int, name: str, size: Size) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": size[1], "height": size[0]}


def _annotation(number: int, one: LandmarkSet) -> dict[str, Any]:
    visible = np.isfinite(one.xy).all(axis=1)
    left, top, width, height = _box(one.xy[visible])
    annotation = {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": _spell_points(one),
        "num_keypoints": int(visible.sum()),
        "bbox": [left, top, width, height],
        "area": width * height,
    }
    return annotation | _additions(one)


def _additions(one: LandmarkSet) -> dict[str, Any]:
    """What COCO itself has no word for."""
    found: dict[str, Any] = {}
    if one.score.size:
        found["keypoint_scores"] = _numbers(one.score)
    if one.expected_error.size:
        found["expected_errors"] = _numbers(one.expected_error)
    for name in ELLIPSE if one.ellipse.size else ():
        found[f"expected_errors_{name}"] = _numbers(getattr(one, name))
    if one.unit:
        found[_UNIT] = one.unit
    if one.visible_probability.size:
        found["visible_probabilities"] = _numbers(one.visible_probability)
    if one.tells_asked:
        found["keypoints_asked"] = one.answered.tolist()
    return found


def _spell_points(one: LandmarkSet) -> list[float]:
    found: list[float] = []
    for xy in one.xy:
        found += [*xy.tolist(), _VISIBLE] if np.isfinite(xy).all() else [0, 0, 0]
    return found


def _box(xy: Any) -> tuple[float, float, float, float]:
    if not len(xy):
        return 0.0, 0.0, 0.0, 0.0
    (left, top), (right, bottom) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
    return left, top, right - left, bottom - top


def _numbers(values: Any) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]


@dataclass
class _Document:
    """What the annotations refer to; ids are compared as text, because programs write both."""

    images: dict[str, str]
    sizes: dict[str, Size]
    names: dict[str, Sequence[str]]
    titles: dict[str, str]
    is_boxed: bool
    notes: list[str] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)

    @property
    def is_one_each(self) -> bool:
        """Whether there is a category for each landmark."""
        return len(self.names) > 1 and all(len(names) <= 1 for names in self.names.values())


def _read(source: Source) -> Reading:
    """The landmarks of a file, in px.

    Raises:
        UserError: not valid COCO, no points in it, or a landmark on an image at two places.
    """
    try:
        document = _indexed(source.document)
        entries = list(_merge(source, document))
    except UserError as error:
        raise UserError(f"{source.path}: {error}") from None
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UserError(
            f"{source.path} is no valid COCO keypoints file ({error!r}); export it again"
        ) from error
    sets = [
        replace(one, unit=document.units.get(one.image, "")) for one in group_entries(source.path, entries)
    ]
    return Reading(sets, document.notes, document.sizes)


def _indexed(document: dict[str, Any]) -> _Document:
    images = {
        key: image_key(image["file_name"]) for key, image in _by_id(document["images"], "images").items()
    }
    sizes: dict[str, Size] = {}
    for image in document["images"]:
        if image.get("height") and image.get("width"):
            name, size = image_key(image["file_name"]), _size(image)
            if sizes.setdefault(name, size) != size:
                raise UserError(
                    f"two of its images are called {quoted(name)}, of two sizes; remove one of them"
                )
    categories = document.get("categories") or []
    names = {key: one.get("keypoints") or [] for key, one in _by_id(categories, "categories").items()}
    titles = {str(one["id"]): str(one.get("name", "")) for one in categories}
    # Beside keypoints, a box is the object's.
    is_boxed = not any(one.get("keypoints") for one in document["annotations"])
    return _Document(images, sizes, names, titles, is_boxed)


def _by_id(objects: Sequence[Mapping[str, Any]], kind: str) -> dict[str, Mapping[str, Any]]:
    """Id as text -> object; an id that stands twice would move points to another image."""
    found: dict[str, Mapping[str, Any]] = {}
    for one in objects:
        key = str(one["id"])
        if key in found:
            raise UserError(f"two of its {kind} have the id {quoted(key)}; give each its own")
        found[key] = one
    return found


def _size(image: Mapping[str, Any]) -> Size:
    height, width = int(image["height"]), int(image["width"])
    if min(height, width) < 1:
        raise UserError(f"image {quoted(str(image['file_name']))} has an impossible size; correct it")
    return height, width


def _merge(source: Source, document: _Document) -> Iterator[Entry]:
    """The points of all annotations; a landmark that one of them lacks may come from another of the image."""
    found: dict[tuple[str, str], Entry] = {}
    objects = 0
    for annotation in source.document["annotations"]:
        entries = list(_entries(annotation, document))
        objects += not entries
        for entry in entries:
            before = found.get((entry.image, entry.name))
            if before is not None and not _is_nowhere(before) and not _is_nowhere(entry):
                raise UserError(
                    f"{entry.where}: landmark {entry.name!r} is on {entry.image!r} twice "
                    f"(first in {before.where}); remove one of the two"
                )
            if before is None or _is_nowhere(before):
                found[entry.image, entry.name] = entry
    if objects:
        document.notes.append(f"{objects} annotations without points were not used")
    yield from found.values()


def _is_nowhere(entry: Entry) -> bool:
    return math.isnan(entry.values[0])


def _entries(annotation: Mapping[str, Any], document: _Document) -> Iterator[Entry]:
    where = f"annotation {annotation.get('id', '?')}"
    image = document.images[str(annotation["image_id"])]
    category = str(annotation.get("category_id", ""))
    flat = annotation.get("keypoints")
    if flat and not isinstance(flat, list):
        raise UserError(f"{where} has keypoints that are no list of numbers; correct it")
    if flat:
        names = _names(annotation, document, category, len(flat) // 3, where)
        _keep_unit(annotation, document, image, where)
        yield from _keypoints(annotation, image, names, where)
    elif document.is_boxed and (xy := _small_box(annotation)) is not None:
        name = canonical(document.titles.get(category, ""))
        if not name:
            raise UserError(f"{where} is a point whose category has no name; give the category a name")
        yield point(image, name, xy, where)


def _names(
    annotation: Mapping[str, Any], document: _Document, category: str, count: int, where: str
) -> Sequence[str]:
    names = document.names[category] if document.names else []
    title = document.titles.get(category, "")
    if count == 1 and title and (document.is_one_each or not names) and len(document.names) > 1:
        return [title]
    if not names:
        note = "its category names no keypoints, so the landmarks are called 1, 2, 3"
        document.notes += [note] if note not in document.notes else []
        names = numbered(count)
    if len(annotation["keypoints"]) != 3 * len(names):
        raise UserError(
            f"{where} has {len(annotation['keypoints'])} keypoint numbers, "
            f"but its category has {len(names)} landmarks; correct it"
        )
    if len({canonical(str(name)) for name in names}) < len(names):
        raise UserError(f"a category of {where} names a landmark twice; give each its own name")
    return names


def _keypoints(
    annotation: Mapping[str, Any], image: str, names: Sequence[str], where: str
) -> Iterator[Entry]:
    flat = annotation["keypoints"]
    ellipse = (f"expected_errors_{name}" for name in ELLIPSE)
    keys = ("keypoint_scores", "expected_errors", *ellipse, "visible_probabilities")
    extras = [_extra(annotation, key, len(names)) for key in keys]
    asked = annotation.get("keypoints_asked") or [None] * len(names)
    if len(asked) != len(names):
        raise UserError(f"{where} has {len(asked)} keypoints_asked for {len(names)} landmarks; correct it")
    for index, name in enumerate(names):
        x, y, v = flat[3 * index : 3 * index + 3]
        here = f"{where}: landmark {quoted(str(name))}"
        visible = v is not None and number(v, here) != 0
        xy = (number(x, here), number(y, here)) if visible else NOWHERE
        told = None if asked[index] is None else visible or bool(asked[index])
        values = (*xy, *(extra[index] for extra in extras))
        yield Entry(image, canonical(str(name)), values, where, told)


def _keep_unit(annotation: Mapping[str, Any], document: _Document, image: str, where: str) -> None:
    """Note the unit that an annotation states for its image's expected errors. Raises UserError for another one."""
    unit = annotation.get(_UNIT)
    if unit is not None and (unit not in UNITS or document.units.setdefault(image, unit) != unit):
        raise UserError(
            f"{where} has the {_UNIT} {quoted(str(unit))}; give mm or px, the same for all of {quoted(image)}"
        )


def _small_box(annotation: Mapping[str, Any]) -> tuple[float, float] | None:
    """The point that a box of a few pixels, or a polygon of one point, stands for."""
    shape = annotation.get("segmentation")
    if isinstance(shape, list) and len(shape) == 1 and isinstance(shape[0], list) and len(shape[0]) == 2:
        return number(shape[0][0], "a segmentation"), number(shape[0][1], "a segmentation")
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return None
    left, top, width, height = (number(value, "a bbox") for value in box)
    if max(width, height) > _WIDEST_POINT:
        return None
    # A box of one pixel is that pixel, whose middle has its own number.
    return left + (width / 2 if width > 1 else 0), top + (height / 2 if height > 1 else 0)


def _extra(annotation: Mapping[str, Any], key: str, count: int) -> list[float]:
    values = annotation.get(key) or [None] * count
    if len(values) != count:
        raise UserError(
            f"annotation {annotation.get('id', '?')} has {len(values)} {key} for {count} landmarks; correct it"
        )
    where = f"annotation {annotation.get('id', '?')}"
    return [math.nan if value is None else number(value, where) for value in values]


FORMAT = Format(
    "coco",
    "COCO keypoints (.json)",
    ".json",
    lambda source: source.has_keys("annotations", "images"),
    _read,
    _render,
    rank=2,
    claims=True,
    tells_asked=True,
)
