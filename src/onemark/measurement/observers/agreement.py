"""Two or more landmark tables of the same radiographs, compared: by landmark, and by measurement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onemark.data.images.spacing import Spacing
from onemark.data.landmarks.table import LandmarkTable
from onemark.measurement.formulas.geometry import unwrapped
from onemark.measurement.observers.reliability import (
    Floats,
    compare,
    holm,
    hotelling,
    intraclass,
    scatter_ellipse,
)
from onemark.measurement.sets import MeasurementSet, load_set
from onemark.measurement.table import measure
from onemark.measurement.values import spacings_of
from onemark.types import LandmarkSet, UserError

if TYPE_CHECKING:
    import pandas

    from onemark.data.cohort import Cohort


@dataclass(frozen=True, eq=False)
class Readings:
    """The same radiographs read by several observers.

    Attributes:
        observers: O names.
        images: N names that all observers read.
        landmarks: K names that all observers used.
        xy: `[O, N, K, 2]` in px, NaN where not visible.
        scaled: The same in `unit`.
        unit: `mm` when the spacing of all radiographs is known, else `px`.
        spacings: Image -> spacing, or None where nothing was said about it.
        left_out: What only some observers have, for people.
    """

    observers: tuple[str, ...]
    images: tuple[str, ...]
    landmarks: tuple[str, ...]
    xy: Floats
    scaled: Floats
    unit: str
    spacings: Mapping[str, Spacing | None] | None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Agreement:
    """How observers agree; every p-value of bias is there as it is and corrected for their number (Holm).

    Attributes:
        readings: What was compared.
        points: A row per pair of observers and landmark, and one for all landmarks together.
        measurements: A row per pair and measurement; empty without a set.
        reliability: A row per landmark coordinate and measurement: ICC(2,1) and ICC(3,1) over all observers.
        values: Measurement -> `[N, O]` its values; all angles of one lie within half a turn of the first one.
        units: Measurement -> unit.
    """

    readings: Readings
    points: pandas.DataFrame
    measurements: pandas.DataFrame
    reliability: pandas.DataFrame
    values: Mapping[str, Floats] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


def agree(
    tables: Mapping[str, LandmarkTable],
    measurements: str | Path | MeasurementSet | None = None,
    cohort: Cohort | None = None,
    *,
    spacing_mm: float | tuple[float, float] | Mapping[str, float | Spacing | None] | None = None,
) -> Agreement:
    """Compare observers.

    Args:
        tables: Observer -> landmarks. A model's predictions are one more observer.
        measurements: A set whose measurements are compared as well.
        cohort: The radiographs, for their spacing.
        spacing_mm: mm per pixel instead.

    Raises:
        UserError: fewer than two observers, or no image or landmark that all of them have.
    """
    import pandas

    chosen = None if measurements is None else load_set(measurements)
    readings = align_readings(tables, cohort, spacing_mm)
    values, units = ({}, {}) if chosen is None else _measured(readings, chosen)
    points = pandas.DataFrame(list(_point_rows(readings)))
    by_value = pandas.DataFrame(list(_value_rows(readings, values, units)))
    for frame in (points, by_value):
        if len(frame):
            frame["bias_p_holm"] = holm(frame["bias_p"].tolist())
    reliability = pandas.DataFrame(list(_reliability_rows(readings, values)))
    return Agreement(readings, points, by_value, reliability, values, units)


def align_readings(
    tables: Mapping[str, LandmarkTable],
    cohort: Cohort | None = None,
    spacing_mm: float | tuple[float, float] | Mapping[str, float | Spacing | None] | None = None,
) -> Readings:
    """The images and landmarks that all observers have, in the first one's order.

    Raises:
        UserError: fewer than two observers, or nothing that all of them have.
    """
    if len(tables) < 2:
        raise UserError("agreement needs at least two observers; give two landmark files or more")
    first = next(iter(tables.values()))
    images = tuple(image for image in first.images if all(image in table for table in tables.values()))
    names = tuple(name for name in first.names if all(name in table.names for table in tables.values()))
    for what, common, of in (("image", images, "images"), ("landmark", names, "names")):
        if not common:
            firsts = ", ".join(repr(next(iter(getattr(table, of)), "nothing")) for table in tables.values())
            raise UserError(
                f"the observers have no {what} in common (the first ones are {firsts}); name them alike"
            )
    xy = np.stack([_positions(table, images, names) for table in tables.values()])
    spacings = spacings_of((first[image] for image in images), cohort, spacing_mm)
    scale = [(spacings or {}).get(image) for image in images]
    known = [one for one in scale if one is not None]
    is_mm = len(known) == len(images)
    scaled = xy * np.array(known)[:, None, :] if is_mm else xy
    left_out = tuple(_left_out(tables, images, names))
    return Readings(tuple(tables), images, names, xy, scaled, "mm" if is_mm else "px", spacings, left_out)


def _positions(table: LandmarkTable, images: tuple[str, ...], names: tuple[str, ...]) -> Floats:
    at = [table.names.index(name) for name in names]
    return np.stack([table[image].xy[at] for image in images])


def _left_out(
    tables: Mapping[str, LandmarkTable], images: tuple[str, ...], names: tuple[str, ...]
) -> Iterator[str]:
    for observer, table in tables.items():
        for what, theirs, common in (("images", table.images, images), ("landmarks", table.names, names)):
            more = [one for one in theirs if one not in common]
            if more:
                yield f"{observer}: {len(more)} {what} that not all observers have, such as {more[0]!r}"


def _point_rows(readings: Readings) -> Iterator[dict[str, Any]]:
    for a, b in combinations(range(len(readings.observers)), 2):
        difference = readings.scaled[b] - readings.scaled[a]
        pair = {"first": readings.observers[a], "second": readings.observers[b]}
        for k, name in enumerate(readings.landmarks):
            yield pair | {"landmark": name, "unit": readings.unit} | _plane(difference[:, k], tests=True)
        pooled = difference.reshape(-1, 2)
        yield pair | {"landmark": "all", "unit": readings.unit} | _plane(pooled, tests=False)


def _plane(difference: Floats, tests: bool) -> dict[str, Any]:
    """Numbers of differences `[N, 2]`; landmarks together are not tested, since they differ in bias and scatter."""
    difference = difference[np.isfinite(difference).all(axis=1)]
    count = len(difference)
    distance = np.hypot(*difference.T)
    spread = difference.std(axis=0, ddof=1) if count > 1 else np.full(2, np.nan)
    mean = difference.mean(axis=0) if count else np.full(2, np.nan)
    return {
        "n": count,
        "dx_mean": mean[0],
        "dy_mean": mean[1],
        "dx_sd": spread[0],
        "dy_sd": spread[1],
        "distance_mean": distance.mean() if count else np.nan,
        "distance_sd": distance.std(ddof=1) if count > 1 else np.nan,
        "dahlberg": np.sqrt((distance**2).sum() / (2 * count)) if count else np.nan,
        **_tests(difference if tests else None),
    }


def _tests(difference: Floats | None) -> dict[str, Any]:
    major, minor, angle = (np.nan,) * 3 if difference is None else scatter_ellipse(difference)
    bias = np.nan if difference is None else hotelling(difference)
    return {"ellipse_major": major, "ellipse_minor": minor, "ellipse_angle": angle, "bias_p": bias}


def _value_rows(
    readings: Readings, values: Mapping[str, Floats], units: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    for a, b in combinations(range(len(readings.observers)), 2):
        for name, both in values.items():
            found = asdict(compare(both[:, a], both[:, b], is_angle=units[name] == "deg"))
            yield {
                "first": readings.observers[a],
                "second": readings.observers[b],
                "measurement": name,
                "unit": units[name],
                "n": found.pop("count"),
                "mean_difference": found.pop("mean"),
                "sd": found.pop("sd"),
                "dahlberg": found.pop("dahlberg"),
                "limit_low": found.pop("low"),
                "limit_high": found.pop("high"),
                **found,
            }


def _reliability_rows(readings: Readings, values: Mapping[str, Floats]) -> Iterator[dict[str, Any]]:
    for k, name in enumerate(readings.landmarks):
        for axis, letter in enumerate("xy"):
            yield {"what": name, "kind": letter} | _icc(readings.scaled[:, :, k, axis].T)
    for name, both in values.items():
        yield {"what": name, "kind": "measurement"} | _icc(both)


def _icc(ratings: Floats) -> dict[str, Any]:
    agreement, consistency = intraclass(ratings)
    complete = int(np.isfinite(ratings).all(axis=1).sum())
    row: dict[str, Any] = {"n": complete, "observers": ratings.shape[1]}
    for short, one in (("icc2_1", agreement), ("icc3_1", consistency)):
        row |= {short: one.value, f"{short}_low": one.low, f"{short}_high": one.high}
    return row


def _measured(readings: Readings, chosen: MeasurementSet) -> tuple[dict[str, Floats], dict[str, str]]:
    count, many = len(readings.images), len(chosen.measurements)
    spacings: Mapping[str, Spacing | None] = (readings.spacings or {}) if readings.unit == "mm" else {}
    columns = []
    for xy in readings.xy:
        sets = (LandmarkSet(i, readings.landmarks, one) for i, one in zip(readings.images, xy, strict=True))
        frame = measure(sets, chosen, spacing_mm=spacings)
        columns.append(frame["value"].to_numpy(float).reshape(count, many))
    stacked = np.stack(columns, axis=-1)
    units = dict(zip(frame["measurement"][:many], frame["unit"][:many], strict=True))
    kept = {
        one.name: _on_one_branch(stacked[:, k]) if one.unit == "deg" else stacked[:, k]
        for k, one in enumerate(chosen.measurements)
        if np.isfinite(stacked[:, k]).all(axis=1).any()
    }
    return kept, {name: units[name] for name in kept}


def _on_one_branch(degrees: Floats) -> Floats:
    """Readings `[N, O]` without the jump at 180 degrees, which correlations and plots would take for a difference."""
    return unwrapped(degrees, float(degrees[np.isfinite(degrees)][0]))
