"""The subcommands behind landmarks: measure, agree, shapes, cite. Each imports what it needs when it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

import onemark
from onemark.cli.options import Overwrite, SpacingMm, check_new_file
from onemark.cli.radiographs import find_run_of, find_spacings
from onemark.cli.steps import read_table
from onemark.data.atomic import user_errors, write_text, writing
from onemark.types import UserError

if TYPE_CHECKING:
    import pandas

    from onemark.data.cohort import Cohort
    from onemark.data.images.spacing import Spacing
    from onemark.data.landmarks.table import LandmarkTable

    AnySpacing = float | Spacing | Mapping[str, Spacing | None] | None

Images = Annotated[Path | None, Parameter(help="Folder of the radiographs, for their spacing.")]
Set = Annotated[str, Parameter(name="--set", help="Set of measurements: isbi19, or a TOML file.")]


def register_measuring(app: App) -> None:
    """Add the subcommands to the command line."""
    for command in (measure, agree, shapes, cite):
        app.command(command)


def measure(
    landmarks: Path | None = None,
    /,
    *,
    set_name: Set = "isbi19",
    out: Annotated[Path, Parameter(help="CSV to write.")] = Path("measures.csv"),
    wide: Annotated[
        bool, Parameter(negative="", help="One row per radiograph instead of per value.")
    ] = False,
    images: Images = None,
    spacing_mm: SpacingMm = None,
    coverage: Annotated[float, Parameter(help="Share that the intervals hold, 0 to 1.")] = 0.95,
    doubtful: Annotated[
        float | None, Parameter(help="Expected error in mm (or px) above which a landmark is flagged.")
    ] = None,
    corrected: Annotated[
        Path | None,
        Parameter(
            help="What a person made of some of these predictions; their errors give the intervals then."
        ),
    ] = None,
    html: Annotated[Path | None, Parameter(help="Write a page with bars of z-scores, too.")] = None,
    template: Annotated[
        Path | None, Parameter(help="Write a template for a set of your own to this file; nothing else.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure angles, distances and ratios, with their intervals.

    Args:
        landmarks: Landmarks to measure.
    """
    from onemark.measurement.sets import load_set
    from onemark.measurement.table import widen

    if template is not None:
        return _write_template(template, overwrite)
    if landmarks is None:
        raise UserError("give the landmarks to measure, such as: onemark measure landmarks.csv")
    for file in filter(None, (out, html)):
        check_new_file(file, overwrite)
    chosen = load_set(set_name)
    table, cohort, spacing = _read_measured(landmarks, images, spacing_mm)
    frame = onemark.measure(
        table,
        chosen,
        cohort,
        spacing_mm=spacing,
        coverage=coverage,
        doubtful=doubtful,
        corrected=() if corrected is None else read_table(corrected, cohort),
    )
    _write_frame(out, widen(frame) if wide else frame)
    if html is not None:
        _write_page(html, frame, chosen)
    print(f"measured {len(chosen.measurements)} quantities on {len(table)} radiographs: {out}")
    _say_marked(frame, was_corrected=corrected is not None)
    _say_pixels(frame, known=cohort is not None or spacing is not None)


def _write_template(path: Path, overwrite: bool) -> None:
    from onemark.measurement.sets.reading import TEMPLATE, shipped_text

    check_new_file(path, overwrite)
    write_text(path, shipped_text(TEMPLATE))
    print(path)


def _say_marked(frame: pandas.DataFrame, *, was_corrected: bool) -> None:
    flagged = int((frame["flag"] != "").sum())
    if flagged:
        print(f"{flagged} of {len(frame)} values carry a flag; the column `flag` says why")
    if was_corrected:
        fitted = frame.loc[frame["interval"] == "corrected", "measurement"].nunique()
        rest = frame["measurement"].nunique() - fitted
        also = f"; {rest} had too few of them" if rest else ""
        print(f"the intervals of {fitted} quantities hold what the corrected radiographs say{also}")


def _say_pixels(frame: pandas.DataFrame, *, known: bool) -> None:
    """Say where lengths are in pixels. `known`: the radiographs' spacing was looked for, and some tell none."""
    total = frame["image"].nunique()
    count = frame.loc[frame["unit"].isin(("px", "px2")), "image"].nunique()
    if known and not count:
        return
    some = f" of {count} of {total} radiographs" if known and count < total else ""
    also = "" if frame["standard_error"].notna().any() else " and there are no intervals"
    print(f"lengths{some} are in pixels{also}; give --{'' if known else 'images FOLDER or --'}spacing-mm MM")


def agree(
    *landmarks: Path,
    set_name: Annotated[
        str | None, Parameter(name="--set", help="Compare the measurements of this set, too.")
    ] = None,
    out: Annotated[Path, Parameter(help="Folder to write to.")] = Path("agreement"),
    names: Annotated[
        tuple[str, ...],
        Parameter(
            name="--name",
            negative="",
            consume_multiple=False,
            show_default=False,
            help="Name of an observer, in the order of the files; may be repeated.",
        ),
    ] = (),
    images: Images = None,
    spacing_mm: SpacingMm = None,
    plots: Annotated[
        bool, Parameter(negative="", help="Bland-Altman and scatter plots; needs matplotlib.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Compare observers who annotated the same radiographs; a model's predictions are one more observer.

    Args:
        landmarks: One file for each observer, or each reading of one.
    """
    from onemark.measurement.observers import agreement
    from onemark.measurement.observers.plots import plot_files, write_plots

    files = {name: out / f"{name}.csv" for name in ("points", "measurements", "reliability")}
    cohort = None if images is None else onemark.open_cohort(images, spacing_mm=spacing_mm)
    tables = _read_observers(landmarks, names, cohort)
    pictures = [out / name for name in plot_files(tuple(tables))] if plots else []
    for file in (*files.values(), *pictures):
        check_new_file(file, overwrite)
    spacing = _known_spacing(landmarks, next(iter(tables.values())).images, cohort, spacing_mm)
    found = agreement.agree(tables, set_name, cohort, spacing_mm=spacing)
    written: list[Path] = []
    for name, file in files.items():
        frame: pandas.DataFrame = getattr(found, name)
        if len(frame):
            _write_frame(file, frame)
            written.append(file)
    if plots:
        written += write_plots(out, found)
    if overwrite:
        _remove([*files.values(), *pictures], written)
    print(*_describe_agreement(found), f"written to {out}", sep="\n")


def shapes(
    landmarks: Path,
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder to write to.")] = Path("shapes"),
    landmark: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            consume_multiple=False,
            show_default=False,
            help="Use only this landmark and others named so; may be repeated.",
        ),
    ] = (),
    mirror: Annotated[
        bool, Parameter(negative="", help="Mirror radiographs that fit better mirrored.")
    ] = False,
    images: Images = None,
    spacing_mm: SpacingMm = None,
    overwrite: Overwrite = False,
) -> None:
    """Superimpose the shapes of a cohort: sizes, outliers, principal components, tangent coordinates for R.

    Args:
        landmarks: Landmarks of the cohort.
    """
    from onemark.measurement.shapes.cohort import FILES, analyse_shapes, write_shapes

    for name in FILES:
        check_new_file(out / name, overwrite)
    table, cohort, spacing = _read_measured(landmarks, images, spacing_mm)
    found = analyse_shapes(table, cohort, spacing_mm=spacing, landmarks=landmark, mirror=mirror)
    write_shapes(out, found)
    outliers = found.table.loc[found.table["outlier"], "image"].tolist()
    share = ", ".join(f"{100 * one:.1f} %" for one in found.components.share[:4])
    print(f"{len(found.images)} shapes of {len(found.names)} landmarks: {out}")
    print(f"variance of the first components: {share or 'none'}")
    print(f"outliers: {_list(outliers)}")
    if found.incomplete:
        print(f"left out, since they lack a landmark: {_list(found.incomplete)}")
    odd = found.table.loc[found.table["fits_mirrored"], "image"].tolist()
    if odd and not mirror:
        print(f"these fit better mirrored, give --mirror: {_list(odd)}")


def cite(
    run_folder: Path,
    /,
    *,
    truth: Annotated[
        Path | None, Parameter(help="Landmarks that a person placed or corrected, to state the accuracy.")
    ] = None,
    spacing_mm: SpacingMm = None,
) -> None:
    """Print a methods paragraph with references for a paper.

    Args:
        run_folder: Run folder of `onemark fit` or `onemark run`.
    """
    from onemark.measurement.cite import read_facts, write_methods
    from onemark.pipeline.runs.folder import RunFolder

    facts = read_facts(run_folder)
    corrected = None if truth is None else read_table(truth)
    spacing: AnySpacing = spacing_mm
    if corrected is not None and spacing is None:
        spacing = find_spacings(RunFolder.open(run_folder), corrected.images)
        # Scores of radiographs with and without a spacing have no unit in common.
        if isinstance(spacing, dict) and None in spacing.values():
            spacing = None
    print(write_methods(facts, corrected, spacing), end="")


def _remove(files: Iterable[Path], written: Collection[Path]) -> None:
    """Remove what is of other results, and would look as if it belonged to those just written."""
    for file in files:
        if file not in written:
            with user_errors(file):
                file.unlink(missing_ok=True)


def _read_measured(
    landmarks: Path, images: Path | None, spacing_mm: float | None
) -> tuple[LandmarkTable, Cohort | None, AnySpacing]:
    """Landmarks, the radiographs that were given for their spacing, and what is known of that otherwise."""
    cohort = None if images is None else onemark.open_cohort(images, spacing_mm=spacing_mm)
    table = read_table(landmarks, cohort)
    return table, cohort, _known_spacing([landmarks], table.images, cohort, spacing_mm)


def _known_spacing(
    files: Iterable[Path], images: Iterable[str], cohort: Cohort | None, spacing_mm: float | None
) -> AnySpacing:
    """mm per pixel as given, else what is known of the radiographs of the run that made one of the files."""
    if cohort is not None or spacing_mm is not None:
        return spacing_mm
    run = next(filter(None, map(find_run_of, files)), None)
    return None if run is None else find_spacings(run, images)


def _read_observers(
    files: tuple[Path, ...], names: tuple[str, ...], cohort: Cohort | None
) -> dict[str, LandmarkTable]:
    if names and len(names) != len(files):
        raise UserError(f"{len(names)} --name for {len(files)} files; give one for each file")
    labels = names or tuple(file.stem for file in files)
    if len(set(labels)) < len(labels):
        labels = names or tuple(f"{file.parent.name}/{file.stem}" for file in files)
    if len(set(labels)) < len(labels):
        raise UserError("two observers have the same name; give each a --name of its own")
    return {label: read_table(file, cohort) for label, file in zip(labels, files, strict=True)}


def _write_frame(path: Path, frame: pandas.DataFrame) -> None:
    with writing(path) as stream:
        frame.to_csv(stream, index=False, lineterminator="\n")


def _write_page(path: Path, frame: pandas.DataFrame, chosen: Any) -> None:
    from markupsafe import escape

    from onemark.measurement.report import cohort_section

    head = f'<!doctype html><meta charset="utf-8"><title>{escape(chosen.title)}</title>'
    write_text(path, f"{head}<body style='font-family:sans-serif'>{cohort_section(frame, chosen)}</body>\n")


def _describe_agreement(found: Any) -> list[str]:
    from onemark.cli.tables import align_columns

    unit = found.readings.unit
    lines = [f"{len(found.readings.images)} radiographs, {len(found.readings.landmarks)} landmarks"]
    lines += [f"left out: {one}" for one in found.readings.left_out]
    lines += ["", *align_columns(_point_rows(found.points, unit))]
    if len(found.measurements):
        lines += ["", *align_columns(_measurement_rows(found.measurements))]
    return [*lines, ""]


def _point_rows(points: Any, unit: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("pair", "mean distance", "Dahlberg", "landmarks with bias (Holm, p < 0.05)")
    ]
    for (first, second), some in points.groupby(["first", "second"], sort=False):
        whole = some[some["landmark"] == "all"].iloc[0]
        biased = some.loc[some["bias_p_holm"] < 0.05, "landmark"].tolist()
        distance, dahlberg = f"{whole['distance_mean']:.2f} {unit}", f"{whole['dahlberg']:.2f} {unit}"
        rows.append((f"{first} - {second}", distance, dahlberg, _list(biased)))
    return rows


def _measurement_rows(measurements: Any) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("pair", "measurement", "bias", "limits of agreement", "Dahlberg")]
    for row in measurements.to_dict("records"):
        limits = f"{row['limit_low']:.2f} to {row['limit_high']:.2f}"
        bias, dahlberg = f"{row['mean_difference']:+.2f} {row['unit']}", f"{row['dahlberg']:.2f}"
        rows.append((f"{row['first']} - {row['second']}", str(row["measurement"]), bias, limits, dahlberg))
    return rows


def _list(names: Iterable[str], limit: int = 10) -> str:
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "none"
