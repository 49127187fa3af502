"""ImageJ's ROI files through roifile: a `.roi` of points, or a `RoiSet.zip` with one ROI for each landmark."""

from __future__ import annotations

import io
import logging
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from onemark.data.keys import canonical
from onemark.data.landmarks.entries import Entry, group_entries, point
from onemark.data.landmarks.formats.base import Format, Reading, Source, number
from onemark.types import UserError

# A file's fault is said in one sentence; without a handler Python would print roifile's notes as well.
logging.getLogger("roifile").addHandler(logging.NullHandler())
_MAGIC, _ZIP = b"Iout", b"PK\x03\x04"
# Of zipfile, and of the decompressors that it calls.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, RuntimeError, ValueError, EOFError)
_MOST, _LONGEST = 10_000, 1 << 20


def _recognises(source: Source) -> bool:
    if source.data.startswith(_ZIP):
        return source.suffix == ".zip" or b".roi" in source.data[:256]
    return source.data.startswith(_MAGIC)


def _read(source: Source) -> Reading:
    image = source.own_image()
    entries: list[Entry] = []
    others = 0
    used: set[str] = set()
    for name, data in _rois(source):
        points = _points(source, data)
        others += not points
        for count, (label, xy) in enumerate(points, 1):
            title = canonical(label or PurePosixPath(name).stem)
            title = f"{title} {count}" if len(points) > 1 and title else title or str(count)
            if len(points) > 1 and source.data.startswith(_MAGIC):
                title = str(count)
            if title in used:
                title = str(len(entries) + 1)
            used.add(title)
            entries.append(point(image, title, xy, f"ROI {title!r}"))
    notes = [f"{others} ROIs that are no points were not used"] if others else []
    return Reading(group_entries(source.path, entries), notes)


def _rois(source: Source) -> Iterator[tuple[str, bytes]]:
    if source.data.startswith(_MAGIC):
        yield source.path.name, source.data
        return
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            members = [one for one in archive.infolist() if one.filename.lower().endswith(".roi")]
            if not members or len(members) > _MOST or any(one.file_size > _LONGEST for one in members):
                raise UserError(
                    f"{source.path} holds no ROIs of ImageJ that can be read; save the ROI Manager again"
                )
            for one in members:
                with archive.open(one) as stream:
                    yield one.filename, stream.read(_LONGEST)
    except UserError:
        raise
    except _UNREADABLE as error:
        raise UserError(f"{source.path} is no archive that can be read ({error}); save it again") from None


def _points(source: Source, data: bytes) -> list[tuple[str, tuple[float, float]]]:
    """Name and place of each point of a ROI; none where it is another shape."""
    import roifile

    try:
        roi: Any = roifile.ImagejRoi.frombytes(data)
        if roi.roitype != roifile.ROI_TYPE.POINT:
            return []
        places = roi.coordinates()
        name = str(roi.name or "")
    except Exception as error:  # roifile raises many kinds for a damaged file
        raise UserError(
            f"{source.path} holds a ROI that cannot be read ({type(error).__name__}); save it again from ImageJ"
        ) from None
    where = f"{source.path}: a ROI"
    return [(name, (number(float(x), where), number(float(y), where))) for x, y in places]


FORMAT = Format("roi", "ImageJ ROI and RoiSet (.roi, .zip)", ".zip", _recognises, _read, rank=-1)
