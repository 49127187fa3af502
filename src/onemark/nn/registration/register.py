"""Registration of pairs by gradient descent on the pair at hand: affine maps first, then dense fields on top."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
import torch.nn.functional as F

from onemark.nn.registration.features import blur
from onemark.nn.registration.fields import Field, cell_grid, read_at, resize_field

SCALES = (0.85, 1.0, 1.18)  # where affine maps start: patients and distances differ by that much
COARSE_TO_FINE = (2, 1)  # cells averaged: neighbours that blur into one are not taken for each other
AFFINE_RATE = 0.03
FIELD_RATE = 0.5  # cells
CONTROL = 2  # cells per control point of a field


def fit_affine(
    source: torch.Tensor,
    target: torch.Tensor,
    steps: int,
    stride: int,
    scales: Sequence[float] = SCALES,
    enough: float | None = None,
) -> tuple[Field, torch.Tensor]:
    """Affine maps that lay pairs of radiographs on each other, as fields.

    Each pair starts at several scales, and the most similar end counts.

    Args:
        source: Channels `[P, C, h, w]` of the radiographs that are carried.
        target: Those of the radiographs they are carried to.
        steps: Gradient steps.
        stride: Canvas px per cell.
        scales: Where each pair starts.
        enough: How unlike the channels may be: the steps end once all pairs, from each start, are no more than that.

    Returns:
        Fields `[P, h, w, 2]`, px, from places of the sources to places of the targets, and how unlike the channels are
        under them `[P]`, a mean of squares.
    """
    many, count = len(scales), len(source)
    matrix = torch.zeros(count * many, 3, 2, device=source.device)
    matrix[:, [0, 1], [0, 1]] = torch.tensor(scales, device=source.device).repeat(count)[:, None]
    fits = []
    for cells in COARSE_TO_FINE:
        ours, theirs = (
            blur(F.avg_pool2d(x, cells), 1.0).repeat_interleave(many, 0) for x in (source, target)
        )
        fits.append(AffineFit(ours, theirs, matrix))
    for fit in fits:
        rates = [AFFINE_RATE * (1 - step / steps) + AFFINE_RATE / 15 for step in range(steps)]
        # The finest grid decides, also while the coarse one is fitted.
        done = None if enough is None else partial(fits[-1].is_within, enough)
        _descend(matrix, fit.total_miss, rates, done)
    with torch.no_grad():
        left = fit.misses()
        best = left.view(count, -1).argmin(1) + many * torch.arange(count, device=source.device)
        return fit.moves()[best] * stride, left[best]


@dataclass(frozen=True)
class AffineFit:
    """Affine maps of pairs of radiographs on one grid.

    Attributes:
        source: Channels `[P, C, h, w]` of the radiographs that are carried.
        target: Those of the radiographs they are carried to.
        matrix: `[P, 3, 2]` the maps, in units of half the mean side around the middle, so that they hold on any grid.
    """

    source: torch.Tensor
    target: torch.Tensor
    matrix: torch.Tensor

    @cached_property
    def _cells(self) -> torch.Tensor:
        return cell_grid((self.source.shape[2], self.source.shape[3]), self.source.device)

    @cached_property
    def _places(self) -> torch.Tensor:
        """`[h w, 3]` the cells in the units of the maps, and 1."""
        units = (self._cells - self._cells.mean((0, 1))) / self._unit
        return torch.cat([units, torch.ones_like(units[..., :1])], -1).flatten(0, 1)

    @property
    def _unit(self) -> float:
        return sum(self.source.shape[2:]) / 4

    def ends(self) -> torch.Tensor:
        """Where the cells come to lie `[P, h, w, 2]`, cells."""
        moved = self._places @ self.matrix * self._unit + self._cells.mean((0, 1))
        return moved.view(-1, *self._cells.shape)

    def moves(self) -> Field:
        """Displacements `[P, h, w, 2]`, cells."""
        return self.ends() - self._cells

    def misses(self) -> torch.Tensor:
        """How unlike the channels are under the maps `[P]`, a mean of squares."""
        return (read_at(self.target, self.ends()) - self.source).square().mean((1, 2, 3))

    def is_within(self, limit: float) -> bool:
        """Whether no pair is more unlike than that."""
        with torch.no_grad():
            return bool((self.misses() <= limit).all())

    def total_miss(self) -> torch.Tensor:
        """The sum over all pairs, to descend."""
        return self.misses().sum()


def fit_field(
    source: torch.Tensor,
    target: torch.Tensor,
    start: Field,
    steps: int,
    stride: int,
    bending: float,
    slope: float,
    base: Field | None = None,
) -> Field:
    """Fields on top of a base, from a start on, that lay pairs on each other.

    The penalty is on what is added to the base. A penalty on the whole field would pull affine maps, which slope
    everywhere, back to the identity (ceph 001-010: 1.6 -> 3.3 % of the side).

    Args:
        source: Channels `[P, C, h, w]`.
        target: The same of the other radiographs.
        start: Fields `[P, h', w', 2]` to begin with, px.
        steps: Gradient steps.
        stride: Canvas px per cell.
        bending: Weight of squared second differences of control points.
        slope: Weight of squared first differences.
        base: Fields on which nothing is penalised; the start where left out.

    Returns:
        `[P, h, w, 2]`, px.
    """
    shape = (source.shape[2], source.shape[3])
    fixed = resize_field(start if base is None else base, shape) / stride
    added = resize_field(start, shape) / stride - fixed
    cells = cell_grid(shape, source.device) + fixed
    knots = (max(2, shape[0] // CONTROL), max(2, shape[1] // CONTROL))
    # Apple's GPUs average only where sizes divide.
    place = "cpu" if added.device.type == "mps" else added.device
    control = F.interpolate(added.movedim(-1, 1).to(place), knots, mode="area").to(added.device)

    def loss() -> torch.Tensor:
        smooth = _smoothed(control)
        miss = (read_at(target, cells + _widened(smooth, shape)) - source).square().mean((1, 2, 3))
        return miss.sum() + _roughness(smooth, bending, slope)

    _descend(control, loss, [FIELD_RATE * (1 - 0.8 * step / steps) for step in range(steps)])
    with torch.no_grad():
        return (fixed + _widened(_smoothed(control), shape)) * stride


def _descend(
    parameters: torch.Tensor,
    loss: Callable[[], torch.Tensor],
    rates: Sequence[float],
    done: Callable[[], bool] | None = None,
) -> None:
    """Follow the gradient of a loss with Adam, in place, one step per rate, until it is done."""
    parameters.requires_grad_()
    optimizer = torch.optim.Adam([parameters])
    with torch.enable_grad():
        for rate in rates:
            if done is not None and done():
                break
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            loss().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    parameters.requires_grad_(False)


def _smoothed(control: torch.Tensor) -> torch.Tensor:
    """Twice the mean of 3 x 3 control points: close to a quadratic B-spline, and cheap."""
    for _ in range(2):
        control = F.avg_pool2d(F.pad(control, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return control


def _widened(control: torch.Tensor, shape: tuple[int, int]) -> Field:
    return F.interpolate(control, shape, mode="bilinear", align_corners=False).movedim(1, -1)


def _roughness(control: torch.Tensor, bending: float, slope: float) -> torch.Tensor:
    """Penalty of `[P, 2, h, w]` control points, summed over the pairs."""
    down, right = control.diff(dim=2), control.diff(dim=3)
    first = _mean_square(down) + _mean_square(right)
    second = (
        _mean_square(down.diff(dim=2)) + _mean_square(right.diff(dim=3)) + 2 * _mean_square(down.diff(dim=3))
    )
    return bending * second + slope * first


def _mean_square(x: torch.Tensor) -> torch.Tensor:
    return x.square().mean((1, 2, 3)).sum()
