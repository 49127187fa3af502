"""Names that strangers chose: which may become paths, how they are shown, and which files are opened."""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from onemark.types import UserError

# Names without fault, as most are, at a glance: a list may hold a million.
_HONEST = re.compile(r"[\w-][\w. ()+,=-]*(?:/[\w-][\w. ()+,=-]*)*", re.ASCII)
_DRIVE = re.compile(r"[A-Za-z]:")
# Beyond control characters: marks that reverse the text around them, and line ends that are no control characters.
_DECEPTIVE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_HEAD = 1 << 20
_LONGEST = 120
_LONGEST_SENTENCE = 1500


def key_fault(key: str) -> str | None:
    """Why this name cannot stand for a file inside a folder, as the end of a sentence; None when it can."""
    if _HONEST.fullmatch(key):
        return None
    if key.startswith(("/", "\\")):
        return "its name is an absolute path"
    if _DRIVE.match(key) or (os.name == "nt" and ":" in key):
        return "its name starts with a drive letter"
    if any(part in ("", ".", "..") for part in re.split(r"[/\\]", key)):
        return "a part of its name is empty, '.' or '..'"
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in key):
        return "its name holds control characters"
    return None


def safe_child(folder: Path | str, key: str) -> Path:
    """The path of `key` inside `folder`; stands before every write whose path comes from a name.

    Args:
        folder: Where the file is to lie. It may be a link and need not exist.
        key: A relative name with `/` as separator, from a file's name or content.

    Raises:
        UserError: the name leads out of the folder, by itself or by a link inside the folder.
    """
    path = Path(folder) / key
    fault = key_fault(key)
    if fault is None and not _is_inside(path, Path(folder)):
        fault = "a link leads out of that folder"
    if fault is not None:
        raise UserError(f"cannot write {printable(key)} into {printable(folder)}: {fault}; rename the file")
    return path


def refuse_links(folder: Path, names: Iterable[str]) -> None:
    """Check that no file of these names in a folder is a link that leads out of it: writes would follow it.

    Raises:
        UserError: one of them is.
    """
    for name in names:
        path = folder / name
        if path.is_symlink() and not _is_inside(path, folder):
            raise UserError(
                f"{printable(path)} is a link that leads out of its folder, and nothing is written through it: put a "
                "copy in its place, or remove it"
            )


def _is_inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def printable(name: object) -> str:
    """A name as it may reach a terminal: what steers the terminal or reverses the text stands as an escape."""
    return "".join(_escaped(c) if unicodedata.category(c) in _DECEPTIVE else c for c in str(name))


def quoted(name: str) -> str:
    """A name in quotes and escaped, shortened when it is longer than any honest one."""
    return repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…")


def shortened(sentence: str) -> str:
    """A sentence without its middle where that quotes more of a file than anybody reads; the way out stands last."""
    most = _LONGEST_SENTENCE
    return sentence if len(sentence) <= most else f"{sentence[: most // 2]}…{sentence[-most // 2 :]}"


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def open_regular(path: Path | str) -> BinaryIO:
    """Open a file for reading; a pipe or a device, which may block for ever, is refused.

    Raises:
        UserError: it is not a regular file.
        OSError: as `open`.
    """
    return os.fdopen(regular_handle(path), "rb")


def regular_handle(path: Path | str) -> int:
    """The handle of a regular file, open for reading. Raises as `open_regular` does."""
    # Without O_NONBLOCK the call itself would wait until somebody writes into a named pipe.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise UserError(f"{printable(path)} is a pipe or a device, not a file; remove it or give another path")


def read_regular(path: Path | str, most: int) -> bytes:
    """The bytes of a regular file.

    Args:
        path: The file.
        most: Largest size in bytes.

    Raises:
        UserError: it is larger, or not a regular file.
        OSError: as `open`.
    """
    with open_regular(path) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        size = f"{most // _HEAD} MiB" if most >= _HEAD else f"{most} bytes"
        raise UserError(f"{printable(path)} is larger than {size}; check the path")
    return data
