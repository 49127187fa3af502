"""Which kind of picture a file is, by its first bytes."""

from __future__ import annotations

import struct
from pathlib import Path

from onemark.data.paths import open_regular
from onemark.types import UserError

_DICOM_AT = 128
START = _DICOM_AT + 4
"""Bytes that tell the kind."""

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_PICTURES = ".png .jpg .jpeg .jpe .jfif .bmp .tif .tiff .webp .jp2 .j2k .j2c .jpc"
SUFFIXES = (*_PICTURES.split(), *DICOM_SUFFIXES)
"""What a radiograph's name may end in; other files count when their content is one of these."""

_MAGIC = {
    b"\x89PNG": "raster",
    b"\xff\xd8\xff": "raster",
    b"BM": "raster",
    b"\0\0\0\x0cjP  ": "compact",
    b"\xff\x4f\xff\x51": "compact",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}
# Explicit value representations of the tags that a DICOM data set without preamble may start with.
_FIRST_VR = (b"UL", b"OB", b"UI", b"CS", b"DA", b"SH")
_FIRST_GROUPS = (2, 8)
_LONGEST_VALUE = 1024


def kind_of(start: bytes) -> str:
    """`raster`, `compact`, `tiff` or `dicom` by the file's first `START` bytes; empty when it is none of these."""
    # The preamble of a DICOM file may hold a whole TIFF header for slide viewers, so it is asked about first.
    if start[_DICOM_AT:START] == b"DICM":
        return "dicom"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "compact"
    found = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "")
    if start.startswith(b"BM") and not _is_bitmap(start):
        found = ""
    return found or ("dicom" if _is_bare_dicom(start) else "")


def kind_of_file(path: Path | str) -> str:
    """`kind_of` a file; empty when it cannot be read or is no regular file."""
    try:
        with open_regular(path) as stream:
            return kind_of(stream.read(START))
    except (OSError, UserError):
        return ""


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for a radiograph without looking inside."""
    return name.lower().endswith(SUFFIXES)


def _is_bitmap(start: bytes) -> bool:
    # "BM" alone starts many a text; the size of the second header is one of a few small numbers.
    return len(start) < 18 or struct.unpack_from("<I", start, 14)[0] <= 124


def _is_bare_dicom(start: bytes) -> bool:
    if len(start) < 16:
        return False
    group, element, form, short, long = struct.unpack_from("<HH2sH", start, 0) + struct.unpack_from(
        "<I", start, 4
    )
    if group not in _FIRST_GROUPS or element > 0x20:
        return False
    if form in _FIRST_VR:
        return int(short) <= _LONGEST_VALUE
    return int(long) <= _LONGEST_VALUE and long % 2 == 0 and long > 0
