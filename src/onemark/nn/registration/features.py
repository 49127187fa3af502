"""What registered radiographs are compared by."""

from __future__ import annotations

import torch
import torch.nn.functional as F

LOCAL = 4.0  # spread of the neighbourhood in which grey values and edges are standardised, cells
SHORT = 3.0  # the same for edges on fine grids, where they differ in strength over shorter distances
LEAST_CONTRAST = 0.02  # grey values, of 1: noise below it is not blown up
LEAST_EDGE = 0.005
LEAST_STRENGTH = 1e-3  # of a relative gradient that has a direction
GREY_FROM = 8  # canvas px per cell: from there on grey values count more than edges
APPEARANCE = 4  # channels of `describe_appearance`


def describe(images: torch.Tensor, stride: int, mostly_edges: bool = False) -> torch.Tensor:
    """What fields are fitted to: channels `[B, C, h, w]` of canvases `[B, 1, H, W]`, on a grid of that stride.

    They are the grey values, standardised over the canvas, and the gradient relative to its strength in the
    neighbourhood: its components (x, y), and the same without its sign, at twice the angle, because the edge of a bone
    may be bright or dark. On fine grids edges weigh most, because grey values tell of exposure and soft tissue as well.
    On coarse ones grey values count more, also standardised in the neighbourhood: teeth have their neighbours' edges.

    Args:
        images: The canvases.
        stride: Canvas px per cell.
        mostly_edges: Whether edges weigh most on a coarse grid, too, as affine maps want it.
    """
    x = _on_grid(images, stride)
    if stride < GREY_FROM or mostly_edges:
        edges = _relative_gradient(x, SHORT)
        return torch.cat([_standardise(x), 3 * edges, 2 * _without_sign(edges)], 1)
    edges = _relative_gradient(x, LOCAL)
    return torch.cat([2 * _standardise(x), _standardise_nearby(x), 2**0.5 * edges, _without_sign(edges)], 1)


def describe_appearance(images: torch.Tensor, stride: int) -> torch.Tensor:
    """What tells how alike radiographs look: channels `[B, 4, h, w]` of canvases `[B, 1, H, W]`, on a grid of a stride.

    They are the grey values, standardised over the canvas and within a neighbourhood, and the gradient (x, y) relative to
    its strength in the neighbourhood. Both standardised values weigh twice as much as a component of the gradient.
    """
    x = _on_grid(images, stride)
    parts = [2 * _standardise(x), 2 * _standardise_nearby(x), 2**0.5 * _relative_gradient(x, LOCAL)]
    return torch.cat(parts, 1)


class Described:
    """Radiographs and their channels, each computed once.

    Args:
        canvases: `[B, 1, H, W]`.
    """

    def __init__(self, canvases: torch.Tensor) -> None:
        self.canvases = canvases
        self._channels: dict[tuple[int, bool], torch.Tensor] = {}

    def at(self, stride: int, count: int = 1, mostly_edges: bool = False) -> torch.Tensor:
        """The channels on a grid of that stride, as `describe` gives them; a single radiograph `count` times."""
        key = stride, mostly_edges
        if key not in self._channels:
            self._channels[key] = describe(self.canvases, stride, mostly_edges)
        channels = self._channels[key]
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


def _on_grid(images: torch.Tensor, stride: int) -> torch.Tensor:
    return F.avg_pool2d(blur(images, 0.4 * stride), stride) if stride > 1 else images


def _standardise(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True).clamp(min=LEAST_CONTRAST)


def _standardise_nearby(x: torch.Tensor) -> torch.Tensor:
    mean = blur(x, LOCAL)
    return (x - mean) / (blur((x - mean) ** 2, LOCAL).sqrt() + LEAST_CONTRAST)


def _relative_gradient(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """The gradient (x, y) over its root mean square in a neighbourhood of that spread, cells: `[B, 2, h, w]`."""
    edges = _gradient(x)
    return edges / (blur((edges**2).sum(1, keepdim=True), sigma).sqrt() + LEAST_EDGE)


def _without_sign(edges: torch.Tensor) -> torch.Tensor:
    """Gradients `[B, 2, h, w]` at twice their angles, as strong as before: opposite ones become the same."""
    x, y = edges[:, :1], edges[:, 1:]
    return torch.cat([x**2 - y**2, 2 * x * y], 1) / ((x**2 + y**2).sqrt() + LEAST_STRENGTH)


def _gradient(x: torch.Tensor) -> torch.Tensor:
    wide = F.pad(x, (1, 1, 1, 1), mode="replicate")
    right = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2
    down = (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2
    return torch.cat([right, down], 1)
