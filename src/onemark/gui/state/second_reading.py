"""A second, blind reading: the points of a random subset once more, without the first ones in view."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onemark.types import LandmarkSet, UserError

if TYPE_CHECKING:
    from onemark.data.suggestion import Suggestion
    from onemark.evaluation.verdict import Verdict
    from onemark.gui.state.annotation import Annotation

NUMBERS = ("score", "expected_error")


@dataclass
class Known:
    """What a session knows of its radiographs.

    Attributes:
        annotations: Radiograph -> the person's points.
        predictions: Radiograph -> predicted landmarks.
        errors: Radiograph -> its mean expected error, in `error_unit`.
        error_unit: `mm` or `px`.
        verdict: Why the predictions are not usable, or None.
        suggestion: Which radiographs to annotate first.
        undo: Radiograph -> steps to undo.
        redo: Radiograph -> steps to redo.
    """

    annotations: dict[str, Annotation] = field(default_factory=dict)
    predictions: dict[str, LandmarkSet] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    error_unit: str = ""
    verdict: Verdict | None = None
    suggestion: Suggestion | None = None
    undo: dict[str, Any] = field(default_factory=dict)
    redo: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SecondReading:
    """A second reading under way.

    Attributes:
        names: The radiographs to read again, in a random order.
        first: The results of the first reading on them.
        known: What the session knew before, and gets back at the end.
    """

    names: tuple[str, ...]
    first: tuple[LandmarkSet, ...]
    known: Known

    def to_json(self, annotations: Mapping[str, Annotation]) -> dict[str, Any]:
        """Convert to plain values for the autosave, with the points placed so far."""
        return {
            "first": [_to_json(one) for one in self.first],
            "annotations": {image: one.to_json() for image, one in annotations.items()},
        }


def join_saved(newest: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Join what two sessions saved of second readings; for a radiograph that both read again, the newest counts."""
    if newest is None or other is None:
        one = newest or other
        return None if one is None else dict(one)
    known = {one["image"] for one in newest["first"]}
    return {
        "first": [*newest["first"], *(one for one in other["first"] if one["image"] not in known)],
        "annotations": {**other["annotations"], **newest["annotations"]},
    }


def split_saved(
    saved: Mapping[str, Any], cohort: Container[str], names: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a saved reading into what can go on, and what waits for its radiographs or landmarks.

    Args:
        saved: What `SecondReading.to_json` or `split_saved` returned.
        cohort: The radiographs that are there.
        names: The landmarks of today.

    Returns:
        Both in the saved form; the points that wait say which landmarks they are of.
    """
    parts: tuple[dict[str, Any], dict[str, Any]] = (
        {"first": [], "annotations": {}},
        {"first": [], "annotations": {}},
    )
    for first in saved["first"]:
        image = first["image"]
        again = saved["annotations"].get(image)
        own = list(names) if again is None else again.get("names", list(names))
        waits = image not in cohort or tuple(own) != names or not {*first["names"]} & {*names}
        parts[waits]["first"].append(first)
        if again is not None:
            parts[waits]["annotations"][image] = {**again, "names": own} if waits else again
    return parts


def rename_saved(saved: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """A saved reading that waits, under new names of landmarks."""

    def follow(one: Mapping[str, Any]) -> dict[str, Any]:
        return {**one, "names": [renamed.get(name, name) for name in one["names"]]}

    again = {image: follow(one) for image, one in saved["annotations"].items()}
    return {"first": [follow(one) for one in saved["first"]], "annotations": again}


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], float)


def read_first(saved: Mapping[str, Any]) -> list[LandmarkSet]:
    """Read the first reading from what `SecondReading.to_json` returned."""
    return [
        LandmarkSet(
            one["image"],
            tuple(one["names"]),
            np.array([[np.nan, np.nan] if row is None else row for row in one["xy"]], float).reshape(-1, 2),
            score=_numbers(one["score"]),
            expected_error=_numbers(one["expected_error"]),
            unit=one.get("unit", ""),
        )
        for one in saved["first"]
    ]


def _to_json(one: LandmarkSet) -> dict[str, Any]:
    points = [None if np.isnan(row).any() else [float(v) for v in row] for row in one.xy]
    numbers = {key: [None if np.isnan(v) else float(v) for v in getattr(one, key)] for key in NUMBERS}
    return {"image": one.image, "names": list(one.names), "unit": one.unit, "xy": points, **numbers}


def choose_subset(
    sets: Sequence[LandmarkSet], count: int, rng: np.random.Generator | None = None
) -> list[LandmarkSet]:
    """Draw radiographs to read again, in a random order.

    Args:
        sets: The results to draw from.
        count: How many; all where there are fewer.
        rng: Source of randomness; a fresh one by default, since nobody may know the order.

    Raises:
        UserError: there is nothing to read again.
    """
    if not sets:
        raise UserError("no radiograph has all of its landmarks yet; annotate some in step 2 first")
    rng = np.random.default_rng() if rng is None else rng
    return [sets[i] for i in rng.permutation(len(sets))[:count]]
