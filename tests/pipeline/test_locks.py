"""One at a time: of several processes or threads on one run folder, one gets in and the others are told who it is."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from small_recipe import book, few_radiographs, place

import onemark
from onemark import Cohort, UserError
from onemark.pipeline import recipes
from onemark.pipeline.runs.folder import RunFolder
from onemark.pipeline.runs.locks import LOCK, OWNER, locked

HOLD = """
import sys
from onemark.pipeline.runs.locks import locked
with locked(sys.argv[1]):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path: Path):
    """A run folder that another process holds; yields the process."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        yield other
        other.kill()


def test_another_process_is_named(held: subprocess.Popen[bytes], tmp_path: Path):
    with (
        pytest.raises(UserError, match=rf"is in use by process {held.pid} on .* \(since .*\): wait until"),
        locked(tmp_path),
    ):
        pytest.fail("both are in")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_killed_process_leaves_no_lock_and_its_leftovers_are_swept(
    held: subprocess.Popen[bytes], tmp_path: Path
):
    (tmp_path / "overlays").mkdir()
    for name in (".onemark-0f.tmp", "overlays/.onemark-1f.tmp", "mine.tmp"):
        (tmp_path / name).write_text("half")
    held.kill()
    held.wait()
    with locked(tmp_path):
        assert not list(tmp_path.rglob(".onemark-*.tmp"))
    assert (tmp_path / "mine.tmp").exists()


def test_the_same_thread_may_hold_it_again_and_no_other_may(tmp_path: Path):
    def enter() -> None:
        with locked(tmp_path):
            pass

    with locked(tmp_path), locked(tmp_path), ThreadPoolExecutor(1) as pool:
        with pytest.raises(UserError, match="is in use by this very program"):
            pool.submit(enter).result()
        enter()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(enter).result()


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path: Path):
    with locked(tmp_path / "a" / "b", make=True):
        assert (tmp_path / "a" / "b" / LOCK).exists()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cohort:
    monkeypatch.setattr(recipes, "RECIPES", book())
    return few_radiographs(tmp_path / "xrays")


def test_of_two_teachings_at_once_one_learns_and_the_other_is_refused(few: Cohort, tmp_path: Path):
    run = tmp_path / "run"
    onemark.fit(few, place(few, 0), recipe="small", out=run, device="cpu", orient=False)
    entered, told = threading.Event(), threading.Event()

    def wait(event: object) -> None:
        entered.set()
        assert told.wait(60)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: onemark.resume(run, exemplars=place(few, 1), progress=wait))
        assert entered.wait(60)
        with pytest.raises(UserError, match="is in use by"):
            onemark.resume(run, exemplars=place(few, 2))
        told.set()
        first.result()
    assert RunFolder.open(run).exemplars().images == ("0.png", "1.png")
    onemark.resume(run, exemplars=place(few, 2))
    assert RunFolder.open(run).exemplars().images == ("0.png", "1.png", "2.png")


def test_threads_are_recorded_and_used_again(few: Cohort, tmp_path: Path):
    import torch

    run, seen = tmp_path / "run", []
    onemark.fit(few, place(few, 0), recipe="small", out=run, device="cpu", orient=False)
    assert RunFolder.open(run).config.threads == torch.get_num_threads()
    RunFolder.open(run).update(threads=torch.get_num_threads() + 1)
    former = torch.get_num_threads()
    onemark.resume(run, exemplars=place(few, 1), progress=lambda _: seen.append(torch.get_num_threads()))
    assert set(seen) == {former + 1}
    assert torch.get_num_threads() == former


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("name", ["config.json", "landmarks.csv", "report.html", "overlays", LOCK, OWNER])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_out_of_the_run_folder_is_refused(tmp_path: Path, name: str, there: bool):
    victim, run = tmp_path / "victim", tmp_path / "run"
    run.mkdir()
    if there and name == "overlays":
        victim.mkdir()
    elif there:
        victim.write_text("precious")
    (run / name).symlink_to(victim)
    with pytest.raises(UserError, match=f"{name} is a link that leads out"), locked(run):
        pytest.fail("held")
    assert victim.exists() == there
    assert not victim.is_file() or victim.read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", [OWNER, LOCK])
def test_a_pipe_in_place_of_the_lock_or_its_owner_makes_nobody_wait(tmp_path: Path, name: str):
    os.mkfifo(tmp_path / name)
    with contextlib.suppress(UserError), locked(tmp_path):
        assert not (tmp_path / OWNER).is_fifo()
