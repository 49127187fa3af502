"""The one resize, which keeps the aspect ratio, and its exact inverse."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Size = tuple[int, int]


@dataclass(frozen=True)
class Letterbox:
    """Where a radiograph of `size` lies on a network's `canvas`; all sizes are `(H, W)`.

    The radiograph is scaled to `scaled` and its top left corner put at `offset` (row, column). Points and pixels
    take the same map, `c = (p + 1/2) * scaled / size - 1/2 + offset`, so the half pixel is kept.
    """

    size: Size
    canvas: Size
    scaled: Size
    offset: Size

    @classmethod
    def fit(cls, size: Size, canvas: Size, stretch: float = 1.0) -> Letterbox:
        """Centre a radiograph of `size` on `canvas`, as large as it fits.

        Each side is rounded to whole canvas pixels, so the aspect ratio is kept to half a canvas pixel. `scale` holds
        the rounded factors, which keeps the inverse exact.

        Args:
            size: `(H, W)` of the radiograph.
            canvas: `(H, W)` of the canvas.
            stretch: How many times as much one side may be scaled as the other to fill the canvas; 1 keeps the aspect.
        """
        scale = stretch * min(canvas[0] / size[0], canvas[1] / size[1])
        h, w = (max(1, min(c, round(s * scale))) for s, c in zip(size, canvas, strict=True))
        return cls(size, canvas, (h, w), ((canvas[0] - h) // 2, (canvas[1] - w) // 2))

    @property
    def scale(self) -> NDArray[np.float64]:
        """`[2]` (x, y): canvas pixels per original pixel."""
        return np.array([self.scaled[1] / self.size[1], self.scaled[0] / self.size[0]])

    def to_canvas(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Original pixels `[..., 2]` (x, y) to canvas pixels."""
        return (np.asarray(xy, np.float64) + 0.5) * self.scale - 0.5 + self._shift

    def to_image(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Canvas pixels `[..., 2]` (x, y) to original pixels; the inverse of `to_canvas`."""
        return (np.asarray(xy, np.float64) - self._shift + 0.5) / self.scale - 0.5

    def render(self, pixels: NDArray[np.float32]) -> torch.Tensor:
        """Resize `[H, W]` pixels, antialiased, onto a black canvas `[canvas H, canvas W]` float32."""
        image = torch.from_numpy(np.ascontiguousarray(pixels, np.float32))[None, None]
        # Antialiased, because radiographs are several times as large as a canvas.
        inner = F.interpolate(image, self.scaled, mode="bilinear", antialias=True, align_corners=False)
        top, left = self.offset
        out = torch.zeros(self.canvas)
        out[top : top + self.scaled[0], left : left + self.scaled[1]] = inner[0, 0]
        return out

    def restore(self, canvas: torch.Tensor) -> NDArray[np.float32]:
        """Resize maps `[..., canvas H, canvas W]` back to original pixels `[..., H, W]` float32 (for evidence)."""
        top, left = self.offset
        inner = canvas[..., top : top + self.scaled[0], left : left + self.scaled[1]]
        flat = inner.reshape(1, -1, *self.scaled).float()
        full = F.interpolate(flat, self.size, mode="bilinear", antialias=True, align_corners=False)
        return full.reshape(*canvas.shape[:-2], *self.size).numpy()

    @property
    def _shift(self) -> NDArray[np.float64]:
        return np.array([self.offset[1], self.offset[0]], np.float64)


def canvas_for(sizes: Iterable[Size], area: int, multiple: int = 32) -> Size:
    """The canvas for a cohort.

    Args:
        sizes: `(H, W)` of its radiographs.
        area: Pixels that the canvas should have, roughly.
        multiple: What both sides are divisible by; 32 is the deepest stride of the networks.

    Returns:
        `(H, W)` with the median aspect ratio of the sizes.
    """
    # Logarithms, so that tall and wide radiographs count alike.
    aspect = math.exp(float(np.median([math.log(h / w) for h, w in sizes])))
    h = max(1, round(math.sqrt(area * aspect) / multiple)) * multiple
    w = max(1, round(math.sqrt(area / aspect) / multiple)) * multiple
    return h, w
