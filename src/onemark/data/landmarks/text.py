"""Text files that people and other programs made: which encoding, and is it text at all."""

from __future__ import annotations

import codecs
from pathlib import Path

from onemark.data.atomic import reading_errors
from onemark.data.paths import read_regular
from onemark.types import UserError

MAX_BYTES = 512 * 1024 * 1024
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# latin-1 takes any byte, so it comes last; cp1252 is what Windows programs mean by it.
_GUESSES = ("utf-8", "cp1252", "latin-1")


def read_text(path: Path) -> str:
    """The text of a file: UTF-8 or UTF-16 with a byte order mark, else UTF-8, else Windows' Western European.

    Raises:
        UserError: missing, a folder, not allowed, empty, too large, a workbook or no text at all.
    """
    data = _bytes(path)
    if not data.strip():
        raise UserError(f"{path} is empty; give a file with landmarks in it")
    if data.startswith(b"PK\x03\x04"):
        raise UserError(f"{path} is an Excel workbook or a zip file; save the sheet as CSV and give that")
    encodings = [name for bom, name in _BOMS if data.startswith(bom)] or list(_GUESSES)
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if _is_text(text):
            return text
        break
    raise UserError(f"{path} is no text file; give a landmark table (CSV, .mrk.json, .tps or COCO .json)")


def _bytes(path: Path) -> bytes:
    with reading_errors(path):
        try:
            return read_regular(path, MAX_BYTES)
        except FileNotFoundError:
            raise UserError(f"{path} does not exist; check the path") from None
        except (IsADirectoryError, NotADirectoryError):
            raise UserError(f"{path} is a folder, not a file; give the landmark file itself") from None


def _is_text(text: str) -> bool:
    return not any(c < " " and c not in "\t\n\r\f\v\x1a" for c in text[: 1 << 20])
