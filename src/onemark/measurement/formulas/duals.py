"""Numbers that carry their slopes: forward differentiation of a formula by each coordinate it uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Dual:
    """One number on each of N radiographs, with its slopes.

    Attributes:
        value: `[N]`.
        slopes: Coordinate (2 k for x, 2 k + 1 for y of landmark k) -> `[N]` change of the value per unit of it.
    """

    value: Floats
    slopes: Mapping[int, Floats] = field(default_factory=dict)

    def __add__(self, other: Dual) -> Dual:
        return _joined(self.value + other.value, self, 1.0, other, 1.0)

    def __sub__(self, other: Dual) -> Dual:
        return _joined(self.value - other.value, self, 1.0, other, -1.0)

    def __mul__(self, other: Dual) -> Dual:
        value = self.value * other.value
        return _joined(value, self, other.value, other, self.value)

    def __truediv__(self, other: Dual) -> Dual:
        value = self.value / other.value
        if _are_plain(self, other):
            return Dual(value)
        return _joined(value, self, 1 / other.value, other, -value / other.value)

    def __neg__(self) -> Dual:
        return self.times(-1.0)

    def times(self, factor: float | Floats) -> Dual:
        """The number times a factor that has no slopes, `[N]` or one for all."""
        return Dual(self.value * factor, {k: s * factor for k, s in self.slopes.items()})

    def absolute(self) -> Dual:
        """The number without its sign."""
        return self.times(np.sign(self.value))

    def where(self, chosen: NDArray[np.bool_], other: Dual) -> Dual:
        """This number where `chosen` `[N]`, else the other."""
        value = np.where(chosen, self.value, other.value)
        return _joined(value, self, chosen.astype(float), other, (~chosen).astype(float))


def constant(value: float | Floats, like: Floats) -> Dual:
    """A number without slopes, as long as `like` `[N]`."""
    return Dual(np.broadcast_to(np.asarray(value, float), like.shape))


def hypotenuse(x: Dual, y: Dual) -> Dual:
    """The length of the vector (x, y)."""
    value = np.sqrt(
        x.value * x.value + y.value * y.value
    )  # hypot's care for huge numbers takes four times as long
    if _are_plain(x, y):
        return Dual(value)
    return _joined(value, x, x.value / value, y, y.value / value)


def arc_tangent(y: Dual, x: Dual) -> Dual:
    """The angle of the vector (x, y) in degrees, -180 to 180; NaN where it has no length."""
    squared = x.value**2 + y.value**2
    value = np.where(squared > 0, np.degrees(np.arctan2(y.value, x.value)), np.nan)
    if _are_plain(x, y):
        return Dual(value)
    scale = np.degrees(1.0)
    return _joined(value, y, scale * x.value / squared, x, -scale * y.value / squared)


def _are_plain(a: Dual, b: Dual) -> bool:
    return not (a.slopes or b.slopes)


def _joined(value: Floats, a: Dual, by_a: float | Floats, b: Dual, by_b: float | Floats) -> Dual:
    slopes = {k: by_a * s for k, s in a.slopes.items()}
    for k, s in b.slopes.items():
        slopes[k] = slopes[k] + by_b * s if k in slopes else by_b * s
    return Dual(value, slopes)
