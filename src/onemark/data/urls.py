"""Addresses beyond the folders of this machine: s3://, gs://, zip://, memory:// and whatever else fsspec opens.

Credentials are those of the environment. An address that holds one is refused, because addresses are shown and kept.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from onemark.data.extras import import_extra
from onemark.data.paths import printable, regular_handle
from onemark.types import UserError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+(::|://)")
_SECRET = re.compile(
    r"[?&](x-amz-[a-z]*|sig|signature|token|key|secret|password|awsaccesskeyid)=", re.IGNORECASE
)

_PIECE = 1 << 20


def is_url(place: object) -> bool:
    """Whether a place is an address for fsspec; a drive letter is none."""
    return isinstance(place, str) and _URL.match(place) is not None


def parse_place(text: str | Path) -> str | Path:
    """A path on this machine as `Path`, `file://` included; any other address as it is.

    Raises:
        UserError: an address that holds credentials or control characters, or is none.
    """
    if not isinstance(text, str) or not is_url(text):
        return Path(text)
    if not text.isprintable():
        raise UserError(f"the address {printable(text)[:200]} holds control characters; check it")
    if _SECRET.search(text) or any("@" in _host(part) for part in text.split("::")):
        shown = text.split("://", 1)[0]
        raise UserError(
            f"the {shown}:// address holds credentials, which would be written down: put them into the environment "
            "and leave them out of the address"
        )
    if text.startswith("file://"):
        return Path(unquote(text.removeprefix("file://")))
    return text


def _host(part: str) -> str:
    """The part of an address that may hold a user's name and password."""
    try:
        return urlsplit(part).netloc
    except ValueError:
        raise UserError(f"{printable(part)[:200]} is no address; check its brackets") from None


def open_filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path on it.

    Raises:
        UserError: fsspec or what it needs for this kind of address is not installed, there is no such kind, or the
            archive that the address leads into is a pipe or a device.
    """
    scheme = url.split("://", 1)[0]
    fsspec = import_extra("fsspec.core", f"{scheme}:// needs fsspec", "archive")
    for part in url.split("::")[1:]:
        _check_regular(part)
    with url_errors(url):
        try:
            filesystem, path = fsspec.url_to_fs(url)
        except ImportError as error:
            raise UserError(f"{scheme}:// needs another package ({printable(error)})") from None
    return filesystem, path


def _check_regular(part: str) -> None:
    """Refuse a pipe or a device of this machine, for which fsspec would wait."""
    scheme, found, rest = part.partition("://")
    if not found or scheme in ("file", "local"):
        with contextlib.suppress(OSError):  # fsspec says it better
            os.close(regular_handle(rest if found else part))


@contextlib.contextmanager
def url_errors(url: str) -> Iterator[None]:
    """Turn what the storage behind an address raises into one sentence."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{printable(url)} does not exist; check the address") from None
    except PermissionError:
        raise UserError(
            f"{printable(url)} may not be used; check the credentials in the environment"
        ) from None
    except Exception as error:
        # Storage libraries quote requests in their messages, credentials and all; the kind of error is enough.
        kind = type(error).__name__
        raise UserError(
            f"{printable(url)} cannot be reached ({kind}); check the address and the credentials in the environment"
        ) from None


def read_url(url: str, most: int) -> bytes:
    """The bytes behind an address.

    Args:
        url: The address.
        most: Largest size in bytes.

    Raises:
        UserError: it is larger, or cannot be read.
    """
    filesystem, path = open_filesystem(url)
    data = io.BytesIO()
    with url_errors(url), filesystem.open(path, "rb") as stream:
        while (piece := stream.read(_PIECE)) and data.tell() <= most:  # what is unpacked is in memory once
            data.write(piece)
    if data.tell() > most:
        raise UserError(f"{printable(url)} is larger than {most >> 20} MiB; check the address")
    return data.getvalue()


def join_url(url: str, relative: str) -> str:
    """The address of a file below another one, also where that is inside an archive (`zip://a::file.zip`)."""
    first, chain, rest = url.partition("::")
    folder = first if first.endswith("/") else f"{first}/"
    return f"{folder}{relative}{chain}{rest}"
