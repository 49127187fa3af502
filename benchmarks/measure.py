"""Measurements: speed, first order against sampling, coverage of intervals, and agreement of the challenge's classes.

    python benchmarks/measure.py speed
    python benchmarks/measure.py intervals
    python benchmarks/measure.py classes found.csv DATA/ceph/landmarks.csv --spacing-mm 0.25 --images 151-300

`classes` needs predictions of the 19 ISBI landmarks and the truth, such as the doctors' mean. `speed` and `intervals`
make their own landmarks, unless `--landmarks` gives true ones to scatter around.
"""

from __future__ import annotations

import argparse
import math
import re
import time
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas

import onemark
from common import machine, numbers
from onemark import LandmarkSet, LandmarkTable
from onemark.evaluation.metrics import THRESHOLDS
from onemark.measurement.sets import MeasurementSet, load_set
from onemark.measurement.table import measure, widen
from onemark.measurement.uncertainty import sample_values
from onemark.measurement.values import isotropic

CHALLENGE = ("ANB", "SNB", "SNA", "ODI", "APDI", "FHI", "FMA", "MW")
# A plausible face in mm, in the set's order of landmarks, looking to the right.
FACE = (
    *((0, 0), (70, -10), (58, 22), (-12, 24), (66, 52), (60, 90), (62, 102), (52, 112), (58, 109), (-2, 76)),
    *((66, 73), (69, 75), (84, 68), (80, 84), (78, 55), (73, 103), (16, 46), (72, 46), (-10, 30)),
)


def main() -> None:
    options = arguments().parse_args()
    print(machine(), end="\n\n")
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
    parser.add_argument("predictions", type=Path, nargs="?", help="for classes: predictions of a model")
    parser.add_argument("truth", type=Path, nargs="?", help="for classes: the doctors' mean")
    parser.add_argument("--set", default="isbi19", help="set of measurements")
    parser.add_argument("--landmarks", type=Path, help="landmarks to scatter around instead of made-up ones")
    parser.add_argument("--spacing-mm", type=float, default=0.25)
    parser.add_argument("--images", help="numbers of the radiographs to score, such as 151-300")
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
    covariance = isotropic(error)
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
        raise SystemExit("classes needs two files: the predictions and the truth")
    found, truth = (onemark.read_landmarks(path) for path in (options.predictions, options.truth))
    common = [one.image for one in found if one.image in truth and wanted(one.image, options.images)]
    ours, theirs = (
        measure([table[image] for image in common], chosen, spacing_mm=options.spacing_mm)
        for table in (found, truth)
    )
    scores = onemark.evaluate(
        [found[i] for i in common], [truth[i] for i in common], spacing_mm=options.spacing_mm
    )
    print(
        f"{len(common)} radiographs, MRE {scores.mre:.3f} mm, within {THRESHOLDS[0]:g} mm {scores.sdr[2.0]:.1f} %\n"
    )
    print("| measurement | same class % | mean error | sd | within 80 % interval | within 95 % interval |")
    print("|---|---|---|---|---|---|")
    agreed = []
    for one in chosen.measurements:
        a, b = (frame[frame["measurement"] == one.name].reset_index(drop=True) for frame in (ours, theirs))
        same = 100 * float((a["class"] == b["class"]).mean()) if one.classes else math.nan
        if one.name in CHALLENGE:
            agreed.append(same)
        error = a["value"] - b["value"]
        shares = [covered(a, b["value"], share) for share in (0.8, 0.95)]
        cells = [f"{same:.1f}" if one.classes else "", f"{error.mean():+.2f}", f"{error.std():.2f}"]
        print("| " + " | ".join([one.name, *cells, *(f"{s:.0f} %" if s == s else "" for s in shares)]) + " |")
    print(f"\nmean of the challenge's eight: {np.mean(agreed):.2f} %")
    print(
        f"sign of MW other than by the columns of the picture: {odd_signs(theirs, truth, common, chosen)} radiographs"
    )


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
    return images is None or (digits is not None and int(digits[0]) in numbers(images))


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
