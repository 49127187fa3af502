"""Measure a landmark table: a tidy or a wide data frame of values with intervals, z-scores, classes and flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onemark.data.images.spacing import Spacing
from onemark.measurement.corrected import find_placed, fit_to_corrections
from onemark.measurement.formulas.duals import Dual, Floats
from onemark.measurement.formulas.geometry import Scene
from onemark.measurement.formulas.grammar import Name
from onemark.measurement.sets import Measurement, MeasurementSet, load_set
from onemark.measurement.uncertainty import Spread, spread_of
from onemark.measurement.values import Ellipses, Points, gather_points, spacings_of
from onemark.types import LandmarkSet, UserError

if TYPE_CHECKING:
    import pandas

    from onemark.data.cohort import Cohort

COLUMNS = (
    "image",
    "measurement",
    "value",
    "unit",
    "standard_error",
    "low",
    "high",
    "interval",
    "z",
    "class",
    "flag",
)
_IN_PX = {"mm": "px", "mm2": "px2"}


def measure(
    table: Iterable[LandmarkSet],
    measurements: str | Path | MeasurementSet = "isbi19",
    cohort: Cohort | None = None,
    *,
    spacing_mm: float | tuple[float, float] | Mapping[str, float | Spacing | None] | None = None,
    coverage: float = 0.95,
    doubtful: float | None = None,
    ellipses: Ellipses | None = None,
    corrected: Iterable[LandmarkSet] = (),
) -> pandas.DataFrame:
    """Measure every radiograph of a landmark table.

    Args:
        table: The landmarks.
        measurements: Name of a shipped set, a TOML file, or a set.
        cohort: The radiographs, for their spacing.
        spacing_mm: mm per pixel instead: one number, `(x, y)`, or image -> either. Without it and a cohort lengths
            are in px, and there are intervals only where the table says that its expected errors are in px.
        coverage: Share that the intervals hold if the errors are as expected.
        doubtful: Expected error, in mm or px, above which a landmark is doubtful; 4 mm by default, or twice the
            landmark's median in px.
        ellipses: (image, landmark) -> `sd_major`, `sd_minor`, angle; instead of the expected error.
        corrected: Points that a person placed on some of these radiographs, whose predictions `table` holds. Their
            errors give the intervals then (`onemark.measurement.corrected`). Sets with expected errors do not count.

    Returns:
        One row per radiograph and measurement: `image, measurement, value, unit, standard_error, low, high, interval,
        z, class, flag`. A value is empty where a landmark it needs is missing, not visible or was not asked for; `flag`
        says which.
        Lengths are in mm where the spacing is known, else px, and then have neither z nor class.

    Raises:
        UserError: an unknown set or a mistake in it, no landmark in common, a coverage that is no share, too few
            corrected radiographs for it.
    """
    if not 0 < coverage < 1:
        raise UserError(f"a coverage of {coverage}; give a share between 0 and 1, such as 0.95")
    chosen, sets = load_set(measurements), tuple(table)
    spacings = spacings_of(sets, cohort, spacing_mm)
    points = gather_points(sets, chosen, spacings, doubtful=doubtful, ellipses=ellipses)
    frame = _frame(points, chosen, coverage)
    placed = find_placed(sets, corrected)
    if not placed:
        return frame
    true = gather_points(placed, chosen, spacings, doubtful=doubtful)
    return fit_to_corrections(frame, _frame(true, chosen, coverage), coverage)


def widen(frame: pandas.DataFrame) -> pandas.DataFrame:
    """A measured frame with one row per radiograph.

    Returns:
        `image`, then for each measurement `NAME_UNIT`, `NAME_se`, `NAME_low`, `NAME_high`, `NAME_z`, `NAME_class` where
        any radiograph has one, and `flags`. Lengths of radiographs without a spacing stand in columns of px.
    """
    import pandas

    images = list(dict.fromkeys(frame["image"]))
    columns: dict[str, pandas.Series] = {}
    for name, rows in frame.groupby("measurement", sort=False):
        for unit, some in rows.groupby("unit", sort=False):
            suffix = {"": "", "%": "_percent"}.get(str(unit), f"_{unit}")
            columns[f"{name}{suffix}"] = some.set_index("image")["value"]
        by_image = rows.set_index("image")
        shorts = {"standard_error": "se", "low": "low", "high": "high", "z": "z", "class": "class"}
        for column, short in shorts.items():
            if by_image[column].notna().any() and (by_image[column] != "").any():
                columns[f"{name}_{short}"] = by_image[column]
    flagged = frame[frame["flag"] != ""].groupby("image")["flag"]
    columns["flags"] = flagged.agg(lambda all_: "; ".join(dict.fromkeys("; ".join(all_).split("; "))))
    wide = pandas.DataFrame(columns).reindex(images)
    wide["flags"] = wide["flags"].fillna("")
    return wide.rename_axis("image").reset_index()


def block_of(
    one: Measurement, measurements: MeasurementSet, points: Points, scene: Scene, coverage: float
) -> dict[str, Any]:
    """The columns of one measurement, by name, each `[N]`; `scene` is the set's own of these points."""
    if not all(name in points.xy for name in one.needs):
        nothing = np.full(len(points.images), np.nan)
        unknown = Spread(nothing, nothing, nothing, np.full(len(nothing), "", object))
        return _columns(one, nothing, unknown, points)
    with np.errstate(all="ignore"):
        dual = _visible(scene.number(Name(one.name, 0)), one, points)
        spread = spread_of(dual, one, measurements, points.xy, points.covariance, coverage)
    return _columns(one, dual.value, spread, points)


def _frame(points: Points, chosen: MeasurementSet, coverage: float) -> pandas.DataFrame:
    import pandas

    scene = chosen.scene(points.xy)
    blocks = [block_of(one, chosen, points, scene, coverage) for one in chosen.measurements]
    # Image by image, in the order of the table: the blocks are measurement by measurement.
    joined = {key: np.stack([block[key] for block in blocks], axis=1).ravel() for key in COLUMNS}
    return pandas.DataFrame(joined, columns=list(COLUMNS))


def _visible(dual: Dual, one: Measurement, points: Points) -> Dual:
    seen = np.all([np.isfinite(points.xy[name]).all(axis=1) for name in one.needs], axis=0)
    return Dual(np.where(seen & np.isfinite(dual.value), dual.value, np.nan), dual.slopes)


def _columns(one: Measurement, value: Floats, spread: Spread, points: Points) -> dict[str, Any]:
    units = np.full(len(value), one.unit, object)
    comparable = np.full(len(value), True)
    if one.length:
        units[~points.is_mm] = _IN_PX[one.unit]
        comparable = points.is_mm
    judged = np.where(comparable, value, np.nan)
    z = np.full(len(value), np.nan) if one.norm is None else (judged - one.norm.mean) / one.norm.sd
    return {
        "image": np.array(points.images, object),
        "measurement": np.full(len(value), one.name, object),
        "value": value,
        "unit": units,
        "standard_error": spread.standard_error,
        "low": spread.low,
        "high": spread.high,
        "interval": spread.method,
        "z": z,
        "class": np.array(one.classify(judged), object),
        "flag": _flags(one, value, points),
    }


def _flags(one: Measurement, value: Floats, points: Points) -> NDArray[np.object_]:
    flags = np.full(len(value), "", object)
    missing = [name for name in one.needs if name not in points.xy]
    if missing:
        flags[:] = f"{', '.join(missing)} not in the table"
        return flags
    explained = np.isfinite(value)
    for name in one.needs:
        nowhere, asked = ~np.isfinite(points.xy[name]).all(axis=1), points.asked[name]
        explained |= nowhere
        reasons = {
            "not asked": nowhere & ~asked,
            "not visible": nowhere & asked,
            "doubtful": points.doubtful[name],
        }
        for what, told in reasons.items():
            flags[told] = [f"{before}; {name} {what}".removeprefix("; ") for before in flags[told]]
    flags[~explained] = "undefined: two points coincide or two lines are parallel"
    return flags
