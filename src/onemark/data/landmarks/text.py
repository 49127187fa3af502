"""Text files that people and other programs made: which encoding, and is it text at all."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from onemark.data.atomic import reading_errors
from onemark.data.paths import read_regular
from onemark.types import UserError

MAX_BYTES = 512 * 1024 * 1024
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_WESTERN = "cp1252"
_CODE_PAGES = (
    _WESTERN,
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "gb18030",
    "cp932",
    "big5",
    "cp949",
    "mac_roman",
)
_SAMPLE = 1 << 20
# What Western European words hold beyond ASCII; three in a row are another code page read as this one.
_WESTERN_SIGNS = frozenset("°µ–—‘’“”„…€«»ºªß\u00a0")
_WESTERN_LETTERS = frozenset("àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþœšž")
_STRANGE_RUN = re.compile(r"[^\x00-\x7f]{3}")
_AS_UTF8 = "save it as CSV UTF-8 and give that"


def read_bytes(path: Path) -> bytes:
    """The bytes of a landmark file.

    Raises:
        UserError: missing, a folder, not allowed, empty or too large.
    """
    with reading_errors(path):
        try:
            data = read_regular(path, MAX_BYTES)
        except FileNotFoundError:
            raise UserError(f"{path} does not exist; check the path") from None
        except (IsADirectoryError, NotADirectoryError):
            raise UserError(f"{path} is a folder, not a file; give the landmark file itself") from None
    if not data.strip():
        raise _empty(path)
    return data


def _empty(path: Path) -> UserError:
    return UserError(f"{path} is empty; give a file with landmarks in it")


def decode(path: Path, data: bytes, names: Sequence[str] = ()) -> tuple[str, str]:
    """The text of a file and, where its encoding is a guess, the encoding's name.

    UTF-8 and UTF-16 are recognised. Any other text takes the code page under which most of `names` stand in it.
    Where that tells nothing it is Windows' Western European, if it reads like words of these languages.

    Args:
        path: For messages.
        data: The file's bytes.
        names: Image names that may stand in the file.

    Raises:
        UserError: a workbook, no text, or a code page that cannot be told.
    """
    if data.startswith(b"PK\x03\x04"):
        raise UserError(f"{path} is an Excel workbook or a zip file; save the sheet as CSV and give that")
    for encoding in _unicode(data):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if _is_text(text):
            text = text.removeprefix("\ufeff")
            if not text.strip():
                raise _empty(path)
            return text, ""
        break
    else:
        guessed = _by_names(data, names) or _western(path, data)
        if guessed and _is_text(guessed[0]):
            return guessed
    raise UserError(f"{path} is no text file; give a landmark table (CSV, .mrk.json, .tps or COCO .json)")


def _unicode(data: bytes) -> list[str]:
    boms = [name for bom, name in _BOMS if data.startswith(bom)]
    return boms or [*_utf16(data), "utf-8"]


def _utf16(data: bytes) -> Iterator[str]:
    """UTF-16 without a byte order mark: every other byte of ASCII is zero."""
    start = data[:4096]
    for name, zeros, rest in (("utf-16-le", start[1::2], start[::2]), ("utf-16-be", start[::2], start[1::2])):
        if zeros and zeros.count(0) > 0.4 * len(zeros) and 0 not in rest:
            yield name


def _by_names(data: bytes, names: Sequence[str]) -> tuple[str, str] | None:
    """The text in the code page in which most names with letters beyond ASCII stand, if any do."""
    stems = [stem for name in names if not (stem := PurePosixPath(name).stem).isascii()]
    best: tuple[int, str, str] = (0, "", "")
    for encoding in _CODE_PAGES if stems else ():
        try:
            text = unicodedata.normalize("NFC", data.decode(encoding))
        except UnicodeDecodeError:
            continue
        if encoding == _WESTERN and not _reads_western(text):
            continue
        count = sum(unicodedata.normalize("NFC", stem) in text for stem in stems)
        if count > best[0]:
            best = (count, text, encoding)
    return (best[1], "") if best[0] else None


def _western(path: Path, data: bytes) -> tuple[str, str] | None:
    text = data.decode("latin-1")
    if not _is_text(text[:_SAMPLE].translate(dict.fromkeys(range(128, 160), " "))):
        return None
    try:
        text = data.decode(_WESTERN)
    except UnicodeDecodeError:
        text = ""
    if not text or not _reads_western(text):
        raise UserError(f"{path} is in a code page that cannot be told from its content; {_AS_UTF8}")
    return text, _WESTERN


def _reads_western(text: str) -> bool:
    return not _STRANGE_RUN.search(text) and all(_is_western(sign) for sign in set(text) if sign > "\x7f")


def _is_western(sign: str) -> bool:
    return sign in _WESTERN_SIGNS or sign.lower() in _WESTERN_LETTERS


def _is_text(text: str) -> bool:
    return not any(c < " " and c not in "\t\n\r\f\v\x1a" for c in text[:_SAMPLE])
