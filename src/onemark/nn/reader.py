"""A trained network applied to radiographs: canvas, device and precision in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from onemark.imaging.ellipses import pixel_scale, scale_to
from onemark.imaging.letterbox import Letterbox, Size
from onemark.nn.device import memory_errors
from onemark.nn.fabric import Fabric
from onemark.nn.folding import fold, is_training, weights_version
from onemark.types import Evidence, LandmarkSet, Radiograph, UserError

REMEDY = "use --device cpu, or fit with smaller areas (--set match.area=...)"


class Reader:
    """Runs a network on whole radiographs.

    Attributes:
        module: Takes `[B, 1, H, W]` canvases.
        canvas: `(H, W)`.
        fabric: Device and precision.
        stretch: As for `Letterbox.fit`.
    """

    def __init__(self, module: nn.Module, canvas: Size, fabric: Fabric, stretch: float = 1.0) -> None:
        self.module, self.canvas, self.fabric, self.stretch = module, canvas, fabric, stretch
        self._asked: nn.Module | None = None
        self._version = 0

    def __call__(self, canvases: torch.Tensor) -> Any:
        """The network's answer to canvases `[B, 1, H, W]`, without gradients, in evaluation mode and float32.

        In bfloat16 an H200 answers a single radiograph no sooner, and points move by up to a cell.

        Raises:
            UserError: the device has too little memory.
        """
        module = self._settle()
        with memory_errors(REMEDY), torch.inference_mode():
            return module(canvases.to(self.fabric.device))

    def _settle(self) -> nn.Module:
        """The network to ask, made again whenever the module's weights have changed since the last call."""
        version = weights_version(self.module)
        # Previews interrupt a training, which leaves the module, or what it holds, in training mode.
        if self._asked is None or version != self._version or is_training(self.module):
            module = self.module.to(self.fabric.device).eval()
            self._asked = fold(module) if self.fabric.device.type == "cpu" else module
            self._version = version  # last: another thread must not take the former network for the new one
        return self._asked

    def read(self, radiograph: Radiograph) -> tuple[Any, Letterbox]:
        """The network's answer to one radiograph, and where that lies on the canvas."""
        frame = Letterbox.fit(radiograph.size, self.canvas, self.stretch)
        return self(frame.render(radiograph.pixels)[None, None]), frame


def landmark_set(
    radiograph: Radiograph,
    names: tuple[str, ...],
    frame: Letterbox,
    xy: torch.Tensor,
    score: torch.Tensor,
    spread: torch.Tensor,
    covariance: torch.Tensor | None = None,
) -> LandmarkSet:
    """Canvas points `[K, 2]`, scores `[K]` and spreads `[K]` (canvas px) as landmarks of a radiograph.

    A point on the canvas' padding is moved to the radiograph's border. Expected errors are in mm where the spacing is
    known, else in original px. Covariances `[K, 2, 2]` (square canvas px) of the probability around the points, where
    there are any, become ellipses whose mean distance is the expected error.
    """
    per_pixel = (1 / frame.scale).mean() * radiograph.pixel_length
    # On the CPU first: Apple's GPUs have no float64.
    errors = spread.cpu().double().numpy() * per_pixel
    ellipse = np.empty((0, 3))
    if covariance is not None:
        shapes = covariance.cpu().double().numpy() / np.outer(frame.scale, frame.scale)
        ellipse = scale_to(shapes * pixel_scale(radiograph.spacing), errors)
    last = (radiograph.size[1] - 1, radiograph.size[0] - 1)
    return LandmarkSet(
        radiograph.name,
        names,
        np.clip(frame.to_image(xy.cpu().double().numpy()), 0, last),
        score.cpu().double().numpy(),
        errors,
        "px" if radiograph.spacing is None else "mm",
        ellipse=ellipse,
    )


def heat_evidence(
    radiograph: Radiograph,
    names: tuple[str, ...],
    landmark: str | None,
    frame: Letterbox,
    maps: Mapping[str, torch.Tensor],
) -> Evidence:
    """Lay maps `[K, h, w]` of a canvas on the radiograph: one landmark's, or the strongest of all when none is named.

    Args:
        radiograph: The radiograph.
        names: K landmark names.
        landmark: One of them, or None.
        frame: Where the radiograph lies on the canvas.
        maps: Name -> map that covers the canvas; each landmark's is scaled to a maximum of 1.

    Raises:
        UserError: no landmark of that name.
    """
    if landmark is not None and landmark not in names:
        raise UserError(f"no landmark {landmark!r} in this run: it has {', '.join(names)}")
    shown = {}
    for name, p in maps.items():
        # Each landmark by its own maximum, so that a sure one does not hide the others.
        p = p / p.amax((1, 2), keepdim=True).clamp(min=1e-12)
        one = p.amax(0) if landmark is None else p[names.index(landmark)]
        wide = F.interpolate(one[None, None], frame.canvas, mode="bilinear", align_corners=False)
        shown[name] = frame.restore(wide[0, 0])
    return Evidence(radiograph.name, landmark, shown)
