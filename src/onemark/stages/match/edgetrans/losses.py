"""EdgeTrans' losses (Yin et al., ECCV 2022, Eq. 11-16): misses, similarity, smoothness and invertibility."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

from onemark.nn.heatmaps.decode import pixels_to_cells
from onemark.stages.match.edgetrans.correlation import Match
from onemark.stages.match.edgetrans.transform import Transform, cell_centres

WINDOW = 11  # px; this and the next three as Wang et al. (2004)
SIGMA = 1.5  # px
C1, C2 = 0.01**2, 0.03**2
EDGE = 0.1  # Sobel response at which smoothing falls to 1/e, as in the released code
GRID = 4  # px between the points at which maps are compared

Miss = Literal["robust", "squared"]


def ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Structural similarity `[P, C, H, W]` of images `[P, C, H, W]` in [0, 1] in windows of 11 px (Wang et al. 2004)."""
    parts = _blur(torch.cat([a, b, a * a, b * b, a * b], 1)).chunk(5, 1)
    mean_a, mean_b = parts[0], parts[1]
    var_a, var_b = parts[2] - mean_a**2, parts[3] - mean_b**2
    both = parts[4] - mean_a * mean_b
    return ((2 * mean_a * mean_b + C1) * (2 * both + C2)) / (
        (mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2)
    )


def edges(images: torch.Tensor) -> torch.Tensor:
    """Sobel responses `[P, 2, H, W]` (along x, along y) of images `[P, 1, H, W]`."""
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=images.device) / 8
    wide = F.pad(images, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(wide, torch.stack([kernel, kernel.T])[:, None])


def stretch(maps: torch.Tensor) -> torch.Tensor:
    """Stretch every map of `[P, C, H, W]` to [0, 1]; the released code does so before it compares edges."""
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (high - low).clamp(min=1e-6)


def landmark_weights(points: torch.Tensor, size: tuple[int, int], stride: int, width: float) -> torch.Tensor:
    """Weights of cells near landmarks, `[P, 1, h, w]` in 0...1: the largest of the landmarks' Gaussians.

    Args:
        points: `[P, K, 2]` landmarks (x, y), canvas px; NaN where unknown.
        size: `(h, w)` of the grid.
        stride: Its px per cell.
        width: Standard deviation of the Gaussians, in half sides of the canvas: an ellipse on one that is not square.
    """
    h, w = size
    # Far off the grid, an unknown landmark has no weight.
    x, y = pixels_to_cells(points.nan_to_num(nan=-1e6), stride).unbind(-1)
    columns = ((torch.arange(w, device=points.device) - x[..., None]) / (w / 2 * width)).square()
    rows = ((torch.arange(h, device=points.device) - y[..., None]) / (h / 2 * width)).square()
    nearest = (rows[:, :, :, None] + columns[:, :, None]).amin(1, keepdim=True)
    return torch.exp(-0.5 * nearest)


def dissimilarity(
    warped: torch.Tensor, target: torch.Tensor, inside: torch.Tensor, focus: torch.Tensor | None, share: float
) -> torch.Tensor:
    """`1 - SSIM` of pictures, a share of it on their edges near landmarks (L_esim, Eq. 13-14).

    Args:
        warped: Sources `[P, 1, h, w]` warped onto the targets.
        target: `[P, 1, h, w]`.
        inside: `[P, 1, h, w]`, 1 where there is a source.
        focus: `[P, 1, h, w]` weights around landmarks; None to leave the edges out.
        share: Weight of the edges, 0...1.
    """
    # Where the source has nothing, both are black and alike.
    whole = _mean(1 - ssim(warped * inside, target * inside), inside)
    if focus is None or share == 0:
        return whole
    pair = stretch(edges(warped)), stretch(edges(target))
    return (1 - share) * whole + share * _mean(1 - ssim(*pair).mean(1, keepdim=True), inside * focus)


def roughness(field: torch.Tensor, stride: int, picture: torch.Tensor) -> torch.Tensor:
    """Squared differences of a field `[P, 2, h, w]` (px) between neighbours, less across edges (L_esmooth, Eq. 16).

    Args:
        field: Displacements.
        stride: Its px per cell.
        picture: The warped source `[P, 1, H, W]`, whose edges the field may follow.
    """
    strong = edges(F.interpolate(picture, field.shape[-2:], mode="area")).norm(dim=1, keepdim=True)
    free = torch.exp(-strong / EDGE)
    down = (field[:, :, 1:] - field[:, :, :-1]) / stride
    right = (field[:, :, :, 1:] - field[:, :, :, :-1]) / stride
    return (down.square() * free[:, :, 1:]).mean() + (right.square() * free[:, :, :, 1:]).mean()


def miss(found: torch.Tensor, known: torch.Tensor, canvas: tuple[int, int], kind: Miss) -> torch.Tensor:
    """How far maps are from known ones, where these stay on the canvas (L_syn).

    Args:
        found: `[P, h, w, 2]` source px (x, y) of the target's cells.
        known: The same, of the known map.
        canvas: `(H, W)`.
        kind: `squared`, in half sides, as published; `robust`: nearly quadratic below a px and linear above, in px.
    """
    inside = _inside(known, canvas)
    if kind == "squared":
        half = torch.tensor([canvas[1] / 2, canvas[0] / 2], device=known.device)
        return _mean(((found - known) / half).square().mean(-1), inside)
    away = (found - known).square().sum(-1)
    return _mean((away + 1).sqrt() - 1, inside) / 4


def invertibility(there: Transform, back: Transform) -> torch.Tensor:
    """Invertibility loss: robust distance, px, between points and where the way there and back takes them.

    The paper names such a loss; in the released code "L_inv" is only the weight of the similarity in both directions.
    """
    points = cell_centres(there.canvas, GRID, there.matrix.device)
    gone = there.grid(GRID)
    inside = _inside(gone, there.canvas)
    cycle_error = back(gone.flatten(1, 2)).view_as(gone)
    return _mean(((cycle_error - points).square().sum(-1) + 1).sqrt() - 1, inside) / 4


def match_loss(match: Match, aims: torch.Tensor, reach: int | None) -> torch.Tensor:
    """Cross-entropy of correlations against the right, sub-cell candidates.

    Args:
        match: Its logits are `[P, N, h, w]`.
        aims: `[P, h, w, 2]` right place (x, y) on the grid of the candidates, cells.
        reach: Half the window of a local correlation, whose middle is at 0; None where the grid is the whole source.
    """
    h, w = match.logits.shape[-2:]
    rows, columns = (h, w) if reach is None else (2 * reach + 1, 2 * reach + 1)
    at = aims if reach is None else aims + reach
    low = at.floor().clamp(min=-1)
    part = at - low
    last = torch.tensor([columns - 1, rows - 1], device=at.device)
    inside = ((at >= 0) & (at <= last)).all(-1).float()
    right = torch.zeros_like(inside)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = (low[..., 0] + dx).clamp(0, columns - 1), (low[..., 1] + dy).clamp(0, rows - 1)
        weight = (part[..., 0] if dx else 1 - part[..., 0]) * (part[..., 1] if dy else 1 - part[..., 1])
        right = right + weight * match.logits.gather(1, (y * columns + x).long()[:, None])[:, 0]
    return _mean(match.logits.logsumexp(1) - right, inside)


def _inside(points: torch.Tensor, canvas: tuple[int, int]) -> torch.Tensor:
    last = torch.tensor([canvas[1] - 1, canvas[0] - 1], device=points.device)
    return ((points >= 0) & (points <= last)).all(-1).float()


def _mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1e-6)


def _blur(maps: torch.Tensor) -> torch.Tensor:
    """Blur every map of `[P, C, H, W]` by a Gaussian window, with the border replicated."""
    reach, count = WINDOW // 2, maps.shape[1]
    at = torch.arange(-reach, reach + 1, device=maps.device, dtype=torch.float32)
    line = torch.exp(-0.5 * (at / SIGMA) ** 2)
    line = (line / line.sum()).expand(count, 1, -1)
    wide = F.pad(maps, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(wide, line[..., None, :], groups=count), line[..., None], groups=count)
