"""One radiograph at a time, for a surface that follows a point while it is dragged. No pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onemark.data.images.spacing import Spacing
from onemark.measurement.drawing import Stroke, draw
from onemark.measurement.formulas.duals import Floats
from onemark.measurement.formulas.geometry import Scene
from onemark.measurement.sets.schema import Measurement, MeasurementSet
from onemark.measurement.table import block_of
from onemark.measurement.values import Ellipses, Points, gather_points
from onemark.types import LandmarkSet


@dataclass(frozen=True, eq=False)
class Reading:
    """One measurement of one radiograph; numbers are NaN where there are none.

    Attributes:
        name: The measurement.
        value: In `unit`.
        unit: `deg`, `mm`, `px` and so on.
        standard_error: Of the value.
        low: Lower end of the interval.
        high: Upper end.
        z: Standard deviations from the norm.
        class_name: Name of the class; empty where there is none.
        flag: What is wrong, such as `Go doubtful`; empty when nothing is.
        strokes: What to draw.
    """

    name: str
    value: float
    unit: str
    standard_error: float
    low: float
    high: float
    z: float
    class_name: str
    flag: str
    strokes: tuple[Stroke, ...]


def read_measurements(
    landmarks: LandmarkSet,
    measurements: MeasurementSet,
    spacing: Spacing | None = None,
    *,
    coverage: float = 0.95,
    doubtful: float | None = None,
    ellipses: Ellipses | None = None,
    with_strokes: bool = True,
) -> tuple[Reading, ...]:
    """Measure one radiograph.

    Args:
        landmarks: Its landmarks, in pixels. Points without an expected error get no interval.
        measurements: A set, from `load_set`.
        spacing: `(x, y)` mm per pixel; None: unknown, lengths and expected errors are in pixels.
        coverage: As for `measure`.
        doubtful: As for `measure`.
        ellipses: As for `measure`.
        with_strokes: Whether to say what to draw.

    Raises:
        UserError: none of the landmarks belongs to the set.
    """
    points = gather_points(
        [landmarks], measurements, {landmarks.image: spacing}, doubtful=doubtful, ellipses=ellipses
    )
    scene = measurements.scene(points.xy)
    scale = np.array([1.0, 1.0]) if spacing is None else 1 / np.array(spacing)
    return tuple(
        _reading(one, measurements, points, scene, coverage, scale if with_strokes else None)
        for one in measurements.measurements
    )


def read_values(
    sets: Sequence[LandmarkSet],
    measurements: MeasurementSet,
    name: str,
    spacings: Mapping[str, Spacing | None],
) -> tuple[set[str], Floats]:
    """One measurement of many radiographs, without intervals.

    Args:
        sets: `N` landmark sets in pixels; those of the same names are measured together.
        measurements: A set, from `load_set`.
        name: The measurement.
        spacings: Image -> `(x, y)` mm per pixel, or None where unknown.

    Returns:
        The units that occur, and `[N]` values, NaN where a landmark is missing.

    Raises:
        UserError: none of the landmarks belongs to the set.
    """
    one, values, units = measurements[name], np.full(len(sets), np.nan), set[str]()
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, landmarks in enumerate(sets):
        groups.setdefault(landmarks.names, []).append(row)
    for rows in groups.values():
        bare = [LandmarkSet(sets[row].image, sets[row].names, sets[row].xy) for row in rows]
        points = gather_points(bare, measurements, spacings)
        block = block_of(one, measurements, points, measurements.scene(points.xy, slopes=False), 0.95)
        values[rows] = block["value"]
        units |= {str(unit) for unit in block["unit"]}
    return units, values


def _reading(
    one: Measurement,
    measurements: MeasurementSet,
    points: Points,
    scene: Scene,
    coverage: float,
    scale: Floats | None,
) -> Reading:
    block = block_of(one, measurements, points, scene, coverage)
    seen = all(name in points.xy for name in one.needs)
    strokes = draw(one, measurements, scene, scale) if seen and scale is not None else ()
    numbers = {key: float(block[key][0]) for key in ("value", "standard_error", "low", "high", "z")}
    words = {
        "unit": str(block["unit"][0]),
        "flag": str(block["flag"][0]),
        "class_name": str(block["class"][0]),
    }
    return Reading(name=one.name, strokes=strokes, **numbers, **words)  # type: ignore[arg-type]
