"""One explicit displacement field for image and points alike, and the intensity changes that radiographs show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F

Augment = Literal["spatial", "jitter", "none"]
CROP = 0.2  # of a side at most: where a mixed cohort's images end says nothing about anatomy (decision 5)
ROUNDS = 40  # enough for a thousandth of a pixel, also where a field folds
DAMPING = 0.7  # a plain fixed-point iteration diverges where a field changes by more than a pixel per pixel


@dataclass(frozen=True)
class Geometry:
    """Ranges of the spatial augmentation.

    Attributes:
        rotation: Largest turn, radians.
        log_scale: Largest change of the logarithm of the scale.
        shear: Largest shear, and change of the logarithm of the aspect ratio.
        shift: Largest shift, as a share of the canvas' sides.
        elastic: Standard deviation of the elastic displacement, as a share of the canvas' mean side.
        cells: Cells of the elastic grid along the longer side; more is rougher.
        flip: Probability of a left-right mirror image; 0 where left and right landmarks have names.
    """

    rotation: float = 0.18
    log_scale: float = 0.1
    shear: float = 0.03
    shift: float = 0.075
    elastic: float = 0.01
    cells: int = 6
    flip: float = 0.0

    def times(self, factor: float) -> Geometry:
        """The same kinds of change, `factor` times as large."""
        return Geometry(
            self.rotation * factor,
            self.log_scale * factor,
            self.shear * factor,
            self.shift * factor,
            self.elastic * factor,
            self.cells,
            self.flip,
        )


@dataclass(frozen=True)
class Warp:
    """A batch of maps from a view's pixels u to the canvas: `p = M (u + e(u) - c) + c + t`.

    Attributes:
        matrix: `[B, 2, 2]`, on (x, y).
        translation: `[B, 2]` (x, y), canvas pixels.
        elastic: `[B, 2, H, W]` displacement e (x, y), canvas pixels.
    """

    matrix: torch.Tensor
    translation: torch.Tensor
    elastic: torch.Tensor

    @classmethod
    def draw(
        cls, batch: int, canvas: tuple[int, int], geometry: Geometry, generator: torch.Generator
    ) -> Warp:
        """Draw `batch` warps for a canvas `(H, W)` px, on the generator's device."""
        # A seed repeats a fit only as long as these draws keep their number and order.
        device = generator.device

        def uniform(*shape: int) -> torch.Tensor:
            return torch.rand(shape, generator=generator, device=device) * 2 - 1

        turn = uniform(batch) * geometry.rotation
        scale = torch.exp(uniform(batch) * geometry.log_scale)
        aspect = torch.exp(uniform(batch) * geometry.shear)
        shear = uniform(batch) * geometry.shear
        # Drawn even where nothing is flipped, so that the option does not change the other draws.
        mirror = 1 - 2 * (torch.rand(batch, generator=generator, device=device) < geometry.flip).float()
        cos, sin, one, nil = torch.cos(turn), torch.sin(turn), torch.ones_like(turn), torch.zeros_like(turn)
        rotation = torch.stack([cos, -sin, sin, cos], -1).view(-1, 2, 2)
        stretch = torch.stack([scale * aspect * mirror, shear, nil, scale / aspect * one], -1).view(-1, 2, 2)
        sides = torch.tensor([canvas[1], canvas[0]], device=device, dtype=torch.float32)
        translation = uniform(batch, 2) * geometry.shift * sides
        return cls(rotation @ stretch, translation, _elastic(batch, canvas, geometry, generator))

    @property
    def canvas(self) -> tuple[int, int]:
        """`(H, W)` of view and canvas."""
        return self.elastic.shape[-2], self.elastic.shape[-1]

    def images(self, canvas: torch.Tensor) -> torch.Tensor:
        """Warp canvases `[B, C, H, W]` to views of the same shape; outside is black."""
        pixels = _pixels(self.canvas, canvas.device).flatten(0, 1)
        grid = self._affine(pixels + self.elastic.flatten(2).transpose(1, 2))
        return sample(canvas, grid.view(len(canvas), *self.canvas, 2))

    def forward(self, view_xy: torch.Tensor) -> torch.Tensor:
        """View points `[B, N, 2]` (x, y) to canvas points."""
        return self._affine(view_xy + self._elastic_at(view_xy))

    def inverse(self, canvas_xy: torch.Tensor) -> torch.Tensor:
        """Canvas points `[B, N, 2]` (x, y) to view points: the `u` with `u + e(u) = q`."""
        shifted = canvas_xy - (self._centre + self.translation)[:, None]
        q: torch.Tensor = shifted @ torch.linalg.inv(self.matrix).transpose(1, 2) + self._centre
        return invert_displacement(q, self._elastic_at, q)

    @property
    def _centre(self) -> torch.Tensor:
        h, w = self.canvas
        return torch.tensor([(w - 1) / 2, (h - 1) / 2], device=self.elastic.device)

    def _affine(self, xy: torch.Tensor) -> torch.Tensor:
        moved: torch.Tensor = (xy - self._centre) @ self.matrix.transpose(1, 2)
        return moved + (self._centre + self.translation)[:, None]

    def _elastic_at(self, xy: torch.Tensor) -> torch.Tensor:
        return sample(self.elastic, xy[:, None], padding="border")[:, :, 0].transpose(1, 2)


def invert_displacement(
    aims: torch.Tensor, displacement: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor
) -> torch.Tensor:
    """Solve `q + displacement(q) = aims` for the points q by a damped fixed-point iteration.

    Args:
        aims: `[B, N, 2]` (x, y), px.
        displacement: Points `[B, N, 2]` -> their displacement `[B, N, 2]`, px.
        start: `[B, N, 2]` where the iteration begins, px.

    Returns:
        `[B, N, 2]` px: the iterate that came nearest. The iteration need not converge where a field folds.
    """
    q = best = start
    least = torch.full_like(aims[..., 0], torch.inf)
    for _ in range(ROUNDS):
        miss = aims - q - displacement(q)
        far = miss.norm(dim=-1)
        best = torch.where((far < least)[..., None], q, best)
        least = torch.minimum(least, far)
        q = q + DAMPING * miss
    return best


def sample(maps: torch.Tensor, xy: torch.Tensor, padding: str = "zeros") -> torch.Tensor:
    """Bilinear values of `[B, C, H, W]` at pixels `[B, h, w, 2]` (x, y) -> `[B, C, h, w]`.

    Pixel centres lie at integers; `padding` says what lies beyond the outermost centres, as for `grid_sample`.
    """
    h, w = maps.shape[-2:]
    scale = torch.tensor([2 / max(w - 1, 1), 2 / max(h - 1, 1)], device=xy.device, dtype=xy.dtype)
    return F.grid_sample(maps, xy * scale - 1, mode="bilinear", padding_mode=padding, align_corners=True)


def _pixels(canvas: tuple[int, int], device: torch.device) -> torch.Tensor:
    y, x = torch.meshgrid(
        *(torch.arange(n, device=device, dtype=torch.float32) for n in canvas), indexing="ij"
    )
    return torch.stack([x, y], -1)


def _elastic(
    batch: int, canvas: tuple[int, int], geometry: Geometry, generator: torch.Generator
) -> torch.Tensor:
    device, longest = generator.device, max(canvas)
    cells = [max(2, round(geometry.cells * n / longest)) + 3 for n in canvas]
    coarse = torch.randn(batch, 2, *cells, generator=generator, device=device)
    dense = F.interpolate(coarse, canvas, mode="bicubic", align_corners=True)
    return dense * geometry.elastic * (canvas[0] + canvas[1]) / 2


@dataclass(frozen=True)
class Intensity:
    """Ranges of the changes of grey values, for images in [0, 1].

    Attributes:
        gamma: Largest change of the logarithm of the exponent.
        contrast: Largest relative change of contrast.
        brightness: Largest shift of grey values.
        blur: Largest share of a blurred copy.
        noise: Largest standard deviation of the noise.
        collimation: Probability of a border that covers up to an eighth of one side.
        marker: Probability of a burnt-in bright marker.
        invert: Probability of a negative.
        crop: Probability, for each side, that up to a fifth of the image is blackened from there, so that the network
            cannot learn from the distance to the image's border.
    """

    gamma: float = 0.3
    contrast: float = 0.25
    brightness: float = 0.12
    blur: float = 0.6
    noise: float = 0.04
    collimation: float = 0.15
    marker: float = 0.15
    invert: float = 0.0
    crop: float = 0.0

    def apply(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Change the grey values of images `[B, 1, H, W]` in [0, 1], each in its own way.

        Args:
            images: Grey values in [0, 1].
            generator: The random numbers, on the device of the images.

        Returns:
            `[B, 1, H, W]` in [0, 1].
        """
        device, b = images.device, len(images)

        def uniform(low: float, high: float) -> torch.Tensor:
            return torch.rand(b, 1, 1, 1, generator=generator, device=device) * (high - low) + low

        # A seed repeats a fit only as long as these draws keep their number and order.
        x = images.clamp(1e-4, 1) ** torch.exp(uniform(-self.gamma, self.gamma))
        mean = x.mean((2, 3), keepdim=True)
        x = (x - mean) * (1 + uniform(-self.contrast, self.contrast)) + mean
        x = x + uniform(-self.brightness, self.brightness)
        x = torch.lerp(x, F.avg_pool2d(F.avg_pool2d(x, 3, 1, 1), 3, 1, 1), uniform(0, self.blur))
        noise = torch.randn(x.shape, generator=generator, device=device)
        x = x + noise * uniform(0, self.noise)
        x = torch.where(uniform(0, 1) < self.invert, 1 - x, x)
        x = self._cover(x, generator).clamp(0, 1)
        return self._crop_borders(x, generator) if self.crop > 0 else x

    def _crop_borders(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        b, _, h, w = x.shape
        r = torch.rand(2, b, 4, 1, 1, generator=generator, device=x.device)
        depth = torch.where(r[0] < self.crop, r[1] * CROP, 0.0)
        rows = torch.linspace(0, 1, h, device=x.device).view(1, h, 1)
        cols = torch.linspace(0, 1, w, device=x.device).view(1, 1, w)
        gone = (
            (rows < depth[:, 0]) | (1 - rows < depth[:, 1]) | (cols < depth[:, 2]) | (1 - cols < depth[:, 3])
        )
        return x.masked_fill(gone[:, None], 0.0)

    def _cover(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Collimation borders and burnt-in markers."""
        b, _, h, w = x.shape
        r = torch.rand(b, 12, 1, 1, 1, generator=generator, device=x.device)
        rows = torch.linspace(0, 1, h, device=x.device).view(1, 1, h, 1)
        cols = torch.linspace(0, 1, w, device=x.device).view(1, 1, 1, w)
        along = torch.where(r[:, 0] < 0.5, rows, cols)
        along = torch.where(r[:, 1] < 0.5, along, 1 - along)
        x = torch.where((r[:, 2] < self.collimation) & (along < r[:, 3] / 8), r[:, 4] * 0.1, x)
        inside = (rows - r[:, 5]).abs() < 0.01 + 0.03 * r[:, 6]
        inside = inside & ((cols - r[:, 7]).abs() < 0.01 + 0.03 * r[:, 8])
        return torch.where((r[:, 9] < self.marker) & inside, 0.8 + 0.2 * r[:, 10], x)


UNCHANGED = Intensity(0, 0, 0, 0, 0, 0, 0)
JITTER = replace(UNCHANGED, contrast=0.25, brightness=0.15)
"""The published change of contrast and brightness (CC2D's colour jitter)."""


def augmentation(kind: Augment, strength: float) -> tuple[Geometry, Intensity]:
    """Ranges of the augmentation of that name.

    Args:
        kind: `spatial`: all changes that radiographs show; `jitter`: contrast and brightness, as CC2D's paper; `none`.
        strength: Factor on the geometric ranges of `spatial`.
    """
    if kind == "spatial":
        return Geometry().times(strength), Intensity()
    return Geometry().times(0), JITTER if kind == "jitter" else UNCHANGED
