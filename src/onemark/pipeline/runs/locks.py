"""One at a time: a run folder is changed by one process, and in one of its threads."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from onemark.data.atomic import sweep_leftovers, user_errors
from onemark.data.json import SMALL, read_json
from onemark.data.paths import printable, refuse_links
from onemark.pipeline.runs.folder import OURS
from onemark.types import UserError

LOCK, OWNER = ".onemark.lock", ".onemark.owner"


@contextlib.contextmanager
def locked(folder: Path | str, *, make: bool = False) -> Iterator[None]:
    """Hold a run folder. The same thread may hold it several times, which lets a command hold it for all of its steps.

    The system ends the hold of a process that dies, so there are no stale locks. The first hold removes the unfinished
    files that a killed owner left.

    Args:
        folder: The run folder.
        make: Make it where it is missing, and remove it again if nothing was put there.

    Raises:
        UserError: another process or thread holds it, and the sentence says which; nobody may write there; or one of
            its files is a link that leads out of it.
    """
    folder = Path(folder)
    made = _make(folder) if make else ()
    try:
        if not folder.is_dir():  # whoever opens the run says so better
            yield
            return
        with _held(folder):
            yield
    finally:
        _remove_if_empty(made)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    refuse_links(folder, (*OURS, LOCK, OWNER))
    lock = FileLock(folder.resolve() / LOCK, timeout=0, is_singleton=True)
    is_first = not lock.is_locked
    _acquire(lock, folder)
    try:
        if is_first:
            _sign(folder)
            sweep_leftovers(folder)
            sweep_leftovers(folder / "overlays")
        yield
    finally:
        try:
            if is_first:
                _remove_traces(folder)
        finally:
            lock.release()


def _acquire(lock: FileLock, folder: Path) -> None:
    with user_errors(folder):
        try:
            lock.acquire()
        except Timeout:
            raise _in_use(folder) from None


def _remove_traces(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / OWNER).unlink(missing_ok=True)
        # Beside a run the file stays: were it removed, two processes could hold two files of that name.
        if not (folder / "config.json").exists():
            (folder / LOCK).unlink(missing_ok=True)


def _sign(folder: Path) -> None:
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
    with contextlib.suppress(OSError):  # a courtesy to others, without which the lock holds all the same
        (folder / OWNER).unlink(missing_ok=True)  # it may be a pipe, for which the write would wait
        with (folder / OWNER).open("x", encoding="utf-8") as file:
            json.dump(owner, file)


def _in_use(folder: Path) -> UserError:
    who = "another process"
    with contextlib.suppress(OSError, UserError, KeyError, TypeError, ValueError, OverflowError):
        owner = read_json(folder / OWNER, SMALL)
        since = time.strftime("%d %b, %H:%M", time.localtime(owner["since"]))
        mine = (owner["pid"], owner["host"]) == (os.getpid(), socket.gethostname())
        whose = "this very program" if mine else f"process {owner['pid']} on {owner['host']}"
        who = f"{whose} (since {since})"
    return UserError(
        f"{printable(folder)} is in use by {printable(who)}: wait until that has ended, or choose another folder"
    )


def _make(folder: Path) -> tuple[Path, ...]:
    with user_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{printable(folder)} is a file: give a folder for the run")
        made = tuple(one for one in (folder, *folder.parents) if not one.exists())
        folder.mkdir(parents=True, exist_ok=True)
    return made


def _remove_if_empty(made: tuple[Path, ...]) -> None:
    if not made or not made[0].is_dir() or {one.name for one in made[0].iterdir()} - {LOCK, OWNER}:
        return
    with contextlib.suppress(OSError):
        for name in (LOCK, OWNER):
            (made[0] / name).unlink(missing_ok=True)
        for folder in made:
            folder.rmdir()
