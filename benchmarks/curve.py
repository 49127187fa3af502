"""Error against time budget, for any number of data sets, on a free machine or beside busy programs.

    python benchmarks/curve.py hand=DATA/hand:3147 ceph10=DATA/ceph:001:001-010 --minutes 0.25,0.5,1,2,5 --out curve.csv

A data set is NAME=FOLDER:EXEMPLAR[:FIRST-LAST]. FOLDER holds images/ and landmarks.csv; EXEMPLAR is the stem of a file;
FIRST-LAST limits the images to those whose stems are these numbers. Every radiograph but the exemplar is scored, in
percent of its mean side. Beside the final answer, those of the matcher and of registration alone are scored, so that the
table shows whether a stage made it worse. `--busy N` runs N busy processes beside it.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np

import onemark
from common import describe_machine, parse_numbers
from onemark import Cohort, LandmarkTable, Model

COLUMNS = ("data", "radiographs", "minutes", "busy", "answer", "mean", "median", "steps", "seconds")
LOOP = "import os\nos.nice(19)\nwhile True: pass"


def open_data(text: str) -> tuple[str, Cohort, LandmarkTable, str]:
    """Parse NAME=FOLDER:EXEMPLAR[:FIRST-LAST] to a name, a cohort, its truth and the exemplar's file name."""
    name, _, rest = text.partition("=")
    folder, exemplar, *some = rest.split(":")
    cohort = onemark.open_cohort(Path(folder) / "images")
    if some:
        wanted = set(parse_numbers(some[0]))
        cohort = cohort.subset(
            n for n in cohort.names if Path(n).stem.isdigit() and int(Path(n).stem) in wanted
        )
    truth = onemark.read_landmarks(
        Path(folder) / "landmarks.csv", onemark.open_cohort(Path(folder) / "images")
    )
    return name, cohort, truth, cohort.resolve(exemplar)


def answers(model: Model, cohort: Cohort) -> Iterator[tuple[str, LandmarkTable]]:
    """What the matchers say alone, and what the model says."""
    for slot in ("match", "register"):
        stage = model.stages.get(slot)
        if stage is not None:
            yield slot, LandmarkTable.from_sets(stage.locate(one) for one in cohort)  # type: ignore[attr-defined]
    yield "final", model.predict(cohort)


def score(found: LandmarkTable, truth: LandmarkTable, cohort: Cohort, exemplar: str) -> np.ndarray:
    """Errors of all landmarks but the exemplar's, in percent of the mean side."""
    rows = []
    for image in cohort.names:
        if image != exemplar:
            known = dict(zip(truth.names, truth[image].xy, strict=True))
            true = np.stack([known[name] for name in found.names])
            away = np.linalg.norm(found[image].xy - true, axis=1)
            rows.append(100 * away / fmean(cohort.header(image).size))
    errors = np.concatenate(rows)
    return errors[np.isfinite(errors)]


def main() -> None:
    """Fit every data set with every budget and write a row for each answer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", metavar="NAME=FOLDER:EXEMPLAR[:FIRST-LAST]")
    parser.add_argument("--minutes", default="0.25,0.5,1,2,5,10")
    parser.add_argument("--recipe", default="onemark")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="CSV file; a plot is written beside it")
    options = parser.parse_args()
    print(describe_machine())
    others = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(options.busy)]
    rows: list[tuple[object, ...]] = []
    try:
        for text in options.data:
            name, cohort, truth, exemplar = open_data(text)
            for minutes in map(float, options.minutes.split(",")):
                started = time.monotonic()
                exemplars = LandmarkTable.from_sets([truth[exemplar]])
                model = onemark.fit(
                    cohort, exemplars, recipe=options.recipe, minutes=minutes, seed=options.seed
                )
                seconds = round(time.monotonic() - started, 1)
                stages = dict.fromkeys(entry["stage"] for entry in model.log)
                steps = " ".join(
                    f"{stage}:{max(e['step'] for e in model.log if e['stage'] == stage)}" for stage in stages
                )
                for which, found in answers(model, cohort):
                    errors = score(found, truth, cohort, exemplar)
                    mean, median = round(float(errors.mean()), 3), round(float(np.median(errors)), 3)
                    rows.append(
                        (name, len(cohort), minutes, options.busy, which, mean, median, steps, seconds)
                    )
                    print(*rows[-1], sep="\t", flush=True)
    finally:
        for other in others:
            other.kill()
    with options.out.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    plot(rows, options.out.with_suffix(".svg"))


def plot(rows: list[tuple[object, ...]], path: Path) -> None:
    """Draw one panel for each data set: mean error against minutes, a line for each answer."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print(f"no {path.name}: it needs `pip install matplotlib`")
        return
    names = list(dict.fromkeys(str(row[0]) for row in rows))
    figure, panels = plt.subplots(1, len(names), figsize=(4 * len(names), 3.2), squeeze=False)
    for name, panel in zip(names, panels[0], strict=True):
        for which in ("match", "register", "final"):
            points = [(row[2], row[5]) for row in rows if row[0] == name and row[4] == which]
            if points:
                panel.plot(*zip(*points, strict=True), marker="o", label=which)
        panel.set(
            xscale="log", yscale="log", xlabel="minutes", ylabel="mean error, % of the side", title=name
        )
        minutes = sorted({float(str(row[2])) for row in rows})
        panel.set_xticks(minutes, [f"{one:g}" for one in minutes])
        panel.set_yticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
        panel.set_ylim(0.5, 50)
        panel.minorticks_off()
    panels[0][0].legend()
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
