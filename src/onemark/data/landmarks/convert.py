"""A landmark table into other programs' formats; `io.landmarks.read_landmarks` reads all of them back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from onemark.data.atomic import check_writable, user_errors, write_text
from onemark.data.cohort import Cohort
from onemark.data.landmarks import coco, slicer, tps
from onemark.data.landmarks.table import LandmarkTable, Spacings
from onemark.data.paths import safe_child
from onemark.types import UserError

SUFFIXES = (".csv", slicer.SUFFIX, tps.SUFFIX, coco.SUFFIX)
"""Longest match wins: `.mrk.json` is 3D Slicer, any other `.json` is COCO keypoints."""


def write_landmarks(
    table: LandmarkTable,
    path: Path | str,
    *,
    cohort: Cohort | None = None,
    mm: bool = False,
    overwrite: bool = False,
    safe_csv: bool = False,
) -> tuple[Path, ...]:
    """Write a table in the format of the suffix: `.csv`, `.mrk.json`, `.tps` or `.json` (COCO keypoints).

    A `.mrk.json` holds one image, so several images become a folder: `points.mrk.json` ->
    `points/IMAGE.mrk.json` for each image. Every file is written atomically.

    Args:
        table: What to write.
        path: The file, or for several images as `.mrk.json` the folder's name with that suffix.
        cohort: The radiographs; needed by all formats but CSV, for image sizes and pixel spacing.
        mm: CSV only: add the columns `x_mm,y_mm`; needs `cohort`.
        overwrite: Replace files that are there. Off by default: nothing is lost by a mistyped name.
        safe_csv: CSV only: see `LandmarkTable.to_csv`.

    Returns:
        The files written.

    Raises:
        UserError: unknown suffix, a file is there already, no cohort where one is needed, an image is not in
            the cohort, no pixel spacing for mm, it cannot be written.
    """
    path = Path(path)
    suffix = _suffix(path)
    if not len(table):
        raise UserError(f"there are no landmarks to write to {path}; place or predict some first")
    if suffix == ".csv":
        spacing = _spacings(path, table, cohort) if mm else None
        _check_free([path], overwrite)
        table.to_csv(path, spacing, safe=safe_csv)
        return (path,)
    texts = _texts(table, path, suffix, _needed(path, cohort))
    _check_free([file for file, text in texts.items() if not _holds(file, text)], overwrite)
    _write_all(texts)
    return tuple(texts)


def _write_all(texts: Mapping[Path, str]) -> None:
    """Write all files, or none that was not there before: the same call then works once the disk has room."""
    new: list[Path] = []
    try:
        for file, text in texts.items():
            if not file.exists():
                new.append(file)
            write_text(file, text)
    except UserError:
        for file in new:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
        raise


def _holds(file: Path, text: str) -> bool:
    """Whether a file is there already as it is to be, such as after a death in the middle of many."""
    try:
        return file.is_file() and file.read_bytes() == text.encode()
    except OSError:
        return False


def check_target(path: Path, cohort: Cohort, *, mm: bool = False, overwrite: bool = False) -> None:
    """Check that `write_landmarks` will write those of a whole cohort to `path`, before the work that finds them.

    Raises:
        UserError: unknown suffix, a file is there already, no pixel spacing for mm, it cannot be written.
    """
    suffix = _suffix(path)
    if suffix == ".csv" and mm and not any(_tells_spacing(cohort, name) for name in cohort.names):
        raise _no_spacing(cohort)
    files = [path]
    if suffix == slicer.SUFFIX:
        files = [_slicer_file(path, name, len(cohort)) for name in cohort.names]
    _check_free(files, overwrite)
    check_writable(files[0])


def _suffix(path: Path) -> str:
    suffix = next((s for s in (slicer.SUFFIX, *SUFFIXES) if path.name.lower().endswith(s)), "")
    if not suffix:
        raise UserError(f"{path.name} has no known suffix; end it in {', '.join(SUFFIXES)}")
    return suffix


def _texts(table: LandmarkTable, path: Path, suffix: str, cohort: Cohort) -> dict[Path, str]:
    """File -> what it will hold."""
    table = LandmarkTable.from_sets(replace(one, image=cohort.resolve(one.image)) for one in table)
    if suffix == slicer.SUFFIX:
        return {
            _slicer_file(path, one.image, len(table)): slicer.render(one, cohort.header(one.image).spacing)
            for one in table
        }
    if suffix == tps.SUFFIX:
        blocks = (tps.render(one, cohort.header(one.image), number) for number, one in enumerate(table))
        return {path: "".join(blocks)}
    return {path: coco.render(table.names, table.sets, lambda image: cohort.header(image).size)}


def _slicer_file(path: Path, image: str, images: int) -> Path:
    if images == 1:
        return path
    return safe_child(path.with_name(path.name[: -len(slicer.SUFFIX)]), f"{image}{slicer.SUFFIX}")


def _spacings(path: Path, table: LandmarkTable, cohort: Cohort | None) -> Spacings:
    known = _needed(path, cohort)
    spacings = {image: known.header(image).spacing for image in table.images}
    if not any(spacings.values()):
        raise _no_spacing(known)
    return spacings


def _tells_spacing(cohort: Cohort, name: str) -> bool:
    try:
        return cohort.header(name).spacing is not None
    except UserError:  # the marking will pass over it
        return False


def _no_spacing(cohort: Cohort) -> UserError:
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
