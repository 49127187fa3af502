"""Pictures read in another process, which ends when one takes too long or crashes its decoder.

The parent's side of it; `worker` is the child's. Nothing that comes back is unpickled: a line of JSON, then raw samples.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onemark.data.images.limits import current_limits
from onemark.types import UserError

KINDS = ("tiff", "compact", "dicom")
"""Readers whose decoders follow offsets, tiles and sequences. PNG, JPEG and BMP do work in proportion to their pixels."""
SECONDS_VARIABLE = "ONEMARK_PICTURE_SECONDS"
"""Environment variable: most seconds for a picture; 0 reads all pictures in this process."""
_SECONDS = 120.0
_LONGEST_LINE = 1 << 20
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from onemark.data.images.worker import serve; serve(float(sys.argv[2]))"
)
# Ctrl-C goes to all processes of a group; the child is to end with its parent's pipe instead.
_APART: dict[str, Any] = (
    {"creationflags": 0x00000200} if sys.platform == "win32" else {"start_new_session": True}
)


def time_limit() -> float:
    """Most seconds for a picture; 0 where no other process can or shall be used."""
    if not sys.executable or getattr(sys, "frozen", False):
        return 0.0
    try:
        return max(0.0, float(os.environ.get(SECONDS_VARIABLE, _SECONDS)))
    except ValueError:
        return _SECONDS


class CannotStart(Exception):
    """No other process can be had here; the picture is to be read in this one."""


def ask(kind: str, what: str, path: Path) -> tuple[Mapping[str, Any], NDArray[Any] | None]:
    """What the function `what` of the reader `kind` says of a file: its fields, and its samples where it decodes.

    Raises:
        UserError: as that function, without the file's name; it takes too long, or its decoder crashes.
        CannotStart: there is no process to ask.
    """
    with worker() as one:
        answer = one.ask(kind, what, path)
        return answer, one.receive(answer["shape"], answer["dtype"]) if "shape" in answer else None


@contextlib.contextmanager
def worker() -> Iterator[_Worker]:
    """A process nobody else uses, so that threads read at the same time; ended if anything goes wrong in it."""
    taken = _take()
    try:
        yield taken
    except _Refused:
        idle.append(taken)
        raise
    except BaseException:
        taken.end()
        raise
    idle.append(taken)


class _Worker:
    """A child process that reads one picture after the other."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        words = [sys.executable, "-c", START, json.dumps(sys.path), str(seconds)]
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {SECONDS_VARIABLE: "0"},
            **_APART,
        )
        _widen(self.process.stdout)
        try:
            self._line()  # its imports take a second, which does not count for the first picture
        except EOFError:
            self.end()
            raise CannotStart from None

    def ask(self, kind: str, what: str, path: Path) -> Mapping[str, Any]:
        """The fields of an answer. Raises UserError."""
        limits = vars(current_limits())
        words = {"kind": kind, "what": what, "path": str(path.absolute()), "limits": limits}
        assert self.process.stdin is not None
        started = time.monotonic()
        try:
            self.process.stdin.write(json.dumps(words).encode() + b"\n")
            self.process.stdin.flush()
            answer = json.loads(self._line())
        except (OSError, EOFError, ValueError):
            raise self._fault(time.monotonic() - started) from None
        if "error" in answer:
            raise _Refused(answer["error"])
        found: Mapping[str, Any] = answer
        return found

    def receive(self, shape: Sequence[int], kind: str) -> NDArray[Any]:
        """The samples that follow an answer."""
        assert self.process.stdout is not None
        if math.prod(shape) > current_limits().pixels:
            raise self._fault(0.0)
        values = np.empty(tuple(shape), np.dtype(kind))
        rest = memoryview(values.reshape(-1).view(np.uint8).data)
        while rest:
            count = self.process.stdout.readinto(rest)  # type: ignore[attr-defined]
            if not count:
                raise self._fault(0.0)
            rest = rest[count:]
        return values

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        line: bytes = self.process.stdout.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    def _fault(self, seconds: float) -> UserError:
        if seconds >= 0.9 * self.seconds:
            return UserError(
                f"takes longer than {self.seconds:g} s to read; export it again, or allow more"
                f" by the environment variable {SECONDS_VARIABLE}"
            )
        return UserError("makes its decoder crash; export it again or remove it")


def _widen(pipe: Any) -> None:
    """Let a pipe hold 1 MiB where the system can, because samples pass 64 KiB at a time otherwise."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)


class _Refused(UserError):
    """What a reader said; the process that ran it is whole."""


idle: list[_Worker] = []
"""Processes that wait for the next picture."""
_lock = threading.Lock()


def _take() -> _Worker:
    with _lock:
        for worker in [one for one in idle if one.seconds != time_limit() or one.process.poll() is not None]:
            idle.remove(worker)
            worker.end()
        if idle:
            return idle.pop()
    try:
        return _Worker(time_limit())
    except OSError:
        raise CannotStart from None


def end_all() -> None:
    """End the processes that wait."""
    while idle:
        idle.pop().end()


atexit.register(end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=idle.clear)
