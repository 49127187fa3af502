"""From the covariances of points to the standard error and the interval of a measurement.

To first order, var f = sum over landmarks of g' C g, where g is the slope of the measurement by the landmark's two
coordinates and C the landmark's covariance; errors of different landmarks are taken as independent. Where the formula
bends too much over the spread of its points, such as the distance of two points that lie closer than their errors, the
distribution is sampled instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from onemark.measurement.formulas.duals import Dual, Floats
from onemark.measurement.formulas.geometry import unwrapped
from onemark.measurement.formulas.grammar import Name
from onemark.measurement.sets.schema import Measurement, MeasurementSet

FIRST_ORDER, SAMPLED, UNKNOWN = "first order", "sampled", ""
BEND = 0.06
"""Second-order shift or change of slope, in standard errors, from which on the distribution is sampled."""
MOST_DRAWS, FEWEST_DRAWS, ALL_DRAWS, AT_ONCE = 10_000, 512, 1_000_000, 65_536


@dataclass(frozen=True, eq=False)
class Spread:
    """How far a measurement `[N]` may be off.

    Attributes:
        standard_error: `[N]`, NaN where a landmark's covariance is unknown.
        low: `[N]` lower end of the interval.
        high: `[N]` upper end.
        method: `[N]` `first order`, `sampled`, or empty where it is unknown.
    """

    standard_error: Floats
    low: Floats
    high: Floats
    method: NDArray[np.object_]


def spread_of(
    dual: Dual,
    measurement: Measurement,
    measurements: MeasurementSet,
    xy: Mapping[str, Floats],
    covariance: Mapping[str, Floats],
    coverage: float,
) -> Spread:
    """Standard error and interval of a measurement.

    Args:
        dual: The measurement `[N]` with its slopes, from a scene of `xy`.
        measurement: Which one it is.
        measurements: The set it belongs to.
        xy: Symbol -> `[N, 2]`; its order is that of the slopes' coordinates.
        covariance: Symbol -> `[N, 2, 2]`.
        coverage: Share of the distribution that the interval holds, such as 0.95.
    """
    error = np.sqrt(first_order_variance(dual, list(xy), covariance))
    reach = NormalDist().inv_cdf(0.5 + coverage / 2) * error
    method = np.where(np.isfinite(error), FIRST_ORDER, UNKNOWN).astype(object)
    result = Spread(error, dual.value - reach, dual.value + reach, method)
    known = np.all([np.isfinite(covariance[name]).all(axis=(1, 2)) for name in measurement.needs], axis=0)
    rows = np.flatnonzero(known & np.isfinite(dual.value))
    if len(rows):
        some: NDArray[np.intp] | slice = slice(None) if len(rows) == len(known) else rows
        near = {name: xy[name][some] for name in measurement.needs}
        wide = {name: covariance[name][some] for name in measurement.needs}
        value, near_error = dual.value[some], error[some]
        bends = _bends(measurement, measurements, near, wide, value, near_error)
        steps = steepest_steps(dual, list(xy), covariance, error)
        steps = {name: step[some] for name, step in steps.items()}
        bends |= _folds(measurement, measurements, near, steps, value, near_error)
        bent = rows[bends]
        if len(bent):
            _sample_into(result, bent, dual.value, measurement, measurements, xy, covariance, coverage)
    return result


def first_order_variance(dual: Dual, names: list[str], covariance: Mapping[str, Floats]) -> Floats:
    """Variance `[N]` of a number from its slopes; `names` in the order of the slopes' coordinates."""
    total = np.zeros(len(dual.value))
    for k, name in enumerate(names):
        slopes = dual.slopes.get(2 * k), dual.slopes.get(2 * k + 1)
        for i, one in enumerate(slopes):
            for j, other in enumerate(slopes):
                if one is not None and other is not None:
                    total += one * other * covariance[name][:, i, j]
    return np.where(np.isfinite(dual.value), total, np.nan)


def steepest_steps(
    dual: Dual, names: list[str], covariance: Mapping[str, Floats], error: Floats
) -> dict[str, Floats]:
    """Symbol -> `[N, 2]`: the likeliest moves that together change a number by its standard error, C g / error."""
    steps = {}
    for k, name in enumerate(names):
        slopes = [dual.slopes.get(2 * k + axis) for axis in (0, 1)]
        if all(one is None for one in slopes):
            continue
        g = np.stack([np.zeros(len(error)) if one is None else one for one in slopes], axis=1)
        with np.errstate(all="ignore"):
            steps[name] = np.nan_to_num((covariance[name] * g[:, None, :]).sum(axis=2) / error[:, None])
    return steps


def sample_values(
    measurement: Measurement,
    measurements: MeasurementSet,
    xy: Mapping[str, Floats],
    covariance: Mapping[str, Floats],
    normals: Floats,
) -> Floats:
    """Values `[N, D]` of a measurement with D draws of its landmarks around `xy`.

    Args:
        measurement: Which one.
        measurements: The set it belongs to.
        xy: Symbol -> `[N, 2]` of the landmarks it needs.
        covariance: Symbol -> `[N, 2, 2]`.
        normals: `[D, 2 L]` standard normal draws, two for each of the L landmarks that it needs.
    """
    drawn: dict[str, Floats] = {}
    for k, name in enumerate(measurement.needs):
        root, centre = _root(covariance[name]), xy[name]
        first, second = normals[:, 2 * k], normals[:, 2 * k + 1]
        # x and y each in one piece: every later step reads them apart.
        moved = np.empty((2, len(centre), len(normals)))
        for axis in (0, 1):
            np.multiply(root[:, axis, :1], first, out=moved[axis])
            if axis == 1:
                moved[axis] += root[:, axis, 1:] * second
            moved[axis] += centre[:, axis, None]
        drawn[name] = moved.reshape(2, -1).T
    return _value(measurement, measurements, drawn).reshape(-1, len(normals))


def draw_normals(draws: int, landmarks: int) -> Floats:
    """`[draws, 2 * landmarks]` standard normal numbers, the same at every call; each comes with its negative."""
    half = np.random.default_rng(0).standard_normal(((draws + 1) // 2, 2 * landmarks))
    return np.concatenate([half, -half])


def _bends(
    measurement: Measurement,
    measurements: MeasurementSet,
    xy: Mapping[str, Floats],
    covariance: Mapping[str, Floats],
    value: Floats,
    error: Floats,
) -> NDArray[np.bool_]:
    """Whether one standard deviation along each landmark's axes shows that the formula is not straight enough."""
    shift, variance = np.zeros(len(value)), np.zeros(len(value))
    for name in measurement.needs:
        root = _root(covariance[name])
        for axis in (0, 1):
            step = root[:, :, axis]
            ahead = _value(measurement, measurements, {**xy, name: xy[name] + step})
            behind = _value(measurement, measurements, {**xy, name: xy[name] - step})
            shift += np.abs(ahead + behind - 2 * value) / 2
            variance += ((ahead - behind) / 2) ** 2
    off = np.abs(np.sqrt(variance) - error)
    return np.asarray(~((shift <= BEND * error) & (off <= BEND * error)))


def _folds(
    measurement: Measurement,
    measurements: MeasurementSet,
    xy: Mapping[str, Floats],
    steps: Mapping[str, Floats],
    value: Floats,
    error: Floats,
) -> NDArray[np.bool_]:
    """Whether the formula leaves its slope within three standard errors, as an angle does that reaches 180 degrees."""
    bent = np.zeros(len(value), bool)
    for way in (3.0, -3.0):
        moved = {name: one + way * steps[name] if name in steps else one for name, one in xy.items()}
        off = np.abs(_value(measurement, measurements, moved) - value - way * error)
        bent |= ~(off <= 9 * BEND * error)
    return bent


def _sample_into(
    spread: Spread,
    rows: NDArray[np.intp],
    value: Floats,
    measurement: Measurement,
    measurements: MeasurementSet,
    xy: Mapping[str, Floats],
    covariance: Mapping[str, Floats],
    coverage: float,
) -> None:
    draws = int(np.clip(ALL_DRAWS // len(rows), FEWEST_DRAWS, MOST_DRAWS))
    normals = draw_normals(draws, len(measurement.needs))
    step = max(1, AT_ONCE // len(normals))  # so many numbers stay in the processor's cache
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        near, wide = ({name: one[name][some] for name in measurement.needs} for one in (xy, covariance))
        values = sample_values(measurement, measurements, near, wide, normals)
        if measurement.unit == "deg":
            values = unwrapped(values, value[some, None])
        ends = np.quantile(values, (0.5 - coverage / 2, 0.5 + coverage / 2), axis=1)
        spread.low[some], spread.high[some] = ends
        spread.standard_error[some] = values.std(axis=1)
    spread.method[rows] = SAMPLED


def _value(measurement: Measurement, measurements: MeasurementSet, xy: Mapping[str, Floats]) -> Floats:
    with np.errstate(all="ignore"):
        return measurements.scene(xy, slopes=False).number(Name(measurement.name, 0)).value


def _root(covariance: Floats) -> Floats:
    """`[N, 2, 2]` lower triangles (Cholesky) whose columns are conjugate steps of one standard deviation."""
    a, b, d = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    with np.errstate(all="ignore"):
        first = np.sqrt(a)
        low = np.where(first > 0, b / first, 0.0)
        last = np.sqrt(np.maximum(d - low**2, 0.0))
    root = np.zeros_like(covariance)
    root[:, 0, 0], root[:, 1, 0], root[:, 1, 1] = first, low, last
    return root
