"""Which format a landmark file has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from natsort import natsorted

from onemark.data.atomic import reading_errors
from onemark.data.cohort import Cohort
from onemark.data.json import parse_json
from onemark.data.landmarks import coco, slicer, tps
from onemark.data.landmarks.tables import parse_csv
from onemark.data.landmarks.text import read_text
from onemark.types import LandmarkSet, UserError


def read(path: Path, cohort: Cohort | None = None) -> list[LandmarkSet]:
    """The landmark sets of a file, or of a folder of `.mrk.json` files, whatever the format.

    Raises:
        UserError: as the format's own reader.
    """
    with reading_errors(path):
        is_folder = path.is_dir()
    if is_folder:
        return _read_folder(path, cohort)
    text = read_text(path)
    start = text.lstrip()[:4].upper()
    if path.suffix.lower() == ".json" or start.startswith(("{", "[")):
        return _read_json(path, text, path.name, cohort)
    if path.suffix.lower() == ".tps" or start.startswith(("LM=", "LM3=")):
        return tps.parse(path, text, cohort)
    return parse_csv(path, text)


def _read_folder(folder: Path, cohort: Cohort | None) -> list[LandmarkSet]:
    files = natsorted(folder.rglob(f"*{slicer.SUFFIX}"), key=lambda path: path.as_posix())
    if not files:
        raise UserError(f"{folder} is a folder without {slicer.SUFFIX} files; give the landmark file itself")
    sets: list[LandmarkSet] = []
    for path in files:
        sets += _read_json(path, read_text(path), path.relative_to(folder).as_posix(), cohort)
    return sets


def _read_json(path: Path, text: str, name: str, cohort: Cohort | None) -> list[LandmarkSet]:
    document = _parse(path, text)
    if "markups" in document:
        return [slicer.parse(path, document, name.removesuffix(slicer.SUFFIX).removesuffix(".json"), cohort)]
    if "annotations" in document:
        return coco.parse(path, document)
    raise UserError(
        f"{path} holds neither 3D Slicer markups nor COCO annotations; give one of these, CSV or TPS"
    )


def _parse(path: Path, text: str) -> dict[str, Any]:
    document = parse_json(text, path)
    return document if isinstance(document, dict) else {}
