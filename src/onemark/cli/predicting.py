"""The subcommands that predict with a trained run: predict, merge. Each imports what it needs when it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

import onemark
from onemark.cli.options import Device, Follow, Overwrite, SafeCsv, SpacingMm
from onemark.cli.show import Show
from onemark.cli.steps import count_predicted, is_trained
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.archive.shares import Share
    from onemark.data.cohort import Cohort
    from onemark.pipeline.model import Model


def register_predicting(app: App) -> None:
    """Add the subcommands to the command line."""
    for command in (predict, merge):
        app.command(command)


def predict(
    run_folder: Path,
    xrays: str,
    /,
    *,
    out: Annotated[
        str,
        Parameter(help="File to write; its suffix chooses the format. A .parquet becomes a folder of parts."),
    ] = "landmarks.csv",
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
    workers: Annotated[
        int | None, Parameter(help="Processes of this machine to share the work (Dask, extra `cluster`).")
    ] = None,
    scheduler: Annotated[
        str | None, Parameter(help="A Dask cluster to share the work, such as tcp://host:8786.")
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
    from onemark.archive.job import check_free, check_result
    from onemark.archive.shares import parse_share

    check_free(out, overwrite)
    share = None if part is None else parse_share(part, os.environ)
    if sum(way is not None for way in (part, workers, scheduler)) > 1:
        raise UserError(
            "--part, --workers and --scheduler are three ways to share the work; give one of them"
        )
    cohort = onemark.open_cohort(xrays, spacing_mm=spacing_mm, follow_links=follow)
    # A target that cannot be written must fail before minutes of predicting, not after.
    check_result(out, cohort, mm=mm, overwrite=overwrite)
    way = _Way(out, mm, shard_size, overwrite, safe_csv)
    with Show() as show:
        if workers is None and scheduler is None:
            model = onemark.load(run_folder, device)
            say_unfinished(run_folder, model, show)
            line = way.alone(model, cohort, show) if share is None else way.share(model, cohort, share, show)
        else:
            say_unfinished(run_folder, onemark.load(run_folder, "cpu"), show)
            line = way.on_cluster(run_folder, cohort, workers, scheduler, device, show)
    print(line)


@dataclass(frozen=True)
class _Way:
    """The ways to predict. Each returns the line that says what came of it."""

    out: str
    mm: bool
    shard_size: int | None
    overwrite: bool
    safe_csv: bool

    def alone(self, model: Model, cohort: Cohort, show: Show) -> str:
        from onemark.archive.job import predict_into

        joined = predict_into(
            self.out,
            model,
            cohort,
            mm=self.mm,
            shard_size=self.shard_size,
            overwrite=self.overwrite,
            safe_csv=self.safe_csv,
            progress=show,
        )
        return count_predicted(joined.predicted, joined.total, self.out)

    def share(self, model: Model, cohort: Cohort, share: Share, show: Show) -> str:
        from onemark.archive.job import predict_share

        show.say(f"predicting part {share}, by {share.source}")
        done = predict_share(
            self.out,
            model,
            cohort,
            share,
            mm=self.mm,
            shard_size=self.shard_size,
            overwrite=self.overwrite,
            progress=show,
        )
        predicted = sum(one.predicted for one in done)
        return (
            f"part {share}: predicted {predicted} radiographs; when all parts are: onemark merge {self.out}"
        )

    def on_cluster(
        self,
        run_folder: Path,
        cohort: Cohort,
        workers: int | None,
        scheduler: str | None,
        device: str,
        show: Show,
    ) -> str:
        from onemark.archive.cluster import predict_on_cluster

        joined = predict_on_cluster(
            run_folder,
            cohort,
            self.out,
            workers=workers,
            scheduler=scheduler,
            device=device,
            mm=self.mm,
            shard_size=self.shard_size,
            overwrite=self.overwrite,
            safe_csv=self.safe_csv,
            progress=show,
        )
        return count_predicted(joined.predicted, joined.total, self.out)


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
    print(count_predicted(joined.predicted, joined.total, out))


def say_unfinished(run_folder: Path, model: Model, show: Show) -> None:
    """Say that a run is not finished, if so, and with which stages it predicts."""
    if not is_trained(run_folder):
        learned = ", ".join(model.stages)
        show.say(
            f"{run_folder} is not finished: it predicts with the stages trained so far ({learned}); "
            f"finish it with: onemark resume {run_folder}"
        )
