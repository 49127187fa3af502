"""THE map from a subject's image to the reference anatomy, and its inverse for the landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onemark.phantom.anatomy import FRAME

Points = NDArray[np.floating]

# Ways in which heads differ. Columns: centre x, y; reach in x, y; shift in x, y at one standard deviation (mm).
MODES = np.array(
    [
        (140, 205, 42, 32, 4.0, 0.5),  # jaw forward
        (125, 216, 52, 32, 0.5, 4.0),  # jaw down
        (150, 216, 14, 15, 1.8, 0.8),  # chin
        (82, 186, 24, 24, 2.5, 2.5),  # angle of the jaw
        (148, 150, 34, 28, 2.8, 0.8),  # midface forward
        (125, 150, 60, 20, 0.0, 2.0),  # face height
        (182, 136, 15, 15, 2.6, 0.8),  # nose
        (165, 60, 26, 34, 2.5, 0.0),  # forehead
        (85, 15, 70, 38, 0.0, 5.0),  # vault height
        (8, 90, 40, 48, 5.0, 0.0),  # back of the head
        (96, 108, 30, 22, 2.0, 2.5),  # cranial base
        (45, 232, 38, 46, 6.0, 1.0),  # neck
        (158, 181, 15, 15, 1.6, 1.0),  # incisors
    ]
)


@dataclass(frozen=True)
class Pose:
    """Where one subject's anatomy lies in its image.

    Attributes:
        spacing: mm per pixel.
        centre: xy of the image centre in pixels.
        tilt: `(x, y)` perspective, per mm.
        angle: Rotation of the head in radians.
        scale: Magnification.
        shift: `(x, y)` in mm.
        bumps: `[M, 6]`: centre x, y, reach x, y and shift x, y in mm, in the reference frame.
    """

    spacing: float
    centre: tuple[float, float]
    tilt: tuple[float, float]
    angle: float
    scale: float
    shift: tuple[float, float]
    bumps: Points

    def to_reference(self, xy: Points) -> Points:
        """Map pixels `[..., 2]` to mm in the reference frame `[..., 2]`."""
        p: Points = (xy - self.centre) * self.spacing
        p = p / (1 + p @ np.asarray(self.tilt))[..., None] - self.shift
        cos, sin = np.cos(self.angle) / self.scale, np.sin(self.angle) / self.scale
        p = p @ np.array([[cos, -sin], [sin, cos]]) + np.asarray(FRAME) / 2
        mm: Points = p - self._displace(p)
        return mm

    def to_image(self, mm: Points) -> Points:
        """Map mm in the reference frame `[K, 2]` to pixels `[K, 2]`: the inverse, by Newton's method."""
        xy = (mm - np.asarray(FRAME) / 2) / self.spacing + self.centre
        # Newton's method converges in a few steps; the bound only guards against an endless loop.
        for _ in range(30):
            off = self.to_reference(xy) - mm
            if np.abs(off).max() < 1e-9:
                break
            dx, dy = (
                (self.to_reference(xy + h) - self.to_reference(xy - h)) / 0.02
                for h in ((0.01, 0.0), (0.0, 0.01))
            )
            xy = xy - np.linalg.solve(np.stack([dx, dy], -1), off[..., None])[..., 0]
        return xy

    def _displace(self, p: Points) -> Points:
        shift = np.zeros_like(p)
        for x, y, reach_x, reach_y, dx, dy in self.bumps.astype(p.dtype):
            weight = np.exp(-0.5 * (((p[..., 0] - x) / reach_x) ** 2 + ((p[..., 1] - y) / reach_y) ** 2))
            shift[..., 0] += weight * dx
            shift[..., 1] += weight * dy
        return shift


def draw_pose(rng: np.random.Generator, size: tuple[int, int]) -> Pose:
    """Draw a subject: proportions, head position and magnification.

    Args:
        rng: Random generator.
        size: `(H, W)` of the image in pixels.
    """
    modes = MODES.copy()
    # The clip keeps the map invertible: stronger shifts would fold it.
    modes[:, 4:] *= 1.2 * np.clip(rng.normal(size=len(MODES)), -1.8, 1.8)[:, None]
    # Random bumps on top, so that subjects do not differ in the named ways alone.
    free = np.concatenate(
        [rng.uniform((0, 0), FRAME, (6, 2)), rng.uniform(26, 45, (6, 2)), rng.normal(0, 1.6, (6, 2))], axis=1
    )
    return Pose(
        spacing=max(FRAME[0] / size[1], FRAME[1] / size[0]),
        centre=((size[1] - 1) / 2, (size[0] - 1) / 2),
        tilt=(rng.normal(0, 1.2e-4), rng.normal(0, 1.2e-4)),
        angle=float(np.clip(rng.normal(0, np.deg2rad(5)), -0.2, 0.2)),
        scale=rng.uniform(0.86, 1.05),
        shift=(rng.uniform(-6, 4), rng.uniform(-6, 6)),
        bumps=np.concatenate([modes, free]),
    )
