"""Agreement of registrations: a field from one radiograph to another, and the detours over others of the cohort.

Where two radiographs look unlike, their registration fails; often both look like a third one. Every detour is a further
answer. The answers are weighted by how exactly their legs return, and their geometric median counts.
"""

from __future__ import annotations

import torch

from onemark.nn.registration.fields import Field, cell_grid, follow, read_at

ROUNDS = 6  # of Weiszfeld's iteration for the geometric median
NEAR = 0.3  # cells: answers that near to the median weigh no more than others


def loop_errors(there: Field, back: Field, stride: int) -> torch.Tensor:
    """How far from its beginning the way there and back ends, `[P, h, w]` cells."""
    away: torch.Tensor = follow(there, back, stride).norm(dim=-1)
    return away / stride


def agree_on(answers: Field, doubt: torch.Tensor, stride: int) -> tuple[Field, torch.Tensor]:
    """The geometric median of N answers, a direct field and its detours, each weighted by how exactly its legs return.

    Args:
        answers: `[N, h, w, 2]`, px.
        doubt: `[N, h, w]` squared loop errors of all legs together, cells.
        stride: Canvas px per cell.

    Returns:
        `[h, w, 2]`, px, and the answers' mean distance to it `[h, w]`, px.
    """
    weight = 1 / (1 + doubt)
    middle = weighted_median(answers, weight, NEAR * stride)
    apart = (answers - middle).norm(dim=-1)
    return middle, (weight * apart).sum(0) / weight.sum(0)


def weighted_median(answers: torch.Tensor, weight: torch.Tensor, near: float) -> torch.Tensor:
    """Geometric median over the first axis of `[N, ..., 2]` with weights `[N, ...]`; rounded off within `near`."""
    weight = weight[..., None]
    middle = (answers * weight).sum(0) / weight.sum(0)
    for _ in range(ROUNDS):
        pull = weight / (answers - middle).norm(dim=-1, keepdim=True).clamp(min=near)
        middle = (answers * pull).sum(0) / pull.sum(0)
    return middle


def pass_over(
    first: Field, first_error: torch.Tensor, second: Field, second_error: torch.Tensor, stride: int
) -> tuple[Field, torch.Tensor]:
    """Detours over D radiographs `[D, h, w, 2]`, and the squared loop errors of both legs on their way `[D, h, w]`."""
    cells = cell_grid((first.shape[1], first.shape[2]), first.device) + first / stride
    later = read_at(second_error[:, None], cells)[:, 0]
    return follow(first, second, stride), first_error**2 + later**2
