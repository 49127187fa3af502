"""TIFF through tifffile: 1, 8, 16, 32 bit, float, grey, palette, colour, tiled, compressed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from onemark.data.images.header import Header, check_size, several_pages
from onemark.data.images.intensity import grey
from onemark.data.images.spacing import Spacing, from_dpi, in_range
from onemark.types import UserError

# A file's fault is told by one UserError; without a handler Python would print tifffile's notes as well.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_PHOTOMETRICS = ("MINISWHITE", "MINISBLACK", "RGB", "PALETTE")
# By the tag's number or ImageJ's word. ImageJ keeps a default dpi under these words, so they go the way of the tags.
_DPI_PER_UNIT: dict[object, float] = {2: 1.0, 3: 2.54, "inch": 1.0, "cm": 2.54}
_IMAGEJ_MM = {"mm": 1.0, "millimeter": 1.0}
_IMAGEJ_MM |= dict.fromkeys(("um", "µm", "\u03bcm", "\\u00B5m", "micron", "microns"), 0.001)


def read_header(path: Path) -> Header:
    """Size and spacing without decoding. Raises UserError without the file's name; tifffile's errors pass."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        return Header((int(page.imagelength), int(page.imagewidth)), _spacing(file, page))


def read_values(path: Path) -> tuple[NDArray[Any], Spacing | None]:
    """The grey values `[H, W]` and the spacing; MINISWHITE is inverted.

    Raises:
        UserError: too small, too large, several pages, complex numbers; without the file's name.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        check_size(int(page.imagelength), int(page.imagewidth))
        _check_single(file)
        values = _channels_last(page, page.asarray())
        return _oriented_grey(page, values), _spacing(file, page)


def _check_single(file: Any) -> None:
    full = sum(1 for page in file.pages if not page.is_reduced)
    # ImageJ writes a stack of any length behind a single page header.
    stacked = int(
        np.prod([n for n, axis in zip(*_layout(file), strict=True) if axis not in "YXS"], dtype=int)
    )
    pages = max(full, stacked)
    if pages > 1:
        raise several_pages(pages)


def _layout(file: Any) -> tuple[tuple[int, ...], str]:
    series = file.series[0]
    return tuple(series.shape), str(series.axes)


def _channels_last(page: Any, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "c":
        raise UserError("holds complex numbers, which no radiograph does; export its magnitude")
    if values.ndim == 3 and page.axes.startswith("S"):
        return np.moveaxis(values, 0, -1)
    return values


def _oriented_grey(page: Any, values: NDArray[Any]) -> NDArray[Any]:
    colour = page.photometric.name
    if colour == "PALETTE":
        return grey(np.moveaxis(np.asarray(page.colormap)[:, values], 0, -1))
    if colour == "YCBCR" and page.compression.name == "JPEG":
        colour = "RGB"  # tifffile lets the JPEG decoder convert it
    if colour not in _PHOTOMETRICS:
        raise UserError(f"stores its colours as {colour}, not as grey or RGB; save it as grey")
    values = grey(values)
    return -values.astype(np.float32) if colour == "MINISWHITE" else values


def _spacing(file: Any, page: Any) -> Spacing | None:
    x, y = (_ratio(page, name) for name in ("XResolution", "YResolution"))
    if not x or not y:
        return None
    unit = str((file.imagej_metadata or {}).get("unit", "")).lower()
    if unit in _IMAGEJ_MM:
        return in_range(_IMAGEJ_MM[unit] / x, _IMAGEJ_MM[unit] / y)
    tag = page.tags.get("ResolutionUnit")
    factor = _DPI_PER_UNIT.get(unit) or _DPI_PER_UNIT.get(int(tag.value) if tag else None)
    return from_dpi(x * factor, y * factor) if factor else None


def _ratio(page: Any, name: str) -> float | None:
    tag = page.tags.get(name)
    if tag is None:
        return None
    over, under = tag.value
    return float(over) / float(under) if over and under else None
