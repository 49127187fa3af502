"""One radiograph from one file: PNG, JPEG, JPEG 2000, WebP, BMP, TIFF or DICOM.

The content decides the format, not the suffix. Pixels are the stored ones: an EXIF orientation is not
applied, because landmarks are given in stored pixels and most other programs for landmarks do not apply it
either.
"""

from __future__ import annotations

import contextlib
import errno
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from onemark.data.images import aside
from onemark.data.images import spacing as spacings
from onemark.data.images.header import Decoded, Header, check_decoded, check_size, checked_spacing
from onemark.data.images.intensity import scaled
from onemark.data.images.kinds import DICOM_SUFFIXES, START, kind_of
from onemark.data.images.orientation import NOTICE, find_orientation
from onemark.data.images.stream import BoundedReader
from onemark.data.paths import printable
from onemark.types import Radiograph, UserError

# What matters of a damaged file is said in our own words, once.
for _library in ("PIL", "tifffile", "pydicom", "pylibjpeg", "libjpeg", "openjpeg"):
    warnings.filterwarnings("ignore", module=rf"{_library}(\..*)?$")


def read_radiograph(
    path: Path | str, name: str | None = None, spacing_mm: float | Sequence[float] | None = None
) -> Radiograph:
    """Decode one radiograph.

    Colour becomes luma, alpha is dropped; DICOM passes its modality and VOI LUT and MONOCHROME1 is inverted;
    the grey is scaled between its 0.5th and 99.5th percentiles to [0, 1].

    Args:
        path: The file.
        name: Name the radiograph gets; the file's name when left out.
        spacing_mm: mm per pixel, one number or `(x, y)`; overrides what the file says.

    Returns:
        The radiograph, pixels `[H, W]` float32. Its spacing is `spacing_mm`, else the DICOM tag
        (PixelSpacing, then ImagerPixelSpacing, then NominalScannedPixelSpacing), else believable resolution
        tags, else None.

    Raises:
        UserError: missing, unreadable, damaged, several images in one file, NaN, all pixels the same, too
            small or too large.
    """
    path = Path(path)
    return decode_radiograph(lambda: BoundedReader.open(path), path, name or path.name, spacing_mm)


def decode_radiograph(
    source: Callable[[], BoundedReader],
    where: object,
    name: str,
    spacing_mm: float | Sequence[float] | None = None,
) -> Radiograph:
    """Decode one radiograph from wherever it is; otherwise as `read_radiograph`.

    Args:
        source: Opens its file.
        where: Names the file in messages.
        name: Name the radiograph gets.
        spacing_mm: As for `read_radiograph`.
    """
    override = spacings.given(spacing_mm)
    found = _decode(source, where)
    with named_errors(where):
        turned = (NOTICE,) if find_orientation(source) != 1 else ()
        return Radiograph(
            name, scaled(found.values), override or found.header.spacing, (*found.notes, *turned)
        )


def read_decoded(path: Path | str) -> Decoded:
    """The grey values of a file as its decoder gives them, before they are scaled to [0, 1]; checked, not copied.

    Raises:
        UserError: as `read_radiograph`, except for values that are all the same or not finite.
    """
    path = Path(path)
    return _decode(lambda: BoundedReader.open(path), path)


def _decode(source: Callable[[], BoundedReader], where: object) -> Decoded:
    with named_errors(where):
        found: Decoded = run_reader(source, "read_values")
        check_decoded(found)
        header = Header(found.header.size, checked_spacing(found.header.spacing))
        return found._replace(header=header)


def read_header(path: Path | str) -> Header:
    """Size `(H, W)` in pixels and spacing `(x, y)` in mm or None, without decoding the pixels.

    Raises:
        UserError: missing, unreadable, damaged, several full pages, too small or too large.
    """
    path = Path(path)
    return decode_header(lambda: BoundedReader.open(path), path)


def decode_header(source: Callable[[], BoundedReader], where: object) -> Header:
    """As `read_header`, from wherever the file is; see `decode_radiograph`."""
    with named_errors(where):
        header: Header = run_reader(source, "read_header")
        check_size(*header.size)
        return Header(header.size, checked_spacing(header.spacing))


def read_size(path: Path | str) -> tuple[int, int]:
    """`(H, W)` in pixels, without decoding the pixels. Raises UserError as `read_header` does."""
    return read_header(path).size


@contextlib.contextmanager
def named_errors(path: object) -> Iterator[None]:
    """Put the file's name before every message, and turn what decoders raise into one sentence."""
    try:
        yield
    except Exception as error:
        cause = error.__cause__ if isinstance(error, UserError) else error
        shown, reason = printable(path), explain_fault(error)
        raise UserError(reason if reason.startswith(shown) else f"{shown} {reason}") from cause


def explain_fault(error: Exception) -> str:
    """The end of a sentence that starts with a file's name: what is wrong with it, and the way out."""
    if isinstance(error, UserError):
        return printable(error)
    if isinstance(error, FileNotFoundError):
        return "is not there any more; check the name or open the folder again"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not an image; give a file"
    if isinstance(error, MemoryError):
        return "does not fit into the memory; scale it down or close other programs"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
        return "may not be read; change its permissions"
    # What decoders say is for programmers; it stays in the cause.
    return "is damaged or cut off; export it again or remove it"


def run_reader(source: Callable[[], BoundedReader], what: str) -> Any:
    """What the function `what` of a file's reader gives, in a process that can be ended where its kind needs that.

    From there only headers and decoded values come whole; of anything else come its fields.

    Raises:
        UserError: as that function, or it takes too long; without the file's name.
    """
    with source() as stream:
        kind = reader_name(stream)
        if kind in aside.KINDS and aside.time_limit():
            with contextlib.suppress(aside.CannotStart), stream.as_file() as path:
                return _restored(*aside.ask(kind, what, path))
        return getattr(import_module(f"onemark.data.images.{kind}"), what)(stream)


def _restored(answer: Mapping[str, Any], values: NDArray[Any] | None) -> Any:
    if "size" not in answer:
        return answer
    header = Header(tuple(answer["size"]), tuple(answer["spacing"]) if answer["spacing"] else None)
    return header if values is None else Decoded(header, values, tuple(answer["notes"]))


def reader_name(stream: BoundedReader) -> str:
    """The module beside this one that reads a file. Raises UserError, without the file's name, where none does."""
    start = stream.read(START)
    stream.seek(0)
    if not start:
        raise UserError("is empty (0 bytes); export it again or remove it")
    kind = kind_of(start)
    if not kind and stream.name.lower().endswith(DICOM_SUFFIXES):
        kind = "dicom"
    if not kind:
        raise UserError(
            "is no PNG, JPEG, JPEG 2000, WebP, BMP, TIFF or DICOM image; convert it to one of these or remove it"
        )
    return kind
