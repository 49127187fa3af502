"""Single points, as files list them, and the landmark sets they make."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onemark.data.landmarks.formats.tables.columns import ELLIPSE, EXTRAS
from onemark.types import LandmarkSet, UserError

NOWHERE = (math.nan, math.nan)


@dataclass(frozen=True)
class Entry:
    """One landmark on one image.

    Attributes:
        image: Name of the image.
        name: Name of the landmark.
        values: x, y, then what `EXTRAS` lists, as far as the file may have it; NaN where it has none.
        where: Its place in the file, for messages.
        asked: Whether the file says that somebody was asked for the landmark; None where it does not tell.
    """

    image: str
    name: str
    values: tuple[float, ...]
    where: str
    asked: bool | None = None


def point(
    image: str,
    name: str,
    xy: tuple[float, float],
    where: str,
    score: float = math.nan,
    asked: bool | None = None,
) -> Entry:
    """An entry of a file that knows no expected errors."""
    return Entry(image, name, (*xy, score, math.nan), where, asked)


def group_entries(path: Path, entries: Sequence[Entry]) -> list[LandmarkSet]:
    """Entries as one set per image, in the order of first appearance.

    Raises:
        UserError: no entries, or the same landmark twice on an image.
    """
    if not entries:
        raise UserError(f"{path} holds no landmarks; give one row or point for each")
    images: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        of_image = images.setdefault(entry.image, {})
        if (first := of_image.setdefault(entry.name, entry)) is not entry:
            raise UserError(
                f"{path}, {entry.where}: landmark {entry.name!r} is on {entry.image!r} twice "
                f"(first in {first.where}); remove one of the two"
            )
    return [_landmark_set(image, of_image) for image, of_image in images.items()]


def _landmark_set(image: str, entries: Mapping[str, Entry]) -> LandmarkSet:
    columns = ("x", "y", *EXTRAS)
    rows = [(*entry.values, *[math.nan] * (len(columns) - len(entry.values))) for entry in entries.values()]
    values = np.array(rows, np.float64)
    # Where a file tells, a landmark that it does not list for the image was not asked for.
    tells = any(entry.asked is not None for entry in entries.values())
    asked = np.array([entry.asked is not False for entry in entries.values()] if tells else [], np.bool_)
    found = make_set(image, tuple(entries), dict(zip(columns, values.T, strict=True)))
    return replace(found, asked=asked)


def make_set(
    image: str, names: tuple[str, ...], numbers: Mapping[str, NDArray[np.float64]], unit: str = ""
) -> LandmarkSet:
    """A landmark set from the columns of a table: `x`, `y` and what it has of `EXTRAS`, each `[K]`."""
    ellipse = [numbers[name] for name in ELLIPSE if name in numbers]
    return LandmarkSet(
        image,
        names,
        np.stack([numbers["x"], numbers["y"]], 1),
        numbers["score"],
        numbers["expected_error"],
        unit,
        ellipse=np.stack(ellipse, 1) if len(ellipse) == len(ELLIPSE) else np.empty((0, 3)),
        visible_probability=numbers.get("visible_probability", np.empty(0)),
    )
