"""THE landmark table: what a person placed, what onemark found, what was corrected."""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onemark.data.atomic import writing
from onemark.data.cohort import Cohort
from onemark.data.images.spacing import Spacing
from onemark.data.keys import canonical, image_key
from onemark.data.landmarks import reading
from onemark.data.landmarks.checking import check_points
from onemark.data.landmarks.formats.base import ReadOptions
from onemark.data.landmarks.formats.tables.columns import ANSWER, EXTRAS, LONG, MM, UNIT, Answer
from onemark.data.paths import printable, shortened
from onemark.types import LandmarkSet, UserError

if TYPE_CHECKING:
    import pandas

FORMULAS = ("=", "+", "-", "@")
"""What a cell begins with that a spreadsheet takes for a formula."""

Spacings = Mapping[str, Spacing | None]
"""Image name -> `(x, y)` mm per pixel; images that are missing or None have no known spacing."""


@dataclass(frozen=True)
class LandmarkTable:
    """The landmarks of any number of radiographs; immutable. Build it with `from_sets`.

    Every set holds all of the table's landmarks in the table's order; one that an image does not have is a
    row of NaN. In a set that says what was asked, such a landmark was not asked for. Image and landmark names are NFC
    without blanks around.

    Attributes:
        names: The landmarks, in the order of their first appearance.
        sets: One set per image, in the order of first appearance.
        source: The file it was read from, for messages; empty when there is none.
        notes: What of that file was left out and how it was understood; whole sentences.
    """

    names: tuple[str, ...]
    sets: tuple[LandmarkSet, ...]
    source: str = field(default="", compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_sets(cls, sets: Iterable[LandmarkSet], source: str = "") -> LandmarkTable:
        """A table of these sets; names are cleaned and aligned.

        Raises:
            UserError: an image twice, or two landmarks of an image with the same name.
        """
        cleaned = [_cleaned(one) for one in sets]
        names = tuple(dict.fromkeys(name for one in cleaned for name in one.names))
        for image, count in Counter(one.image for one in cleaned).items():
            if count > 1:
                where = source or "the landmark table"
                raise UserError(f"{where} has the image {image!r} twice; remove one of the two")
        return cls(names, tuple(_aligned(one, names) for one in cleaned), source)

    @property
    def images(self) -> tuple[str, ...]:
        """The image names, in the order of first appearance."""
        return tuple(one.image for one in self.sets)

    def __len__(self) -> int:
        return len(self.sets)

    def __iter__(self) -> Iterator[LandmarkSet]:
        return iter(self.sets)

    def __contains__(self, image: object) -> bool:
        return isinstance(image, str) and image_key(image) in self._by_image

    def __getitem__(self, image: str) -> LandmarkSet:
        """The landmarks of an image. Raises KeyError when the table has none."""
        return self._by_image[image_key(image)]

    def with_set(self, landmarks: LandmarkSet) -> LandmarkTable:
        """This table with the set added, or put in the place of the set of the same image."""
        return self.merged(LandmarkTable.from_sets([landmarks]))

    def merged(self, other: LandmarkTable) -> LandmarkTable:
        """Both tables; where both have an image, `other` wins with all of its landmarks of that image.

        Where `other` says what was asked, this table's answers stay for all other landmarks. A landmark that one of the
        two tables does not have at all was not asked for there: whoever annotated without it did not say that it is not
        visible.
        """
        newer = (
            self[one.image].update(one) if one.image in self and one.asked.size else one for one in other.sets
        )
        sets = {one.image: one for one in self.sets} | {one.image: one for one in newer}
        names = tuple(dict.fromkeys((*self.names, *other.names)))
        wide = (_widened(one, names) for one in sets.values())
        return LandmarkTable.from_sets(wide, self.source or other.source)

    def news_in(self, one: LandmarkSet, names: Sequence[str]) -> NDArray[np.float64]:
        """`[K, 2]` the places in a set, px, of landmarks that this table has no place for; NaN elsewhere."""
        former = [self[one.image]] if one.image in self else []
        placed = {old.names[k] for old in former for k in np.flatnonzero(old.visible)}
        places = dict(zip(one.names, one.xy, strict=True))
        nowhere = np.full(2, np.nan)
        return np.stack([nowhere if name in placed else places.get(name, nowhere) for name in names])

    @property
    def answers(self) -> float:
        """How many whole radiographs were annotated, where each counts by the share of its landmarks asked for."""
        return float(sum(one.answered.mean() for one in self.sets)) if self.names else 0.0

    def annotated(self, least: float = 0.5) -> LandmarkTable:
        """The sets of which a person was asked for at least this share of the landmarks: single answers are left out."""
        return replace(self, sets=tuple(one for one in self.sets if one.answered.mean() >= least))

    def without_answers(self, other: LandmarkTable) -> LandmarkTable:
        """This table, in which nobody was asked for what `other` answers of the same images."""
        told = {(one.image, name) for one in other for name in one.answered_names}
        sets = []
        for one in self.sets:
            free = np.array([(one.image, name) not in told for name in one.names], np.bool_)
            xy = np.where(free[:, None], one.xy, np.nan)
            sets.append(
                one if free.all() else LandmarkSet(one.image, one.names, xy, asked=one.answered & free)
            )
        return replace(self, sets=tuple(sets))

    def mostly_annotated(self) -> LandmarkTable:
        """The sets that show at least half as many landmarks as the fullest one: single answers are left out."""
        shown = [int(one.visible.sum()) for one in self.sets]
        kept = [one for one, count in zip(self.sets, shown, strict=True) if 2 * count >= max(shown)]
        return replace(self, sets=tuple(kept))

    def checked(self, cohort: Cohort) -> LandmarkTable:
        """This table with the cohort's own image names, fit to be an exemplar of it.

        A name without its suffix is completed when only one file has that stem.

        Raises:
            UserError: an image is not in the cohort or may be one of several, a point lies more than half a
                pixel outside its image, an image has no visible landmark and no answer that says so, the table is
                empty or holds no answer.
        """
        answered = [one for one in self.sets if one.answered.any()]
        if not answered:
            raise UserError(f"{self._where}no landmarks at all; place at least one")
        sets = []
        for one in answered:
            try:
                name = cohort.resolve(one.image)
            except UserError as error:
                raise UserError(f"{self._where}{error}") from None
            self._check_points(one, cohort.header(name).size)
            sets.append(replace(one, image=name))
        return LandmarkTable.from_sets(sets, self.source)

    def to_frame(self, spacing: Spacings | None = None) -> pandas.DataFrame:
        """The table as a data frame, one row per image and landmark.

        Args:
            spacing: Image name -> `(x, y)` mm per pixel; adds `x_mm,y_mm`, empty where it is unknown.

        Returns:
            Columns `image,landmark,x,y` (px), then `answer` where some landmark was not asked for or an image shows none,
            `score`, `expected_error`, `sd_major,sd_minor,angle`, `visible_probability` and the `unit` when any image
            has them, then `x_mm,y_mm`.
        """
        import pandas

        columns = self.columns(spacing)
        frame = pandas.DataFrame(list(self.rows(columns, spacing)), columns=columns)
        words = (*LONG[:2], *(column for column in columns if column in (UNIT, ANSWER)))
        numbers = [column for column in columns if column not in words]
        return frame.astype({**dict.fromkeys(words, "object"), **dict.fromkeys(numbers, "float64")})

    def to_csv(self, path: Path | str, spacing: Spacings | None = None, *, safe: bool = False) -> None:
        """Write the long CSV atomically; reading it back gives the same table to the last bit.

        Args:
            path: The file; one that is there is replaced.
            spacing: As for `to_frame`.
            safe: Put an apostrophe before names that a spreadsheet would take for formulas. It stays when the file is
                read back.

        Raises:
            UserError: it cannot be written.
        """
        with writing(path) as stream:
            self.write_csv(stream, spacing, safe=safe)

    def write_csv(self, stream: IO[str], spacing: Spacings | None = None, *, safe: bool = False) -> None:
        """Write the long CSV into an open text stream; otherwise as `to_csv`."""
        columns = self.columns(spacing)
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for row in self.rows(columns, spacing):
            writer.writerow([show_name(c, safe) if isinstance(c, str) else show_number(c) for c in row])

    def columns(self, spacing: Spacings | None = None) -> list[str]:
        """The columns that the long table of these sets has; see `to_frame`."""
        answer = [ANSWER] if any(one.tells_asked for one in self.sets) else []
        extras = [extra for extra in EXTRAS if any(getattr(one, extra).size for one in self.sets)]
        unit = [UNIT] if any(one.unit for one in self.sets) else []
        return [*LONG, *answer, *extras, *unit, *(MM if spacing is not None else ())]

    def rows(self, columns: Sequence[str], spacing: Spacings | None = None) -> Iterator[list[str | float]]:
        """The rows of the long table, in its order; a number that is missing is NaN.

        Args:
            columns: As of `columns`, or more of the same kinds.
            spacing: As for `to_frame`.
        """
        known = {image_key(image): mm for image, mm in (spacing or {}).items()}
        for one in self.sets:
            values = _values(one, known.get(one.image))
            for index, name in enumerate(one.names):
                words = {UNIT: one.unit, ANSWER: _answer(one, index)}
                numbers = columns[2:]
                yield [
                    one.image,
                    name,
                    *(
                        words[column] if column in words else float(values[column][index])
                        for column in numbers
                    ),
                ]

    @cached_property
    def _by_image(self) -> dict[str, LandmarkSet]:
        return {one.image: one for one in self.sets}

    @property
    def _where(self) -> str:
        return f"{self.source}: " if self.source else ""

    def _check_points(self, one: LandmarkSet, size: tuple[int, int]) -> None:
        if not one.visible.any() and not one.asked.size:
            raise UserError(
                f"{self._where}{one.image!r} has no visible landmark; place at least one or leave it out"
            )
        try:
            check_points(replace(one, score=np.empty(0)), size)
        except UserError as error:
            raise UserError(f"{self._where}{error}") from None


def read_landmarks(
    path: Path | str, cohort: Cohort | None = None, *, y_from_top: bool = False
) -> LandmarkTable:
    """Read landmarks, whatever program wrote them, and warn of what was left out.

    The content decides the format; `docs/files.md` lists them. With a cohort, the table has its image names and
    holds what fits its radiographs.

    Args:
        path: The file, or a folder of files of one image each.
        cohort: The radiographs it speaks of. Most foreign files need it, for sizes or for names.
        y_from_top: The y of a TPS file counts from the top, which is not tpsDig's way.

    Raises:
        UserError: what is wrong, with file and line, and the way out.
    """
    table = read_table(path, cohort, ReadOptions(y_from_top))
    for note in table.notes:
        warnings.warn(note, stacklevel=2)
    return table


def read_table(
    path: Path | str, cohort: Cohort | None = None, options: ReadOptions | None = None
) -> LandmarkTable:
    """As `read_landmarks`, for surfaces that show the table's `notes` in their own way."""
    path = Path(path)
    try:
        sets, notes = reading.read(path, cohort, options)
        table = LandmarkTable.from_sets(sets, str(path))
    except UserError as error:
        # The sentence may quote what the file says, control characters included.
        message = printable(error)
        named = message if path.name in str(error) else f"{printable(path)}: {message}"
        raise UserError(shortened(named)) from error.__cause__
    return replace(table, notes=tuple(printable(f"{path}: {note}") for note in notes))


def _cleaned(one: LandmarkSet) -> LandmarkSet:
    image, names = image_key(one.image), tuple(canonical(name) for name in one.names)
    if not image:
        raise UserError(f"{one.image!r} is no image name; give it letters or digits")
    if len(set(names)) != len(names) or "" in names:
        raise UserError(f"{one.image!r} has a landmark name twice or without letters; give each its own name")
    return replace(one, image=image, names=names)


def _aligned(one: LandmarkSet, names: tuple[str, ...]) -> LandmarkSet:
    place = {name: index for index, name in enumerate(names)}
    at = [place[name] for name in one.names]
    xy = np.full((len(names), 2), np.nan)
    xy[at] = one.xy
    return LandmarkSet(
        one.image,
        names,
        xy,
        _spread(one.score, at, len(names)),
        _spread(one.expected_error, at, len(names)),
        one.unit,
        _spread_asked(one, at, len(names)),
        _spread(one.ellipse, at, len(names)),
        _spread(one.visible_probability, at, len(names)),
    )


def _widened(one: LandmarkSet, names: tuple[str, ...]) -> LandmarkSet:
    """A set with all of these landmarks, in this order; nobody was asked for those that a person's set lacked."""
    wide = _aligned(one, names)
    if one.score.size or wide.asked.size or set(names) == set(one.names):
        return wide
    return replace(wide, asked=np.array([name in one.names for name in names], np.bool_))


def _spread(values: NDArray[np.float64], at: list[int], length: int) -> NDArray[np.float64]:
    # A column without numbers is no column: a person's points stay a person's after a way through a file.
    if values.size == 0 or np.isnan(values).all():
        return np.empty((0, *values.shape[1:]))
    spread = np.full((length, *values.shape[1:]), np.nan)
    spread[at] = values
    return spread


def _spread_asked(one: LandmarkSet, at: list[int], length: int) -> NDArray[np.bool_]:
    if not one.asked.size:
        return one.asked
    spread = np.zeros(length, np.bool_)
    spread[at] = one.asked
    return spread


def _answer(one: LandmarkSet, index: int) -> str:
    if not one.answered[index]:
        return ""
    return Answer.CLICKED if one.visible[index] else Answer.NOT_VISIBLE


def _values(one: LandmarkSet, mm: Spacing | None) -> dict[str, NDArray[np.float64]]:
    """Column name -> `[K]` numbers, NaN for empty."""
    empty = np.full(len(one.names), np.nan)
    xy_mm = one.xy * (mm or (np.nan, np.nan))
    return {
        "x": one.xy[:, 0],
        "y": one.xy[:, 1],
        **{name: values if (values := getattr(one, name)).size else empty for name in EXTRAS},
        "x_mm": xy_mm[:, 0],
        "y_mm": xy_mm[:, 1],
    }


def show_name(name: str, safe: bool) -> str:
    """A word as a cell of a CSV; `safe` as for `LandmarkTable.to_csv`."""
    return f"'{name}" if safe and name.startswith(FORMULAS) else name


def show_number(value: float) -> str:
    """A number as a cell of a CSV, to the last bit; NaN is an empty cell."""
    return "" if value != value else repr(value)
