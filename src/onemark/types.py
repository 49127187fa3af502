"""The nouns of onemark: radiographs, landmarks and evidence, on NumPy alone.

Coordinates are `xy`, floats in pixels of the ORIGINAL image: x right, y down, pixel centres at integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


class UserError(ValueError):
    """The user's input is wrong. One sentence says what, where and how to fix it; the CLI exits with status 2."""


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
        return 1.0 if self.spacing is None else sum(self.spacing) / 2


@dataclass(frozen=True)
class LandmarkSet:
    """The landmarks of one radiograph.

    Attributes:
        image: Name of the radiograph.
        names: K landmark names, unique, in the exemplar's order.
        xy: `[K, 2]` float64 in original pixels; a row of NaN where a landmark is not visible.
        score: `[K]` in [0, 1], higher is more certain; empty when a person placed the points.
        expected_error: `[K]` in mm when the spacing is known, else px; empty when a person placed the points.
        unit: Of the expected errors, `mm` or `px`; empty where it is not stated.

    Raises:
        ValueError: `xy` does not fit the names, or a name occurs twice.
    """

    image: str
    names: tuple[str, ...]
    xy: NDArray[np.float64]
    score: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    expected_error: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    unit: str = ""

    def __post_init__(self) -> None:
        if self.xy.shape != (len(self.names), 2):
            raise ValueError(f"{self.image}: {len(self.names)} names but xy of shape {self.xy.shape}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"{self.image}: a landmark name occurs twice")


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
