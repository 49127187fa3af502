"""The demo: phantoms and one exemplar; everything else is as with real radiographs."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count as numbers
from pathlib import Path

import onemark
from onemark.cli.options import Training
from onemark.cli.show import Show
from onemark.cli.steps import explain_stop, fit_run, predict_and_report, score_in_percent
from onemark.data.atomic import user_errors
from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.phantom import write_phantom_cohort
from onemark.types import UserError


def run_demo(out: Path | None, count: int, training: Training) -> None:
    """Write phantoms and their truth, train on the first one, predict all of them and print the error.

    Args:
        out: Folder for everything; by default the first free name of `onemark-demo`, `onemark-demo-2`, ...
        count: Number of phantoms.
        training: How to train.

    Raises:
        UserError: `out` exists, or `count` is below 2.
    """
    if count < 2:
        raise UserError(f"--count {count}: one phantom is the exemplar, so give at least 2")
    if out is not None:
        with user_errors(out):
            there = out.exists()
        if there:
            raise UserError(f"{out} exists already; give a new folder: onemark demo --out FOLDER")
    # Without --out, a second demo gets a folder of its own; nothing of the first is replaced.
    out = out or find_free_folder("onemark-demo")
    truth = write_phantom_cohort(out / "xrays", count)
    exemplars = LandmarkTable.from_sets([truth[truth.images[0]]])
    truth.to_csv(out / "truth.csv")
    exemplars.to_csv(out / "exemplar.csv")
    print(f"{count} synthetic radiographs, {len(truth.names)} landmarks placed on {exemplars.images[0]}")

    cohort = onemark.open_cohort(out / "xrays")
    with Show() as show, explain_stop(out / "run"):
        model = fit_run(cohort, exemplars, out / "run", training, show)
        predictions, verdict = predict_and_report(model, cohort, out / "run", show, truth)
    if verdict is not None:
        print(f"{verdict.headline}. {verdict.explain('give the demo more --minutes')}")
    print(summarise_error(predictions, truth, cohort, exemplars.images))
    print(
        f"radiographs {out / 'xrays'}",
        f"landmarks   {out / 'run' / 'landmarks.csv'}",
        f"report      {out / 'run' / 'report.html'}",
        sep="\n",
    )


def find_free_folder(name: str) -> Path:
    """Return the first of `name`, `name-2`, `name-3`, ... that does not exist."""
    names = (Path(name if number == 1 else f"{name}-{number}") for number in numbers(1))
    return next(path for path in names if not path.exists())


def summarise_error(
    predictions: LandmarkTable, truth: LandmarkTable, cohort: Cohort, exclude: Collection[str]
) -> str:
    """Return one line with the mean radial error in px, mm and percent of the image side, without `exclude`."""
    # Phantoms have a known spacing, so their errors can be given in all three units.
    spacing = {name: cohort.header(name).spacing for name in cohort.names}
    px = onemark.evaluate(predictions, truth, exclude=exclude)
    mm = onemark.evaluate(predictions, truth, spacing_mm=spacing, exclude=exclude)
    side = score_in_percent(predictions, truth, cohort, exclude)
    return (
        f"mean radial error {px.mre:.2f} px = {mm.mre:.2f} mm = {side.mre:.2f} % of the image side "
        f"({px.predicted} landmarks on {len(px.per_image)} radiographs; the exemplar does not count)"
    )
