"""What a JPEG or JPEG 2000 stream says of itself, before a decoder spends memory and time on it.

A stream inside a TIFF tile or a DICOM file may state a size of its own, which decoders obey.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from onemark.data.images.header import check_samples, check_size
from onemark.types import UserError

JPEG = b"\xff\xd8"
JPEG2000 = b"\xff\x4f\xff\x51"
JP2 = b"\0\0\0\x0cjP  "
MAX_SCANS = 100
_SOF = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# OpenJPEG keeps 4 bytes a sample, twice.
_BYTES_PER_SAMPLE = 8


class Frame(NamedTuple):
    """The picture that a stream states.

    Attributes:
        size: `(H, W)` in px.
        channels: Grey or colours, alpha included.
        bits: Of a sample.
    """

    size: tuple[int, int]
    channels: int
    bits: int


def check_codestream(data: bytes, most: tuple[int, int] | None = None) -> Frame | None:
    """Refuse a stream that would take far more memory or time than a radiograph. The message lacks the file.

    Args:
        data: The whole stream.
        most: `(H, W)` of the picture or tile that it is to fill; None for a file of its own.

    Returns:
        What it states; None where it is neither JPEG nor JPEG 2000.

    Raises:
        UserError: too large, another size than `most`, or too many scans.
    """
    frame = frame_of(data)
    if frame is None:
        return None
    if most is None:
        check_size(*frame.size)
    elif frame.size[0] > most[0] or frame.size[1] > most[1]:
        raise UserError(
            f"holds {_spell(frame.size)} px where its header says {_spell(most)}; export it again"
        )
    if data.startswith(JPEG):
        scans = data.count(b"\xff\xda")
        if scans > MAX_SCANS:
            raise UserError(f"is a JPEG of {scans} scans, which takes for ever; save it as an ordinary JPEG")
    else:
        check_samples(*frame.size, frame.channels, _BYTES_PER_SAMPLE)
    return frame


def frame_of(data: bytes) -> Frame | None:
    """What a JPEG or JPEG 2000 stream states; None where it is neither, or says nothing before it ends."""
    try:
        if data.startswith(JPEG):
            return _jpeg(data)
        if data.startswith(JP2):
            return _jpeg2000(data, _contiguous(data))
        if data.startswith(JPEG2000):
            return _jpeg2000(data, 0)
    except (struct.error, ValueError):
        pass
    return None


def _spell(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"


def _jpeg(data: bytes) -> Frame | None:
    for marker, at in _markers(data):
        if marker in _SOF:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, at + 2)
            return Frame((height, width), channels, bits)
    return None


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and where its length stands, up to the first scan."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        marker = data[at + 1]
        at += 1
        if marker in (0x00, 0xFF):  # fill bytes
            continue
        at += 1
        if marker in _ALONE:
            continue
        yield marker, at
        if marker in (0xDA, 0xD9):
            return
        at += int(struct.unpack_from(">H", data, at)[0])


def _jpeg2000(data: bytes, at: int) -> Frame:
    if data[at : at + 4] != JPEG2000:
        raise ValueError("no codestream")
    x1, y1, x0, y0 = struct.unpack_from(">4I", data, at + 8)
    channels, bits = struct.unpack_from(">HB", data, at + 40)
    return Frame((y1 - y0, x1 - x0), channels, (bits & 0x7F) + 1)


def _contiguous(data: bytes) -> int:
    """Where the code stream of a JP2 file starts."""
    at = 0
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        if kind == b"jp2c":
            return at + head
        if length < head:
            raise ValueError("no codestream")
        at += length
