"""The demo: a cohort of phantoms, one exemplar, everything else as with real radiographs."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count as numbers
from pathlib import Path

import onemark
from onemark.cli.options import Training
from onemark.cli.show import Show
from onemark.cli.steps import finished, fitted, percent_of_side, resumable
from onemark.data.atomic import user_errors
from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.phantom import write_phantom_cohort
from onemark.types import UserError


def run_demo(out: Path | None, count: int, training: Training) -> None:
    """Write phantoms and their truth, fit from the first one, mark all, and print the errors.

    Args:
        out: Folder for all of it; the first of `onemark-demo`, `onemark-demo-2`, ... that is free by default.
        count: Number of phantoms.
        training: How to train.

    Raises:
        UserError: `out` exists already, or there are fewer than two phantoms.
    """
    if count < 2:
        raise UserError(f"--count {count}: one phantom is the exemplar, so ask for at least 2")
    if out is not None:
        with user_errors(out):
            there = out.exists()
        if there:
            raise UserError(f"{out} exists already; give a new folder: onemark demo --out FOLDER")
    out = out or free_folder("onemark-demo")
    truth = write_phantom_cohort(out / "xrays", count)
    exemplars = LandmarkTable.from_sets([truth[truth.images[0]]])
    truth.to_csv(out / "truth.csv")
    exemplars.to_csv(out / "exemplar.csv")
    print(f"{count} synthetic radiographs, {len(truth.names)} landmarks placed on {exemplars.images[0]}")

    cohort = onemark.open_cohort(out / "xrays")
    with Show() as show, resumable(out / "run"):
        model = fitted(cohort, exemplars, out / "run", training, show)
        found = finished(model, cohort, out / "run", show, truth)
    print(summary(found, truth, cohort, exemplars.images))
    print(
        f"radiographs {out / 'xrays'}",
        f"landmarks   {out / 'run' / 'landmarks.csv'}",
        f"report      {out / 'run' / 'report.html'}",
        sep="\n",
    )


def free_folder(name: str) -> Path:
    """The first of `name`, `name-2`, `name-3`, ... that does not exist."""
    names = (Path(name if number == 1 else f"{name}-{number}") for number in numbers(1))
    return next(path for path in names if not path.exists())


def summary(found: LandmarkTable, truth: LandmarkTable, cohort: Cohort, exclude: Collection[str]) -> str:
    """The mean radial error in px, mm and percent of the image side, on all radiographs but the exemplar."""
    spacing = {name: cohort.header(name).spacing for name in cohort.names}
    px = onemark.evaluate(found, truth, exclude=exclude)
    mm = onemark.evaluate(found, truth, spacing_mm=spacing, exclude=exclude)
    side = percent_of_side(found, truth, cohort, exclude)
    return (
        f"mean radial error {px.mre:.2f} px = {mm.mre:.2f} mm = {side.mre:.2f} % of the image side "
        f"({px.found} landmarks on {len(px.per_image)} radiographs; the exemplar does not count)"
    )
