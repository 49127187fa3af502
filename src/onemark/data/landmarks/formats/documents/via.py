"""VGG Image Annotator: a JSON project, or a CSV with JSON in its cells; a region `point` for each landmark."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from onemark.data.json import parse_json
from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.entries import Entry, group_entries, point
from onemark.data.landmarks.formats.base import Format, Reading, Source, number
from onemark.types import UserError

_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")


def _recognises(source: Source) -> bool:
    if source.document is None:
        head = source.lines[0] if source.lines else ""
        return all(column in head for column in _COLUMNS)
    return source.has_keys("_via_img_metadata") or any(_files(source))


def _files(source: Source) -> Iterator[dict[str, Any]]:
    if not isinstance(source.document, dict):
        return
    held = source.document.get("_via_img_metadata", source.document)
    for one in held.values() if isinstance(held, dict) else ():
        if isinstance(one, dict) and "filename" in one and "regions" in one:
            yield one


def _regions(source: Source) -> Iterator[tuple[str, Any, Any]]:
    """Image, shape and attributes of each region."""
    if source.document is None:
        for row in csv.DictReader(io.StringIO(source.text, newline="")):
            if row.get("region_shape_attributes") not in (None, "", "{}"):
                shape, attributes = (parse_json(row[name] or "{}", source.path) for name in _COLUMNS[1:])
                yield str(row["filename"]), shape, attributes
        return
    for one in _files(source):
        regions: Iterable[Any] = (
            one["regions"].values() if isinstance(one["regions"], dict) else one["regions"]
        )
        for region in regions:
            yield str(one["filename"]), region["shape_attributes"], region.get("region_attributes") or {}


def _read(source: Source) -> Reading:
    entries: list[Entry] = []
    counts: dict[str, int] = {}
    others = 0
    try:
        for file, shape, attributes in _regions(source):
            if shape.get("name") != "point":
                others += 1
                continue
            image = image_key(file)
            counts[image] = counts.get(image, 0) + 1
            label = next((value for value in attributes.values() if isinstance(value, str) and value), "")
            entries.append(_entry(source, image, counts[image], label, shape))
    except (KeyError, TypeError, AttributeError, csv.Error) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{source.path} is no export of VIA ({error!r}); export it again") from error
    notes = [f"{others} regions that are no points were not used"] if others else []
    return Reading(group_entries(source.path, entries), notes)


def _entry(source: Source, image: str, count: int, label: str, shape: Any) -> Entry:
    where = f"region {count} of {image!r}"
    x, y = (number(shape[key], f"{source.path}: {where}") for key in ("cx", "cy"))
    return point(image, canonical(label) or str(count), (x, y), where)


FORMAT = Format("via", "VGG Image Annotator (.csv, .json)", ".json", _recognises, _read, rank=4)
