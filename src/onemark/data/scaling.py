"""Radiographs and their landmarks scaled down together, and landmarks scaled back: for scans beyond the limits.

The pictures become TIFF of 16 bits whose OME header states the spacing. `scaled.json` beside them holds both sizes, so
the way back is exact.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from onemark.data.atomic import reading_errors, write_text, writing
from onemark.data.cohort import Cohort
from onemark.data.images.intensity import as_float, check_values
from onemark.data.images.limits import LARGE, use_limits
from onemark.data.images.read import named_errors, read_decoded
from onemark.data.images.spacing import Spacing, in_range
from onemark.data.json import read_json
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.landmarks.units import scale_errors
from onemark.data.names import image_stem
from onemark.data.paths import printable, safe_child
from onemark.imaging.letterbox import Letterbox, Size
from onemark.progress import SKIPPED, Progress, Sink, silent
from onemark.types import LandmarkSet, UserError

MANIFEST = "scaled.json"
"""What lies beside scaled pictures and says what they were made of."""
_VERSION = 1
_MOST = (1 << 16) - 1
_LEAST_SIDE = 16


@dataclass(frozen=True)
class Amount:
    """How far to scale down: `factor` in 0 to 1, or until no side is longer than `longest_side` px."""

    factor: float | None = None
    longest_side: int | None = None

    def __post_init__(self) -> None:
        if (self.factor is None) == (self.longest_side is None):
            raise UserError(
                "give either a factor (such as --factor 0.5) or the longest side (--longest-side 6000)"
            )
        if self.factor is not None and not 0 < self.factor <= 1:
            raise UserError(
                f"the factor {self.factor:g} is not between 0 and 1; give a smaller one, such as 0.5"
            )
        if self.longest_side is not None and self.longest_side < _LEAST_SIDE:
            raise UserError(
                f"the longest side of {self.longest_side} px is too short; give at least {_LEAST_SIDE}"
            )

    def box(self, size: Size) -> Letterbox:
        """The resize of a picture of `size` `(H, W)`; never larger than it is."""
        factor = self.factor if self.longest_side is None else min(1.0, self.longest_side / max(size))
        assert factor is not None
        scaled = max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
        return Letterbox(size, scaled, scaled, (0, 0))


@dataclass(frozen=True)
class Scaled:
    """A picture that was scaled: the name of its original, and the resize."""

    original: str
    box: Letterbox


def scale_cohort(cohort: Cohort, folder: Path, amount: Amount, progress: Sink = silent) -> dict[str, Scaled]:
    """Write every radiograph scaled down into `folder`, and what was done into its `scaled.json`.

    Pictures of up to 400 million pixels are read, and about 12 bytes of memory a pixel are needed. One that cannot be
    read is passed over, and `progress` gets a message about it.

    Returns:
        Name of the scaled picture -> what it was made of.

    Raises:
        UserError: none could be read, or a file cannot be written.
    """
    names = _names(cohort)
    done: dict[str, Scaled] = {}
    doubted: dict[Path, Spacing] = {}
    with use_limits(LARGE):
        for step, name in enumerate(cohort.names, 1):
            try:
                path, picture = safe_child(folder, names[name]), _scale_picture(cohort, name, amount)
            except UserError as error:
                progress(Progress("scale", step, len(cohort), message=f"{SKIPPED}{error}"))
                continue
            picture.write(path)  # a full disk is no bad radiograph: the others would fare no better
            done[names[name]] = Scaled(name, picture.box)
            if picture.spacing is not None and in_range(*picture.spacing) is None:
                doubted[path] = picture.spacing
            progress(Progress("scale", step, len(cohort)))
    if not done:
        raise UserError(f"no radiograph of {printable(cohort.folder)} could be scaled")
    if doubted:
        path, (x, y) = next(iter(doubted.items()))
        more = f" and {len(doubted) - 1} more" if len(doubted) > 1 else ""
        message = (
            f"{printable(path)}{more}: {x:g} x {y:g} mm per pixel is beyond what a file is believed; give it with "
            "--spacing-mm wherever these are used"
        )
        progress(Progress("scale", len(cohort), len(cohort), message=message))
    write_text(folder / MANIFEST, _manifest(done))
    return done


def scale_table(table: LandmarkTable, scaled: Mapping[str, Scaled]) -> LandmarkTable:
    """Landmarks of the originals on the scaled pictures, under these pictures' names; others are left out."""
    known = {one.original: (name, one.box) for name, one in scaled.items()}
    sets = []
    for one in table:
        if one.image in known:
            name, box = known[one.image]
            sets.append(_moved(one, name, box.to_canvas(one.xy), float(box.scale.mean())))
    return LandmarkTable.from_sets(sets, table.source)


def scale_back(table: LandmarkTable, folder: Path) -> LandmarkTable:
    """Landmarks of the scaled pictures in `folder` on their originals: the inverse of `scale_table`.

    Raises:
        UserError: the folder has no `scaled.json`, or it lacks an image of the table.
    """
    scaled = read_manifest(folder)
    sets = []
    for one in table:
        if one.image not in scaled:
            raise UserError(
                f"{printable(folder / MANIFEST)} does not know {one.image!r}; give the scaled folder"
            )
        made = scaled[one.image]
        sets.append(_moved(one, made.original, made.box.to_image(one.xy), 1 / float(made.box.scale.mean())))
    return LandmarkTable.from_sets(sets, table.source)


def read_manifest(folder: Path) -> dict[str, Scaled]:
    """What the pictures of a folder were made of. Raises UserError where there is no whole `scaled.json`."""
    path = folder / MANIFEST
    with reading_errors(path):
        try:
            content = read_json(path)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{printable(folder)} has no {MANIFEST}; give the folder that `onemark scale` wrote"
            ) from None
    try:
        return {str(name): _restored(entry) for name, entry in content["images"].items()}
    except (LookupError, TypeError, ValueError, AttributeError):
        raise UserError(f"{printable(path)} is damaged; scale the radiographs again") from None


def _restored(entry: Mapping[str, Any]) -> Scaled:
    size, scaled = ((int(entry[key][0]), int(entry[key][1])) for key in ("size", "scaled"))
    if min(*size, *scaled) < 1:
        raise ValueError("no size")
    return Scaled(str(entry["original"]), Letterbox(size, scaled, scaled, (0, 0)))


def _manifest(done: Mapping[str, Scaled]) -> str:
    images = {
        name: {"original": one.original, "size": one.box.size, "scaled": one.box.scaled}
        for name, one in done.items()
    }
    return json.dumps({"version": _VERSION, "images": images}, indent=1, ensure_ascii=False) + "\n"


def _names(cohort: Cohort) -> dict[str, str]:
    """Original -> scaled picture: its stem with `.tif`, or its whole name where another has or is called that stem."""
    stems = {name: image_stem(name) for name in cohort.names}
    # Without regard to case, as many disks compare names.
    taken = Counter([*map(str.casefold, stems.values()), *map(str.casefold, stems)])
    return {name: f"{stem if taken[stem.casefold()] == 1 else name}.tif" for name, stem in stems.items()}


@dataclass(frozen=True)
class _Picture:
    """A scaled picture: its resize, `[h, w]` values, and mm per pixel (x, y) where they are known."""

    box: Letterbox
    values: NDArray[np.uint16]
    spacing: Spacing | None

    def write(self, path: Path) -> None:
        about: dict[str, Any] = {"axes": "YX"}
        more: dict[str, Any] = {}
        if self.spacing is not None:
            x, y = self.spacing
            about |= {"PhysicalSizeX": x, "PhysicalSizeY": y}
            about |= {"PhysicalSizeXUnit": "mm", "PhysicalSizeYUnit": "mm"}
            # For programs that read TIFF's own tags: pixels a centimetre.
            more = {"resolution": (10 / x, 10 / y), "resolutionunit": "CENTIMETER"}
        with writing(path, "wb") as stream:
            tifffile.imwrite(
                stream, self.values, ome=True, metadata=about, compression="zlib", predictor=True, **more
            )


def _scale_picture(cohort: Cohort, name: str, amount: Amount) -> _Picture:
    found = read_decoded(cohort.path(name))
    box = amount.box(found.header.size)
    if min(box.scaled) < _LEAST_SIDE:
        raise UserError(
            f"{printable(cohort.path(name))} would be {box.scaled[1]} x {box.scaled[0]} px; scale it less"
        )
    values = as_float(found.values)
    with named_errors(cohort.path(name)):
        least, most = check_values(values)
    values -= least
    small = box.render(values).numpy() * (_MOST / (most - least))
    spacing = cohort.spacing_mm or found.header.spacing
    return _Picture(box, np.clip(np.round(small), 0, _MOST).astype(np.uint16), _spread(spacing, box))


def _spread(spacing: Spacing | None, box: Letterbox) -> Spacing | None:
    """The spacing of the scaled picture, mm a pixel."""
    return None if spacing is None else (spacing[0] / float(box.scale[0]), spacing[1] / float(box.scale[1]))


def _moved(one: LandmarkSet, image: str, xy: NDArray[np.float64], scale: float) -> LandmarkSet:
    return replace(scale_errors(one, 1 if one.unit == "mm" else scale, one.unit), image=image, xy=xy)
