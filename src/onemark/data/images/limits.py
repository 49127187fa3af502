"""How large a picture may be: the usual limits, and larger ones for the tool that scales pictures down."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a picture may take.

    Attributes:
        pixels: A long-leg film scanned at 0.05 mm has about 60 million.
        samples: Bytes of the decoded samples. Reading takes at most about three times as much memory.
        work: Bytes that a decoder needs beside them.
        file: Bytes of a DICOM file.
        inflated: Bytes that a deflated DICOM file may become.
    """

    pixels: int = 80_000_000
    samples: int = 256 << 20
    work: int = 576 << 20
    file: int = 320 << 20
    inflated: int = 128 << 20


USUAL = Limits()
LARGE = Limits(400_000_000, 2 << 30, 4 << 30, 2 << 30, 1 << 30)
_current: ContextVar[Limits] = ContextVar("limits", default=USUAL)


def current_limits() -> Limits:
    """The limits that hold here."""
    return _current.get()


@contextlib.contextmanager
def use_limits(chosen: Limits) -> Iterator[None]:
    """Read pictures under other limits inside this block, for a program that does nothing else meanwhile."""
    from PIL import Image  # listing a folder needs no decoder

    before, pillow = _current.set(chosen), Image.MAX_IMAGE_PIXELS
    # Pillow has a limit of its own, which it counts twice.
    Image.MAX_IMAGE_PIXELS = max(pillow or 0, chosen.pixels)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = pillow
        _current.reset(before)
