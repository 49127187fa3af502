"""The subcommands that predict with a trained run: predict, merge, export. Each imports what it needs when it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

import onemark
from onemark.cli.options import Device, Follow, Overwrite, SafeCsv, SpacingMm
from onemark.cli.show import Show
from onemark.cli.steps import count_predicted
from onemark.data.paths import printable
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.archive.options import PredictOptions
    from onemark.archive.shares import Share
    from onemark.data.cohort import Cohort
    from onemark.pipeline.model import Model


def register_predicting(app: App) -> None:
    """Add the subcommands to the command line."""
    for command in (predict, merge, export):
        app.command(command)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Sharing:
    """The options that share the work."""

    part: Annotated[
        str | None,
        Parameter(
            help="i/n, as 3/8: predict only this part of the work, for job arrays; auto: what Slurm or torchrun say. "
            "`onemark merge` joins the parts."
        ),
    ] = None
    workers: Annotated[
        int | None, Parameter(help="Processes of this machine to share the work (Dask, extra `cluster`).")
    ] = None
    scheduler: Annotated[
        str | None, Parameter(help="A Dask cluster to share the work, such as tcp://host:8786.")
    ] = None
    shard_size: Annotated[
        int | None, Parameter(help="Radiographs that are written at a time; 256 when left out.")
    ] = None

    def check(self) -> None:
        """Check that they do not contradict each other. Raises UserError."""
        if sum(way is not None for way in (self.part, self.workers, self.scheduler)) > 1:
            raise UserError(
                "--part, --workers and --scheduler are three ways to share the work; give one of them"
            )


NOT_SHARED = Sharing()
DicomUid = Annotated[
    bool,
    Parameter(
        negative="",
        help="Add the column sop_instance_uid: the UID of each DICOM file. No other tag leaves a file.",
    ),
]


def predict(
    run_folder: str,
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
    dicom_uid: DicomUid = False,
    safe_csv: SafeCsv = False,
    overwrite: Overwrite = False,
    sharing: Sharing = NOT_SHARED,
) -> None:
    """Predict the landmarks of a folder of radiographs with a trained run.

    What is predicted is kept beside the output while the work goes on: the same command continues it after a stop.

    Args:
        run_folder: Run folder of `onemark fit` or `onemark run`, or its address, such as s3://bucket/my-run.
        xrays: Folder of radiographs; or a list of files (.txt, .csv, .parquet), or an address such as s3://bucket/xrays.
    """
    from onemark.archive.job import check_free, check_result
    from onemark.archive.options import PredictOptions
    from onemark.archive.shares import hint_of, parse_share

    sharing.check()
    check_free(out, overwrite)
    share = None if sharing.part is None else parse_share(sharing.part, os.environ)
    cohort = onemark.open_cohort(xrays, spacing_mm=spacing_mm, follow_links=follow)
    on_cluster = sharing.workers is not None or sharing.scheduler is not None
    model = onemark.load(run_folder, "cpu" if on_cluster else device)
    cohort, note = use_run_spacing(cohort, model, run_folder)
    # A target that cannot be written must fail before minutes of predicting, not after.
    check_result(out, cohort, mm=mm, overwrite=overwrite)
    options = PredictOptions(
        mm=mm,
        shard_size=sharing.shard_size,
        dicom_uid=dicom_uid,
        overwrite=overwrite,
        safe_csv=safe_csv,
    )
    way = _Way(out, options)
    with Show() as show:
        say_unfinished(run_folder, model, show)
        if note:
            show.say(note)
        if on_cluster:
            line = way.on_cluster(run_folder, cohort, sharing, device, show)
        elif share is not None:
            line = way.share(model, cohort, share, show)
        else:
            if hint := hint_of(os.environ):
                show.say(hint)
            line = way.alone(model, cohort, show)
    print(line)


@dataclass(frozen=True)
class _Way:
    """The ways to predict. Each returns the line that says what came of it."""

    out: str
    options: PredictOptions

    def alone(self, model: Model, cohort: Cohort, show: Show) -> str:
        from onemark.archive.job import predict_into

        joined = predict_into(self.out, model, cohort, self.options, progress=show)
        return count_predicted(joined.predicted, joined.total, self.out)

    def share(self, model: Model, cohort: Cohort, share: Share, show: Show) -> str:
        from onemark.archive.job import predict_share

        show.say(f"predicting part {share}, by {share.source}")
        done = predict_share(self.out, model, cohort, share, self.options, progress=show)
        predicted = sum(one.predicted for one in done)
        return (
            f"part {share}: predicted {predicted} radiographs; when all parts are: onemark merge {self.out}"
        )

    def on_cluster(
        self,
        run_folder: str,
        cohort: Cohort,
        sharing: Sharing,
        device: str,
        show: Show,
    ) -> str:
        from onemark.archive.cluster import predict_on_cluster

        joined = predict_on_cluster(
            run_folder,
            cohort,
            self.out,
            self.options,
            workers=sharing.workers,
            scheduler=sharing.scheduler,
            device=device,
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


def export(
    run_folder: str,
    out: Path,
    /,
    *,
    overwrite: Overwrite = False,
) -> None:
    """Write a trained run as an ONNX file, for programs without onemark (extra `onnx`).

    Args:
        run_folder: Run folder of `onemark fit` or `onemark run`, or its address, such as s3://bucket/my-run.
        out: File to write, such as model.onnx; it says what it lacks of `onemark predict`.
    """
    from onemark.pipeline.export.onnx import export_onnx

    differs = export_onnx(onemark.load(run_folder, "cpu"), out, overwrite=overwrite)
    print(f"wrote {out}; unlike onemark predict: {'; '.join(differs)}")


def say_unfinished(run_folder: Path | str, model: Model, show: Show) -> None:
    """Say that a run is not finished, if so, and with which stages it predicts."""
    if model.folder is not None and not model.folder.status().is_trained:
        learned = ", ".join(model.stages)
        show.say(
            f"{run_folder} is not finished: it predicts with the stages trained so far ({learned}); "
            f"finish it with: onemark resume {run_folder}"
        )


def use_run_spacing(cohort: Cohort, model: Model, run_folder: Path | str) -> tuple[Cohort, str]:
    """The radiographs with the spacing that the run was given for these very ones, and what there is to say of it.

    Others keep what their files say: a spacing that was typed for one folder tells nothing of another.
    """
    given = None if model.folder is None else model.folder.config.spacing_mm
    if model.folder is None or given is None or cohort.spacing_mm is not None:
        return cohort, ""
    x, y = given
    words = f"{x:g} mm per pixel" if x == y else f"{x:g} x {y:g} mm per pixel"
    if cohort.place == model.folder.config.cohort:
        return replace(cohort, spacing_mm=given), f"{words}, as {run_folder} was given for these radiographs"
    return cohort, (
        f"{run_folder} was given {words}; here, what the files say counts: give --spacing-mm where it holds for "
        f"{printable(cohort.place)}, too"
    )
