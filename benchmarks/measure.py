"""Measurements: speed, first order against sampling, coverage of intervals, and agreement of the challenge's classes.

    python benchmarks/measure.py speed
    python benchmarks/measure.py intervals
    python benchmarks/measure.py classes RUN DATA/ceph/landmarks.csv --images 151-300 --corrections 10 --out classes.md

`classes` needs predictions of the 19 ISBI landmarks, as a table or as a run folder, and the truth, such as the doctors'
mean. A run that has not predicted the images asked for predicts them from the folder `images` beside the truth. `--out`
writes the table, too. `speed` and `intervals` make their own landmarks, unless `--landmarks` gives true ones to scatter
around.
"""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas

import onemark
from common import describe_machine, link_images, parse_numbers, work_folder
from onemark import LandmarkSet, LandmarkTable
from onemark.evaluation.metrics import THRESHOLDS
from onemark.imaging.ellipses import make_round, to_covariance
from onemark.measurement.sets import MeasurementSet, load_set
from onemark.measurement.table import measure, widen
from onemark.measurement.uncertainty import sample_values
from onemark.uncertainty.calibration import Calibration

CHALLENGE = ("ANB", "SNB", "SNA", "ODI", "APDI", "FHI", "FMA", "MW")
# A plausible face in mm, in the set's order of landmarks, looking to the right.
FACE = (
    *((0, 0), (70, -10), (58, 22), (-12, 24), (66, 52), (60, 90), (62, 102), (52, 112), (58, 109), (-2, 76)),
    *((66, 73), (69, 75), (84, 68), (80, 84), (78, 55), (73, 103), (16, 46), (72, 46), (-10, 30)),
)


def main() -> None:
    options = arguments().parse_args()
    print(describe_machine(), end="\n\n")
    chosen = load_set(options.set)
    if options.what == "speed":
        speed(chosen, options)
    elif options.what == "intervals":
        intervals(chosen, options)
    else:
        classes(chosen, options)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "intervals", "classes"))
    parser.add_argument("predictions", type=Path, nargs="?", help="for classes: predictions or a run folder")
    parser.add_argument("truth", type=Path, nargs="?", help="for classes: the doctors' mean")
    parser.add_argument("--set", default="isbi19", help="set of measurements")
    parser.add_argument("--landmarks", type=Path, help="landmarks to scatter around instead of made-up ones")
    parser.add_argument("--spacing-mm", type=float, default=0.25)
    parser.add_argument("--images", help="numbers of the radiographs to score, such as 151-300")
    parser.add_argument(
        "--corrections",
        type=int,
        default=0,
        help="for classes: corrected radiographs that calibrate expected errors",
    )
    parser.add_argument(
        "--repeats", type=int, default=20, help="for classes: draws of the corrected radiographs"
    )
    parser.add_argument("--out", type=Path, help="for classes: also write the table to this file")
    parser.add_argument("--count", type=int, default=10_000, help="radiographs for speed")
    parser.add_argument("--draws", type=int, default=10_000, help="draws for intervals")
    return parser


def speed(chosen: MeasurementSet, options: argparse.Namespace) -> None:
    """Wall and processor seconds of measuring many radiographs."""
    rng = np.random.default_rng(0)
    base = sets(chosen, options)
    table = LandmarkTable.from_sets(
        replace(
            base[k % len(base)],
            image=f"{k}.png",
            expected_error=rng.uniform(0.5, 3.0, len(chosen.landmarks)),
            score=np.ones(len(chosen.landmarks)),
        )
        for k in range(options.count)
    )
    bare = LandmarkTable.from_sets(replace(one, expected_error=np.empty(0)) for one in table)
    print(f"| {options.count} radiographs, {len(chosen.measurements)} measurements | wall s | processor s |")
    print("|---|---|---|")
    steps = {
        "values alone": lambda: measure(bare, chosen, spacing_mm=options.spacing_mm),
        "values with intervals": lambda: measure(table, chosen, spacing_mm=options.spacing_mm),
    }
    for name, step in steps.items():
        step()
        wall, cpu = time.perf_counter(), time.process_time()
        frame = step()
        print(f"| {name} | {time.perf_counter() - wall:.2f} | {time.process_time() - cpu:.2f} |")
    wall, cpu = time.perf_counter(), time.process_time()
    widen(frame)
    print(f"| the wide table of them | {time.perf_counter() - wall:.2f} | {time.process_time() - cpu:.2f} |")


def intervals(chosen: MeasurementSet, options: argparse.Namespace) -> None:
    """How far 95 % intervals are from those of sampling, over expected errors from 0.5 to 3 mm."""
    base, symbols = sets(chosen, options)[:40], list(chosen.landmarks)
    rng = np.random.default_rng(0)
    error = np.stack([rng.uniform(0.5, 3.0, len(symbols)) for _ in base])
    table = [
        replace(one, expected_error=e, score=np.ones(len(e))) for one, e in zip(base, error, strict=True)
    ]
    frame = measure(table, chosen, spacing_mm=options.spacing_mm)
    xy = np.stack([one.xy for one in base]) * options.spacing_mm
    covariance = to_covariance(make_round(error))
    print("| measurement | half-width, largest / mean difference % | first order | sampled instead |")
    print("|---|---|---|---|")
    for one in chosen.measurements:
        at = {name: symbols.index(name) for name in one.needs}
        drawn = sample_values(
            one,
            chosen,
            {name: xy[:, k] for name, k in at.items()},
            {name: covariance[:, k] for name, k in at.items()},
            rng.standard_normal((options.draws, 2 * len(at))),
        )
        low, high = np.quantile(drawn, (0.025, 0.975), axis=1)
        rows = frame[frame["measurement"] == one.name]
        off = 100 * np.abs((rows["high"] - rows["low"]).to_numpy() / (high - low) - 1)
        straight = (rows["interval"] == "first order").to_numpy()
        linear = 100 * np.abs(
            2 * 1.96 * rows["standard_error"].to_numpy()[straight] / (high - low)[straight] - 1
        )
        first = f"{linear.max():.1f}" if straight.any() else "-"
        print(
            f"| {one.name} | {off.max():.1f} / {off.mean():.1f} | {first} | {100 * (~straight).mean():.0f} % |"
        )


def classes(chosen: MeasurementSet, options: argparse.Namespace) -> None:
    """Agreement of classes, errors and coverage of the intervals, against the truth."""
    if options.predictions is None or options.truth is None:
        raise SystemExit("classes needs the predictions, or a run folder, and the truth")
    truth = onemark.read_landmarks(options.truth)
    found = read_predictions(options, truth)
    common = [one.image for one in found if one.image in truth and wanted(one.image, options.images)]
    lines = describe_classes(chosen, LandmarkTable.from_sets(found[i] for i in common), truth, options)
    print(*lines, sep="\n")
    if options.out is not None:
        options.out.write_text("\n".join([describe_machine(), "", *lines, ""]), encoding="utf-8")


def read_predictions(options: argparse.Namespace, truth: LandmarkTable) -> LandmarkTable:
    """The predictions of a table or a run; a run predicts the images asked for where it has not yet."""
    if not options.predictions.is_dir():
        return onemark.read_landmarks(options.predictions)
    asked = [image for image in truth.images if wanted(image, options.images)]
    made = options.predictions / "landmarks.csv"
    if made.exists():
        table = onemark.read_landmarks(made)
        if all(image in table for image in asked):
            return table
    images = link_images(options.truth.parent / "images", asked, work_folder(None) / "images")
    cohort = onemark.open_cohort(images, spacing_mm=options.spacing_mm)
    return onemark.load(options.predictions).predict(cohort)


def describe_classes(
    chosen: MeasurementSet, found: LandmarkTable, truth: LandmarkTable, options: argparse.Namespace
) -> list[str]:
    """The table of all measurements, in Markdown."""
    ours, theirs = (
        measure([table[image] for image in found.images], chosen, spacing_mm=options.spacing_mm)
        for table in (found, truth)
    )
    scores = onemark.evaluate(found, truth, spacing_mm=options.spacing_mm)
    coverage = mean_coverage(chosen, found, theirs, truth, options)
    calibrated = (
        f", expected errors calibrated with {options.corrections} corrections" if options.corrections else ""
    )
    lines = [
        f"{len(found)} radiographs, MRE {scores.mre:.3f} mm, within {THRESHOLDS[0]:g} mm {scores.sdr[2.0]:.1f} %"
        f"{calibrated}",
        "",
        "| measurement | same class % | mean error | sd | within 80 % interval | within 95 % interval "
        "| within 80 % interval of corrections |",
        "|---|---|---|---|---|---|---|",
    ]
    agreed = []
    for one in chosen.measurements:
        a, b = (frame[frame["measurement"] == one.name].reset_index(drop=True) for frame in (ours, theirs))
        same = 100 * float((a["class"] == b["class"]).mean()) if one.classes else math.nan
        if one.name in CHALLENGE:
            agreed.append(same)
        error = a["value"] - b["value"]
        cells = [f"{same:.1f}" if one.classes else "", f"{error.mean():+.2f}", f"{error.std():.2f}"]
        shares = [f"{s:.0f} %" if s == s else "" for s in coverage[one.name]]
        lines.append("| " + " | ".join([one.name, *cells, *shares]) + " |")
    odd = odd_signs(theirs, truth, list(found.images), chosen)
    lines += ["", f"mean of the challenge's eight: {np.mean(agreed):.2f} %"]
    return [*lines, f"sign of MW other than by the columns of the picture: {odd} radiographs"]


def mean_coverage(
    chosen: MeasurementSet,
    found: LandmarkTable,
    theirs: pandas.DataFrame,
    truth: LandmarkTable,
    options: argparse.Namespace,
) -> dict[str, list[float]]:
    """Measurement -> percent within the 80 % and the 95 % interval and the 80 % interval of corrections.

    On radiographs that were not corrected.
    """
    rng, images = np.random.default_rng(0), list(found.images)
    true = theirs.set_index(["image", "measurement"])["value"]
    shares: dict[str, list[list[float]]] = {one.name: [] for one in chosen.measurements}
    for _ in range(options.repeats if options.corrections else 1):
        corrected = [images[k] for k in rng.permutation(len(images))[: options.corrections]]
        rest = calibrate(found, truth, corrected, options.spacing_mm)
        frame = measure(rest, chosen, spacing_mm=options.spacing_mm)
        promised = promise(chosen, found, truth, corrected, options.spacing_mm)
        for name, rows in frame.groupby("measurement"):
            values = pandas.Series([true[image, name] for image in rows["image"]], index=rows.index)
            within = [covered(rows, values, share) for share in (0.8, 0.95)]
            shares[str(name)].append([*within, promised(str(name), true)])
    return {name: np.mean(rows, axis=0).tolist() for name, rows in shares.items()}


def promise(
    chosen: MeasurementSet,
    found: LandmarkTable,
    truth: LandmarkTable,
    corrected: list[str],
    spacing_mm: float,
) -> Callable[[str, pandas.Series], float]:
    """Measurement and true values -> percent within the 80 % interval that corrections give."""
    if not corrected:
        return lambda name, true: math.nan
    placed = [truth[image] for image in corrected]
    frame = measure(found, chosen, spacing_mm=spacing_mm, coverage=0.8, corrected=placed)
    rest = frame[~frame["image"].isin(corrected)].set_index(["image", "measurement"])

    def share(name: str, true: pandas.Series) -> float:
        rows = rest.xs(name, level="measurement")
        values = true.xs(name, level="measurement")[rows.index]
        known = values.notna() & rows["low"].notna()
        return 100 * float(values.between(rows["low"], rows["high"])[known].mean())

    return share


def calibrate(
    found: LandmarkTable, truth: LandmarkTable, corrected: list[str], spacing_mm: float
) -> list[LandmarkSet]:
    """The other radiographs, with expected errors as `onemark` calibrates them by these corrections."""
    at = [truth.names.index(name) for name in found.names] if set(found.names) <= set(truth.names) else None
    places = {i: truth[i].xy if at is None else truth[i].xy[at] for i in corrected}
    ratios = [
        np.linalg.norm(found[i].xy - places[i], axis=1)
        * spacing_mm
        / np.maximum(found[i].expected_error, 1e-9)
        for i in corrected
    ]
    factors = Calibration.of([row.tolist() for row in ratios], len(found.names)).factors
    return [
        replace(one, expected_error=one.expected_error * factors)
        for one in found
        if one.image not in set(corrected)
    ]


def covered(rows: pandas.DataFrame, true: pandas.Series, share: float) -> float:
    """Percent of the true values within the interval of that share; scaled from the standard error."""
    reach = NormalDist().inv_cdf(0.5 + share / 2) * rows["standard_error"]
    known = reach.notna()
    return 100 * float(((rows["value"] - true).abs() <= reach)[known].mean()) if known.any() else math.nan


def odd_signs(
    frame: pandas.DataFrame, truth: LandmarkTable, images: list[str], chosen: MeasurementSet
) -> int:
    """Radiographs whose MW has the other sign by the columns of the picture, as the challenge's script takes it."""
    names = chosen.match_names(truth.names)
    at = [truth.names.index(names[symbol]) for symbol in ("L1", "U1")]
    by_column = np.array([np.sign(truth[image].xy[at[1], 0] - truth[image].xy[at[0], 0]) for image in images])
    mw = frame.loc[frame["measurement"] == "MW", "value"].to_numpy(float)
    return int((np.sign(mw) != by_column).sum())


def wanted(image: str, images: str | None) -> bool:
    digits = re.search(r"\d+", Path(image).stem)
    return images is None or (digits is not None and int(digits[0]) in parse_numbers(images))


def sets(chosen: MeasurementSet, options: argparse.Namespace) -> list[LandmarkSet]:
    """Landmarks to scatter around, in px, under the set's symbols."""
    if options.landmarks is not None:
        table = onemark.read_landmarks(options.landmarks)
        names = chosen.match_names(table.names)
        at = [table.names.index(names[symbol]) for symbol in chosen.landmarks]
        return [LandmarkSet(one.image, tuple(chosen.landmarks), one.xy[at]) for one in table]
    rng = np.random.default_rng(1)
    faces = np.array(FACE, float) + rng.normal(0, 2.0, (300, len(FACE), 2))
    return [
        LandmarkSet(f"{k}.png", tuple(chosen.landmarks), xy / options.spacing_mm)
        for k, xy in enumerate(faces)
    ]


if __name__ == "__main__":
    main()
