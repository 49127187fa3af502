"""COCO keypoints: one JSON file for the whole table, pixels as onemark's, `v = 0` for not visible."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.tables import Entry, grouped
from onemark.data.paths import quoted
from onemark.types import LandmarkSet, UserError

SUFFIX = ".json"
_VISIBLE = 2


def render(names: Sequence[str], sets: Sequence[LandmarkSet], size: Callable[[str], tuple[int, int]]) -> str:
    """The file's text: `images`, `annotations` (one per image) and one category with the landmarks' names.

    Scores and expected errors stand in `keypoint_scores` and `expected_errors` of an annotation.

    Args:
        names: All landmarks.
        sets: One per image, each with all landmarks, in px.
        size: Image name -> `(H, W)` in px.
    """
    category = {"id": 1, "name": "radiograph", "supercategory": "", "keypoints": list(names), "skeleton": []}
    document = {
        "info": {"description": "Landmarks written by onemark"},
        "images": [_image(number, one.image, size(one.image)) for number, one in enumerate(sets, 1)],
        "categories": [category],
        "annotations": [_annotation(number, one) for number, one in enumerate(sets, 1)],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parse(path: Path, document: dict[str, Any]) -> list[LandmarkSet]:
    """The landmarks of a parsed file, in px.

    Raises:
        UserError: not valid COCO keypoints, or a landmark twice on an image.
    """
    try:
        images = _by_id(document, "images", lambda image: image_key(image["file_name"]))
        categories = _by_id(document, "categories", lambda category: category.get("keypoints", []))
        entries = [
            entry
            for annotation in document["annotations"]
            if annotation.get("keypoints")
            for entry in _entries(
                annotation, images[annotation["image_id"]], categories[annotation["category_id"]]
            )
        ]
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UserError(f"{path} is no valid COCO keypoints file ({error!r}); export it again") from error
    return grouped(path, entries)


def _by_id(document: dict[str, Any], kind: str, value: Callable[[Any], Any]) -> dict[Any, Any]:
    """Id -> value; an id that stands twice would move points to another image."""
    found: dict[Any, Any] = {}
    for one in document[kind]:
        if one["id"] in found:
            raise UserError(f"two of its {kind} have the id {quoted(str(one['id']))}; give each its own")
        found[one["id"]] = value(one)
    return found


def _image(number: int, name: str, size: tuple[int, int]) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": size[1], "height": size[0]}


def _annotation(number: int, one: LandmarkSet) -> dict[str, Any]:
    visible = np.isfinite(one.xy).all(axis=1)
    keypoints: list[float] = []
    for xy in one.xy:
        keypoints += [*xy.tolist(), _VISIBLE] if np.isfinite(xy).all() else [0, 0, 0]
    left, top, width, height = _box(one.xy[visible])
    annotation = {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": keypoints,
        "num_keypoints": int(visible.sum()),
        "bbox": [left, top, width, height],
        "area": width * height,
    }
    if one.score.size:
        annotation["keypoint_scores"] = _numbers(one.score)
    if one.expected_error.size:
        annotation["expected_errors"] = _numbers(one.expected_error)
    return annotation


def _box(xy: Any) -> tuple[float, float, float, float]:
    if not len(xy):
        return 0.0, 0.0, 0.0, 0.0
    (left, top), (right, bottom) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
    return left, top, right - left, bottom - top


def _numbers(values: Any) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _entries(annotation: Mapping[str, Any], image: str, names: Sequence[str]) -> Iterator[Entry]:
    flat = annotation["keypoints"]
    where = f"annotation {annotation.get('id', '?')}"
    if len(flat) != 3 * len(names):
        raise UserError(
            f"{where} has {len(flat)} keypoint numbers, but its category has {len(names)} landmarks; mend it"
        )
    extras = [_extra(annotation, key, len(names)) for key in ("keypoint_scores", "expected_errors")]
    for index, name in enumerate(names):
        x, y, v = flat[3 * index : 3 * index + 3]
        xy = (float(x), float(y)) if v else (math.nan, math.nan)
        if v and not all(map(math.isfinite, xy)):
            raise UserError(f"{where}: landmark {name!r} is not at a finite place; correct it")
        yield Entry(image, canonical(str(name)), (*xy, extras[0][index], extras[1][index]), where)


def _extra(annotation: Mapping[str, Any], key: str, count: int) -> list[float]:
    values = annotation.get(key) or [None] * count
    if len(values) != count:
        raise UserError(
            f"annotation {annotation.get('id', '?')} has {len(values)} {key} for {count} landmarks; mend it"
        )
    numbers = [math.nan if value is None else float(value) for value in values]
    if any(map(math.isinf, numbers)):
        raise UserError(f"annotation {annotation.get('id', '?')} has {key} that are not finite; correct them")
    return numbers
