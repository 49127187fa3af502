"""The nouns of onemark: radiographs, landmarks and evidence, on NumPy alone.

Coordinates are `xy`, floats in pixels of the ORIGINAL image: x right, y down, pixel centres at integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray


class UserError(ValueError):
    """The user's input is wrong. One sentence says what, where and how to fix it; the CLI exits with status 2."""


class LostRank(UserError):
    """Another process of the same training has ended."""


@dataclass(frozen=True)
class Radiograph:
    """One 2-D grey image.

    Attributes:
        name: File name relative to the cohort's folder, with `/` as separator; the key in every table.
        pixels: `[H, W]` float32, scaled robustly to [0, 1]; dense tissue is bright (MONOCHROME1 is inverted).
        spacing: `(x, y)` mm per pixel, or None when unknown.
        notes: What its reader passed over, such as an unusable DICOM tag; ends of sentences that start with the file.
    """

    name: str
    pixels: NDArray[np.float32]
    spacing: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """`(H, W)` in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def side(self) -> float:
        """Mean side in pixels, of which errors without a spacing are shares."""
        return sum(self.pixels.shape) / 2

    @property
    def pixel_length(self) -> float:
        """A pixel's mean side in the unit of expected errors: mm when the spacing is known, else 1 px."""
        return mean_side((1, 1), self.spacing)


def mean_side(size: tuple[int, int], spacing: tuple[float, float] | None) -> float:
    """Mean side of a radiograph in the unit of expected errors: mm when the spacing is known, else px.

    Args:
        size: `(H, W)` in pixels.
        spacing: `(x, y)` mm per pixel, or None.
    """
    return sum(size) / 2 * (1.0 if spacing is None else sum(spacing) / 2)


@dataclass(frozen=True)
class LandmarkSet:
    """The landmarks of one radiograph.

    Attributes:
        image: Name of the radiograph.
        names: K landmark names, unique, in the exemplar's order.
        xy: `[K, 2]` float64 in original pixels; a row of NaN where a landmark is not visible or was not asked for.
        score: `[K]` in [0, 1], higher is more certain; empty when a person placed the points.
        expected_error: `[K]` in mm when the spacing is known, else px; empty when a person placed the points.
        unit: Of the expected errors, `mm` or `px`; empty where it is not stated.
        asked: `[K]` False where nobody was asked for the landmark: its row of NaN then says nothing. Empty where all were
            asked, so that every row of NaN is a landmark that is not visible.
        ellipse: `[K, 3]` which way the error may lie: `sd_major`, `sd_minor`, `angle`, as `onemark.imaging.ellipses`
            explains them, in the unit of the expected errors; empty where nothing is known of it.
        visible_probability: `[K]` how probable it is that the landmark is visible at all; empty where nothing is known.

    Raises:
        ValueError: `xy`, `asked` or `ellipse` does not fit the names, a name occurs twice, or a landmark that was not
            asked for has a place.
    """

    image: str
    names: tuple[str, ...]
    xy: NDArray[np.float64]
    score: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    expected_error: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    unit: str = ""
    asked: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    ellipse: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    visible_probability: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if self.xy.shape != (len(self.names), 2):
            raise ValueError(f"{self.image}: {len(self.names)} names but xy of shape {self.xy.shape}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"{self.image}: a landmark name occurs twice")
        if self.asked.size and self.asked.shape != (len(self.names),):
            raise ValueError(f"{self.image}: {len(self.names)} names but asked of shape {self.asked.shape}")
        if self.ellipse.size and self.ellipse.shape != (len(self.names), 3):
            raise ValueError(
                f"{self.image}: {len(self.names)} names but ellipse of shape {self.ellipse.shape}"
            )
        if self.asked.size and (self.visible & ~self.asked).any():
            raise ValueError(f"{self.image}: a landmark that was not asked for has a place")

    @property
    def visible(self) -> NDArray[np.bool_]:
        """`[K]` whether a landmark has a place."""
        return np.asarray(np.isfinite(self.xy).all(axis=1))

    @property
    def probably_hidden(self) -> NDArray[np.bool_]:
        """`[K]` whether a landmark has a place although it is probably not visible."""
        if not self.visible_probability.size:
            return np.zeros(len(self.names), np.bool_)
        return np.asarray(self.visible & (self.visible_probability < 0.5))

    @property
    def answered(self) -> NDArray[np.bool_]:
        """`[K]` whether it is known where a landmark is, or that it is not visible."""
        return self.asked if self.asked.size else np.ones(len(self.names), np.bool_)

    @property
    def sd_major(self) -> NDArray[np.float64]:
        """`[K]` standard deviation of the error along its main direction; empty where unknown."""
        return np.asarray(self.ellipse[:, 0])

    @property
    def sd_minor(self) -> NDArray[np.float64]:
        """`[K]` the same across it."""
        return np.asarray(self.ellipse[:, 1])

    @property
    def angle(self) -> NDArray[np.float64]:
        """`[K]` angle of the main direction in degrees, from +x (right) towards +y (down)."""
        return np.asarray(self.ellipse[:, 2])

    def take(self, rows: Sequence[int]) -> LandmarkSet:
        """The set with these landmarks, by their positions, in this order."""
        at = list(rows)
        numbers = (self.score, self.expected_error, self.visible_probability)
        score, error, seen = (v[at] if v.size else v for v in numbers)
        asked = self.asked[at] if self.asked.size else self.asked
        ellipse = self.ellipse[at] if self.ellipse.size else self.ellipse
        names = tuple(self.names[n] for n in at)
        return LandmarkSet(self.image, names, self.xy[at], score, error, self.unit, asked, ellipse, seen)

    @property
    def answered_names(self) -> frozenset[str]:
        """The landmarks that a person was asked for."""
        return frozenset(self.names[k] for k in np.flatnonzero(self.answered))

    @property
    def hidden_names(self) -> tuple[str, ...]:
        """The landmarks that a person was asked for and that have no place: those that are not visible."""
        return tuple(self.names[k] for k in np.flatnonzero(self.answered & ~self.visible))

    @property
    def tells_asked(self) -> bool:
        """Whether a file has to say what was asked: not all was, or nothing is visible, which without it is a mistake."""
        return not self.answered.all() or bool(self.asked.size and not self.visible.any())

    def with_answers(self, placed: LandmarkSet) -> LandmarkSet:
        """This prediction with a person's answers in the place of its own, which are certain.

        Args:
            placed: The same landmarks, of which a person was asked for some.
        """
        told, seen = placed.answered, placed.visible.astype(float)
        error = np.where(placed.visible, 0.0, np.nan)

        def over(own: NDArray[np.float64], answer: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.where(told.reshape(-1, *[1] * (own.ndim - 1)), answer, own) if own.size else own

        return replace(
            self,
            xy=over(self.xy, placed.xy),
            score=over(self.score, seen),
            expected_error=over(self.expected_error, error),
            ellipse=over(self.ellipse, error[:, None]),
            visible_probability=over(self.visible_probability, seen),
        )

    def update(self, newer: LandmarkSet) -> LandmarkSet:
        """What two persons' answers say together: the newer one counts wherever it was asked for.

        Landmarks that only the former set has come before those that only the newer one has. Scores and expected errors
        are dropped, because a person's points have none.
        """
        names = tuple(dict.fromkeys((*self.names, *newer.names)))
        xy, asked = np.full((len(names), 2), np.nan), np.zeros(len(names), np.bool_)
        for one in (self, newer):
            at = np.array([names.index(name) for name in one.names], np.intp)[one.answered]
            xy[at], asked[at] = one.xy[one.answered], True
        # A set that shows nothing at all keeps saying that somebody was asked.
        whole = asked.all() and np.isfinite(xy).any()
        return LandmarkSet(self.image, names, xy, asked=np.empty(0, np.bool_) if whole else asked)


@dataclass(frozen=True)
class Evidence:
    """What a stage can show to explain its answer on one radiograph.

    Attributes:
        image: Name of the radiograph.
        landmark: The landmark in question; None for the radiograph as a whole.
        maps: Layer name -> `[H, W]` float32 on the ORIGINAL image's pixel grid, such as `similarity s4`,
            `similarity product`, `heatmap`, `warped exemplar`.
        field: Displacement `[H, W, 2]`, (dx, dy) in original pixels, or None.
        numbers: Name -> value for the radiograph as a whole, such as `similarity`, or None.
    """

    image: str
    landmark: str | None
    maps: Mapping[str, NDArray[np.float32]]
    field: NDArray[np.float32] | None = None
    numbers: Mapping[str, float] | None = None
