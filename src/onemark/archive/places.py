"""Where results and their parts are written: a folder of this machine, or an address that fsspec opens."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from filelock import FileLock, Timeout

from onemark.data.atomic import move, reading_errors, sweep_leftovers, user_errors, writing
from onemark.data.paths import printable, read_regular
from onemark.data.urls import join_url, open_filesystem, parse_place, read_url, url_errors
from onemark.types import UserError

_MOST = 1 << 30


class Busy(Exception):
    """Another process holds the lock."""


class Place(Protocol):
    """A folder of small files. Errors of the disk or the storage are UserErrors."""

    def make(self) -> None:
        """Make it where it is missing."""

    def names(self) -> list[str]:
        """Its files; none where it is missing."""

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where it is missing."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""

    def delete(self, name: str) -> None:
        """Delete a file where it is there."""

    def remove(self) -> None:
        """Remove the folder where it holds nothing but locks and what killed writers left."""

    def hold(self, name: str, seconds: float) -> contextlib.AbstractContextManager[None]:
        """Hold a lock; wait for it at most so long. Raises Busy."""


@dataclass(frozen=True)
class LocalPlace:
    """A folder of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def make(self) -> None:
        """Make it where it is missing."""
        with user_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """Its files; none where it is missing."""
        with reading_errors(self.path):
            return sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where it is missing."""
        with reading_errors(self.path / name):
            return read_regular(self.path / name, _MOST) if (self.path / name).is_file() else None

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all. The folder has to be there: who removed it wants no more of it."""
        with writing(self.path / name, "wb", make_folder=False) as stream:
            stream.write(data)

    def delete(self, name: str) -> None:
        """Delete a file where it is there."""
        with user_errors(self.path / name):
            (self.path / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder where it holds nothing but locks and what killed writers left."""
        sweep_leftovers(self.path)
        if all(name.endswith(".lock") for name in self.names()):
            shutil.rmtree(self.path, ignore_errors=True)

    @contextlib.contextmanager
    def hold(self, name: str, seconds: float) -> Iterator[None]:
        """Hold a lock; wait for it at most so long. Raises Busy."""
        lock = FileLock(self.path / name, timeout=seconds)
        with user_errors(self.path):
            try:
                lock.acquire()
            except Timeout:
                raise Busy from None
        try:
            yield
        finally:
            lock.release()


@dataclass(frozen=True)
class RemotePlace:
    """A folder at an address. Object stores write files whole; they know no locks."""

    url: str

    def __str__(self) -> str:
        return self.url

    def make(self) -> None:
        """Make it where it is missing."""
        filesystem, path = open_filesystem(self.url)
        with url_errors(self.url):
            filesystem.makedirs(path, exist_ok=True)

    def names(self) -> list[str]:
        """Its files; none where it is missing."""
        filesystem, path = open_filesystem(self.url)
        with url_errors(self.url):
            filesystem.invalidate_cache()  # other machines write there, too
            found = filesystem.ls(path, detail=False) if filesystem.exists(path) else []
        return sorted(str(one).rstrip("/").rpartition("/")[2] for one in found)

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where it is missing."""
        url = join_url(self.url, name)
        filesystem, path = open_filesystem(url)
        with url_errors(url):
            if not filesystem.exists(path):
                return None
        return read_url(url, _MOST)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        filesystem, path = open_filesystem(join_url(self.url, name))
        with url_errors(self.url):
            filesystem.pipe_file(path, data)

    def delete(self, name: str) -> None:
        """Delete a file where it is there."""
        filesystem, path = open_filesystem(join_url(self.url, name))
        with url_errors(self.url):
            if filesystem.exists(path):
                filesystem.rm_file(path)

    def remove(self) -> None:
        """Remove the folder where it is empty."""
        filesystem, path = open_filesystem(self.url)
        with contextlib.suppress(Exception):  # object stores have no folders
            if not self.names():
                filesystem.rmdir(path)

    @contextlib.contextmanager
    def hold(self, name: str, seconds: float) -> Iterator[None]:
        """Hold nothing: there are no locks."""
        yield


@dataclass(frozen=True)
class Target:
    """Where a result is written.

    Attributes:
        place: A path of this machine, or an address.
    """

    place: Path | str

    @classmethod
    def of(cls, place: Path | str) -> Target:
        """The target that a person named. Raises UserError when it holds credentials."""
        return cls(parse_place(place))

    def __str__(self) -> str:
        return printable(self.place)

    @property
    def name(self) -> str:
        """The last part of its name."""
        return self.local.name

    @property
    def local(self) -> Path:
        """It as a path; for an address only good for its name and suffix."""
        return self.place if isinstance(self.place, Path) else Path(self.place.partition("::")[0].rstrip("/"))

    @property
    def is_remote(self) -> bool:
        """Whether it is an address."""
        return isinstance(self.place, str)

    def folder(self) -> Place:
        """It as a folder."""
        return LocalPlace(self.place) if isinstance(self.place, Path) else RemotePlace(self.place)

    def parts(self) -> Place:
        """The hidden folder beside it."""
        name = f".{self.name}.parts"
        if isinstance(self.place, Path):
            return LocalPlace(self.place.absolute().with_name(name))
        return RemotePlace(join_url(self.place.rstrip("/").rpartition("/")[0], name))

    def exists(self) -> bool:
        """Whether there is a file or a folder."""
        if isinstance(self.place, Path):
            with user_errors(self.place):
                return self.place.exists()
        filesystem, path = open_filesystem(self.place)
        with url_errors(self.place):
            return bool(filesystem.exists(path))

    @contextlib.contextmanager
    def writing(self) -> Iterator[IO[str]]:
        """A text stream; the file is there, whole, when the block ends, and not at all when it raises."""
        if isinstance(self.place, Path):
            # Written among the parts, so that what a death leaves of it goes with them.
            whole = self.place.absolute().with_name(f".{self.name}.parts") / "whole"
            with writing(whole, make_folder=False) as stream:
                yield stream
            move(whole, self.place)
            return
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / self.name
            with writing(whole) as stream:
                yield stream
            filesystem, path = open_filesystem(self.place)
            with url_errors(self.place):
                filesystem.put_file(str(whole), path)


def check_remote(target: Target) -> None:
    """Check what can be checked of an address before long work.

    Raises:
        UserError: it lies inside an archive, its format is written to this machine only, or it cannot be reached.
    """
    if "::" in str(target.place) or str(target.place).startswith("zip://"):
        raise UserError(
            f"{target} lies inside an archive, where no parts can be written; choose a folder or a bucket"
        )
    if not target.name.lower().endswith((".csv", ".parquet")):
        raise UserError(f"{target} can be .csv or .parquet; write other formats to this machine")
    target.exists()
