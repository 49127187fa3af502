"""Does a landmark file fit the radiographs: the one place of all checks, whatever the format and the surface."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onemark.data.cohort import Cohort
from onemark.data.images.orientation import read_orientation, to_stored
from onemark.data.landmarks.formats.base import Format, Reading, Size, Source
from onemark.data.names import is_elsewhere
from onemark.data.paths import printable, quoted
from onemark.types import LandmarkSet, UserError

_SHOWN = 5
_FARTHEST = 1e9
_RANGES = {
    "xy": (-_FARTHEST, _FARTHEST),
    "score": (-_FARTHEST, _FARTHEST),
    "expected_error": (0, _FARTHEST),
    "sd_major": (0, _FARTHEST),
    "sd_minor": (0, _FARTHEST),
    "angle": (-_FARTHEST, _FARTHEST),
    "visible_probability": (0, 1),
}
"""What a column may hold beside NaN, in px or mm where it has a unit. Whatever is beyond was meant otherwise."""
_WORDS = {"xy": "the place"}
_SAME_ASPECT = 0.01
_TOO_CLOSE = 1.0


@dataclass
class _Check:
    """What happened to the images of a file.

    Attributes:
        source: The file.
        reading: What it holds.
        oriented: Its programs turn pictures as their EXIF orientation says.
        faults: Why an image was left out -> the images.
        notes: What was done with the points of an image -> the images.
    """

    source: Source
    reading: Reading
    oriented: bool
    faults: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def fit(self, one: LandmarkSet, name: str, cohort: Cohort) -> LandmarkSet | None:
        """The set in stored pixels of the radiograph `name`; None, noted in `faults`, where it does not fit."""
        if is_unplaced(one.xy):
            self.faults.setdefault("all its points are 0, 0, so they count as not placed", []).append(name)
            return None
        try:
            size = cohort.header(name).size
            one = replace(one, image=name, xy=self._placed(one, name, size, cohort))
            check_points(one, size)
        except UserError as error:
            self.faults.setdefault(str(error), []).append(name)
            return None
        return one

    def _placed(self, one: LandmarkSet, name: str, size: Size, cohort: Cohort) -> NDArray[np.float64]:
        stated = self.reading.sizes.get(one.image)
        turn = self._turn(name, size, stated, cohort)
        shown = size[::-1] if turn >= 5 else size
        xy = one.xy
        if stated is not None and tuple(stated) != shown:
            # Pixel centres are whole numbers, so the picture starts half a pixel before 0; `Letterbox` does the same.
            xy = (xy + 0.5) * self._scale(name, stated, shown) - 0.5
        return to_stored(xy, turn, size) if turn > 1 else xy

    def _turn(self, name: str, size: Size, stated: Size | None, cohort: Cohort) -> int:
        """The EXIF orientation in which the points were placed; 1 for the stored pixels."""
        turn = read_orientation(cohort.path(name)) if hasattr(cohort, "path") else 1
        if turn == 1:
            return 1
        swapped = stated is not None and tuple(stated) == size[::-1] != size and turn >= 5
        stored = stated is not None and tuple(stated) == size != size[::-1] and turn >= 5
        if (self.oriented and not stored) or swapped:
            self._note(
                "its points lie in the picture turned as its rotation flag (EXIF) says, and were turned back",
                name,
            )
            return turn
        self._note(
            "it carries a rotation flag (EXIF); its points were taken to lie in the stored pixels", name
        )
        return 1

    def _scale(self, name: str, stated: Size, shown: Size) -> NDArray[np.float64]:
        if min(stated) <= 0:
            raise UserError(f"the file states a size of {stated[1]} x {stated[0]} px")
        x, y = shown[1] / stated[1], shown[0] / stated[0]
        words = f"{stated[1]} x {stated[0]} px"
        # A side of few pixels rounds by up to half a pixel.
        if not math.isclose(x, y, rel_tol=_SAME_ASPECT + 1 / min(*stated, *shown)):
            raise UserError(
                f"the file says {words}, but the picture has {shown[1]} x {shown[0]} px and another shape; "
                "annotate the very file, or export at its size"
            )
        self._note(f"the file says {words}, so its points were scaled to the picture's size", name)
        return np.array([x, y])

    def _note(self, note: str, name: str) -> None:
        self.notes.setdefault(note, []).append(name)


def fit_to(source: Source, reading: Reading, one: Format) -> tuple[list[LandmarkSet], list[str]]:
    """What of a file fits the cohort, under the cohort's names, and what there is to say of the file.

    Without a cohort the sets stay as they are.

    Raises:
        UserError: nothing of it fits.
    """
    cohort = source.cohort
    notes = list(reading.notes)
    if cohort is None:
        return list(reading.sets), notes
    check = _Check(source, reading, one.oriented)
    chosen = _resolved(source, reading.sets, cohort)
    fitting = [check.fit(landmarks, name, cohort) for name, landmarks in chosen.items()]
    kept = [landmarks for landmarks in fitting if landmarks is not None]
    if not kept:
        raise UserError(f"{source.path}: {_first_fault(source, check)}")
    notes += _elsewhere({name: one.image for name, one in chosen.items()})
    notes += [f"{_few(names)}: {note}" for note, names in check.notes.items()]
    notes += [f"{_few(names)} left out: {why}" for why, names in check.faults.items()]
    if source.missing:
        why = next(iter(source.missing.values()))
        count = len(source.missing)
        images = "image" if count == 1 else "images"
        notes.append(f"{count} {images} of the file left out: {why}")
    return kept, notes


def check_numbers(path: Path, sets: Sequence[LandmarkSet]) -> None:
    """Refuse numbers that no landmark can have, whatever the format: infinite, huge, or negative errors.

    Args:
        path: The file, for the message.
        sets: What it holds, in its own units or px.

    Raises:
        UserError: it names image, landmark and number.
    """
    for one in sets:
        for what, (low, high) in _RANGES.items():
            values = getattr(one, what)
            wrong = ~((values >= low) & (values <= high) | np.isnan(values))
            if wrong.any():
                row = int(wrong.reshape(len(values), -1).any(axis=1).argmax())
                value = values[row][wrong[row]][0] if values.ndim > 1 else values[row]
                raise UserError(
                    f"{path}: {_WORDS.get(what, what)} of landmark {quoted(one.names[row])} on {quoted(one.image)} is"
                    f" {value:g}, not between {low:g} and {high:g}; correct it"
                )


def is_unplaced(xy: NDArray[np.float64]) -> bool:
    """Whether several points `[K, 2]` are all at the origin, as programs write what nobody has placed."""
    visible = xy[np.isfinite(xy).all(axis=1)]
    return len(visible) > 1 and not visible.any()


def check_points(one: LandmarkSet, size: Size) -> None:
    """Refuse points of a person that cannot be meant as pixels of this radiograph. The message lacks the file.

    Predictions, which have scores, are taken as they are.

    Args:
        one: In px.
        size: `(H, W)`.

    Raises:
        UserError: a point more than half a pixel outside, or all points within one pixel.
    """
    if np.isfinite(one.score).any():
        return
    height, width = size
    visible = np.isfinite(one.xy).all(axis=1)
    outside = visible & ~((one.xy >= -0.5) & (one.xy <= (width - 0.5, height - 0.5))).all(axis=1)
    if outside.any():
        index = int(outside.argmax())
        x, y = one.xy[index]
        raise UserError(
            f"landmark {one.names[index]!r} of {one.image!r} lies at ({x:g}, {y:g}), "
            f"outside the image of {width} x {height} px; give x, y in pixels of the original image"
        )
    placed = one.xy[visible]
    if len(placed) > 1 and (np.ptp(placed, axis=0) <= _TOO_CLOSE).all():
        raise UserError(
            f"all {len(placed)} points of {one.image!r} lie within one pixel, as if they were shares of the "
            "sides or mm; give x, y in pixels of the original image"
        )


def _resolved(source: Source, sets: Sequence[LandmarkSet], cohort: Cohort) -> dict[str, LandmarkSet]:
    """Cohort's name -> set. Of two that mean the same radiograph the one of that very name counts."""
    chosen: dict[str, LandmarkSet] = {}
    for one in sorted(sets, key=lambda one: one.image not in cohort):
        name = source.locate(one.image)
        if name is None:
            continue
        if name in chosen:
            if chosen[name].image == one.image:
                raise UserError(f"{source.path} has the image {one.image!r} twice; remove one of the two")
            source.missing[one.image] = (
                f"{quoted(one.image)} means {name!r}, which {quoted(chosen[name].image)} is"
            )
            continue
        chosen[name] = one
    order = {one.image: index for index, one in enumerate(sets)}
    return dict(sorted(chosen.items(), key=lambda item: order[item[1].image]))


def _elsewhere(said: Mapping[str, str]) -> list[str]:
    """What to say where radiographs lie in other folders than their file says; `said`: name -> what the file says."""
    others = [name for name, image in said.items() if is_elsewhere(image, name)]
    if not others:
        return []
    more = f", and {len(others) - 1} more likewise" if len(others) > 1 else ""
    first = f"{quoted(said[others[0]])} was taken for {others[0]!r}"
    return [f"{first}, which lies in another folder{more}: make sure it is meant"]


def _first_fault(source: Source, check: _Check) -> str:
    faults = [*check.faults, *source.missing.values()]
    return faults[0] if faults else "it holds no landmarks"


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
