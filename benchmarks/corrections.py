"""What corrections buy: a finished run is taught a few corrected radiographs, the worst first, or any.

    python benchmarks/corrections.py DATA RUN --worst 3,5 --random 5,5 --minutes 1

DATA is as for `ceph.py`; RUN is the folder of a finished fit, which stays as it is. Radiographs are corrected with the
truth. Worst is the largest mean expected error, which knows nothing of it. Arms are compared with the run before any
correction, by a paired bootstrap over images.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import onemark
from common import ARMS, arm_row, kept, links, machine, numbers
from onemark import Cohort, LandmarkTable, Model, Scores

SPACING_MM = 0.25


def main() -> None:
    """Teach, mark and score arm by arm."""
    options = _options()
    images, work = options.data / "images", kept(options.out)
    train, test = (
        onemark.open_cohort(links(images, [f"{n:03d}.jpg" for n in which], work / name))
        for name, which in (("train", range(1, 151)), ("test", range(151, 301)))
    )
    truth, before = onemark.read_landmarks(options.data / "landmarks.csv"), onemark.load(options.run)
    print(f"{machine()}\n\n{ARMS}", flush=True)
    first = onemark.evaluate(before.predict(test), truth, spacing_mm=SPACING_MM)
    print(arm_row("no correction", first, None, 0.0), flush=True)
    judged = {"no correction": first}
    for arm, names in _arms(options, before, train):
        run = work / arm.replace(" ", "-")
        shutil.copytree(options.run, run)
        corrected = LandmarkTable.from_sets(truth[name] for name in names)
        started = time.perf_counter()
        model = onemark.resume(run, cohort=train, exemplars=corrected, minutes=options.minutes)
        taught = time.perf_counter() - started
        started = time.perf_counter()
        found = model.predict(test)
        each = (time.perf_counter() - started) / len(test)
        scores = onemark.evaluate(found, truth, spacing_mm=SPACING_MM)
        print(arm_row(f"{arm}, {taught:.0f} s: {' '.join(names)}", scores, first, each), flush=True)
        judged[arm] = scores
    if options.plot:
        plot(judged, options.plot)


def plot(judged: dict[str, Scores], path: Path) -> None:
    """Mean error of each arm with its 95 % interval."""
    import matplotlib.pyplot as plt  # beside the package's requirements: pip install matplotlib

    figure, axes = plt.subplots(figsize=(6, 0.45 * len(judged) + 1), layout="constrained")
    for row, scores in enumerate(judged.values()):
        axes.plot([scores.low, scores.high], [row, row], color="tab:grey")
        axes.plot(scores.mre, row, "o", color="tab:blue")
    axes.set_yticks(range(len(judged)), list(judged))
    axes.invert_yaxis()
    axes.set_xlabel("mean radial error, mm")
    figure.savefig(path, dpi=100)


def _arms(options: argparse.Namespace, before: Model, train: Cohort) -> Iterator[tuple[str, list[str]]]:
    """Name of an arm, and the radiographs that are corrected."""
    found = before.predict(train)
    rest = [one for one in found if one.image not in before.exemplars.images]
    worst = sorted(rest, key=lambda one: -float(np.mean(one.expected_error)))
    for count in numbers(options.worst):
        yield f"worst {count}", [one.image for one in worst[:count]]
    draws = np.random.default_rng(0)
    for n, count in enumerate(numbers(options.random)):
        picked = draws.choice(len(rest), count, replace=False)
        yield f"random {count} no {n + 1}", [rest[i].image for i in picked]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with images/ and landmarks.csv")
    parser.add_argument("run", type=Path, help="run folder of a finished fit on images 1-150")
    parser.add_argument("--worst", default="3,5", help="how many of the worst are corrected, arm by arm")
    parser.add_argument("--random", default="5,5,5", help="how many random ones are corrected, arm by arm")
    parser.add_argument("--minutes", type=float, default=1.0, help="time to learn from them")
    parser.add_argument("--out", type=Path, help="folder to keep the runs in")
    parser.add_argument("--plot", type=Path, help="picture to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
