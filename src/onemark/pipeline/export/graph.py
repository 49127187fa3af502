"""Letterbox, detector, constellation, refiner and decoding as one module whose operations a graph can hold.

The stages compute with numpy between their networks and know the radiograph's size as numbers. Here all is torch, and the
size stays open. Places are float64, because float32 is not exact to 1e-3 px on a large radiograph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.onnx.operators import shape_as_tensor

from onemark.imaging.letterbox import Size
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.heatmaps.decode import Peaks, cells_to_pixels, pixels_to_cells, soft_peaks, soft_places
from onemark.nn.heatmaps.heatmap import PEAK_RADIUS
from onemark.nn.heatmaps.shape import LOOSENESS, ROUNDS, Shape
from onemark.nn.training.canvases import STRETCH
from onemark.stages.detect.tpl.detector import TPL
from onemark.stages.refine.f2.label import crop_around
from onemark.stages.refine.f2.refiner import F2
from onemark.stages.trust import Trust


@dataclass(frozen=True)
class Frame:
    """`onemark.imaging.letterbox.Letterbox` of a radiograph whose size is a tensor.

    Attributes:
        size: `[2]` (H, W) of the radiograph.
        canvas: `(H, W)`.
        scaled: `[2]` (H, W) of the radiograph on the canvas.
        offset: `[2]` its top left corner there (row, column).
    """

    size: torch.Tensor
    canvas: Size
    scaled: torch.Tensor
    offset: torch.Tensor

    @classmethod
    def fit(cls, size: torch.Tensor, canvas: Size, stretch: float) -> Frame:
        """As `Letterbox.fit`."""
        room = torch.tensor(canvas, dtype=torch.float64)
        scaled = (size * (stretch * (room / size).min())).round().clamp(min=1)
        scaled = torch.minimum(scaled, room)
        return cls(size, canvas, scaled, ((room - scaled) / 2).floor())

    def render(self, pixels: torch.Tensor) -> torch.Tensor:
        """Resize `[H, W]`, antialiased, onto a black canvas `[1, 1, canvas H, canvas W]`."""
        down, right = (_resampling(self, side) for side in (0, 1))
        return (down @ pixels @ right.T)[None, None]

    def to_canvas(self, xy: torch.Tensor) -> torch.Tensor:
        """Original pixels `[K, 2]` (x, y) to canvas pixels."""
        return (xy + 0.5) * self._scale - 0.5 + self.offset.flip(0)

    def to_image(self, xy: torch.Tensor) -> torch.Tensor:
        """The inverse of `to_canvas`, moved to the radiograph's border where it lies beyond."""
        placed = (xy - self.offset.flip(0) + 0.5) / self._scale - 0.5
        return torch.minimum(placed.clamp(min=0), self.size.flip(0) - 1)

    def length(self, spread: torch.Tensor) -> torch.Tensor:
        """Lengths on the canvas in original pixels."""
        return spread.double() * (1 / self._scale).mean()

    @property
    def _scale(self) -> torch.Tensor:
        return (self.scaled / self.size).flip(0)


def _resampling(frame: Frame, side: int) -> torch.Tensor:
    """Weights `[canvas side, radiograph side]` of an antialiased linear resize; rows beyond the radiograph are 0."""
    before, after = frame.size[side], frame.scaled[side]
    at = torch.arange(frame.canvas[side], dtype=torch.float64) - frame.offset[side]
    factor = before / after
    support = factor.clamp(min=1)
    source = torch.arange(before, dtype=torch.float64)  # type: ignore[call-overload]  # a number in the graph
    away = (source[None] + 0.5 - ((at + 0.5) * factor)[:, None]) / support
    weight = (1 - away.abs()).clamp(min=0)
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-12)
    inside: torch.Tensor = ((at >= 0) & (at < after))[:, None]
    return torch.where(inside, weight, 0).float()


class Pipeline(nn.Module):
    """What a trained run answers without its matcher: detector, constellation, refiner.

    Args:
        detector: The compact detector, with heatmaps.
        refiner: The refiner that has learned heatmaps, or None.
        trust: How far the refiner is believed.
    """

    outputs = ("xy", "score", "spread")

    def __init__(self, detector: TPL, refiner: F2 | None, trust: Trust) -> None:
        super().__init__()
        self.network = detector.network.eval()
        self.canvas, self.stretch = detector.canvas, STRETCH[detector.config.framing]
        self.radius = PEAK_RADIUS if detector.config.peak == "subpixel" else 0
        self.shape = None if detector.shape is None else _Fitting(detector.shape)
        self.refining = None if refiner is None else _Refining(refiner, trust)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Landmarks of one radiograph.

        Args:
            pixels: `[H, W]` float32 in [0, 1], upright.

        Returns:
            `[K, 2]` places (x, y) in its pixels, `[K]` scores 0...1, `[K]` spreads of the peaks in px; all float32.
        """
        size = shape_as_tensor(pixels).double()
        frame = Frame.fit(size, self.canvas, self.stretch)
        peaks = self._detect(self.network(frame.render(pixels))[0])
        found = frame.to_image(peaks.xy.double()), peaks.score.double(), frame.length(peaks.spread)
        if self.refining is not None:
            found = self.refining(pixels, size, *found)
        return tuple(one.float() for one in found)

    def _detect(self, logits: torch.Tensor) -> Peaks:
        prior = None if self.shape is None else self.shape(soft_places(logits, self.radius), logits)
        peaks = soft_peaks(logits, self.radius, prior)
        return Peaks(cells_to_pixels(peaks.xy, STRIDES[0]), peaks.score, peaks.spread * STRIDES[0])


class _Refining(nn.Module):
    """The refiner, and its answer mixed with the coarse one as far as it is believed."""

    share: torch.Tensor

    def __init__(self, refiner: F2, trust: Trust) -> None:
        super().__init__()
        self.network = refiner.network.eval()
        self.canvas, self.config = refiner.canvas, refiner.config
        self.register_buffer("share", torch.from_numpy(trust.refiner).double())

    def forward(
        self,
        pixels: torch.Tensor,
        size: torch.Tensor,
        xy: torch.Tensor,
        score: torch.Tensor,
        spread: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        frame = Frame.fit(size, self.canvas, STRETCH[self.config.framing])
        stride, config = self.network.stride, self.config
        points = frame.to_canvas(xy).float()
        crops, prior = crop_around(frame.render(pixels), points, stride, config.crop, config.prior)
        peaks = soft_peaks(self.network(crops.views)[0] + prior)
        refined = frame.to_image(crops.outer(cells_to_pixels(peaks.xy, stride)).double())
        return (
            self._mix(xy, refined, self.share[:, None]),
            self._mix(score, peaks.score.double(), self.share),
            self._mix(spread, frame.length(peaks.spread * stride), self.share),
        )

    def _mix(self, first: torch.Tensor, second: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        return (1 - share) * first + share * second


class _Fitting(nn.Module):
    """`Shape.logits` in real numbers: the constellation fitted to places, as a log-prior on the cells."""

    mean: torch.Tensor
    stray: torch.Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(np.asarray(shape.mean)).double())
        self.register_buffer("stray", torch.from_numpy(np.asarray(shape.stray)).double())

    def forward(self, places: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Log-prior `[K, h, w]` on the cells of logits from places `[K, 2]`, cells."""
        stride = STRIDES[0]
        source, target = pixels_to_cells(self.mean, stride), places.double()
        matrix, shift = self._fit(source, target)
        centre = source @ matrix.T + shift
        stray = self.stray / stride * (matrix[0] ** 2).sum().sqrt()
        spread = 2 * (LOOSENESS * stray[:, None]) ** 2
        h, w = logits.shape[-2:]
        y = -((torch.arange(h)[None].double() - centre[:, 1, None]) ** 2) / spread
        x = -((torch.arange(w)[None].double() - centre[:, 0, None]) ** 2) / spread
        return y.float()[:, :, None] + x.float()[:, None, :]

    def _fit(self, source: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Similarity `[2, 2]` and shift `[2]`: least squares, reweighted (Geman-McClure), as in `Shape.fit_to`."""
        weight = torch.ones_like(source[:, 0])
        turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
        matrix, shift = torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        for _ in range(ROUNDS):
            share = weight / weight.sum()
            middle, aim = share @ source, share @ target
            z, w = source - middle, target - aim
            size = (share[:, None] * z * z).sum().clamp(min=1e-12)
            a = (share[:, None] * z * w).sum() / size
            b = (share[:, None] * (z @ turn) * w).sum() / size
            matrix = torch.stack([torch.stack([a, -b]), torch.stack([b, a])])
            shift = aim - matrix @ middle
            away = ((source @ matrix.T + shift - target) ** 2).sum(1).sqrt()
            weight = 1 / (1 + (away / (2 * _median(away)).clamp(min=1e-6)) ** 2) ** 2
        return matrix, shift


def _median(values: torch.Tensor) -> torch.Tensor:
    """The mean of the middle two where their number is even, as numpy's."""
    count = len(values)
    ordered = values.sort().values
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
