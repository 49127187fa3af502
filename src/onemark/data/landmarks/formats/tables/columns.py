"""What the columns of a table mean: image, landmark, coordinates, or nothing of a landmark."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from onemark.data.keys import canonical

LONG = ("image", "landmark", "x", "y")
ELLIPSE = ("sd_major", "sd_minor", "angle")
EXTRAS = ("score", "expected_error", *ELLIPSE, "visible_probability")
UNIT = "unit"
UNITS = ("mm", "px")
"""What expected errors may be in."""
MM = ("x_mm", "y_mm")
UID = "sop_instance_uid"
ANSWER = "answer"
GUESS = ("guess_x", "guess_y")
_IMAGE = [
    "image",
    "image_name",
    "image_file",
    "image_filename",
    "image_path",
    "image_id",
    "img",
    "img_name",
    "filename",
    "file",
    "file_name",
    "file_id",
    "path",
    "picture",
    "photo",
    "radiograph",
    "xray",
    "x_ray",
    "scan",
    "specimen",
    "specimen_id",
    "specimen_name",
    "document",
    "document_name",
    "document_id",
    "id",
    "name",
    "subject",
    "subject_id",
    "patient",
    "patient_id",
    "case",
    "case_id",
    "individual",
    "sample",
    "sample_id",
    "sample_name",
]
_LANDMARK = [
    "landmark",
    "landmark_name",
    "landmark_id",
    "landmark_no",
    "landmark_number",
    "lm",
    "point",
    "point_name",
    "point_id",
    "keypoint",
    "keypoint_name",
    "bodypart",
    "label",
    "feature",
    "name",
]
_AXIS = {
    axis: {
        f"{axis}{end}"
        for end in ("", "_px", "_pixel", "_pixels", "_coord", "_coordinate", "_pos", "_position")
    }
    | {f"{start}_{axis}" for start in ("coord", "pos", "position", "pixel", "px")}
    | {f"{axis}coord", f"{axis}pos"}
    for axis in "xy"
}
_SEPARATOR = r"[\s_.\-]+"
_AFTER = re.compile(
    rf"(?P<name>.+?)({_SEPARATOR}[(\[]?|[(\[])(?P<axis>[xy])(\s*[(\[]?\s*px\s*)?[)\]]?", re.IGNORECASE
)
_BEFORE = re.compile(rf"(?P<axis>[xy])({_SEPARATOR}|(?=\d))(?P<name>.+)", re.IGNORECASE)
_GLUED = re.compile(r"(?P<name>.*[A-Za-z0-9])(?P<axis>[XYxy])")
_NO_LANDMARK = re.compile(
    r"((pixel|image|img|voxel|roi|crop|window|centre of|center of)?[\s_.\-]*"
    r"(spacing|scale|scaling|size|pad|padding|bbox|bounding[\s_]?box|box|offset|origin|shape|crop|resolution|res|dpi"
    r"|dimension|dim|shift|translation|margin|roi|stride|factor|ratio|pixel|voxel)"
    r"[\s_.\-]*(min|max|top|bottom|left|right|start|end|tl|br|mm|px)?)"
    r"|min|max|mm|cm|um|px|norm|normali[sz]ed|rel|relative|width|height|start|end",
    re.IGNORECASE,
)


class Answer(enum.StrEnum):
    """What the column `answer` says of a landmark; an empty cell without a place says that nobody was asked."""

    CLICKED = "clicked"
    RIGHT = "right"
    NOT_VISIBLE = "not visible"


@dataclass(frozen=True)
class Pair:
    """A landmark of a wide table and the columns of its x and its y."""

    name: str
    x: int
    y: int


def find_column(header: Sequence[str], what: str, taken: Sequence[int] = ()) -> int | None:
    """The column that holds `what` of `LONG`: that very word, else the synonym that is listed first."""
    plain = [_plain(cell) for cell in header]
    words = {"image": _IMAGE, "landmark": _LANDMARK}.get(what) or [what, *sorted(_AXIS[what] - {what})]
    for word in words:
        for index, cell in enumerate(plain):
            if cell == word and index not in taken:
                return index
    return None


def find_pairs(header: Sequence[str], taken: Sequence[int] = ()) -> tuple[list[Pair], list[str], list[str]]:
    """The landmarks of a wide table.

    Args:
        header: Its columns.
        taken: Columns that are something else.

    Returns:
        The pairs; the columns that look like one but tell of no landmark, such as `spacing_x`; the columns that
        lack their other axis or occur twice, as ends of sentences.
    """
    for pattern in (_AFTER, _BEFORE, _GLUED):
        axes: dict[str, dict[str, list[int]]] = {}
        others: list[str] = []
        for column, name, axis in _matches(header, pattern, taken):
            if _NO_LANDMARK.fullmatch(name):
                others.append(header[column])
            else:
                axes.setdefault(name, {}).setdefault(axis, []).append(column)
        whole = {name: found for name, found in axes.items() if len(found) == 2}
        if whole or (axes and pattern is _AFTER):
            faults = [] if pattern is _GLUED else list(_faults(header, axes))
            return [Pair(name, one["x"][0], one["y"][0]) for name, one in whole.items()], others, faults
    return [], [], []


def _matches(
    header: Sequence[str], pattern: re.Pattern[str], taken: Sequence[int]
) -> Iterator[tuple[int, str, str]]:
    for column, cell in enumerate(header):
        match = pattern.fullmatch(cell)
        if match and column not in taken and canonical(match["name"]):
            yield column, canonical(match["name"]), match["axis"].lower()


def _faults(header: Sequence[str], axes: dict[str, dict[str, list[int]]]) -> Iterator[str]:
    for name, found in axes.items():
        twice = next((columns for columns in found.values() if len(columns) > 1), None)
        if twice:
            yield f"the column {header[twice[1]]!r} is there twice; remove one of the two"
        elif len(found) == 1:
            missing = "y" if "x" in found else "x"
            yield f"landmark {name!r} has no column for its {missing}; add {name}_{missing}"


def _plain(cell: str) -> str:
    """A column's name without case, unit and signs: `X (px)` becomes `x_px`."""
    return re.sub(r"[^0-9a-z]+", "_", cell.lower()).strip("_")
