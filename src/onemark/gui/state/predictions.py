"""Predictions, ready for the window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onemark.data.landmarks.units import in_one_unit
from onemark.evaluation.verdict import Verdict
from onemark.types import LandmarkSet

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort


@dataclass(frozen=True)
class Predictions:
    """Predictions, ready for the window. `from_sets` takes a moment for 10,000: call it outside the GUI thread.

    Attributes:
        sets: Radiograph -> predicted landmarks.
        errors: Radiograph -> its mean expected error in `unit`; NaN where the prediction has none.
        verdict: Why they are not usable; None where they are.
        unit: `mm` where all expected errors are in mm, else `px`, so that radiographs can be ranked; empty for none.
    """

    sets: dict[str, LandmarkSet]
    errors: dict[str, float]
    verdict: Verdict | None = None
    unit: str = ""

    def rename(self, renamed: Mapping[str, str]) -> Predictions:
        """Give landmarks other names, from the run's to those of the session."""
        if not renamed:
            return self
        return replace(self, sets={image: rename(one, renamed) for image, one in self.sets.items()})

    @classmethod
    def from_sets(
        cls, sets: Iterable[LandmarkSet], cohort: Cohort, verdict: Verdict | None = None
    ) -> Predictions:
        """Collect the sets of a landmark table; the headers of a cohort of mixed units are read."""
        by_image = {one.image: one for one in sets}
        unit, comparable = in_one_unit(tuple(by_image.values()), cohort)
        return cls(by_image, {one.image: mean_error(one) for one in comparable}, verdict, unit)


def mean_error(one: LandmarkSet) -> float:
    """Mean expected error of a prediction; NaN where it has none."""
    return float(np.nanmean(one.expected_error)) if np.isfinite(one.expected_error).any() else float("nan")


def select_rows(one: LandmarkSet, names: Mapping[int, str]) -> LandmarkSet:
    """Keep these rows of a set, under these names."""
    return replace(one.take(list(names)), names=tuple(names.values()))


def rename(one: LandmarkSet, renamed: Mapping[str, str]) -> LandmarkSet:
    """Give landmarks other names, `renamed[old]`; one that had such a name before, and no other now, is dropped."""
    kept = {
        i: renamed.get(name, name)
        for i, name in enumerate(one.names)
        if name in renamed or name not in renamed.values()
    }
    return select_rows(one, kept)


def restrict(one: LandmarkSet, names: Sequence[str]) -> LandmarkSet:
    """Drop the landmarks that are not among `names`."""
    if set(one.names) <= set(names):
        return one
    return select_rows(one, {i: name for i, name in enumerate(one.names) if name in names})
