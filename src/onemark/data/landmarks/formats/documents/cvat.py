"""CVAT for images 1.1: XML with `points` or a `skeleton` for each image."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.entries import NOWHERE, Entry, group_entries, point
from onemark.data.landmarks.formats.base import Format, Reading, Size, Source, number
from onemark.types import UserError

_SHAPES = ("box", "polygon", "polyline", "ellipse", "cuboid", "mask", "tag")


def _recognises(source: Source) -> bool:
    root = source.root
    return root is not None and root.tag == "annotations" and root.find("image") is not None


def _read(source: Source) -> Reading:
    assert source.root is not None
    entries: list[Entry] = []
    sizes: dict[str, Size] = {}
    others = 0
    for image in source.root.iter("image"):
        name = image_key(image.get("name") or "")
        if not name:
            raise UserError(f"{source.path} has an image without name; export it again from CVAT")
        where = f"{source.path}: image {name!r}"
        entries += _entries(image, name, where)
        others += sum(len(image.findall(shape)) for shape in _SHAPES)
        width, height = (image.get(side) for side in ("width", "height"))
        if width and height:
            sizes[name] = int(number(height, where)), int(number(width, where))
    notes = [f"{others} shapes that are no points were not used"] if others else []
    return Reading(group_entries(source.path, entries), notes, sizes)


def _entries(image: Element, name: str, where: str) -> Iterator[Entry]:
    for shape in image.findall("points"):
        yield from _points(shape, name, where)
    for skeleton in image.findall("skeleton"):
        for shape in skeleton.findall("points"):
            yield from _points(shape, name, where)


def _points(shape: Element, image: str, where: str) -> Iterator[Entry]:
    label = canonical(shape.get("label") or "")
    pairs = [pair.split(",") for pair in (shape.get("points") or "").split(";") if pair.strip()]
    for count, pair in enumerate(pairs, 1):
        if len(pair) != 2:
            raise UserError(f"{where} has a point that is not two numbers; export it again from CVAT")
        xy = number(pair[0], where), number(pair[1], where)
        several = len(pairs) > 1
        landmark = f"{label} {count}".strip() if several or not label else label
        is_gone = shape.get("outside") == "1"
        yield point(image, landmark, NOWHERE if is_gone else xy, f"image {image!r}")


FORMAT = Format("cvat", "CVAT for images (.xml)", ".xml", _recognises, _read, rank=3, oriented=True)
