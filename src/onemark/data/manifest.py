"""A list of radiographs instead of a folder: a text file, a CSV or a Parquet file of paths or addresses."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from onemark.data.atomic import reading_errors
from onemark.data.cohort import Cohort
from onemark.data.extras import import_extra
from onemark.data.images.spacing import Spacing
from onemark.data.keys import image_key
from onemark.data.paths import key_fault, open_regular, printable, quoted
from onemark.data.urls import is_url, parse_place
from onemark.progress import SKIPPED
from onemark.types import UserError

SUFFIXES = (".txt", ".lst", ".csv", ".tsv", ".parquet")
"""What the name of a list ends in."""
_LONGEST = 4096
_LONGEST_LINE = 1 << 20
_MOST = 128 << 20
"""Characters of all paths: a million radiographs of an archive have about 100 million."""
_ROWS = 4096
_COLUMNS = ("path", "file", "filename", "image", "url", "uri")


def is_manifest(path: Path) -> bool:
    """Whether a file is taken for a list of radiographs."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def open_manifest(path: Path, spacing_mm: Spacing | None) -> Cohort:
    """The radiographs of a list, in its order. They are named relative to the folder that all of them share.

    Relative paths start where the list lies. Whether the files are there shows when they are read.

    Args:
        path: A path or address on each line; or a CSV or Parquet file with such a column (`path`, `file`, `filename`,
            `image` or `url`).
        spacing_mm: `(x, y)` mm per pixel of all, or None for what the files say.

    Raises:
        UserError: it is empty or damaged, has no such column, or names a file twice.
    """
    places = list(_read_places(path))
    if not places:
        raise UserError(f"{printable(path)} lists no radiographs; write a path on each line")
    remote = sum(map(is_url, places))
    if remote not in (0, len(places)):
        raise UserError(f"{printable(path)} mixes addresses with paths of this machine; make two lists")
    if not remote:
        here = str(path.absolute().parent)
        places = [_absolute(place, here) for place in places]
    folder = _shared_folder(path, places, "/" if remote else os.sep)
    faults, files = [], dict[str, str]()
    for place in places:
        file = place[len(folder) :].lstrip(os.sep).replace(os.sep, "/")
        name = image_key(file)
        if fault := key_fault(name):
            faults.append(f"{SKIPPED}{printable(place)} is left out: {fault}; rename the file")
        elif name in files:
            raise UserError(f"{printable(path)} lists {printable(place)} twice; remove one of the two")
        else:
            files[name] = name if file == name else file
    if remote:
        from onemark.data.remote import RemoteCohort

        return RemoteCohort.at(folder, files, spacing_mm, tuple(faults))
    return Cohort(Path(folder), tuple(files), files, spacing_mm, left_out=tuple(faults))


def _absolute(place: str, here: str) -> str:
    # Most lists hold absolute paths, a million of them perhaps.
    return os.path.normpath(place if place.startswith(os.sep) else os.path.join(here, place))  # noqa: PTH118


def _shared_folder(path: Path, places: list[str], separator: str) -> str:
    # What the first and the last in alphabetical order share is shared by all between them; letter by letter, since
    # addresses are no paths.
    shared = os.path.commonprefix([min(places), max(places)])  # noqa: RUF071
    folder, found, _ = shared.rpartition(separator)
    if is_url(places[0]) and (not folder.partition("://")[2] or "::" in places[0]):
        raise UserError(
            f"{printable(path)} lists addresses of several places or inside archives; make a list of each"
        )
    if separator == "\\" and not found:
        raise UserError(f"{printable(path)} lists radiographs of several drives; make a list of each")
    # Without it, `D:` is the current folder of the drive.
    return folder + (separator if found and (not folder or folder.endswith(":")) else "")


def _read_places(path: Path) -> Iterator[str]:
    """Paths as they are written, without credentials."""
    total = 0
    for place in _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path):
        if not place:
            continue
        if not isinstance(place, str) or len(place) > _LONGEST:
            raise UserError(
                f"{printable(path)} holds {quoted(str(place))} where a path belongs; write a path in each row"
            )
        total += len(place)
        if total > _MOST:
            raise UserError(
                f"{printable(path)} holds more than {_MOST >> 20} million characters; make several lists"
            )
        yield str(parse_place(place) if "://" in place else place)


def _read_text(path: Path) -> Iterator[object]:
    with (
        reading_errors(path),
        open_regular(path) as raw,
        io.TextIOWrapper(raw, "utf-8-sig", newline="") as stream,
    ):
        try:
            if path.suffix.lower() not in (".csv", ".tsv"):
                yield from (line.strip() for line in _lines(path, stream))
                return
            rows = csv.reader(_lines(path, stream), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            at = _find_column(path, next(rows, []))
            yield from (row[at].strip() for row in rows if len(row) > at)
        except (UnicodeDecodeError, csv.Error):
            raise UserError(
                f"{printable(path)} is no list of paths in UTF-8; save it as UTF-8 text or CSV"
            ) from None


def _lines(path: Path, stream: TextIO) -> Iterator[str]:
    while line := stream.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise UserError(
                f"{printable(path)} has a line of a million characters; write a path on each line"
            )
        yield line


def _read_parquet(path: Path) -> Iterator[object]:
    parquet = import_extra("pyarrow.parquet", "Parquet needs pyarrow", "archive")
    try:
        names = parquet.read_schema(path).names
        column = names[_find_column(path, names)]
        # As a dictionary, a text that stands in a million rows is in memory once.
        with parquet.ParquetFile(path, read_dictionary=[column]) as file:
            _check_unpacked(path, file.metadata, column)
            for batch in file.iter_batches(batch_size=_ROWS, columns=[column]):
                yield from _values(batch.column(0))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{printable(path)} is no readable Parquet file; write it again") from error


def _values(column: Any) -> Iterator[object]:
    """The values of a column in a batch; a text that is too long for a path comes once, for its sentence."""
    texts = column.dictionary.to_pylist() if hasattr(column, "dictionary") else ()
    if too_long := next((text for text in texts if isinstance(text, str) and len(text) > _LONGEST), None):
        yield too_long
        return
    yield from column.to_pylist()


def _check_unpacked(path: Path, metadata: Any, column: str) -> None:
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        sizes = [group.column(at) for at in range(group.num_columns)]
        if sum(one.total_uncompressed_size for one in sizes if one.path_in_schema == column) > _MOST:
            raise UserError(f"{printable(path)} is too large to unpack; write it in smaller row groups")


def _find_column(path: Path, header: list[str]) -> int:
    plain = [cell.strip().lower() for cell in header]
    for column in _COLUMNS:
        if column in plain:
            return plain.index(column)
    raise UserError(f"{printable(path)} has no column {_COLUMNS[0]!r}; name the column of the paths so")
