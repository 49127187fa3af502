"""From napari layers to a landmark table: what `File > Save` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from onemark.data.images.itk import Geometry
from onemark.types import LandmarkSet, UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.images.header import Header

Points = tuple[NDArray[np.float64], dict[str, Any]]
Image = tuple[tuple[int, ...], dict[str, Any]]
COLUMNS = ("landmark", "label", "name")


@dataclass(frozen=True)
class _Layers:
    """Stands in for a cohort where only sizes and spacings matter."""

    headers: dict[str, Header]
    folder: Path = Path()

    def resolve(self, name: str) -> str:
        return name

    def header(self, name: str) -> Header:
        header = self.headers[name]
        if not all(header.size):
            raise UserError(f"the size of {name} is unknown; select its image layer too, then save both")
        return header

    def geometry(self, name: str) -> Geometry:
        return Geometry.flat(self.headers[name].spacing)


def write(
    path: Path, points: Sequence[Points], images: Sequence[Image], key: str | None = None
) -> tuple[Path, ...]:
    """Write Points layers, each as the landmarks of one radiograph, in the format of the suffix or of this key.

    Args:
        path: `.csv` (px, and mm where the units are mm), `.mrk.json`, `.tps` or `.json`; an existing file is replaced,
            because napari has already asked.
        points: Data `[N, D]`, the last two columns (y, x), and attributes of each Points layer.
        images: Shape and attributes of each image layer, for the size where the Points layer does not hold it.
        key: The format, where the suffix does not say it.

    Raises:
        UserError: there are no points, or a size that the format needs is unknown.
    """
    from onemark.data.landmarks.convert import write_landmarks
    from onemark.data.landmarks.table import LandmarkTable

    filled = [(data, attributes) for data, attributes in points if len(data)]
    if not filled:
        raise UserError("the layers hold no points to save; place some first")
    sets = [read_layer(data, attributes, images) for data, attributes in filled]
    headers = [_make_header(attributes, images) for _, attributes in filled]
    table = LandmarkTable.from_sets(sets)
    # By the table's names: a layer's own may be spelled otherwise.
    layers = _Layers(dict(zip(table.images, headers, strict=True)))
    if path.suffix == ".csv" and any(header.spacing for header in headers):
        table.to_csv(path, {image: header.spacing for image, header in layers.headers.items()})
        return (path,)
    return write_landmarks(table, path, cohort=cast("Cohort", layers), format=key, overwrite=True)


def read_layer(data: NDArray[np.float64], attributes: dict[str, Any], images: Sequence[Image]) -> LandmarkSet:
    """Read the landmarks of one Points layer, in px.

    The feature `landmark`, `label` or `name` names them, in this order; without such a feature they get numbers.
    """
    names = _read_names(attributes.get("features"), len(data))
    image = attributes.get("metadata", {}).get("image") or (images[0][1] if images else attributes).get(
        "name", "image"
    )
    return LandmarkSet(str(image), names, np.asarray(data, float)[:, [-1, -2]])


def _read_names(features: Any, count: int) -> tuple[str, ...]:
    for column in COLUMNS:
        if features is not None and column in features and len(set(features[column])) == count:
            return tuple(str(name) for name in features[column])
    return tuple(str(number) for number in range(1, count + 1))


def _make_header(attributes: dict[str, Any], images: Sequence[Image]) -> Header:
    from onemark.data.images.header import Header

    size = attributes.get("metadata", {}).get("size") or (images[0][0][:2] if images else (0, 0))
    scale, units = (
        attributes.get("scale", (1, 1)),
        [str(u) for u in attributes.get("units", ("pixel", "pixel"))],
    )
    in_mm = units[-1] in ("mm", "millimeter")
    return Header((int(size[0]), int(size[1])), (float(scale[-1]), float(scale[-2])) if in_mm else None)
