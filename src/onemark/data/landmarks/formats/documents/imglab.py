"""dlib's and imglab's XML: a box with named parts for each image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.entries import Entry, group_entries, point
from onemark.data.landmarks.formats.base import Format, Reading, Source, number
from onemark.types import UserError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def _recognises(source: Source) -> bool:
    return source.root is not None and source.root.tag == "dataset" and source.root.find("images") is not None


def _read(source: Source) -> Reading:
    assert source.root is not None
    entries: list[Entry] = []
    empty = 0
    for image in source.root.iter("image"):
        name = image_key(image.get("file") or "")
        if not name:
            raise UserError(f"{source.path} has an image without file; save it again from imglab")
        boxes = [box for box in image.findall("box") if box.find("part") is not None]
        if len(boxes) > 1:
            raise UserError(
                f"{source.path}: image {name!r} has parts in {len(boxes)} boxes; keep one of them"
            )
        empty += not boxes
        parts = boxes[0].findall("part") if boxes else ()
        entries += [_entry(source.path, name, part) for part in parts]
    if any(not entry.name for entry in entries):
        raise UserError(f"{source.path} has a part without name; save it again from imglab")
    notes = [f"{empty} images without parts were not used"] if empty else []
    return Reading(group_entries(source.path, entries), notes)


def _entry(path: Path, image: str, part: Element) -> Entry:
    where = f"image {image!r}"
    x, y = (number(part.get(axis), f"{path}: {where}") for axis in "xy")
    return point(image, canonical(part.get("name") or ""), (x, y), where)


FORMAT = Format("imglab", "dlib and imglab (.xml)", ".xml", _recognises, _read, rank=3)
