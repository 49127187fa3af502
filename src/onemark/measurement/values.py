"""Landmark tables as arrays: positions, covariances and what is known of them, in mm where the spacing is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onemark.data.images.spacing import Spacing, given
from onemark.data.keys import image_key
from onemark.imaging.ellipses import make_round, to_covariance
from onemark.measurement.formulas.duals import Floats
from onemark.measurement.sets.schema import MeasurementSet
from onemark.types import LandmarkSet, UserError

DOUBTFUL_MM = 4.0
"""An expected error above this makes a landmark doubtful: the loosest limit of the usual detection rates."""
DOUBTFUL_TIMES = 2.0
"""Where the spacing is unknown: more than this many times the landmark's median expected error."""

Ellipses = Mapping[tuple[str, str], tuple[float, float, float]]
"""(image, landmark) -> `sd_major`, `sd_minor` and the angle of the major axis in degrees, from +x towards +y."""


@dataclass(frozen=True, eq=False)
class Points:
    """The landmarks of N radiographs that a set of measurements knows.

    Attributes:
        images: N names.
        names: Symbol -> the table's own name of the landmark.
        xy: Symbol -> `[N, 2]` in mm where the spacing is known, else px; NaN where not visible or not asked for.
        covariance: Symbol -> `[N, 2, 2]` in the square of the same unit; NaN where unknown.
        doubtful: Symbol -> `[N]` whether its expected error is large.
        asked: Symbol -> `[N]` whether a person or the model was asked for it.
        is_mm: `[N]` whether the spacing is known.
    """

    images: tuple[str, ...]
    names: Mapping[str, str]
    xy: Mapping[str, Floats]
    covariance: Mapping[str, Floats]
    doubtful: Mapping[str, NDArray[np.bool_]]
    asked: Mapping[str, NDArray[np.bool_]]
    is_mm: NDArray[np.bool_]


def gather_points(
    sets: Iterable[LandmarkSet],
    measurements: MeasurementSet,
    spacings: Mapping[str, Spacing | None] | None,
    *,
    doubtful: float | None = None,
    ellipses: Ellipses | None = None,
) -> Points:
    """The landmarks of a table that a set of measurements knows.

    Args:
        sets: The table, or sets that all have the same names.
        measurements: Which landmarks are asked for, and under which names.
        spacings: Image -> `(x, y)` mm per pixel or None where there is none. None as a whole: the spacing was not
            asked for, so that errors count only where a set says that they are in px.
        doubtful: A landmark whose expected error is above this, in mm or px, is doubtful; by default `DOUBTFUL_MM`, or
            `DOUBTFUL_TIMES` its median in px.
        ellipses: Covariances, where a table has them; they go before the expected error.

    Raises:
        UserError: no landmark in common, or no radiographs.
    """
    sets = tuple(sets)
    if not sets:
        raise UserError("the landmark table is empty; there is nothing to measure")
    matched = measurements.match_names(sets[0].names)
    column = {name: k for k, name in enumerate(sets[0].names)}
    at = [column[name] for name in matched.values()]
    scale = np.array([(spacings or {}).get(one.image) or (np.nan, np.nan) for one in sets], float)
    is_mm = np.isfinite(scale[:, 0])
    xy = np.stack([one.xy[at] for one in sets]) * np.where(is_mm[:, None], scale, 1.0)[:, None, :]
    xy[~np.isfinite(xy).all(axis=2)] = np.nan
    errors = np.stack(
        [one.expected_error[at] if one.expected_error.size else np.full(len(at), np.nan) for one in sets]
    )
    covariance = to_covariance(make_round(errors))
    _lay_ellipses(covariance, sets, list(matched.values()), ellipses)
    factor = _error_factors(sets, spacings, scale)
    errors *= factor.mean(axis=1)[:, None]
    covariance *= (factor[:, :, None] * factor[:, None, :])[:, None]
    suspicious = _is_doubtful(errors, is_mm, doubtful)
    # Each coordinate of each landmark in one piece of memory: formulas read them one by one.
    xy, covariance = _by_coordinate(xy), _by_coordinate(covariance)
    asked = np.stack([one.answered[at] for one in sets])
    by_symbol = {symbol: k for k, symbol in enumerate(matched)}
    return Points(
        tuple(one.image for one in sets),
        matched,
        {s: xy[:, k] for s, k in by_symbol.items()},
        {s: covariance[:, k] for s, k in by_symbol.items()},
        {s: suspicious[:, k] for s, k in by_symbol.items()},
        {s: asked[:, k] for s, k in by_symbol.items()},
        is_mm,
    )


def spacings_of(
    sets: Iterable[LandmarkSet],
    cohort: object | None,
    spacing_mm: float | tuple[float, float] | Mapping[str, float | Spacing | None] | None,
) -> dict[str, Spacing | None] | None:
    """Image -> spacing in mm per pixel; None when neither a cohort nor a spacing is given.

    Raises:
        UserError: an image is not in the cohort, its file cannot be read, or the spacing is no positive number.
    """
    from onemark.data.cohort import Cohort

    images = [one.image for one in sets]
    if isinstance(spacing_mm, Mapping):
        known = {image_key(image): given(spacing) for image, spacing in spacing_mm.items()}
        return {image: known.get(image_key(image)) for image in images}
    if spacing_mm is not None:
        return dict.fromkeys(images, given(spacing_mm))
    if isinstance(cohort, Cohort):
        return {image: cohort.header(image).spacing for image in images}
    return None


def _by_coordinate(values: Floats) -> Floats:
    """The same array `[N, K, ...]` whose memory runs along N."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, -1)), -1, 0)


def _lay_ellipses(
    covariance: Floats, sets: tuple[LandmarkSet, ...], names: list[str], ellipses: Ellipses | None
) -> None:
    for row, one in enumerate(sets):
        axes = _own_axes(one) if ellipses is None else {n: ellipses.get((one.image, n)) for n in names}
        for k, name in enumerate(names):
            found = axes.get(name)
            if found is not None and np.isfinite(found).all():
                covariance[row, k] = to_covariance(np.array(found))


def _own_axes(one: LandmarkSet) -> Mapping[str, tuple[float, float, float] | None]:
    # Where a set has ellipses, they say more than its expected errors do.
    rows = one.ellipse.tolist() or [None] * len(one.names)
    return {name: row and (row[0], row[1], row[2]) for name, row in zip(one.names, rows, strict=True)}


def _error_factors(
    sets: Sequence[LandmarkSet], spacings: Mapping[str, Spacing | None] | None, scale: Floats
) -> Floats:
    """What errors along x and y are multiplied by to be in the unit of the points, `[N, 2]`; NaN where that is unknown.

    A set that does not state its unit has the one that its radiograph's spacing gives it, as predictions have.
    """
    factors = np.ones((len(sets), 2))
    for row, one in enumerate(sets):
        known = bool(np.isfinite(scale[row]).all())
        if one.unit == "px" and known:
            factors[row] = scale[row]
        elif (one.unit == "mm" and not known) or (not one.unit and spacings is None):
            factors[row] = np.nan
    return factors


def _is_doubtful(errors: Floats, is_mm: NDArray[np.bool_], limit: float | None) -> NDArray[np.bool_]:
    if limit is not None:
        return np.asarray(errors > limit)
    limits = np.full(errors.shape, DOUBTFUL_MM)
    in_px = errors[~is_mm]
    for k in np.flatnonzero(np.isfinite(in_px).any(axis=0)):
        limits[~is_mm, k] = DOUBTFUL_TIMES * np.nanmedian(in_px[:, k])
    return np.asarray(errors > limits)
