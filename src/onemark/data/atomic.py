"""Atomic writes: a file is either the old one or the whole new one, whatever happens in between."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, overload

from onemark.data.paths import printable
from onemark.types import UserError

PREFIX = ".onemark-"
"""Unfinished files start with this; being hidden, no cohort takes them in."""

WINDOWS = os.name == "nt"
PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds to wait on Windows for a program that holds a file for a moment."""

_WAY_OUT = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EACCES: "you may not write there; choose another folder, or close the program that uses the file",
    errno.EPERM: "you may not write there; choose another folder, or close the program that uses the file",
    errno.EROFS: "the disk is read-only; choose a folder on another disk",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another path",
    errno.EEXIST: "a part of its path is a file, not a folder; choose another path",
    errno.EISDIR: "there is a folder of that name; choose another name",
    errno.ENOTEMPTY: "there is a folder of that name; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOENT: "the folder was removed or cannot be made; choose another folder",
    errno.ELOOP: "its path holds a loop of links; choose another path",
}


@contextlib.contextmanager
def user_errors(path: Path | str) -> Iterator[None]:
    """Turn the OSErrors of writing `path` into a UserError that says the way out."""
    try:
        yield
    except OSError as error:
        way_out = _WAY_OUT.get(error.errno or 0, f"{error.strerror or error}; choose another folder")
        raise UserError(f"cannot write {printable(path)}: {way_out}") from error


@contextlib.contextmanager
def reading_errors(path: Path | str) -> Iterator[None]:
    """Turn the OSErrors of reading `path` into a UserError that says the way out."""
    try:
        yield
    except OSError as error:
        forbidden = error.errno in (errno.EACCES, errno.EPERM)
        way_out = "change its permissions or move it" if forbidden else "check the path"
        raise UserError(f"{printable(path)} cannot be read ({error.strerror or error}); {way_out}") from None


@overload
def writing(
    path: Path | str, mode: Literal["w"] = "w", *, make_folder: bool = True
) -> contextlib.AbstractContextManager[IO[str]]: ...
@overload
def writing(
    path: Path | str, mode: Literal["wb"], *, make_folder: bool = True
) -> contextlib.AbstractContextManager[IO[bytes]]: ...
def writing(
    path: Path | str, mode: Literal["w", "wb"] = "w", *, make_folder: bool = True
) -> contextlib.AbstractContextManager[IO[Any]]:
    """Open `path` for writing; the file appears, whole, when the block ends and not at all when it raises.

    Writes to a hidden file beside `path`, flushes it to the disk and renames it. A link is followed, an existing file
    is replaced and its permissions are kept.

    Args:
        path: The file to write.
        mode: `w` (UTF-8, line ends as written) or `wb`.
        make_folder: Make missing folders; otherwise a missing one is an error, such as a run folder that was removed.

    Raises:
        UserError: disk full, not allowed, read-only, a folder in the way: the sentence says the way out.
    """
    return _writing(Path(path), mode, make_folder)


@contextlib.contextmanager
def _writing(path: Path, mode: str, make_folder: bool) -> Iterator[IO[Any]]:
    with user_errors(path):
        target = _target_of(path, make_folder)
        part = target.with_name(f"{PREFIX}{secrets.token_hex(6)}.tmp")
        try:
            with _created(part, mode) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            _put(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def move(finished: Path, path: Path) -> None:
    """Move a file that `writing` wrote on the same disk to `path`, with the same care. Raises UserError as it does."""
    with user_errors(path):
        _put(finished, Path(os.path.realpath(path)))


def _put(finished: Path, target: Path) -> None:
    if target.exists():
        # Network disks, and those of Windows seen from Linux, may refuse modes although files can be written.
        with contextlib.suppress(OSError):
            finished.chmod(target.stat().st_mode & 0o7777)
    _replace(finished, target)
    sync_folder(target.parent)


def _replace(finished: Path, target: Path) -> None:
    for pause in PAUSES if WINDOWS else ():
        try:
            finished.replace(target)
            return
        except PermissionError:  # a virus scanner or an indexer holds a fresh file for a moment
            time.sleep(pause)
    finished.replace(target)


def may_write(folder: Path) -> bool:
    """Whether files may be made in a folder that is there."""
    if not WINDOWS:
        return os.access(folder, os.W_OK)
    try:  # there, `access` says so of every folder, also of one on a CD
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _target_of(path: Path, make_folder: bool) -> Path:
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if make_folder:
        target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _created(part: Path, mode: str) -> IO[Any]:
    # "x" refuses a file that is there, and leaves the permissions to the umask, which mkstemp does not.
    if mode == "wb":
        return part.open("xb")
    return part.open("x", encoding="utf-8", newline="")


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder last, also through a power cut."""
    # Without this a power cut can undo the rename. Windows has no such call, some network disks refuse it.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_writable(path: Path) -> None:
    """Check, before long work, that there may be a file at `path`. Raises UserError as `writing` does."""
    with user_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not may_write(folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, atomically. Raises UserError as `writing` does."""
    with writing(path) as stream:
        stream.write(text)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write bytes, atomically. Raises UserError as `writing` does."""
    with writing(path, "wb") as stream:
        stream.write(data)


def sweep_leftovers(folder: Path) -> None:
    """Remove the unfinished files that killed writers left in a folder. Only its owner may: nobody else writes there."""
    for part in folder.glob(f"{PREFIX}*.tmp"):
        with contextlib.suppress(OSError):
            part.unlink()
