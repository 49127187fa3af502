"""How much of its speed a training keeps while other programs use the processor, with and without spinning threads.

    python benchmarks/busy.py [--seconds 30] [--repeats 3] [--out FILE.csv]

Every measurement is a process of its own, because OpenMP reads its wait policy when torch is loaded. Conditions
alternate, so that a slow minute of the machine does not hit one of them alone; the median of the repeats counts. The
trainings have a time budget, because only these give way to other programs.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import busy_programs

POLICIES = {"onemark": {}, "spinning": {"OMP_WAIT_POLICY": "ACTIVE"}}
BUSY = (0, 1, 2)
BATCH = 8


def train(folder: Path, seconds: float) -> float:
    """Train the compact matcher's network for some time; images per second of the second half."""
    import onemark

    times: list[float] = []
    cohort = onemark.open_cohort(folder)
    exemplars = onemark.read_landmarks(folder / "exemplar.csv", cohort)
    onemark.fit(
        cohort,
        exemplars,
        recipe="match-only",
        settings={"match.batch": BATCH},
        minutes=seconds / 60,
        orient=False,
        progress=lambda event: (
            times.append(time.monotonic()) if event.stage == "match" and event.step else None
        ),
    )
    half = [one for one in times if one >= (times[0] + times[-1]) / 2]
    return BATCH * (len(half) - 1) / (half[-1] - half[0])


def measure(folder: Path, seconds: float, policy: str, busy: int) -> float:
    """Images per second of one training in a fresh process, beside some busy ones."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS")}
    command = [sys.executable, __file__, "--train", str(folder), "--seconds", str(seconds)]
    with busy_programs(busy):
        done = subprocess.run(
            command, env=environment | POLICIES[policy], capture_output=True, text=True, check=True
        )
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure all conditions and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each training")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        print(train(options.train, options.seconds))
        return
    from onemark.phantom import write_phantom_cohort

    found: dict[tuple[str, int], list[float]] = {(policy, busy): [] for policy in POLICIES for busy in BUSY}
    with tempfile.TemporaryDirectory() as folder:
        truth = write_phantom_cohort(Path(folder), 12, size=(960, 774))
        truth.from_sets(truth.sets[:1]).to_csv(Path(folder) / "exemplar.csv")
        for _ in range(options.repeats):
            for policy, busy in found:
                found[policy, busy].append(measure(Path(folder), options.seconds, policy, busy))
    rows = [(policy, busy, round(statistics.median(speeds), 2)) for (policy, busy), speeds in found.items()]
    quiet = {policy: speed for policy, busy, speed in rows if busy == 0}
    print("| threads | busy processes | images/s | of a free machine |\n|---|---|---|---|")
    for policy, busy, speed in rows:
        print(f"| {policy} | {busy} | {speed} | {speed / quiet[policy]:.2f} |")
    if options.out:
        with options.out.open("w", newline="") as file:
            csv.writer(file).writerows([("threads", "busy", "images_per_s"), *rows])


if __name__ == "__main__":
    main()
