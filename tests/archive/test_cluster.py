"""Dask: a scheduler and two workers as processes of their own, over loopback; one of them is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import onemark
from onemark import Cancelled, Cohort, Model, Progress, UserError
from onemark.archive.cluster import open_client, predict_on_cluster
from onemark.archive.job import begin
from onemark.archive.options import DEFAULTS, PredictOptions
from onemark.archive.parts import Parts

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
HELPERS = Path(__file__).parents[1] / "helpers"


@contextlib.contextmanager
def process(*words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    path = os.pathsep.join([str(HELPERS), *sys.path])
    started = subprocess.Popen(
        [sys.executable, "-m", *words],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a scheduler with two workers, and the file in which they note what they predict."""
    folder = tmp_path_factory.mktemp("cluster")
    file, located = str(folder / "scheduler.json"), folder / "located"
    located.touch()
    scheduler = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    worker = ["distributed.cli.dask_worker", "--no-nanny", "--nthreads", "1", "--no-dashboard", "--preload"]
    worker += [
        "slow_worker",
        "--scheduler-file",
        file,
        "--death-timeout",
        "60",
        "--local-directory",
        str(folder),
    ]
    with contextlib.ExitStack() as stack:
        stack.enter_context(process(*scheduler, "--scheduler-file", file))
        for _ in range(2):
            stack.enter_context(process(*worker, LOCATED=str(located)))
        with distributed.Client(scheduler_file=file) as client:
            client.wait_for_workers(2, timeout=120)
            yield client.scheduler.address, located


def noted(path: Path) -> list[tuple[int, str]]:
    return [(int(pid), name) for pid, name in map(str.split, path.read_text().splitlines())]


def test_a_stop_cancels_and_a_killed_worker_costs_its_shard_only(
    cluster: tuple[str, Path], run: Path, model: Model, few: Cohort, tmp_path: Path
):
    address, located = cluster
    out, options = tmp_path / "p.csv", PredictOptions(shard_size=1)

    def stop(event: Progress) -> None:
        if event.stage == "predict" and event.step >= 2:
            raise Cancelled

    with pytest.raises(Cancelled, match="kept"):
        predict_on_cluster(run, few, out, options, scheduler=address, progress=stop)
    killed: list[int] = []

    def kill(event: Progress) -> None:
        if event.stage == "predict" and event.step >= 4 and not killed:
            killed.append(noted(located)[-1][0])
            os.kill(killed[0], signal.SIGKILL)

    joined = predict_on_cluster(run, few, out, options, scheduler=address, progress=kill)
    assert killed
    assert joined.predicted == len(few)
    model.predict(few).to_csv(tmp_path / "whole.csv")
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    seen = noted(located)
    again = [name for name, count in Counter(name for _, name in seen).items() if count > 1]
    # Two may have been under way when it was stopped, and one when its worker was killed.
    assert len(again) <= 3
    assert len({pid for pid, _ in seen}) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.csv", "whole.csv"]


def test_futures_for_those_who_orchestrate_themselves(
    cluster: tuple[str, Path], run: Path, model: Model, few: Cohort, tmp_path: Path
):
    from onemark.archive.job import merge

    cohort = few.subset(few.names[:2])
    with distributed.Client(cluster[0]) as client:
        futures = onemark.predict_dask(
            run, cohort, tmp_path / "p.csv", PredictOptions(shard_size=1), client=client
        )
        reports: list[Any] = client.gather(futures)
    assert [report.part.predicted for report in reports] == [1, 1]
    assert merge(tmp_path / "p.csv").predicted == 2


def test_who_is_refused_leaves_the_plan_of_others(run: Path, model: Model, few: Cohort, tmp_path: Path):
    begin(Parts(tmp_path / "p.csv"), model, few, DEFAULTS)
    with pytest.raises(UserError, match="--workers"):
        predict_on_cluster(run, few, tmp_path / "p.csv", workers=0)
    assert Parts(tmp_path / "p.csv").plan() is not None


def test_what_is_no_cluster_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
        pytest.raises(UserError, match="no Dask scheduler"),
        open_client(None, "tcp://127.0.0.1:1"),
    ):
        pass
    with pytest.raises(UserError, match="--workers"), open_client(0, None):
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"onemark\[cluster\]"), open_client(2, None):
        pass
