"""Single points, as files list them, and the landmark sets they make."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onemark.types import LandmarkSet, UserError

NOWHERE = (math.nan, math.nan)


@dataclass(frozen=True)
class Entry:
    """One landmark on one image.

    Attributes:
        image: Name of the image.
        name: Name of the landmark.
        values: x, y, score and expected error, NaN where the file has none.
        where: Its place in the file, for messages.
        asked: Whether the file says that somebody was asked for the landmark; None where it does not tell.
    """

    image: str
    name: str
    values: tuple[float, float, float, float]
    where: str
    asked: bool | None = None


def point(image: str, name: str, xy: tuple[float, float], where: str, score: float = math.nan) -> Entry:
    """An entry of a file that knows no expected errors."""
    return Entry(image, name, (*xy, score, math.nan), where)


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
    values = np.array([entry.values for entry in entries.values()], np.float64)
    # Where a file tells, a landmark that it does not list for the image was not asked for.
    tells = any(entry.asked is not None for entry in entries.values())
    asked = np.array([entry.asked is not False for entry in entries.values()] if tells else [], np.bool_)
    return LandmarkSet(image, tuple(entries), values[:, :2], values[:, 2], values[:, 3], asked=asked)
