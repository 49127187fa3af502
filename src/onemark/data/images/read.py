"""One radiograph from one file: PNG, JPEG, BMP, TIFF or DICOM.

The content decides the format, not the suffix. Pixels are the stored ones: an EXIF orientation is not
applied, because landmarks are given in stored pixels and most other programs for landmarks do not apply it
either.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from onemark.data.images import spacing as spacings
from onemark.data.images.header import Header
from onemark.data.images.intensity import scaled
from onemark.types import Radiograph, UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".dcm", ".dicom")
"""What a radiograph's name may end in; files without a suffix count when they carry the DICOM preamble."""

_DICOM_AT = 128
_MAGIC = {
    b"\x89PNG": "raster",
    b"\xff\xd8": "raster",
    b"BM": "raster",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}


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
    override = spacings.given(spacing_mm)
    with _named(path):
        values, found = _reader(path).read_values(path)
        return Radiograph(name or path.name, scaled(values), override or found)


def read_header(path: Path | str) -> Header:
    """Size `(H, W)` in pixels and spacing `(x, y)` in mm or None, without decoding the pixels.

    Raises:
        UserError: missing, unreadable or damaged.
    """
    path = Path(path)
    with _named(path):
        header: Header = _reader(path).read_header(path)
        return header


def read_size(path: Path | str) -> tuple[int, int]:
    """`(H, W)` in pixels, without decoding the pixels. Raises UserError as `read_header` does."""
    return read_header(path).size


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for a radiograph without looking inside."""
    return name.lower().endswith(SUFFIXES)


def is_dicom(path: Path | str) -> bool:
    """Whether the file carries the DICOM preamble; False when it cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            return stream.read(_DICOM_AT + 4)[_DICOM_AT:] == b"DICM"
    except OSError:
        return False


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name before every message, and turn what decoders raise into one sentence."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path} {error}") from error.__cause__
    except FileNotFoundError:
        raise UserError(f"{path} is not there any more; check the name or open the folder again") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, not an image; give a file") from None
    except MemoryError:
        raise UserError(
            f"{path} does not fit into the memory; scale it down or close other programs"
        ) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
            raise UserError(f"{path} may not be read; change its permissions") from None
        raise UserError(
            f"{path} is damaged or cut off ({_brief(error)}); export it again or remove it"
        ) from error


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120].rstrip(".:") if lines else type(error).__name__


def _reader(path: Path) -> ModuleType:
    with path.open("rb") as stream:
        start = stream.read(_DICOM_AT + 4)
    if not start:
        raise UserError("is empty (0 bytes); export it again or remove it")
    kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "")
    # The preamble of a DICOM file may hold a whole TIFF header for slide viewers, so it is asked about first.
    if start[_DICOM_AT:] == b"DICM" or (not kind and path.suffix.lower() in (".dcm", ".dicom")):
        kind = "dicom"
    return _load(kind)


def _load(kind: str) -> ModuleType:
    if kind == "dicom":
        from onemark.data.images import dicom

        return dicom
    if kind == "tiff":
        from onemark.data.images import tiff

        return tiff
    if kind == "raster":
        from onemark.data.images import raster

        return raster
    raise UserError("is no PNG, JPEG, BMP, TIFF or DICOM image; convert it to one of these or remove it")
