"""The measurements in the report: every measurement of a cohort, and bars of z-scores. Self-contained HTML."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

from onemark.evaluation.report import Addition
from onemark.measurement.sets import MeasurementSet
from onemark.measurement.sets.fitting import find_set

if TYPE_CHECKING:
    import pandas

    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable
    from onemark.measurement.sets.schema import Measurement

REACH = 4.0
"""z-scores beyond this end at the edge of their bar."""
_WIDTH, _HEIGHT = 240.0, 14.0
_STYLE = Markup("""<style>
.z-bar{width:240px;height:14px;vertical-align:middle}
.z-bar .usual{fill:currentColor;opacity:.08}.z-bar .spread{fill:currentColor;opacity:.35}
.z-bar .zero{stroke:currentColor;opacity:.5}.z-bar .mean{fill:currentColor}
.measurements td,.measurements th{padding:.15em .6em;text-align:left}
.measurements td.number{text-align:right;font-variant-numeric:tabular-nums}
</style>""")


def add_measurements(
    cohort: Cohort,
    predictions: LandmarkTable,
    placed: LandmarkTable | None = None,
    measurements: MeasurementSet | None = None,
) -> Addition | None:
    """Measure what a report shows.

    Args:
        cohort: The radiographs, for their spacing.
        predictions: The landmarks.
        placed: Landmarks that a person placed; where these are all of a radiograph, they replace the prediction, and
            have no interval.
        measurements: The set; by default the shipped set that the landmarks plainly belong to.

    Returns:
        What `write_report` takes; None where no set fits the landmarks.
    """
    from onemark.measurement.table import measure

    chosen = measurements or find_set(predictions.names)
    if chosen is None:
        return None
    whole = () if placed is None else placed.annotated(least=1)
    own = {one.image: one for one in whole if one.names == predictions.names}
    sets = [own.get(one.image, one) for one in predictions if one.image in cohort]
    spacings = {one.image: cohort.spacing(one.image) for one in sets}
    frame = measure(sets, chosen, spacing_mm=spacings)
    by_image = frame[frame["z"].notna()].groupby("image", sort=False)
    cards = {str(image): _draw_bars(rows, chosen) for image, rows in by_image}
    return Addition(cohort_section(frame, chosen), cards)


def cohort_section(frame: pandas.DataFrame, measurements: MeasurementSet) -> Markup:
    """The measurements of a whole cohort as a section of HTML.

    Args:
        frame: What `measure` gave.
        measurements: The set that was measured.

    Returns:
        A `<section>` with one row per measurement: values (mean and standard deviation), mean standard error, norm,
        and a bar with the mean z-score and the range of the middle 80 %; then the classes and the flags, counted.
    """
    rows = [row for one in measurements.measurements for row in _cohort_rows(frame, measurements, one.name)]
    head = "<tr><th>measurement<th>n<th>mean &plusmn; sd<th>standard error<th>norm<th>z, -4 to 4<th>classes"
    flagged = int((frame["flag"] != "").sum())
    told = f"<p>{flagged} of {len(frame)} values carry a flag; the table of measurements says why."
    title = escape(measurements.title)
    source = escape(measurements.source)
    return Markup(
        f'{_STYLE}<section class="measurements"><h2>{title}</h2><p>{source}<table>{head}{"".join(rows)}</table>{told}'
        "</section>"
    )


def radiograph_bars(frame: pandas.DataFrame, image: str, measurements: MeasurementSet) -> Markup:
    """The measurements of one radiograph that have a norm: a row each, with the value and a bar of its z-score."""
    return _STYLE + _draw_bars(frame[(frame["image"] == image) & frame["z"].notna()], measurements)


def _draw_bars(frame: pandas.DataFrame, measurements: MeasurementSet) -> Markup:
    rows = []
    for row in frame.to_dict("records"):
        norm, z = measurements[row["measurement"]].norm, float(row["z"])
        error = float(row["standard_error"]) / norm.sd if norm else math.nan
        reach = error if math.isfinite(error) else 0.0
        flag = f" ({row['flag']})" if row["flag"] else ""
        rows.append(
            f"<tr><td>{escape(row['measurement'])}<td class=number>{row['value']:.1f} {escape(row['unit'])}"
            f"<td>{z_bar(z, z - reach, z + reach)}<td>{escape(f'{z:+.1f}{flag}')}"
        )
    return Markup(f'<table class="measurements">{"".join(rows)}</table>')


def z_bar(z: float, low: float, high: float) -> Markup:
    """A bar from -4 to 4 standard deviations as SVG: a mark at `z`, a band from `low` to `high`, +-2 shaded."""
    at, start, end, left, right = map(_x, (z, low, high, -2.0, 2.0))
    return Markup(
        f'<svg class="z-bar" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="z {z:+.1f}">'
        f'<rect class="usual" x="{left:.1f}" y="0" width="{right - left:.1f}" height="{_HEIGHT:g}"/>'
        f'<line class="zero" x1="{_x(0):.1f}" x2="{_x(0):.1f}" y1="0" y2="{_HEIGHT:g}"/>'
        f'<rect class="spread" x="{start:.1f}" y="4" width="{max(end - start, 1.0):.1f}" height="6"/>'
        f'<circle class="mean" cx="{at:.1f}" cy="7" r="4"/></svg>'
    )


def _cohort_rows(frame: pandas.DataFrame, measurements: MeasurementSet, name: str) -> list[str]:
    one = measurements[name]
    found = []
    for unit, rows in frame[frame["measurement"] == name].groupby("unit", sort=False):
        values = rows["value"].dropna()
        if values.empty:
            continue
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        error = rows["standard_error"].mean()
        z = rows["z"].dropna()
        bar = z_bar(float(z.mean()), float(z.quantile(0.1)), float(z.quantile(0.9))) if len(z) else ""
        norm = f"{one.norm.mean:g} &plusmn; {one.norm.sd:g}" if one.norm else ""
        counts = rows.loc[rows["class"] != "", "class"].value_counts(sort=False)
        classes = _count_classes(one, counts)
        found.append(
            f'<tr title="{escape(one.description)}"><td>{escape(name)}<td class=number>{len(values)}'
            f"<td class=number>{values.mean():.2f} &plusmn; {spread:.2f} {escape(unit)}"
            f"<td class=number>{'' if math.isnan(error) else f'{error:.2f}'}<td>{norm}<td>{bar}<td>{escape(classes)}"
        )
    return found


def _count_classes(one: Measurement, counts: pandas.Series[int]) -> str:
    labels = {c.name: c.label or c.name for c in one.classes}
    return ", ".join(f"{labels[str(k)]} {v}" for k, v in counts.items())


def _x(z: float) -> float:
    return float((np.clip(z, -REACH, REACH) + REACH) / (2 * REACH) * _WIDTH)
