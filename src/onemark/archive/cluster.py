"""Predict on many machines, or many processes of one, by Dask: one shard is one task."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from onemark.archive.job import begin, check_free, kept, say_left_out
from onemark.archive.joining import Joined, join
from onemark.archive.options import DEFAULTS, PredictOptions
from onemark.archive.parts import Part, Parts
from onemark.archive.plan import Plan
from onemark.archive.tasks import Order, Report, predict_shard_of
from onemark.data.cohort import Cohort
from onemark.data.extras import import_extra
from onemark.data.paths import printable
from onemark.data.urls import parse_place
from onemark.progress import Progress, Sink, silent
from onemark.types import UserError

_POLL_SECONDS = 0.2
_RETRIES = 2


def predict_dask(
    run: Path | str,
    cohort: Cohort,
    out: Path | str,
    options: PredictOptions = DEFAULTS,
    *,
    client: Any,
    device: str = "auto",
) -> list[Any]:
    """Start to predict a cohort on a Dask cluster.

    Run, radiographs and result have to be where all workers reach them: on a shared disk, or at an address. Workers
    write the parts themselves, so little passes the scheduler. `onemark.archive.job.merge(out)` joins the parts once
    all futures are done.

    Args:
        run: The run folder, or its address.
        cohort: The radiographs.
        out: As for `onemark.archive.job.predict_into`.
        options: As for `predict_into`.
        client: A `distributed.Client`. Give its workers one thread each.
        device: As for `onemark.load`, on the workers.

    Returns:
        A `distributed.Future` for each part that is missing; its result is a `Report`.

    Raises:
        UserError: as `predict_into`.
    """
    check_free(out, options.overwrite)
    return _submit(Parts(out), run, cohort, options, client, device)[1]


def predict_on_cluster(
    run: Path | str,
    cohort: Cohort,
    out: Path | str,
    options: PredictOptions = DEFAULTS,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    progress: Sink = silent,
) -> Joined:
    """Predict a cohort with worker processes of this machine or with a cluster, and write the result.

    Args:
        run: The run folder, or its address.
        cohort: As for `predict_dask`.
        out: As for `predict_dask`.
        options: As for `predict_dask`.
        workers: Number of processes to start on this machine.
        scheduler: Address of a cluster to use instead, such as `tcp://host:8786`.
        device: As for `predict_dask`.
        progress: Takes an event whenever a part is done.

    Raises:
        UserError: as `predict_into`; Dask is not installed, the cluster cannot be reached, or a part ends its workers
            again and again.
        Cancelled: `progress` asked to stop; finished parts are kept.
    """
    check_free(out, options.overwrite)
    parts = Parts(out)
    with parts.held_job(), kept(parts), open_client(workers, scheduler) as client:
        plan, futures = _submit(parts, run, cohort, options, client, device)
        say_left_out(cohort, progress)
        for part in filter(None, (parts.part(plan, number) for number in sorted(parts.numbers(plan)))):
            _say_skipped(part, progress, len(plan.names))
        try:
            collect(futures, plan, progress)
        finally:
            client.cancel(futures)
        return join(parts, plan, cohort, overwrite=options.overwrite, safe_csv=options.safe_csv)


def collect(futures: Sequence[Any], plan: Plan, progress: Sink) -> list[Part]:
    """Wait for the futures of `predict_dask`.

    Raises:
        UserError: a part could not be predicted; the sentence says why.
        Cancelled: `progress` asked to stop.
    """
    from distributed import as_completed

    total, found = len(plan.names), list[Part]()
    waiting, left = as_completed(futures), len(futures)
    done = max(0, total - left * plan.shard_size)  # the last shard may be a shorter one
    while left:
        for future in waiting.next_batch(block=False):
            report = _result(future)
            left -= 1
            found.append(report.part)
            done = min(total, done + len(plan.shard(report.part.number).names))
            for note in report.notes:
                progress(Progress("read", done, total, message=note))
            _say_skipped(report.part, progress, total)
        progress(Progress("predict", done, total))
        time.sleep(_POLL_SECONDS if left else 0)
    return found


@contextlib.contextmanager
def open_client(workers: int | None, scheduler: str | None) -> Iterator[Any]:
    """A Dask client of new processes of this machine or of a cluster that is there.

    Raises:
        UserError: Dask is not installed, the cluster cannot be reached, or no worker is asked for.
    """
    distributed = import_extra("distributed", "--workers and --scheduler need Dask", "cluster")
    if scheduler is not None:
        try:
            client = distributed.Client(scheduler)
        except (OSError, ValueError) as error:
            raise UserError(
                f"no Dask scheduler answers at {printable(scheduler)} ({type(error).__name__}); check the address"
            ) from None
        with client:
            yield client
        return
    if workers is None or workers < 1:
        raise UserError(f"{workers} workers cannot predict anything; give --workers a number from 1")
    import dask

    # The memory of a worker does not grow, so Dask need not watch it, nor give that of each tensor back to the system
    # at once, which takes a fifth of the time; one thread each, as torch has its own.
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}),
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, memory_limit=0, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def _submit(
    parts: Parts, run: Path | str, cohort: Cohort, options: PredictOptions, client: Any, device: str
) -> tuple[Plan, list[Any]]:
    """Begin, and give the parts that are missing to the workers: the plan and their futures."""
    from onemark.pipeline.fit import load

    plan = begin(parts, load(run, "cpu"), cohort, options, discard=options.overwrite)
    order = Order(_whole(parse_place(run)), _whole(parts.target.place), device, plan.digest)
    missing = sorted(set(range(plan.count)) - parts.numbers(plan))
    futures = [client.submit(predict_shard_of, order, n, pure=False, retries=_RETRIES) for n in missing]
    return plan, futures


def _whole(place: Path | str) -> str:
    """A place as workers find it, which run in folders of their own."""
    return str(place.absolute()) if isinstance(place, Path) else place


def _result(future: Any) -> Report:
    from distributed import KilledWorker

    try:
        report: Report = future.result()
    except KilledWorker:
        raise UserError(
            "a part has ended several workers one after the other, perhaps for lack of memory: give each more memory, "
            "or predict without --workers and --scheduler to see which radiograph it is"
        ) from None
    return report


def _say_skipped(part: Part, progress: Sink, total: int) -> None:
    for sentence in part.skipped:
        progress(Progress("read", 0, total, message=sentence))
