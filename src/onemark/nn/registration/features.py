"""What registered radiographs are compared by."""

from __future__ import annotations

import torch
import torch.nn.functional as F

CHANNELS = 4
LOCAL = 4.0  # spread of the neighbourhood in which grey values are standardised, cells
LEAST_CONTRAST = 0.02  # grey values, of 1: noise below it is not blown up
LEAST_EDGE = 0.005


def describe(images: torch.Tensor, stride: int) -> torch.Tensor:
    """Channels `[B, 4, h, w]` of canvases `[B, 1, H, W]`, on a grid of that stride.

    They are the grey values, standardised over the canvas and within a neighbourhood, and the gradient (x, y) relative to
    its strength in the neighbourhood. Both standardised values weigh twice as much as a component of the gradient.
    """
    x = F.avg_pool2d(blur(images, 0.4 * stride), stride) if stride > 1 else images
    whole = (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True).clamp(min=LEAST_CONTRAST)
    mean = blur(x, LOCAL)
    local = (x - mean) / (blur((x - mean) ** 2, LOCAL).sqrt() + LEAST_CONTRAST)
    edges = _gradient(x)
    edges = edges / (blur((edges**2).sum(1, keepdim=True), LOCAL).sqrt() + LEAST_EDGE)
    return torch.cat([2 * whole, 2 * local, 2**0.5 * edges], 1)


class Described:
    """Radiographs and their channels, each computed once.

    Args:
        canvases: `[B, 1, H, W]`.
    """

    def __init__(self, canvases: torch.Tensor) -> None:
        self.canvases = canvases
        self._channels: dict[int, torch.Tensor] = {}

    def at(self, stride: int, count: int = 1) -> torch.Tensor:
        """The channels on a grid of that stride, as `describe` gives them; a single radiograph `count` times."""
        if stride not in self._channels:
            self._channels[stride] = describe(self.canvases, stride)
        channels = self._channels[stride]
        return channels.expand(count, -1, -1, -1) if count > 1 else channels


def blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of `[B, C, h, w]`, in cells, with the border repeated."""
    reach = max(1, int(3 * sigma + 0.5))
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    count = images.shape[1]
    rows = F.pad(images, (reach, reach, 0, 0), mode="replicate")
    rows = F.conv2d(rows, kernel.view(1, 1, 1, -1).expand(count, -1, -1, -1), groups=count)
    both = F.pad(rows, (0, 0, reach, reach), mode="replicate")
    return F.conv2d(both, kernel.view(1, 1, -1, 1).expand(count, -1, -1, -1), groups=count)


def _gradient(x: torch.Tensor) -> torch.Tensor:
    wide = F.pad(x, (1, 1, 1, 1), mode="replicate")
    right = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2
    down = (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2
    return torch.cat([right, down], 1)
