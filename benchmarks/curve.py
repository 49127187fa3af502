"""Error against time budget, for any number of data sets, on a free machine or beside busy programs.

    python benchmarks/curve.py hand=DATA/hand:3147 ceph10=DATA/ceph:001:001-010 --minutes 0.25,0.5,1,2,5 --out curve.csv

A data set is NAME=FOLDER:EXEMPLAR[:FIRST-LAST]. FOLDER holds images/ and landmarks.csv; EXEMPLAR is the stem of a file;
FIRST-LAST limits the images to those whose stems are these numbers. Every radiograph but the exemplar is scored, in
percent of its mean side. Beside the final answer, those of the matcher and of registration alone are scored, so that the
table shows whether a stage made it worse. `--busy N` runs N busy programs beside the fit. Rows that the CSV file already
has are not measured again; without a data set it is only shown.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np

import onemark
from common import Row, busy_programs, describe_machine, load_pyplot, parse_numbers, read_rows, write_rows
from onemark import Cohort, LandmarkTable, Model

COLUMNS = (
    "data", "radiographs", "minutes", "busy", "seed", "answer", "mean", "median", "steps", "seconds"
)  # fmt: skip
WORDS = {"register": "registration alone", "final": "final"}


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


def measure(text: str, minutes: float, options: argparse.Namespace) -> list[Row]:
    """Fit one data set with one budget: a row for each answer."""
    name, cohort, truth, exemplar = open_data(text)
    started = time.monotonic()
    exemplars = LandmarkTable.from_sets([truth[exemplar]])
    with busy_programs(options.busy):
        model = onemark.fit(cohort, exemplars, recipe=options.recipe, minutes=minutes, seed=options.seed)
        seconds = round(time.monotonic() - started, 1)
    steps: dict[str, int] = {}
    for entry in model.log:
        steps[entry["stage"]] = max(steps.get(entry["stage"], 0), entry["step"])
    rows = []
    for which, found in answers(model, cohort):
        errors = score(found, truth, cohort, exemplar)
        row = (name, len(cohort), minutes, options.busy, options.seed, which)
        values = (round(float(errors.mean()), 3), round(float(np.median(errors)), 3))
        told = " ".join(f"{stage}:{count}" for stage, count in steps.items())
        rows.append(dict(zip(COLUMNS, map(str, (*row, *values, told, seconds)), strict=True)))
    return rows


def main() -> None:
    """Fit every data set with every budget, write a row for each answer, and print a table of all rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", metavar="NAME=FOLDER:EXEMPLAR[:FIRST-LAST]")
    parser.add_argument("--minutes", default="0.25,0.5,1,2,5,10")
    parser.add_argument("--recipe", default="onemark")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--busy", type=int, default=0, help="busy programs beside the fit")
    parser.add_argument("--out", type=Path, required=True, help="CSV file; a plot is written beside it")
    options = parser.parse_args()
    print(describe_machine(), file=sys.stderr)
    rows = read_rows(options.out)
    for text, minutes in itertools.product(options.data, map(float, options.minutes.split(","))):
        wanted = {
            "data": text.partition("=")[0],
            "minutes": minutes,
            "busy": options.busy,
            "seed": options.seed,
        }
        if any(all(row[key] == str(value) for key, value in wanted.items()) for row in rows):
            continue
        rows += measure(text, minutes, options)
        write_rows(options.out, rows)
    print(as_table(rows))
    plot(rows, options.out.with_suffix(".svg"))


def means(rows: list[Row], name: str, busy: str, which: str) -> dict[float, float]:
    """Minutes -> mean error of an answer, the mean over the seeds."""
    found: dict[float, list[float]] = {}
    for row in rows:
        if (row["data"], row["busy"], row["answer"]) == (name, busy, which):
            found.setdefault(float(row["minutes"]), []).append(float(row["mean"]))
    return {minutes: fmean(found[minutes]) for minutes in sorted(found)}


def as_table(rows: list[Row]) -> str:
    """Registration's and the final mean error for each data set, budget and number of busy programs."""
    budgets = sorted({float(row["minutes"]) for row in rows})
    head = ["data", "busy programs", *(f"{60 * one:g} s" if one < 1 else f"{one:g} min" for one in budgets)]
    lines = [head, ["---"] * len(head)]
    for name, busy in dict.fromkeys((row["data"], row["busy"]) for row in rows):
        alone, final = (means(rows, name, busy, which) for which in ("register", "final"))
        cells = [f"{alone[one]:.3f} / {final[one]:.3f}" if one in final else "" for one in budgets]
        lines.append([name, busy, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(rows: list[Row], path: Path) -> None:
    """Draw a panel for each data set: mean error against minutes, a line for each answer, dashed beside busy programs."""
    plt = load_pyplot(path)
    if plt is None:
        return
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure, panels = plt.subplots(1, len(names), figsize=(3.4 * len(names), 3.2), squeeze=False)
    for name, panel in zip(names, panels[0], strict=True):
        for busy in sorted({row["busy"] for row in rows}):
            for which, colour in (("register", "tab:orange"), ("final", "tab:blue")):
                points = means(rows, name, busy, which)
                if points:
                    label = WORDS[which] + (f", beside {busy} busy" if busy != "0" else "")
                    style = "-" if busy == "0" else "--"
                    panel.plot(
                        points.keys(), points.values(), style, color=colour, marker="o", ms=4, label=label
                    )
        budgets = sorted({float(row["minutes"]) for row in rows if row["data"] == name})
        panel.set(xscale="log", xlabel="minutes", title=name)
        panel.set_xticks(budgets, [f"{one:g}" for one in budgets])
        panel.set_ylim(0, 1.1 * panel.get_ylim()[1])
        panel.minorticks_off()
    panels[0][0].set_ylabel("mean error, % of the side")
    panels[0][0].legend(fontsize="small", loc="lower left")
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
