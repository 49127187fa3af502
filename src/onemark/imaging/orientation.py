"""The eight ways in which a scanned film can lie, and how pixels and points go from one to another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from onemark.types import LandmarkSet, Radiograph

Size = tuple[int, int]
Pairs = tuple[tuple[str, str], ...]
"""Landmarks whose names tell left from right, two and two."""


@dataclass(frozen=True)
class Orientation:
    """How a radiograph must be brought upright: mirrored or not, then turned by quarters to the left.

    Attributes:
        mirrored: Whether left and right change places first.
        quarters: Quarter turns to the left (counter-clockwise) after that, 0...3.
        swap: Landmarks that change names with each other where left and right change places.
    """

    mirrored: bool = False
    quarters: int = 0
    swap: Pairs = field(default=(), compare=False)

    @property
    def is_upright(self) -> bool:
        """Whether nothing needs to be done."""
        return not self.mirrored and not self.quarters

    def turn_pixels(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """`[H, W]` as they lie to upright ones; `[W, H]` after an odd number of quarters."""
        first = pixels[:, ::-1] if self.mirrored else pixels
        return np.ascontiguousarray(np.rot90(first, self.quarters))

    def turn_size(self, size: Size) -> Size:
        """`(H, W)` of the upright radiograph."""
        return (size[1], size[0]) if self.quarters % 2 else size

    def turn_points(self, xy: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
        """Points `[..., 2]` (x, y) of a radiograph `(H, W)` as it lies to the upright one."""
        x, y, (h, w) = xy[..., 0], xy[..., 1], size
        if self.mirrored:
            x = w - 1 - x
        for _ in range(self.quarters):
            x, y, h, w = y, w - 1 - x, w, h
        return np.stack([x, y], -1)

    def restore_points(self, xy: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
        """Points `[..., 2]` (x, y) of the upright radiograph to the one that lies there, whose size is `(H, W)`."""
        x, y, (h, w) = xy[..., 0], xy[..., 1], self.turn_size(size)
        for _ in range(self.quarters):
            x, y, h, w = h - 1 - y, x, w, h
        if self.mirrored:
            x = w - 1 - x
        return np.stack([x, y], -1)

    def restore_pixels(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """`[..., h, w]` upright maps to the radiograph as it lies."""
        first = np.rot90(pixels, -self.quarters, (-2, -1))
        return np.ascontiguousarray(first[..., ::-1] if self.mirrored else first)

    def restore_field(self, field: NDArray[np.float32]) -> NDArray[np.float32]:
        """Displacements `[h, w, 2]` (dx, dy) of the upright radiograph on the radiograph as it lies."""
        lies = self.restore_pixels(np.moveaxis(field, -1, 0))
        dx, dy = lies
        for _ in range(self.quarters):
            dx, dy = -dy, dx
        return np.stack([-dx if self.mirrored else dx, dy], -1)

    def turn(self, radiograph: Radiograph) -> Radiograph:
        """The radiograph upright."""
        if self.is_upright:
            return radiograph
        pixels, spacing = self.turn_pixels(radiograph.pixels), self.turn_spacing(radiograph.spacing)
        return replace(radiograph, pixels=pixels, spacing=spacing)

    def turn_spacing(self, spacing: tuple[float, float] | None) -> tuple[float, float] | None:
        """Spacing `(x, y)` of the upright radiograph."""
        return (spacing[1], spacing[0]) if spacing is not None and self.quarters % 2 else spacing

    def turn_landmarks(self, landmarks: LandmarkSet, size: Size) -> LandmarkSet:
        """The landmarks of a radiograph `(H, W)` as it lies, on the upright one."""
        if self.is_upright:
            return landmarks
        angles = self._turn_angles(landmarks.angle)
        return self._rename(_turned(landmarks, self.turn_points(landmarks.xy, size), angles))

    def restore(self, landmarks: LandmarkSet, size: Size) -> LandmarkSet:
        """The landmarks of the upright radiograph on the one that lies there, whose size is `(H, W)`."""
        if self.is_upright:
            return landmarks
        # A mirrored turn undoes itself.
        back = self if self.mirrored else replace(self, quarters=-self.quarters % 4)
        angles = back._turn_angles(landmarks.angle)
        return self._rename(_turned(landmarks, self.restore_points(landmarks.xy, size), angles))

    def partner(self, name: str) -> str:
        """The name that a landmark has after the turn, and before it: its partner's where a mirrored pair is known."""
        partners = dict(self.swap) | {right: left for left, right in self.swap}
        return partners.get(name, name) if self.mirrored else name

    def _rename(self, landmarks: LandmarkSet) -> LandmarkSet:
        """Let the landmarks of each pair change names; a landmark whose partner is not in the set keeps its own."""
        at = {name: n for n, name in enumerate(landmarks.names)}
        rows = [at.get(self.partner(name), n) for name, n in at.items()]
        return replace(landmarks.take(rows), names=landmarks.names)

    def _turn_angles(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Directions in degrees from +x (right) towards +y (down), after the turn; -90...90."""
        first = -angles if self.mirrored else angles
        return np.asarray((first - 90 * self.quarters + 90) % 180 - 90)

    def __str__(self) -> str:
        if self.is_upright:
            return "upright"
        turned = {0: "", 1: "turned to the right", 2: "upside down", 3: "turned to the left"}[self.quarters]
        return " and ".join(word for word in ("mirrored" * self.mirrored, turned) if word)


def _turned(landmarks: LandmarkSet, xy: NDArray[np.float64], angles: NDArray[np.float64]) -> LandmarkSet:
    ellipse = np.column_stack([landmarks.ellipse[:, :2], angles])
    return replace(landmarks, xy=xy, ellipse=ellipse)


UPRIGHT = Orientation()
ALL = tuple(Orientation(mirrored, quarters) for mirrored in (False, True) for quarters in range(4))
"""The eight orientations, upright first."""
