"""What the window measures: the points in view with their errors, and one value per radiograph for the list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onemark.gui.state.session import Session
from onemark.types import LandmarkSet

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.measurement.sets.schema import MeasurementSet


@dataclass(frozen=True)
class Column:
    """One measurement of every radiograph.

    Attributes:
        name: The measurement.
        unit: Its unit; empty where it has none, or where radiographs with and without a spacing differ.
        values: Radiograph -> value; radiographs that lack a landmark are missing.
    """

    name: str
    unit: str
    values: Mapping[str, float]


def load_measurable(which: str, names: Sequence[str]) -> MeasurementSet | None:
    """Load a set, limited to the measurements whose landmarks are all among `names`.

    Args:
        which: Name of a shipped set or a TOML file; empty for the shipped set that fits.
        names: The landmarks of the schema.

    Returns:
        The set; None where nothing was chosen and no shipped set fits.

    Raises:
        UserError: the chosen set cannot be read or has nothing to measure here.
    """
    from onemark.measurement.sets.fitting import find_set, fit_set

    return fit_set(which, names) if which else find_set(names)


def collect_shown(session: Session) -> LandmarkSet | None:
    """Collect the points in view; None where there are none.

    A point that the person has moved has the expected error 0. Points that are nobody's prediction have none.
    """
    annotation = session.shown_annotation
    if session.current is None or not annotation.placed.any():
        return None
    one = LandmarkSet(session.current, session.schema.names, annotation.xy)
    prediction = session.prediction_of(session.current)
    if prediction is None or not annotation.corrects or not prediction.expected_error.size:
        return one
    rows = {name: i for i, name in enumerate(prediction.names)}
    errors, ellipse = np.zeros(len(one.names)), np.zeros((len(one.names), 3))
    for k, name in enumerate(one.names):
        row = rows.get(name)
        if row is not None and np.allclose(prediction.xy[row], annotation.xy[k]):
            errors[k] = prediction.expected_error[row]
            ellipse[k] = prediction.ellipse[row] if prediction.ellipse.size else np.nan
    return replace(
        one, score=np.ones(len(errors)), expected_error=errors, unit=prediction.unit, ellipse=ellipse
    )


def measure_column(sets: Iterable[LandmarkSet], cohort: Cohort, chosen: MeasurementSet, name: str) -> Column:
    """Measure one thing on every radiograph. Reads image headers, so call it outside the GUI thread."""
    from onemark.measurement.live import read_values

    sets = list(sets)
    spacings = {one.image: cohort.spacing(one.image) for one in sets}
    units, values = read_values(sets, chosen, name, spacings)
    known = {one.image: float(v) for one, v in zip(sets, values, strict=True) if np.isfinite(v)}
    return Column(name, units.pop() if len(units) == 1 else "", known)
