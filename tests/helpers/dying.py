"""A death at any write, flush to the disk, renaming or removal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest


class Killed(BaseException):
    """Nobody catches it."""


class Disk:
    """Counts what reaches the disk. At the fatal event the process is dead, so nothing reaches it any more."""

    def __init__(self, fatal: float) -> None:
        self.fatal, self.count = fatal, 0

    def touch(self) -> None:
        self.count += 1
        if self.count >= self.fatal:
            raise Killed

    def mortal(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **words: Any) -> Any:
            self.touch()
            return function(*args, **words)

        return call

    def opening(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, mode: str = "r", *args: Any, **words: Any) -> Any:
            stream = function(path, mode, *args, **words)
            return Stream(stream, self) if mode.startswith("x") else stream

        return call


class Stream:
    """A file whose write dies when half is written."""

    def __init__(self, stream: Any, disk: Disk) -> None:
        self.stream, self.disk = stream, disk

    def write(self, data: Any) -> None:
        self.stream.write(data[: len(data) // 2])
        try:
            self.disk.touch()
        except Killed:
            self.stream.flush()
            raise
        self.stream.write(data[len(data) // 2 :])

    def writelines(self, lines: Any) -> None:
        self.write("".join(lines))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def die(job: Callable[[], None], fatal: float) -> bool:
    """Whether a job died at this event; False where it had fewer."""
    disk = Disk(fatal)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", disk.mortal(os.fsync))
        for name in ("replace", "rename", "unlink", "rmdir"):
            patch.setattr(Path, name, disk.mortal(getattr(Path, name)))
        patch.setattr(Path, "open", disk.opening(Path.open))
        try:
            job()
        except Killed:
            return True
    return False
