"""What the accuracy benchmarks share: runs of the command line in processes of their own, folders of links, tables."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import onemark
from onemark import LandmarkTable, Scores
from onemark.evaluation.metrics import paired_bootstrap

Row = dict[str, str]
"""A row of a CSV file of figures: column -> text."""


@dataclass(frozen=True)
class Cost:
    """Cost of a process: wall time in seconds and peak memory in MiB."""

    seconds: float
    peak_mib: float


@dataclass(frozen=True)
class Outcome:
    """One exemplar: its scores, and what fitting and predicting `predicted` radiographs cost."""

    exemplar: str
    scores: Scores
    fit: Cost
    predict: Cost
    predicted: int


def arguments(description: str, exemplars: str) -> argparse.ArgumentParser:
    """Make a parser with the options that the accuracy benchmarks share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with images/ and landmarks.csv")
    parser.add_argument("--exemplars", default=exemplars, help=f"numbers, by default {exemplars}")
    parser.add_argument("--minutes", type=float, help="time budget; without it the recipe's steps")
    parser.add_argument("--recipe", default="onemark")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the recipe"
    )
    parser.add_argument("--out", type=Path, help="folder to keep runs and predictions in")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def parse_numbers(text: str) -> list[int]:
    """Parse `1-3,7` to 1, 2, 3, 7."""
    values: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        values += range(int(first), int(last or first) + 1)
    return values


def run_command(*words: object) -> Cost:
    """Run `onemark` with these words in a process of its own; end the benchmark if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "onemark", *map(str, words)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(
            f"onemark {' '.join(map(str, words))}: exit status {os.waitstatus_to_exitcode(status)}"
        )
    # The unit of ru_maxrss is bytes on macOS and KiB on Linux.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Cost(time.perf_counter() - started, usage.ru_maxrss / unit)


def link_images(images: Path, names: Iterable[str], folder: Path) -> Path:
    """Make a folder of links to some of the images."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        target = folder / name
        if not target.exists():
            target.symlink_to((images / name).resolve())
    return folder


def work_folder(folder: Path | None) -> Path:
    """Return the folder to work in: the given one, or a new temporary one."""
    return folder or Path(tempfile.mkdtemp(prefix="onemark-benchmark-"))


def fit_and_predict(
    options: argparse.Namespace, work: Path, exemplar: str, train: Path, test: Path
) -> tuple[LandmarkTable, Cost, Cost]:
    """Fit on `train` with one exemplar and predict `test`, both by the command line."""
    truth = onemark.read_landmarks(options.data / "landmarks.csv")
    name = Path(exemplar).stem
    run, predictions = work / f"run-{name}", work / f"predictions-{name}.csv"
    LandmarkTable.from_sets([truth[exemplar]]).to_csv(work / f"exemplar-{name}.csv")
    budget = [] if options.minutes is None else ["--minutes", options.minutes]
    settings = [word for setting in options.set for word in ("--set", setting)]
    shared = ["--recipe", options.recipe, "--seed", options.seed, "--device", options.device]
    fit = run_command(
        "fit", train, "--exemplar", work / f"exemplar-{name}.csv", "--out", run, *shared, *budget, *settings
    )
    predict = run_command(
        "predict", run, test, "--out", predictions, "--device", options.device, "--overwrite"
    )
    return onemark.read_landmarks(predictions), fit, predict


def describe_machine() -> str:
    """Return commit, processor, device and command line, for the record."""
    from onemark.nn.device import describe

    here = Path(__file__).parent
    asked = ["git", "-C", str(here), "describe", "--always", "--dirty"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return f"commit {commit}; {model}; {describe()}; command: {' '.join(sys.argv)}"


def read_rows(path: Path) -> list[Row]:
    """Read the rows that earlier calls of a benchmark wrote; none where there is no file yet."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write at least one row, with the columns of the first one."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)


def load_pyplot(path: Path) -> Any:
    """Return matplotlib's pyplot; where it is not installed, say that there is no plot at `path`, and return None."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print(f"no {path.name}: it needs `pip install matplotlib`", file=sys.stderr)
        return None
    return plt


LOOP = "import os\nos.nice(19)\nparent = os.getppid()\nwhile os.getppid() == parent: pass"


@contextlib.contextmanager
def busy_programs(number: int) -> Iterator[None]:
    """Let so many programs take all of the processor that they get while the block runs.

    Each is in a session of its own, as a browser is: Linux shares the processor between sessions first (autogroups), so
    their low priority counts for little. They end with the benchmark, even with one that is killed.
    """
    programs = [subprocess.Popen([sys.executable, "-c", LOOP], start_new_session=True) for _ in range(number)]
    try:
        yield
    finally:
        for one in programs:
            one.kill()
            one.wait()


ARMS = (
    "| arm | MRE mm [95 %] | median | SDR 2 / 2.5 / 3 / 4 mm | against the first | s per radiograph |\n"
    "|---|---|---|---|---|---|"
)


def arm_row(arm: str, scores: Scores, first: Scores | None, seconds: float) -> str:
    """Format a row of the table whose head is `ARMS`; the difference from the first arm is a paired bootstrap."""
    all_ = scores.overall
    sdr = " / ".join(f"{value:.1f}" for value in all_.sdr.values())
    apart = ""
    if first is not None:
        change, low, high, p = paired_bootstrap(scores.error, first.error, scores.image)
        apart = f"{change:+.3f} [{low:+.3f}, {high:+.3f}], p = {p:.4f}"
    interval = f"{all_.mean:.3f} [{scores.low:.3f}, {scores.high:.3f}]"
    return f"| {arm} | {interval} | {all_.median:.3f} | {sdr} | {apart} | {seconds:.2f} |"


def show(outcomes: Sequence[Outcome], as_json: bool) -> None:
    """Print a row per exemplar, mean and spread over exemplars, and the landmarks of each."""
    if as_json:
        print(
            json.dumps(
                {"machine": describe_machine(), "exemplars": [_row(one) for one in outcomes]}, indent=2
            )
        )
        return
    print(describe_machine())
    unit = outcomes[0].scores.unit
    print(
        f"\nexemplar        MRE {unit} [95 % interval]  median   SDR 2 / 2.5 / 3 / 4       fit s   MiB  predict s  MiB"
    )
    for one in outcomes:
        s, all_ = one.scores, one.scores.overall
        sdr = " / ".join(f"{value:.1f}" for value in all_.sdr.values())
        print(
            f"{one.exemplar[:14]:14}  {all_.mean:.3f} [{s.low:.3f}, {s.high:.3f}]  {all_.median:.3f}  {sdr}  "
            f"{one.fit.seconds:7.0f} {one.fit.peak_mib:5.0f}"
            f"  {one.predict.seconds / one.predicted:7.3f} {one.predict.peak_mib:5.0f}"
        )
    means = [one.scores.overall.mean for one in outcomes]
    medians = [one.scores.overall.median for one in outcomes]
    spread = f" +- {np.std(means, ddof=1):.3f}" if len(means) > 1 else ""
    print(f"{'mean':14}  {np.mean(means):.3f}{spread} (mean of the medians {np.mean(medians):.3f})")
    for one in outcomes:
        print(f"\n{one.exemplar}\n{one.scores.as_text()}")


def _row(one: Outcome) -> dict[str, object]:
    return {
        "exemplar": one.exemplar,
        "scores": json.loads(one.scores.to_json()),
        "fit": vars(one.fit),
        "predict": vars(one.predict) | {"per_radiograph": one.predict.seconds / one.predicted},
    }
