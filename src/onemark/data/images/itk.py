"""Where 3D Slicer shows a radiograph: the origin, spacing and direction that ITK gives its file.

This is not the measured spacing of `read_header`. ITK believes every density of a JPEG or TIFF, none of a PNG or BMP,
and takes another DICOM tag for each kind of image (GDCM's `ImageHelper`). The tests compare it with SimpleITK.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onemark.data.images.read import named_errors, run_reader
from onemark.data.images.spacing import Spacing
from onemark.data.images.stream import BoundedReader
from onemark.types import UserError

_OFF_PLANE_MM = 0.5
_ORTHOGONAL = 1e-3


@dataclass(frozen=True)
class Geometry:
    """Where a radiograph lies in ITK's space: LPS, mm.

    Attributes:
        origin: Of the middle of the stored pixel (0, 0).
        spacing: mm along x, y and across the picture.
        direction: Rows of the 3 x 3 matrix whose columns are the directions of x, y and across.
    """

    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    direction: tuple[tuple[float, float, float], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    @classmethod
    def flat(cls, spacing: Spacing | None, z: float = 1.0) -> Geometry:
        """A picture without a place: at the origin, along the axes."""
        x, y = spacing or (1.0, 1.0)
        return cls(spacing=(x, y, z))

    def to_mm(self, xy: Sequence[float]) -> tuple[float, float, float]:
        """The place of a pixel, in LPS."""
        moved = self._matrix @ (np.array([*xy, 0.0]) * self.spacing) + self.origin
        return float(moved[0]), float(moved[1]), float(moved[2])

    def to_pixel(self, mm: Sequence[float], where: str) -> tuple[float, float]:
        """The pixel at a place in LPS.

        Raises:
            UserError: it does not lie in the radiograph's plane; the sentence starts with `where`.
        """
        # A 2-D point has no third number.
        place = np.array([*mm, 0.0, 0.0][:3], float)
        x, y, across = np.linalg.solve(self._matrix, place - self.origin)
        if abs(across) > max(_OFF_PLANE_MM, 0.5 * self.spacing[2]) + 1e-3:
            raise UserError(
                f"{where} lies {abs(across):.4g} mm off the plane of the radiograph; "
                "place the points in the slice view that shows it as a whole"
            )
        return float(x / self.spacing[0]), float(y / self.spacing[1])

    @property
    def _matrix(self) -> NDArray[np.float64]:
        return np.array(self.direction, float)


def read_geometry(path: Path | str) -> Geometry:
    """The geometry that ITK, and so 3D Slicer, gives a file.

    Raises:
        UserError: missing, unreadable, damaged.
    """
    path = Path(path)
    with named_errors(path):
        found = run_reader(lambda: BoundedReader.open(path), "read_geometry")
        return found if isinstance(found, Geometry) else _restored(found)


def _restored(fields: Mapping[str, Any]) -> Geometry:
    origin, spacing = (tuple(map(float, fields[key])) for key in ("origin", "spacing"))
    direction = tuple(tuple(map(float, row)) for row in fields["direction"])
    return Geometry(origin, spacing, direction)  # type: ignore[arg-type]


def from_density(x: float, y: float, mm: float) -> Geometry:
    """The geometry of a picture of so many dots in `mm` millimetres; 1 mm where a number is no density."""
    if not all(math.isfinite(value) and value > 0 for value in (x, y)):
        return Geometry()
    return Geometry.flat((mm / x, mm / y))


def from_dicom(
    spacing: Sequence[float | None],
    across: float | None,
    position: Sequence[float | None],
    orientation: Sequence[float | None],
) -> Geometry:
    """The geometry of DICOM values: rows first in `spacing`, columns of the matrix one after the other.

    As GDCM does: a single number of spacing counts for both axes, a spacing of 0 is 1 mm, a negative one turns its
    axis, and directions that are no two orthogonal unit vectors do not count.
    """
    down, right = (*spacing, *spacing)[:2] if spacing else (None, None)
    x, y, z = (value or 1.0 for value in (right, down, across))
    place = [value or 0.0 for value in (*position, 0.0, 0.0, 0.0)[:3]] if position else [0.0] * 3
    row, column = _axes(orientation)
    normal = np.cross(row, column)
    row, column = row * math.copysign(1, x), column * math.copysign(1, y)
    matrix = np.stack([row, column, normal], axis=1)
    return Geometry(
        (place[0], place[1], place[2]),
        (abs(x), abs(y), abs(z)),
        tuple((float(a), float(b), float(c)) for a, b, c in matrix),
    )


def _axes(orientation: Sequence[float | None]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    usual = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    numbers = [value for value in orientation if value is not None]
    if len(orientation) != 6 or len(numbers) != 6:
        return usual
    row, column = np.array(numbers[:3]), np.array(numbers[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not all(lengths):
        return usual
    row, column = row / lengths[0], column / lengths[1]
    return (row, column) if abs(row @ column) < _ORTHOGONAL else usual
