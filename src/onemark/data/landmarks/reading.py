"""From a file or a folder of files to one landmark table: which format, what was left out, and does it fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from natsort import natsorted

from onemark.data.atomic import reading_errors
from onemark.data.cohort import Cohort
from onemark.data.landmarks.checking import check_numbers, fit_to
from onemark.data.landmarks.formats import all_formats, readers
from onemark.data.landmarks.formats.base import Format, ReadOptions, Source
from onemark.data.landmarks.text import read_bytes
from onemark.data.paths import printable
from onemark.types import LandmarkSet, UserError

_SHOWN = 5
_MOST_FILES = 100_000
PATTERNS = "*.csv *.json *.tps *.fcsv *.pts *.txt *.xml *.roi *.zip"
"""What landmark files are called, for dialogs; the content decides."""
_PARTS = (".mrk.json", ".fcsv", ".json", ".csv", ".pts", ".txt", ".roi", ".zip", ".xml", ".tps")


def read(
    path: Path, cohort: Cohort | None = None, options: ReadOptions | None = None
) -> tuple[list[LandmarkSet], list[str]]:
    """The landmark sets of a file, or of a folder of files, and what there is to say of them.

    With a cohort the sets have its names and fit its radiographs.

    Raises:
        UserError: as the format's own reader, or nothing of it fits the cohort.
    """
    options = options or ReadOptions()
    with reading_errors(path):
        is_folder = path.is_dir()
    if is_folder:
        return _read_folder(path, cohort, options)
    return _read_file(Source(path, path.name, cohort, options))


def recognise(source: Source) -> Format:
    """The format of a file.

    Raises:
        UserError: it is of a kind that is not read; the sentence says the way out.
    """
    for one in all_formats():
        if one.recognises(source):
            if one.read is None:
                raise UserError(f"{source.path} is {one.title}, which is not read; {one.way_out}")
            return one
    if source.document is not None:
        raise UserError(
            f"{source.path} holds neither 3D Slicer markups nor COCO annotations, nor another JSON of landmarks that is"
            " read (labelme, Label Studio, VIA); give one of these, CSV or TPS"
        )
    if source.root is not None:
        raise UserError(
            f"{source.path} is XML, but neither CVAT's for images nor imglab's; give one of these or CSV"
        )
    titles = ", ".join(one.title for one in readers())
    raise UserError(f"{source.path} is no landmark file that is read; give one of: {titles}")


def _read_file(source: Source) -> tuple[list[LandmarkSet], list[str]]:
    read_bytes(source.path)
    one = recognise(source)
    assert one.read is not None
    reading = one.read(source)
    check_numbers(source.path, reading.sets)
    if source.encoding:
        note = f"it is no UTF-8 and was read as {source.encoding}; if names look wrong, save it as CSV UTF-8"
        reading = replace(reading, notes=[*reading.notes, note])
    return fit_to(source, reading, one)


def _read_folder(
    folder: Path, cohort: Cohort | None, options: ReadOptions
) -> tuple[list[LandmarkSet], list[str]]:
    sets: list[LandmarkSet] = []
    notes: dict[str, list[str]] = {}
    left_out: list[str] = []
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        source = Source(path, name, cohort, options, in_folder=True)
        try:
            found, said = _read_file(source)
        except UserError as error:
            left_out.append(str(error))
            continue
        sets += found
        for note in said:
            notes.setdefault(note, []).append(name)
    if not sets:
        raise UserError(
            left_out[0]
            if left_out
            else f"{folder} is a folder without landmark files ({', '.join(_PARTS)}); give the landmark file itself"
        )
    return sets, [*(_gathered(names, note) for note, names in notes.items()), *_unread(left_out)]


def _files(folder: Path) -> Iterator[Path]:
    with reading_errors(folder):
        found = [path for path in folder.rglob("*") if path.name.lower().endswith(_PARTS) and path.is_file()]
    if len(found) > _MOST_FILES:
        raise UserError(f"{folder} holds {len(found)} files; give the folder of the landmark files")
    return iter(natsorted(found, key=lambda path: path.as_posix()))


def _gathered(names: list[str], note: str) -> str:
    if len(names) == 1:
        return f"{printable(names[0])}: {note}"
    return f"{len(names)} files, such as {printable(names[0])}: {note}"


def _unread(left_out: list[str]) -> Iterator[str]:
    if left_out:
        word = "file was" if len(left_out) == 1 else "files were"
        yield f"{len(left_out)} {word} left out: {left_out[0]}"
