"""TIFF through tifffile: 1, 8, 16, 32 bit, float, grey, palette, RGB, YCbCr, CMYK, tiled, compressed."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from onemark.data.images.codestream import check_codestream
from onemark.data.images.header import Decoded, Header, check_bytes, check_size, several_pages
from onemark.data.images.intensity import as_float, grey
from onemark.data.images.itk import Geometry, from_density
from onemark.data.images.spacing import MM_PER_INCH, Spacing, from_dpi, in_range
from onemark.data.images.stream import BoundedReader
from onemark.types import UserError

# A file's fault is told by one UserError; without a handler Python would print tifffile's notes as well.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_PHOTOMETRICS = ("MINISWHITE", "MINISBLACK", "RGB", "PALETTE", "SEPARATED", "YCBCR")
_INKS = 4
# What scanners and radiography programs write. Each of tifffile's others is one more decoder to be attacked.
_COMPRESSIONS = frozenset(
    (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 33003, 33004, 33005, 34712, 34892, 34925, 34926, 50000)
)
"""None, CCITT, LZW, JPEG, deflate, PackBits, JPEG 2000, LZMA, Zstandard."""
_MOST_PAGES = 1000
_DIRECTORY_BYTES = 16 << 20
_SAME_ASPECT = 0.02
_MASK = 4
# Orientation -> whether ITK mirrors x and y; it never swaps them, not even for 5 to 8.
_ITK_FLIPS = {2: (True, False), 3: (True, True), 4: (False, True)}
_ITK_FLIPS |= {6: (True, False), 7: (True, True), 8: (False, True)}
# Other programs' containers: tifffile would open further files that the content names.
_FLAT = dict.fromkeys(("is_ome", "is_mmstack", "is_ndtiff", "is_scanimage"), False)
# By the tag's number or ImageJ's word. ImageJ keeps a default dpi under these words, so they go the way of the tags.
_DPI_PER_UNIT: dict[object, float] = {2: 1.0, 3: 2.54, "inch": 1.0, "cm": 2.54}
_OME_HEAD = 2048
_OME_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]{0,4096}>")
_OME_SIZE = re.compile(r'(PhysicalSize[XY](?:Unit)?)="([^"]{1,32})"')
_OME_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "nm": 1e-6, "µm": 1e-3, "\u03bcm": 1e-3, "um": 1e-3}
_IMAGEJ_MM = {"mm": 1.0, "millimeter": 1.0}
_IMAGEJ_MM |= dict.fromkeys(("um", "µm", "\u03bcm", "\\u00B5m", "micron", "microns"), 0.001)


def read_header(stream: BoundedReader) -> Header:
    """Size and spacing without decoding. Raises UserError without the file's name; tifffile's errors pass."""
    with _opened(stream) as file:
        return _header(file, _picture(file))


def read_geometry(stream: BoundedReader) -> Geometry:
    """The density of the first page, which is the one that ITK reads, turned as its orientation says."""
    with _opened(stream) as file:
        page, first = _picture(file), file.pages.get(0)
        (height, width), (first_height, first_width) = _size(page), _size(first)
        unit = _whole(first, "ResolutionUnit", 2)
        mm = {2: MM_PER_INCH, 3: 10.0}.get(unit)
        x, y = (_ratio(first, name) or 0.0 for name in ("XResolution", "YResolution"))
        found = from_density(x, y, mm) if mm else Geometry()
        # Where ITK shows a preview, one of its pixels covers several of the picture's.
        ratio = first_width / width, first_height / height
        flips = _ITK_FLIPS.get(_whole(first, "Orientation", 1), (False, False))
        return _on_page(found, ratio, (width, height), flips)


def _on_page(
    found: Geometry, ratio: tuple[float, float], sides: tuple[int, int], flips: tuple[bool, bool]
) -> Geometry:
    """The geometry of the picture's pixels, from that of a page `ratio` times its size that ITK may mirror."""
    origin, spacing, signs = [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]
    for axis in (0, 1):
        spacing[axis] = found.spacing[axis] * ratio[axis]
        origin[axis] = (ratio[axis] - 1) / 2 * found.spacing[axis]
        if flips[axis]:
            origin[axis] += (sides[axis] - 1) * spacing[axis]
            signs[axis] = -1.0
    direction = ((signs[0], 0.0, 0.0), (0.0, signs[1], 0.0), (0.0, 0.0, 1.0))
    return Geometry((origin[0], origin[1], 0.0), (spacing[0], spacing[1], 1.0), direction)


def _whole(page: Any, name: str, usual: int) -> int:
    tag = page.tags.get(name)
    try:
        return usual if tag is None else int(tag.value)
    except (TypeError, ValueError):
        return usual


def read_values(stream: BoundedReader) -> Decoded:
    """The grey values and the header; MINISWHITE is inverted.

    Raises:
        UserError: too small, too large, several pages, complex numbers; without the file's name.
    """
    whole = stream.budget
    with _opened(stream) as file:
        page = _picture(file)
        header = _header(file, page)
        check_size(*header.size)
        _check_stack(file)
        _check_page(page)
        stream.budget = whole
        _check_segments(stream, page)
        values = _channels_last(page, page.asarray())
        return Decoded(header, _grey(page, values))


def _opened(stream: BoundedReader) -> Any:
    # Every number of a directory becomes a Python object of many times its bytes.
    stream.budget = min(stream.budget, _DIRECTORY_BYTES)
    return tifffile.TiffFile(stream, name=stream.name, **_FLAT)


def _header(file: Any, page: Any) -> Header:
    return Header(_size(page), _spacing(file, page))


def _size(page: Any) -> tuple[int, int]:
    return int(page.imagelength), int(page.imagewidth)


def _picture(file: Any) -> Any:
    """The one full picture: the largest page that is not marked as reduced or as a mask.

    Smaller pages of the same shape are its previews, marked or not.
    """
    pages = _pages(file)
    full = [page for page in pages if not (page.is_reduced or page.subfiletype & _MASK)] or pages[:1]
    largest = max(full, key=lambda page: math.prod(_size(page)))
    others = [page for page in full if page is not largest and not _is_preview(page, largest)]
    if others:
        raise several_pages(1 + len(others) if len(pages) < _MOST_PAGES else f"more than {_MOST_PAGES}")
    return largest


def _pages(file: Any) -> Sequence[Any]:
    """The pages, up to one that was there before: directories may form a ring."""
    pages: list[Any] = []
    seen: set[int] = set()
    while len(pages) < _MOST_PAGES:
        try:
            page = file.pages.get(len(pages))
        except IndexError:
            break
        if page.offset in seen:
            raise UserError("has pages that follow each other in a circle, so it is damaged; export it again")
        seen.add(page.offset)
        pages.append(page)
    return pages


def _is_preview(page: Any, largest: Any) -> bool:
    (height, width), (full_height, full_width) = _size(page), _size(largest)
    if height >= full_height or width >= full_width or not height or not width:
        return False
    return math.isclose(
        width / height, full_width / full_height, rel_tol=_SAME_ASPECT + 1 / min(height, width)
    )


def _check_stack(file: Any) -> None:
    # ImageJ writes a stack of any length behind a single page header.
    if not (file.is_imagej or file.is_shaped or file.is_stk or file.is_lsm):
        return
    series = file.series[0]
    pages = math.prod(n for n, axis in zip(series.shape, series.axes, strict=True) if axis not in "YXS")
    if pages > 1:
        raise several_pages(pages)


def _check_page(page: Any) -> None:
    if page.compression not in _COMPRESSIONS:
        compression = _name(tifffile.COMPRESSION, page.compression)
        raise UserError(f"is compressed as {compression}; save it uncompressed or with LZW or deflate")
    if page.dtype is None:
        raise UserError(f"stores samples of {page.bitspersample} bits; save it with 8 or 16 bits")
    if page.dtype.kind == "c":
        raise UserError("holds complex numbers, which no radiograph does; export its magnitude")
    per_pixel = page.samplesperpixel * page.dtype.itemsize
    check_bytes(*_size(page), per_pixel)
    if page.is_tiled:
        check_bytes(page.tilelength, page.tilewidth, per_pixel)
    if page.imagedepth > 1:
        raise several_pages(page.imagedepth)
    _check_colours(page)


def _check_colours(page: Any) -> None:
    colour = _name(tifffile.PHOTOMETRIC, page.photometric)
    if colour not in _PHOTOMETRICS:
        raise UserError(f"stores its colours as {colour}, not as grey, RGB, YCbCr or CMYK; save it as grey")
    if colour == "SEPARATED" and not _is_cmyk(page):
        raise UserError(
            f"stores {page.samplesperpixel} inks, which are not the 8 or 16 bits of CMYK; save it as grey"
        )
    if colour == "YCBCR" and page.is_subsampled and page.compression != tifffile.COMPRESSION.JPEG:
        raise UserError("stores its colours as subsampled YCbCr without JPEG; save it as grey")


def _is_cmyk(page: Any) -> bool:
    inks = _whole(page, "InkSet", 1)
    return inks == 1 and page.samplesperpixel >= _INKS and page.dtype.kind == "u"


def _check_segments(stream: BoundedReader, page: Any) -> None:
    """Check what tiles or strips of JPEG and JPEG 2000 say of themselves; their decoders obey that."""
    if page.compression not in tifffile.TIFF.IMAGE_COMPRESSIONS:
        return
    height, width = page.chunks[:2] if page.planarconfig == 1 else page.chunks[-2:]
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        stream.seek(offset)
        check_codestream(stream.read(count), (height, width))


def _channels_last(page: Any, values: NDArray[Any]) -> NDArray[Any]:
    if values.ndim == 3 and page.axes.startswith("S"):
        return np.moveaxis(values, 0, -1)
    return values


def _grey(page: Any, values: NDArray[Any]) -> NDArray[Any]:
    colour = _name(tifffile.PHOTOMETRIC, page.photometric)
    if colour == "PALETTE":
        if values.ndim == 3:
            values = values[..., 0]  # the rest is alpha
        levels: NDArray[Any] = grey(np.asarray(page.colormap).T[np.newaxis])[0]
        # A palette of two colours comes as truth values, which would select instead of look up.
        return np.asarray(levels[values.astype(np.uint8) if values.dtype == bool else values])
    if colour == "SEPARATED":
        return _from_inks(values)
    # tifffile lets the JPEG decoder make RGB of YCbCr; otherwise Y is the luma already.
    if colour == "YCBCR" and page.compression != tifffile.COMPRESSION.JPEG:
        return values[..., 0]
    values = grey(values)
    if colour == "MINISWHITE":
        inverted = as_float(values)
        np.negative(inverted, out=inverted)
        return inverted
    return values


def _from_inks(values: NDArray[Any]) -> NDArray[Any]:
    """The luma of cyan, magenta, yellow and black `[H, W, 4]` on white paper, each ink dimming what is below it."""
    full = np.float32(np.iinfo(values.dtype).max)
    light = grey(values)
    np.subtract(full, light, out=light)
    light *= (full - values[..., 3]) / full
    return light


def _name(kind: Any, number: int) -> str:
    """The name of a tag's value; tifffile gives plain numbers for values that it does not know."""
    try:
        return str(kind(number).name)
    except ValueError:
        return str(number)


def _spacing(file: Any, page: Any) -> Spacing | None:
    if (physical := _ome_size(page)) is not None:
        return physical
    x, y = (_ratio(page, name) for name in ("XResolution", "YResolution"))
    if not x or not y:
        return None
    unit = str((file.imagej_metadata or {}).get("unit", "")).lower()
    if unit in _IMAGEJ_MM:
        return in_range(_IMAGEJ_MM[unit] / x, _IMAGEJ_MM[unit] / y)
    tag = page.tags.get("ResolutionUnit")
    factor = _DPI_PER_UNIT.get(unit) or _DPI_PER_UNIT.get(int(tag.value) if tag else None)
    return from_dpi(x * factor, y * factor) if factor else None


def _ome_size(page: Any) -> Spacing | None:
    """What OME-XML says of a pixel's size, where it is believable; micrometres where it states no unit."""
    text = str(page.description)
    found = _OME_PIXELS.search(text) if "<OME" in text[:_OME_HEAD] else None
    if found is None:
        return None
    said = dict(_OME_SIZE.findall(found[0]))
    sides = []
    for axis in "XY":
        mm = _OME_MM.get(said.get(f"PhysicalSize{axis}Unit", "µm"))
        try:
            sides.append(float(said[f"PhysicalSize{axis}"]) * (mm or math.nan))
        except (KeyError, ValueError):
            return None
    return in_range(sides[0], sides[1])


def _ratio(page: Any, name: str) -> float | None:
    tag = page.tags.get(name)
    if tag is None:
        return None
    over, under = tag.value
    return float(over) / float(under) if over and under else None
