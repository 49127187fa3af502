"""The subcommands that predict with a trained run: predict, merge. Each imports what it needs when it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

import onemark
from onemark.cli.options import Device, Follow, Overwrite, SafeCsv, SpacingMm
from onemark.cli.show import Show
from onemark.cli.steps import is_trained, print_predicted

if TYPE_CHECKING:
    from onemark.pipeline.model import Model


def register_predicting(app: App) -> None:
    """Add the subcommands to the command line."""
    for command in (predict, merge):
        app.command(command)


def predict(
    run_folder: Path,
    xrays: Path,
    /,
    *,
    out: Annotated[
        Path,
        Parameter(help="File to write; its suffix chooses the format. A .parquet becomes a folder of parts."),
    ] = Path("landmarks.csv"),
    device: Device = "auto",
    spacing_mm: SpacingMm = None,
    follow: Follow = True,
    mm: Annotated[bool, Parameter(negative="", help="Add the columns x_mm,y_mm.")] = False,
    safe_csv: SafeCsv = False,
    overwrite: Overwrite = False,
    part: Annotated[
        str | None,
        Parameter(
            help="i/n, as 3/8: predict only this part of the work, for job arrays; auto: what Slurm or torchrun say. "
            "`onemark merge` joins the parts."
        ),
    ] = None,
    shard_size: Annotated[
        int | None, Parameter(help="Radiographs that are written at a time; 256 when left out.")
    ] = None,
) -> None:
    """Predict the landmarks of a folder of radiographs with a trained run.

    What is predicted is kept beside the output while the work goes on: the same command continues it after a stop.

    Args:
        run_folder: Run folder of `onemark fit` or `onemark run`.
        xrays: Folder of radiographs; or a list of files (.txt, .csv, .parquet), or an address such as s3://bucket/xrays.
    """
    from onemark.archive.job import check_free, check_result, predict_into, predict_share
    from onemark.archive.shares import parse_share

    check_free(out, overwrite)
    share = None if part is None else parse_share(part, os.environ)
    cohort = onemark.open_cohort(xrays, spacing_mm=spacing_mm, follow_links=follow)
    # A target that cannot be written must fail before minutes of predicting, not after.
    check_result(out, cohort, mm=mm, overwrite=overwrite)
    model = onemark.load(run_folder, device)
    with Show() as show:
        say_unfinished(run_folder, model, show)
        if share is None:
            joined = predict_into(
                out,
                model,
                cohort,
                mm=mm,
                shard_size=shard_size,
                overwrite=overwrite,
                safe_csv=safe_csv,
                progress=show,
            )
        else:
            show.say(f"predicting part {share}, by {share.source}")
            done = predict_share(
                out, model, cohort, share, mm=mm, shard_size=shard_size, overwrite=overwrite, progress=show
            )
    if share is None:
        print_predicted(joined.predicted, joined.total, out)
    else:
        predicted = sum(one.predicted for one in done)
        print(f"part {share}: predicted {predicted} radiographs; when all parts are: onemark merge {out}")


def merge(
    out: str,
    /,
    *,
    safe_csv: SafeCsv = False,
    overwrite: Overwrite = False,
) -> None:
    """Join what the processes of a job array have predicted with `onemark predict --part`.

    Args:
        out: The file that was given as --out.
    """
    from onemark.archive.job import check_free
    from onemark.archive.job import merge as merge_parts

    check_free(out, overwrite)
    joined = merge_parts(out, overwrite=overwrite, safe_csv=safe_csv)
    print_predicted(joined.predicted, joined.total, out)


def say_unfinished(run_folder: Path, model: Model, show: Show) -> None:
    """Say that a run is not finished, if so, and with which stages it predicts."""
    if not is_trained(run_folder):
        learned = ", ".join(model.stages)
        show.say(
            f"{run_folder} is not finished: it predicts with the stages trained so far ({learned}); "
            f"finish it with: onemark resume {run_folder}"
        )
