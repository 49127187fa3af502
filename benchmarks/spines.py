"""Synthetic frontal spines: how many landmarks are found on their own vertebra, and how far off they are.

    python benchmarks/spines.py --minutes 3 --exemplars 1,8

Draws spines of 17 vertebrae with four corners each, learns from one of them, and scores all others: a landmark is right
where the nearest true corner belongs to its own vertebra, and on the right side where it is a corner of the same side.
Two landmarks share a place where they lie within 1 px; true corners of neighbours are 3 to 10 px apart.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import onemark
from common import describe_machine, parse_numbers, work_folder
from onemark import Cohort, LandmarkTable
from onemark.phantom.spine import LANDMARKS, write_spine_cohort

SHARED_PX = 1.0


@dataclass(frozen=True)
class Found:
    """Predictions on N spines against the truth.

    Attributes:
        errors: `[N, K]` px.
        vertebra: `[N, K]` whether a landmark is on its own vertebra.
        side: `[N, K]` whether it is on its own side.
        shared: Pairs of landmarks that share a place.
    """

    errors: NDArray[np.float64]
    vertebra: NDArray[np.bool_]
    side: NDArray[np.bool_]
    shared: int

    def describe(self) -> str:
        """One line."""
        return (
            f"{self.vertebra.mean():.1%} on the right vertebra, {self.side.mean():.1%} on the right side, "
            f"{self.vertebra.all(1).mean():.0%} of the films wholly right, {self.shared} shared places; error "
            f"{np.nanmean(self.errors):.2f} px, median {np.nanmedian(self.errors):.2f}"
        )


def main() -> None:
    """Fit from each exemplar, and print what the model and registration alone find."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--spines", type=int, default=40)
    parser.add_argument("--exemplars", default="1", help="which of them are annotated, one at a time; from 1")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(describe_machine())
    folder = work_folder(None) / "images"
    truth = write_spine_cohort(folder, options.spines)
    cohort = onemark.open_cohort(folder)
    for number in parse_numbers(options.exemplars):
        exemplar = truth.sets[number - 1]
        others = cohort.subset(name for name in cohort.names if name != exemplar.image)
        model = onemark.fit(
            cohort, LandmarkTable.from_sets([exemplar]), minutes=options.minutes, seed=options.seed
        )
        alone = LandmarkTable.from_sets(model.stages["register"].locate(one) for one in others)  # type: ignore[attr-defined]
        steps: dict[str, int] = {}
        for entry in model.log:
            steps[entry["stage"]] = max(steps.get(entry["stage"], 0), entry["step"])
        counts = " ".join(f"{stage}:{count}" for stage, count in steps.items())
        print(f"exemplar {number}, {options.minutes:g} minutes, seed {options.seed}; steps {counts}")
        print(f"  registration alone: {compare(alone, truth, others).describe()}")
        print(f"  final: {compare(model.predict(others), truth, others).describe()}", flush=True)


def compare(found: LandmarkTable, truth: LandmarkTable, cohort: Cohort) -> Found:
    """Compare predictions with the truth."""
    levels, sides = (np.array([name.split(" ")[word] for name in LANDMARKS]) for word in (0, -1))
    errors, vertebra, side, shared = [], [], [], 0
    for name in cohort.names:
        at = [found.names.index(landmark) for landmark in LANDMARKS]
        ours, theirs = found[name].xy[at], truth[name].xy
        near = np.linalg.norm(ours[:, None] - theirs[None], axis=-1).argmin(1)
        errors.append(np.linalg.norm(ours - theirs, axis=1))
        vertebra.append(levels[near] == levels)
        side.append(sides[near] == sides)
        apart = np.linalg.norm(ours[:, None] - ours[None], axis=-1)
        shared += int(((apart < SHARED_PX).sum() - len(apart)) // 2)
    return Found(np.array(errors), np.array(vertebra), np.array(side), shared)


if __name__ == "__main__":
    main()
