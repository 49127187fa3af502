"""Correlation of the cells of two maps, all with all or each with its neighbourhood, and the maps that fit it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from onemark.stages.match.edgetrans.transform import Transform, cell_centres

STIFFNESS = (
    0.002  # pull of the identity on a fit, and of 0 on a field, where no cell is sure of its counterpart
)
BLUR = 1.5  # standard deviation of the Gaussian that smooths a field, cells


@dataclass  # not frozen: Fabric takes what goes through a module apart and puts it together again
class Match:
    """Where the target's cells lie on the source, according to one level.

    Attributes:
        logits: `[P, N, h, w]` of N candidates per target cell.
        move: `[P, 2, h, w]` expected displacement from a cell to its counterpart (x, y), canvas px.
        sure: `[P, 1, h, w]` probability of the likeliest candidate.
        stride: Pixels per cell.
    """

    logits: torch.Tensor
    move: torch.Tensor
    sure: torch.Tensor
    stride: int

    def take(self, count: int) -> Match:
        """The matches of the first `count` pairs."""
        return replace(self, logits=self.logits[:count], move=self.move[:count], sure=self.sure[:count])


def unit(m: torch.Tensor) -> torch.Tensor:
    """Scale the cells of maps `[P, C, h, w]` to length 1, float32."""
    return F.normalize(m.float(), dim=1)


def offsets(reach: int, device: torch.device | None = None) -> torch.Tensor:
    """The N = `(2 reach + 1)^2` steps (x, y) of a window, row by row: `[N, 2]` float, cells."""
    steps = torch.arange(-reach, reach + 1, device=device, dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def whole_match(target: torch.Tensor, source: torch.Tensor, temperature: float, stride: int) -> Match:
    """Compare every cell of target maps `[P, C, h, w]` with every cell of the sources' (global correlation)."""
    h, w = target.shape[-2:]
    cosines = torch.bmm(unit(target).flatten(2).transpose(1, 2), unit(source).flatten(2)).float()
    logits = (cosines * temperature).transpose(1, 2).reshape(len(target), -1, h, w)
    p = logits.softmax(1)
    centres = cell_centres((h * stride, w * stride), stride, target.device)
    there = (p[:, :, None] * centres.flatten(0, 1)[:, :, None, None]).sum(1)
    return Match(logits, there - centres.permute(2, 0, 1), p.amax(1, keepdim=True), stride)


def near_match(
    target: torch.Tensor, source: torch.Tensor, temperature: float, reach: int, stride: int
) -> Match:
    """Compare every cell of target maps `[P, C, h, w]` with the source's cells up to `reach` rows and columns away."""
    logits = near_cosines(unit(target), unit(source), reach) * temperature
    p = logits.softmax(1)
    move = (p[:, :, None] * offsets(reach, p.device)[:, :, None, None]).sum(1) * stride
    return Match(logits, move, p.amax(1, keepdim=True), stride)


def near_cosines(target: torch.Tensor, source: torch.Tensor, reach: int) -> torch.Tensor:
    """Products of unit cells `[P, C, h, w]` with the source's cells around them: `[P, (2 reach + 1)^2, h, w]`.

    Matrix products of blocks of cells are several times as fast as one product per step of the window.
    """
    p, c, h, w = target.shape
    side = next(n for n in (8, 4, 2, 1) if h % n == 0 and w % n == 0)
    wide = side + 2 * reach
    padded = F.pad(source, (reach, reach, reach, reach))
    around = padded.unfold(2, wide, side).unfold(3, wide, side).permute(0, 2, 3, 1, 4, 5)
    cells = target.view(p, c, h // side, side, w // side, side).permute(0, 2, 4, 3, 5, 1)
    product = torch.bmm(cells.reshape(-1, side * side, c), around.reshape(-1, c, wide * wide)).float()
    y, x = torch.meshgrid(*(torch.arange(side, device=target.device),) * 2, indexing="ij")
    steps = torch.arange(2 * reach + 1, device=target.device)
    rows, columns = y.flatten()[:, None] + steps, x.flatten()[:, None] + steps
    index = (rows[:, :, None] * wide + columns[:, None]).flatten(1)
    chosen = product.gather(2, index.expand(len(product), -1, -1))
    blocks = chosen.view(p, h // side, w // side, side, side, -1).permute(0, 5, 1, 3, 2, 4)
    return blocks.reshape(p, -1, h, w)


def smooth_field(match: Match) -> torch.Tensor:
    """Smooth the moves of a match by a Gaussian, each weighted by how sure it is: `[P, 2, h, w]` (x, y), canvas px."""
    reach = round(2.5 * BLUR)
    at = torch.arange(-reach, reach + 1, device=match.move.device, dtype=torch.float32)
    line = torch.exp(-0.5 * (at / BLUR) ** 2)
    line = (line / line.sum()).expand(3, 1, -1)
    weight = match.sure.float().square()
    maps = torch.cat([weight * match.move.float(), weight], 1)
    # bfloat16 would round moves to whole pixels.
    with torch.autocast(maps.device.type, enabled=False):
        maps = F.conv2d(maps, line[..., None, :], padding=(0, reach), groups=3)
        maps = F.conv2d(maps, line[..., None], padding=(reach, 0), groups=3)
    return maps[:, :2] / (maps[:, 2:] + STIFFNESS)


def fit_affine(match: Match, before: Transform) -> Transform:
    """Fit an affine map to a global correlation by weighted least squares, slightly stiff towards the identity.

    Args:
        match: The correlation; cells weigh as much as they are sure, squared.
        before: Gives canvas and (empty) displacement.
    """
    h, w = before.canvas
    centre = torch.tensor([(w - 1) / 2, (h - 1) / 2], device=match.move.device)
    half = (h + w) / 4
    q = ((cell_centres(before.canvas, match.stride, match.move.device) - centre) / half).flatten(0, 1)
    moved = match.move.flatten(2).transpose(1, 2).float() / half
    weight = match.sure.flatten(1)[..., None].float().square()
    ones = torch.cat([q, torch.ones_like(q[:, :1])], 1)
    outer = ones[:, :, None] * ones[:, None]
    normal = (weight[..., None] * outer).sum(1) + STIFFNESS * outer.sum(0)
    right = (weight[..., None] * ones[None, :, :, None] * moved[:, :, None]).sum(1)
    solution = torch.linalg.solve(normal, right)  # [P, 3, 2]: what is added to the identity
    matrix = torch.eye(2, device=q.device) + solution[:, :2].transpose(1, 2)
    return replace(before, matrix=matrix, translation=solution[:, 2] * half)
