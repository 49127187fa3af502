"""Agreement of registrations: a field from one radiograph to another, and the detours over others of the cohort.

Where two radiographs look unlike, their registration fails; often both look like a third one. Every detour is a further
answer. The answers are weighted by how exactly their legs return, and their geometric median counts.
"""

from __future__ import annotations

import torch

from onemark.stages.match.groupwise.fields import Field, cell_grid, follow, read_at

ROUNDS = 6  # of Weiszfeld's iteration for the geometric median
NEAR = 0.3  # cells: answers that near to the median weigh no more than others


def loop_errors(there: Field, back: Field, stride: int) -> torch.Tensor:
    """How far from its beginning the way there and back ends, `[P, h, w]` cells."""
    away: torch.Tensor = follow(there, back, stride).norm(dim=-1)
    return away / stride


def agree_on(
    direct: Field, direct_error: torch.Tensor, detours: Field, detour_errors: torch.Tensor, stride: int
) -> Field:
    """The geometric median of a direct field and its detours.

    Args:
        direct: `[h, w, 2]`, px.
        direct_error: `[h, w]` its loop error, cells.
        detours: `[D, h, w, 2]`, px.
        detour_errors: `[D, h, w]` squared loop errors of both legs together, cells.
        stride: Canvas px per cell.
    """
    answers = torch.cat([direct[None], detours])
    weight = 1 / (1 + torch.cat([direct_error[None] ** 2, detour_errors]))
    return weighted_median(answers, weight, NEAR * stride)


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
