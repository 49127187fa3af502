"""The points that a person placed on one radiograph: immutable, so that undo is a list of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onemark.types import LandmarkSet


class State(enum.StrEnum):
    """What is known about a radiograph, as the list of radiographs shows it."""

    NONE = ""
    ANNOTATING = "annotating"
    EXEMPLAR = "exemplar"
    PREDICTED = "predicted"
    CORRECTING = "correcting"
    CORRECTED = "corrected"


@dataclass(frozen=True, eq=False)
class Annotation:
    """A person's points on one radiograph.

    Attributes:
        xy: `[K, 2]` float64 in original pixels, NaN where nothing is placed.
        hidden: `[K]`, True where the person said "not visible"; `xy` is NaN there.
        corrects: The points began as a prediction.
        confirmed: The person confirmed the corrected points.
    """

    xy: NDArray[np.float64]
    hidden: NDArray[np.bool_]
    corrects: bool = False
    confirmed: bool = False

    @classmethod
    def blank(cls, count: int) -> Annotation:
        """An annotation of `count` landmarks with nothing placed yet."""
        return cls(np.full((count, 2), np.nan), np.zeros(count, bool))

    @classmethod
    def of(cls, one: LandmarkSet, names: tuple[str, ...], *, corrects: bool = False) -> Annotation:
        """Points as an annotation of these landmarks.

        A landmark listed without a position is not visible; one that is not listed or not asked for is to be placed.
        """
        rows = {name: xy for name, xy, known in zip(one.names, one.xy, one.answered, strict=True) if known}
        xy = np.array([rows.get(name, (np.nan, np.nan)) for name in names], float).reshape(-1, 2)
        return cls(xy, are_absent(xy) & np.array([name in rows for name in names], bool), corrects)

    @property
    def placed(self) -> NDArray[np.bool_]:
        """`[K]`: whether the landmark has a position."""
        return ~are_absent(self.xy)

    @property
    def done(self) -> NDArray[np.bool_]:
        """`[K]`: whether the landmark is placed, or declared not visible."""
        return self.placed | self.hidden

    @cached_property
    def complete(self) -> bool:
        """Whether every landmark is done and at least one is placed."""
        return bool(self.done.all() and self.placed.any())

    @property
    def state(self) -> State:
        """The state of the radiograph that this annotation belongs to."""
        if self.corrects:
            return State.CORRECTED if self.confirmed and self.complete else State.CORRECTING
        return State.EXEMPLAR if self.complete else State.ANNOTATING

    def place(self, landmark: int, xy: Any) -> Annotation:
        """Put a landmark at `xy`; the person must confirm a corrected radiograph again."""
        return self._replace_point(landmark, xy, False)

    def hide(self, landmark: int) -> Annotation:
        """Declare a landmark not visible."""
        return self._replace_point(landmark, np.nan, True)

    def clear(self, landmark: int) -> Annotation:
        """Remove a landmark's position, or its "not visible"."""
        return self._replace_point(landmark, np.nan, False)

    def confirm(self) -> Annotation:
        """Record that the person says that the points are right. An exemplar needs no such record."""
        return replace(self, confirmed=True) if self.corrects else self

    def _replace_point(self, landmark: int, xy: Any, hidden: bool) -> Annotation:
        points, flags = self.xy.copy(), self.hidden.copy()
        points[landmark], flags[landmark] = xy, hidden
        return replace(self, xy=points, hidden=flags, confirmed=False)

    def reorder(self, sources: list[int | None]) -> Annotation:
        """Bring the points under another schema: entry i takes row `sources[i]`, or nothing where that is None."""
        out = Annotation.blank(len(sources))
        for i, source in enumerate(sources):
            if source is not None:
                out.xy[i], out.hidden[i] = self.xy[source], self.hidden[source]
        return replace(self, xy=out.xy, hidden=out.hidden)

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values for the autosave."""
        points = [None if np.isnan(row).any() else [float(v) for v in row] for row in self.xy]
        return {
            "xy": points,
            "hidden": [int(i) for i in np.flatnonzero(self.hidden)],
            "corrects": self.corrects,
            "confirmed": self.confirmed,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Annotation:
        """Read what `to_json` returned."""
        xy = np.array([[np.nan, np.nan] if row is None else row for row in data["xy"]], float).reshape(-1, 2)
        hidden = np.zeros(len(xy), bool)
        hidden[data["hidden"]] = True
        return cls(xy, hidden, bool(data["corrects"]), bool(data["confirmed"]))


def are_absent(xy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """`[K]`: which rows of `[K, 2]` positions are missing, that is hold a NaN."""
    return np.asarray(np.isnan(xy).any(axis=1))


Step = tuple[Annotation | None, Annotation | None]


def find_changed(step: Step, count: int, fallback: int) -> int:
    """Find the first landmark, of `count`, that a step has changed; `fallback` where it has changed none."""
    before, after = (m or Annotation.blank(count) for m in step)
    same = np.isclose(before.xy, after.xy, equal_nan=True).all(axis=1) & (before.hidden == after.hidden)
    return int(np.flatnonzero(~same)[0]) if (~same).any() else fallback


def are_same(before: Annotation | None, after: Annotation | None) -> bool:
    """Whether a step between these changes nothing."""
    if before is None or after is None:
        return before is after
    return before.to_json() == after.to_json()
