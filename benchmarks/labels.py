"""Error against time budget for any number of annotated cephalograms.

    python benchmarks/labels.py DATA 1=125 10=83,39,102,13,19,138,25,94,15,130 150=1-150 --minutes 1,3,10 --out labels.csv

DATA as for ceph.py; NAME=NUMBERS names the annotated ones. Images 1-150 are learned from, without the labels of the
others, and images 151-300 are scored. Rows that the CSV file already has are not measured again; without a set it is
only shown.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from statistics import fmean

import onemark
from common import Row, describe_machine, load_pyplot, parse_numbers, read_rows, write_rows
from onemark import LandmarkTable, Scores

SPACING_MM = 0.25


def main() -> None:
    """Fit each set with each budget, write a row for each, and print a table of all rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with images/ and landmarks.csv")
    parser.add_argument("sets", nargs="*", metavar="NAME=NUMBERS")
    parser.add_argument("--minutes", default="1,3,10")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="CSV file; a plot is written beside it")
    options = parser.parse_args()
    rows = read_rows(options.out)
    for text, minutes in itertools.product(options.sets, map(float, options.minutes.split(","))):
        name, numbers = text.split("=")
        wanted = {"labels": name, "minutes": str(minutes), "seed": str(options.seed)}
        if any(wanted.items() <= row.items() for row in rows):
            continue
        rows.append(wanted | measure(options, parse_numbers(numbers), minutes))
        write_rows(options.out, rows)
    print(describe_machine())
    print(as_table(rows))
    plot(rows, options.out.with_suffix(".svg"))


def measure(options: argparse.Namespace, numbers: list[int], minutes: float) -> Row:
    """Fit with these annotated, and score all of Test1."""
    cohort = onemark.open_cohort(options.data / "images", spacing_mm=SPACING_MM)
    truth = onemark.read_landmarks(options.data / "landmarks.csv", cohort)
    train, test = (cohort.subset(map(name_of, some)) for some in (range(1, 151), range(151, 301)))
    exemplars = LandmarkTable.from_sets(truth[name_of(one)] for one in numbers)
    model = onemark.fit(train, exemplars, minutes=minutes, seed=options.seed)
    scores: Scores = onemark.evaluate(model.predict(test), truth, spacing_mm=SPACING_MM)
    steps: dict[str, int] = {}
    for entry in model.log:
        steps[entry["stage"]] = max(steps.get(entry["stage"], 0), entry["step"])
    return {
        "mre": f"{scores.mre:.3f}",
        "low": f"{scores.low:.3f}",
        "high": f"{scores.high:.3f}",
        "median": f"{scores.overall.median:.3f}",
        "within": " / ".join(f"{share:.1f}" for share in scores.overall.sdr.values()),
        "steps": " ".join(f"{stage}:{count}" for stage, count in steps.items()),
        "commit": describe_machine().split(";")[0].removeprefix("commit "),
    }


def name_of(number: int) -> str:
    """File name of an image."""
    return f"{number:03d}.jpg"


def cells(rows: list[Row], labels: str) -> dict[float, list[Row]]:
    """Minutes -> the rows of a set of labels, one for each seed."""
    found: dict[float, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (float(row["minutes"]), row["seed"])):
        if row["labels"] == labels:
            found.setdefault(float(row["minutes"]), []).append(row)
    return found


def as_table(rows: list[Row]) -> str:
    """MRE and the share within 2 mm for each set of labels and budget, means over the seeds."""
    budgets = sorted({float(row["minutes"]) for row in rows})
    head = ["labels", *(f"{one:g} min" for one in budgets)]
    lines = [head, ["---"] * len(head)]
    for labels in dict.fromkeys(row["labels"] for row in rows):
        by_minutes = cells(rows, labels)
        line = [labels]
        for minutes in budgets:
            some = by_minutes.get(minutes, [])
            mre = fmean(float(row["mre"]) for row in some) if some else 0
            share = fmean(float(row["within"].split(" / ")[0]) for row in some) if some else 0
            line.append(f"{mre:.3f} mm, {share:.1f} %" if some else "")
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(rows: list[Row], path: Path) -> None:
    """Draw MRE against minutes, a line for each set of labels."""
    plt = load_pyplot(path)
    if plt is None:
        return
    figure, panel = plt.subplots(figsize=(5, 3.4), layout="constrained")
    for labels in dict.fromkeys(row["labels"] for row in rows):
        by_minutes = cells(rows, labels)
        means = [fmean(float(row["mre"]) for row in some) for some in by_minutes.values()]
        panel.plot(list(by_minutes), means, "o-", ms=4, label=labels)
    budgets = sorted({float(row["minutes"]) for row in rows})
    panel.set(xscale="log", xlabel="minutes", ylabel="mean radial error, mm")
    panel.set_xticks(budgets, [f"{one:g}" for one in budgets])
    panel.minorticks_off()
    panel.set_ylim(bottom=0)
    panel.legend(title="annotated", fontsize="small")
    figure.savefig(path)


if __name__ == "__main__":
    main()
