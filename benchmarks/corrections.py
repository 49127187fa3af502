"""What do corrections gain? A finished run learns from a few corrected radiographs, the worst or random ones.

    python benchmarks/corrections.py DATA RUN --worst 3,5 --random 5,5 --minutes 1

DATA is as for `ceph.py`; RUN is the folder of a finished fit, which stays as it is. Radiographs are corrected with the
truth. The worst ones have the largest mean expected error, which does not use the truth. A paired bootstrap over images
compares the arms with the run before any correction.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import onemark
from common import ARMS, arm_row, describe_machine, link_images, parse_numbers, work_folder
from onemark import Cohort, LandmarkTable, Model, Scores

SPACING_MM = 0.25


def main() -> None:
    """Teach, predict and score arm by arm."""
    options = _options()
    images, work = options.data / "images", work_folder(options.out)
    train, test = (
        onemark.open_cohort(link_images(images, [f"{n:03d}.jpg" for n in which], work / name))
        for name, which in (("train", range(1, 151)), ("test", range(151, 301)))
    )
    truth, before = onemark.read_landmarks(options.data / "landmarks.csv"), onemark.load(options.run)
    print(f"{describe_machine()}\n\n{ARMS}", flush=True)
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
        predictions = model.predict(test)
        each = (time.perf_counter() - started) / len(test)
        scores = onemark.evaluate(predictions, truth, spacing_mm=SPACING_MM)
        print(arm_row(f"{arm}, {taught:.0f} s: {' '.join(names)}", scores, first, each), flush=True)
        judged[arm] = scores
    if options.plot:
        plot(judged, options.plot)


def plot(judged: dict[str, Scores], path: Path) -> None:
    """Plot the mean error of each arm with its 95 % interval."""
    import matplotlib.pyplot as plt  # an extra of this script: pip install matplotlib

    figure, axes = plt.subplots(figsize=(6, 0.45 * len(judged) + 1), layout="constrained")
    for row, scores in enumerate(judged.values()):
        axes.plot([scores.low, scores.high], [row, row], color="tab:grey")
        axes.plot(scores.mre, row, "o", color="tab:blue")
    axes.set_yticks(range(len(judged)), list(judged))
    axes.invert_yaxis()
    axes.set_xlabel("mean radial error, mm")
    figure.savefig(path, dpi=100)


def _arms(options: argparse.Namespace, before: Model, train: Cohort) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each arm and the radiographs that are corrected."""
    predictions = before.predict(train)
    rest = [one for one in predictions if one.image not in before.exemplars.images]
    worst = sorted(rest, key=lambda one: -float(np.mean(one.expected_error)))
    for count in parse_numbers(options.worst):
        yield f"worst {count}", [one.image for one in worst[:count]]
    draws = np.random.default_rng(0)
    for n, count in enumerate(parse_numbers(options.random)):
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
