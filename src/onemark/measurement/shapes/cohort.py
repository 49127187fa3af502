"""The shapes of a cohort: sizes, distances from the mean, outliers, principal components, and files for R and the eye."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onemark.data.atomic import write_text, writing
from onemark.data.images.spacing import Spacing
from onemark.data.landmarks.table import LandmarkTable
from onemark.measurement.shapes.drawing import draw_components
from onemark.measurement.shapes.procrustes import (
    Components,
    Superimposition,
    find_components,
    fits_mirrored,
    superimpose,
)
from onemark.measurement.values import spacings_of
from onemark.types import UserError

if TYPE_CHECKING:
    import pandas

    from onemark.data.cohort import Cohort

FILES = ("shapes.csv", "tangent.csv", "components.csv", "shapes.svg")
"""What `write_shapes` writes."""
FENCE = 1.5
"""A shape is an outlier beyond the upper quartile of the distances plus so many interquartile ranges (Tukey 1977)."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """The shapes of a cohort.

    Attributes:
        images: N names of the radiographs that show all landmarks.
        names: K landmarks.
        fit: The superimposition; its y counts upwards.
        components: Principal components of the tangent coordinates.
        table: A row per image, worst first: `image, centroid_size, unit, procrustes_distance, outlier,
            expected_error, mirrored, fits_mirrored`, then the scores `pc1, pc2, ...`.
        incomplete: Images that lack a landmark, which are not in it.
    """

    images: tuple[str, ...]
    names: tuple[str, ...]
    fit: Superimposition
    components: Components
    table: pandas.DataFrame
    incomplete: tuple[str, ...]


def analyse_shapes(
    table: LandmarkTable,
    cohort: Cohort | None = None,
    *,
    spacing_mm: float | tuple[float, float] | Mapping[str, float | Spacing | None] | None = None,
    landmarks: Sequence[str] = (),
    mirror: bool = False,
) -> Shapes:
    """Superimpose the landmarks of a cohort and find how their shapes vary.

    Args:
        table: The landmarks.
        cohort: The radiographs, for their spacing: without it sizes are in px, and pixels are taken to be square.
        spacing_mm: mm per pixel instead.
        landmarks: Which ones; all by default.
        mirror: Mirror radiographs that fit the mean better mirrored.

    Raises:
        UserError: an unknown landmark, fewer than three, or fewer than three radiographs that show all of them.
    """
    names = _chosen_names(table, landmarks)
    at = [table.names.index(name) for name in names]
    complete = [one for one in table if np.isfinite(one.xy[at]).all()]
    if len(complete) < 3:
        raise UserError(_too_few(table, names, len(complete)))
    spacings = spacings_of(complete, cohort, spacing_mm) or {}
    scale = np.array([spacings.get(one.image) or (1.0, 1.0) for one in complete])
    xy = np.stack([one.xy[at] for one in complete]) * scale[:, None, :] * (1.0, -1.0)
    flat = [one.image for one, points in zip(complete, xy, strict=True) if np.ptp(points, axis=0).max() == 0]
    if flat:
        raise UserError(
            f"all landmarks of {flat[0]!r} lie in one place; correct or leave out that radiograph"
        )
    fit = superimpose(xy, mirror=mirror)
    components = find_components(fit.tangent)
    images = tuple(one.image for one in complete)
    errors = [
        float(np.nanmean(one.expected_error[at])) if one.expected_error.size else np.nan for one in complete
    ]
    units = ["mm" if spacings.get(image) else "px" for image in images]
    frame = _frame(images, units, errors, fit, components)
    incomplete = tuple(image for image in table.images if image not in images)
    return Shapes(images, names, fit, components, frame, incomplete)


def write_shapes(folder: Path, found: Shapes) -> tuple[Path, ...]:
    """Write `FILES` into a folder; returns their paths.

    `tangent.csv` has the radiograph's name, then x and y of each landmark, y upwards: what
    `geomorph::arrayspecs(as.matrix(read.csv("tangent.csv", row.names = 1)), K, 2)` reads.

    Raises:
        UserError: a file cannot be written.
    """
    names = [f"{name}_{axis}" for name in found.names for axis in "xy"]
    components = found.components
    parts = [
        [f"pc{k + 1}", components.variance[k], components.share[k], *direction.ravel()]
        for k, direction in enumerate(components.directions)
    ]
    mean = ["mean", "", "", *found.fit.mean.ravel()]
    files = tuple(folder / name for name in FILES)
    with writing(files[0]) as stream:
        found.table.to_csv(stream, index=False, lineterminator="\n")
    rows = [[image, *one.ravel()] for image, one in zip(found.images, found.fit.tangent, strict=True)]
    _write_rows(files[1], [["image", *names], *rows])
    _write_rows(files[2], [["component", "variance", "share", *names], mean, *parts])
    write_text(files[3], draw_components(found.fit.mean, found.components, found.names))
    return files


def _chosen_names(table: LandmarkTable, landmarks: Sequence[str]) -> tuple[str, ...]:
    names = tuple(landmarks) or table.names
    for name in names:
        if name not in table.names:
            raise UserError(
                f"there is no landmark {name!r} in the table; it has {', '.join(table.names[:30])}"
            )
    if len(names) < 3:
        raise UserError(f"a shape needs at least three landmarks, and there are {len(names)}; give more")
    return names


def _too_few(table: LandmarkTable, names: tuple[str, ...], count: int) -> str:
    at = [table.names.index(name) for name in names]
    lacking = [sum(not np.isfinite(one.xy[k]).all() for one in table) for k in at]
    worst = int(np.argmax(lacking))
    hint = (
        f"; {names[worst]!r} is missing on {lacking[worst]}, leave it out with --landmark"
        if lacking[worst]
        else ""
    )
    return f"{count} radiographs show all landmarks, and shapes need at least three{hint}"


def _frame(
    images: tuple[str, ...],
    units: list[str],
    errors: list[float],
    fit: Superimposition,
    components: Components,
) -> pandas.DataFrame:
    import pandas

    low, high = np.quantile(fit.distance, (0.25, 0.75))
    shapes = fit.aligned
    columns = {
        "image": images,
        "centroid_size": fit.size,
        "unit": units,
        "procrustes_distance": fit.distance,
        "outlier": fit.distance > high + FENCE * (high - low),
        "expected_error": errors,
        "mirrored": fit.mirrored,
        "fits_mirrored": fits_mirrored(shapes, fit.mean),
    }
    scores = {f"pc{k + 1}": components.scores[:, k] for k in range(components.scores.shape[1])}
    frame = pandas.DataFrame(columns | scores)
    return frame.sort_values("procrustes_distance", ascending=False, kind="stable").reset_index(drop=True)


def _write_rows(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with writing(path) as stream:
        csv.writer(stream, lineterminator="\n").writerows(
            [repr(float(cell)) if isinstance(cell, float) else cell for cell in row] for row in rows
        )
