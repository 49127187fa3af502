"""A landmark table into other programs' formats; `read_landmarks` reads all of them back."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from onemark.data.atomic import check_writable, user_errors, write_bytes
from onemark.data.cohort import Cohort
from onemark.data.images.spacing import Spacing
from onemark.data.landmarks.formats import writers
from onemark.data.landmarks.formats.base import Format, Target
from onemark.data.landmarks.formats.documents import dicom_sr
from onemark.data.landmarks.table import LandmarkTable, Spacings
from onemark.types import UserError

_CSV = "csv"
_OF_FILES = ("slicer", "labelme", dicom_sr.FORMAT.key)
"""Formats whose writers look into the radiographs' files, for more than their size."""


def write_landmarks(
    table: LandmarkTable,
    path: Path | str,
    *,
    cohort: Cohort | None = None,
    format: str | None = None,
    mm: bool = False,
    overwrite: bool = False,
    safe_csv: bool = False,
    predicted_by: str = "",
) -> tuple[Path, ...]:
    """Write a table in the format of the suffix, or in a named one.

    A format of one image per file makes a folder of several images: `points.mrk.json` becomes
    `points/IMAGE.mrk.json` for each image. Every file is written atomically.

    Args:
        table: What to write.
        path: The file, or for several images of such a format the folder's name with the suffix.
        cohort: The radiographs; needed by all formats but CSV, for image sizes and the place in Slicer.
        format: `csv`, `slicer`, `tps`, `coco`, `labelme`, `pts`, `yolo` or `dicom-sr`; by default the suffix decides.
        mm: CSV only: add the columns `x_mm,y_mm`; needs `cohort`.
        overwrite: Replace files that are there. Off by default: nothing is lost by a mistyped name.
        safe_csv: CSV only: see `LandmarkTable.to_csv`.
        predicted_by: DICOM SR only: identity of the run that predicted the landmarks.

    Returns:
        The files written.

    Raises:
        UserError: unknown suffix or format, a file is there already, no cohort where one is needed, an image is not
            in the cohort, no pixel spacing for mm, mm or safe names for another format than CSV, it cannot be written.
    """
    path = Path(path)
    chosen = choose_format(path, format)
    _check_csv(path, chosen, mm=mm, safe_csv=safe_csv)
    if not len(table):
        raise UserError(f"there are no landmarks to write to {path}; place or predict some first")
    if chosen.key == _CSV:
        spacing = _spacings(path, table, cohort) if mm else None
        _check_free([path], overwrite)
        table.to_csv(path, spacing, safe=safe_csv)
        return (path,)
    contents = _contents(table, path, chosen, _needed(path, cohort), predicted_by)
    _check_free([file for file, content in contents.items() if not _holds(file, content)], overwrite)
    _write_all(contents)
    _warn_of_unasked(table, path, chosen)
    return tuple(contents)


def _warn_of_unasked(table: LandmarkTable, path: Path, chosen: Format) -> None:
    count = sum(int((~one.answered).sum()) for one in table)
    if count and not chosen.tells_asked:
        warnings.warn(
            f"{path}: {count} landmark{'s' if count > 1 else ''} that nobody was asked for will count as not visible, "
            "because this format does not tell the two apart; CSV, COCO, TPS, labelme and 3D Slicer's do",
            stacklevel=3,
        )


def _write_all(contents: Mapping[Path, bytes]) -> None:
    """Write all files, or none that was not there before: the same call then works once the disk has room."""
    new: list[Path] = []
    try:
        for file, content in contents.items():
            if not file.exists():
                new.append(file)
            write_bytes(file, content)
    except UserError:
        for file in new:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
        raise


def _holds(file: Path, content: bytes) -> bool:
    """Whether a file is there already as it is to be, such as after a death in the middle of many."""
    try:
        return file.is_file() and file.read_bytes() == content
    except OSError:
        return False


def check_target(
    path: Path, cohort: Cohort, *, format: str | None = None, mm: bool = False, overwrite: bool = False
) -> None:
    """Check that `write_landmarks` will write those of a whole cohort to `path`, before the work that finds them.

    Raises:
        UserError: unknown suffix or format, a file is there already, no pixel spacing for mm, a format that needs files
            of this machine, DICOM files or a package that is not installed, it cannot be written.
    """
    chosen = choose_format(path, format)
    _check_csv(path, chosen, mm=mm)
    if mm:
        check_spacing(cohort)
    if chosen.key in _OF_FILES:
        for name in cohort.names[:1]:
            cohort.path(name)
    if chosen.key == dicom_sr.FORMAT.key:
        dicom_sr.check_reports(cohort)
    files = [path]
    if chosen.separate and len(cohort) > 1:
        folder = path.with_name(path.name[: -len(chosen.suffix)]) if chosen.suffix else path
        there = [file for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
        files = there or [folder / "x"]  # a folder without files is what a full disk leaves
    _check_free(files[:1], overwrite)
    check_writable(files[0])


def _check_csv(path: Path, chosen: Format, *, mm: bool = False, safe_csv: bool = False) -> None:
    """Refuse what only CSV has a place for: it would be left out in silence."""
    if chosen.key != _CSV and (mm or safe_csv):
        what = "x and y in mm" if mm else "safe names"
        raise UserError(
            f"{path.name} has no place for {what}, which only CSV has; write a .csv, or leave that out"
        )


def check_spacing(cohort: Cohort) -> None:
    """Check that any radiograph tells its pixel spacing. Raises UserError otherwise."""
    if not any(cohort.spacing(name) for name in cohort.names):
        raise no_spacing(cohort)


def choose_format(path: Path, key: str | None = None) -> Format:
    """The format of this key or, without one, of the longest suffix that fits the path.

    Raises:
        UserError: there is none.
    """
    known = writers()
    if key is not None:
        found = next((one for one in known if one.key == key), None)
        if found is None:
            keys = ", ".join(one.key for one in known)
            raise UserError(f"there is no format {key!r} to write; choose one of {keys}")
        return found
    claiming = [one for one in known if one.claims and path.name.lower().endswith(one.suffix)]
    if not claiming:
        suffixes = ", ".join(one.suffix for one in known if one.claims)
        others = ", ".join(one.key for one in known if not one.claims)
        raise UserError(
            f"{path.name} has no known suffix; end it in {suffixes}, or name the format (also {others})"
        )
    return max(claiming, key=lambda one: len(one.suffix))


def _contents(
    table: LandmarkTable, path: Path, chosen: Format, cohort: Cohort, predicted_by: str
) -> dict[Path, bytes]:
    """File -> what it will hold."""
    table = LandmarkTable.from_sets(replace(one, image=cohort.resolve(one.image)) for one in table)
    assert chosen.render is not None
    rendered = chosen.render(Target(table, cohort, path, predicted_by))
    return {file: found if isinstance(found, bytes) else found.encode() for file, found in rendered.items()}


def _spacings(path: Path, table: LandmarkTable, cohort: Cohort | None) -> Spacings:
    known = _needed(path, cohort)
    spacings = {image: _spacing_of(known, image, path) for image in table.images}
    if not any(spacings.values()):
        raise no_spacing(known)
    return spacings


def _spacing_of(cohort: Cohort, name: str, path: Path) -> Spacing | None:
    image = cohort.resolve(name)
    try:
        return cohort.header(image).spacing
    except UserError as error:  # such as a file that has gone since; its pixels are still worth writing
        warnings.warn(f"{path} has no mm of {name}, only pixels: {error}", stacklevel=4)
        return None


def no_spacing(cohort: Cohort) -> UserError:
    """The error for mm that are asked for where no radiograph tells its spacing."""
    return UserError(f"no radiograph in {cohort.folder} tells its pixel spacing; give it as mm per pixel")


def _needed(path: Path, cohort: Cohort | None) -> Cohort:
    if cohort is None:
        raise UserError(
            f"writing {path.name} needs the radiographs' sizes and spacing; give their folder too"
        )
    return cohort


def _check_free(files: Iterable[Path], overwrite: bool) -> None:
    for file in files:
        with user_errors(file):
            there = file.exists()
        if there and not overwrite:
            raise UserError(f"{file} is there already; choose another name or allow it to be overwritten")
