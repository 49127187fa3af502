"""What it costs when a third of the radiographs is mirrored or turned: the error against the same cohort, upright.

    python benchmarks/turned.py hand=DATA/hand:3147 ceph=DATA/ceph:125:1-150 --minutes 3

Data sets are written as for `curve.py`. Every third radiograph but the exemplar gets one of the seven other orientations,
in turn. Both cohorts are trained on with the same seed and budget; a radiograph's error is that on the file as it lies.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image

import onemark
from common import describe_machine, work_folder
from curve import open_data, score
from onemark import Cohort, LandmarkTable
from onemark.imaging.orientation import ALL, UPRIGHT, Orientation

EVERY = 3


def draw_orientations(cohort: Cohort, exemplar: str) -> dict[str, Orientation]:
    """Name -> how a radiograph shall lie."""
    others, ways = [name for name in cohort.names if name != exemplar], cycle(ALL[1:])
    return {name: next(ways) if n % EVERY == EVERY - 1 else UPRIGHT for n, name in enumerate(others)}


def write_turned(
    cohort: Cohort, truth: LandmarkTable, orientations: dict[str, Orientation], folder: Path
) -> LandmarkTable:
    """Write a cohort's radiographs as PNG files that lie as they shall, and return their landmarks."""
    folder.mkdir(parents=True)
    sets = []
    for one in cohort:
        way = orientations.get(one.name, UPRIGHT)
        name = f"{Path(one.name).stem}.png"
        values = (way.turn_pixels(one.pixels).clip(0, 1) * 65535).round().astype(np.uint16)
        Image.fromarray(np.ascontiguousarray(values)).save(folder / name)
        sets.append(replace(way.turn_landmarks(truth[one.name], one.size), image=name))
    return LandmarkTable.from_sets(sets)


def main() -> None:
    """Fit each cohort upright and turned, and print both errors and their quotient."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", metavar="NAME=FOLDER:EXEMPLAR[:FIRST-LAST]")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(describe_machine())
    for text in options.data:
        name, cohort, truth, exemplar = open_data(text)
        turned = draw_orientations(cohort, exemplar)
        means = []
        for orientations in ({}, turned):
            folder, first = work_folder(None) / "images", f"{Path(exemplar).stem}.png"
            table = write_turned(cohort, truth, orientations, folder)
            lying, exemplars = onemark.open_cohort(folder), LandmarkTable.from_sets([table[first]])
            model = onemark.fit(lying, exemplars, minutes=options.minutes, seed=options.seed)
            means.append(float(score(model.predict(lying), table, lying, first).mean()))
        count = sum(not way.is_upright for way in turned.values())
        upright, other = means
        print(
            f"{name}: {upright:.3f} % of the side upright, {other:.3f} % with {count} of {len(cohort)} turned or "
            f"mirrored, {other / upright:.3f} times as much",
            flush=True,
        )


if __name__ == "__main__":
    main()
