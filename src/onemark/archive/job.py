"""Predict a whole archive, or the share of one process, and merge what several have predicted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from onemark.archive.joining import Joined, join
from onemark.archive.options import DEFAULTS, PredictOptions
from onemark.archive.parquet import check_parquet
from onemark.archive.parts import Part, Parts
from onemark.archive.places import check_remote
from onemark.archive.plan import SHARD_SIZE, Plan
from onemark.archive.predicting import Predictor
from onemark.archive.shares import Share
from onemark.data.cohort import Cohort
from onemark.data.landmarks.convert import check_spacing, check_target
from onemark.pipeline.model import Model
from onemark.progress import Cancelled, Progress, Sink, silent
from onemark.types import UserError


def predict_into(
    out: Path | str,
    model: Model,
    cohort: Cohort,
    options: PredictOptions = DEFAULTS,
    *,
    progress: Sink = silent,
) -> Joined:
    """Predict a cohort into a file, part by part; after a death the same call goes on with what is missing.

    Memory does not grow with the cohort, except for formats other than CSV, whose writers need the whole table.

    Args:
        out: File to write, or its address; its suffix chooses the format, and `.parquet` becomes a folder.
        model: A model that is kept in a run folder.
        cohort: The radiographs.
        options: How to predict and write it.
        progress: Takes an event for each radiograph.

    Raises:
        UserError: parts of another run, list or settings are there, another process is at work on them, not one
            radiograph could be read, or something cannot be written.
        Cancelled: `progress` asked to stop; finished parts are kept.
    """
    check_free(out, options.overwrite)
    parts = Parts(out)
    with parts.held_job(), kept(parts):
        plan = begin(parts, model, cohort, options, discard=options.overwrite)
        say_left_out(cohort, progress)
        if there := len(parts.numbers(plan)):
            message = f"going on: {there} of {plan.count} parts are predicted already"
            progress(Progress("predict", 0, len(cohort), message=message))
        Predictor(model, cohort, plan, parts, progress).run()
        return join(parts, plan, cohort, overwrite=options.overwrite, safe_csv=options.safe_csv)


def predict_share(
    out: Path | str,
    model: Model,
    cohort: Cohort,
    share: Share,
    options: PredictOptions = DEFAULTS,
    *,
    progress: Sink = silent,
) -> list[Part]:
    """Predict the share of one process of a job array; `merge` then joins the parts of all.

    Args:
        out: As for `predict_into`; the same for all processes.
        model: The same for all processes.
        cohort: The radiographs; the list that the first process has made counts for all.
        share: Which part of the work is this process's.
        options: As for `predict_into`; `overwrite` says only that the file may be there, and `merge` replaces it.
        progress: As for `predict_into`.

    Raises:
        UserError: as `predict_into`.
        Cancelled: as `predict_into`.
    """
    check_free(out, options.overwrite)
    parts = Parts(out)
    plan = begin(parts, model, cohort, options)
    say_left_out(cohort, progress)
    return Predictor(model, cohort, plan, parts, progress).run(share.numbers(plan))


def merge(out: Path | str, *, overwrite: bool = False, safe_csv: bool = False) -> Joined:
    """Join the parts that several processes have predicted.

    Args:
        out: The file that they were predicted for.
        overwrite: Replace the file when it is there.
        safe_csv: See `LandmarkTable.to_csv`.

    Raises:
        UserError: there are no parts, some are missing, or the file is there or cannot be written.
    """
    parts = Parts(out)
    _check_place(parts, "--safe-csv", safe_csv, ".csv")
    plan = parts.plan()
    if plan is None:
        raise UserError(
            f"there are no parts of {parts.target} to merge; predict them with `onemark predict --part`"
        )
    with parts.held_job():
        return join(parts, plan, plan.cohort(), overwrite=overwrite, safe_csv=safe_csv)


def check_result(out: Path | str, cohort: Cohort, *, mm: bool = False, overwrite: bool = False) -> None:
    """Check, before long work, that the result can be written.

    Raises:
        UserError: a file is there already, unknown suffix, no pixel spacing for mm, nobody may write there.
    """
    parts = Parts(out)
    target = parts.target
    if target.is_remote:
        check_remote(target)
    elif not parts.grows:
        # Files beside all parts were written by a job that died among them; writing compares them.
        plan = parts.plan()
        died = plan is not None and len(parts.numbers(plan)) == plan.count
        return check_target(target.local, cohort, mm=mm, overwrite=overwrite or died)
    if parts.grows:
        check_parquet(target)
    if mm:
        check_spacing(cohort)


def check_free(out: Path | str, overwrite: bool) -> None:
    """Check that writing `out` destroys nothing; a Parquet folder that is still growing may be there.

    Raises:
        UserError: it is there already and `overwrite` is False, or no file can have that name.
    """
    parts = Parts(out)
    if parts.target.exists() and not overwrite and not (parts.grows and parts.plan() is not None):
        raise UserError(f"{parts.target} exists already; give another name, or --overwrite to replace it")


def begin(
    parts: Parts, model: Model, cohort: Cohort, options: PredictOptions, *, discard: bool = False
) -> Plan:
    """Make the plan, or go on with the one that is there; a size of the shards that nobody gave is that one's."""
    shard_size = options.shard_size
    if shard_size is None:
        there = parts.plan()
        shard_size = SHARD_SIZE if there is None else there.shard_size
    _check_place(parts, "--dicom-uid", options.dicom_uid, ".csv", ".parquet")
    _check_place(parts, "--mm", options.mm, ".csv", ".parquet")
    _check_place(parts, "--safe-csv", options.safe_csv, ".csv")
    plan = Plan.make(model, cohort, mm=options.mm, shard_size=shard_size, dicom_uid=options.dicom_uid)
    return parts.begin(plan, discard=discard)


def _check_place(parts: Parts, option: str, is_given: bool, *suffixes: str) -> None:
    """Refuse what a kind of file has no place for: it would be left out in silence."""
    if is_given and not parts.target.name.lower().endswith(suffixes):
        raise UserError(f"{parts.target} has no place for {option}; give it a {' or a '.join(suffixes)}")


def say_left_out(cohort: Cohort, progress: Sink) -> None:
    """Say what of the folder is no part of the cohort."""
    for message in cohort.left_out:
        progress(Progress("read", 0, len(cohort), message=message))


@contextlib.contextmanager
def kept(parts: Parts) -> Iterator[None]:
    """Say how to go on after a stop, and leave no folder behind that keeps nothing."""
    try:
        yield
    except Cancelled as stop:
        if not parts.recorded():
            raise
        raise Cancelled(
            f"{stop or 'stopped'}; what was predicted is kept: go on with the same command"
        ) from None
    finally:
        parts.remove_if_empty()
