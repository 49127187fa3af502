"""Exemplars of which a person annotated only some landmarks, among those that show all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from onemark.nn.training.canvases import CanvasExemplar


def draw_exemplars(
    exemplars: Sequence[CanvasExemplar], count: int, generator: torch.Generator
) -> list[CanvasExemplar]:
    """Draw exemplars at random, with replacement.

    Where some show only a few landmarks, an exemplar is drawn as often as it shows landmarks, so that every annotated
    point counts about as much as every other.

    Args:
        exemplars: At least one, each of which shows a landmark.
        count: How many to draw.
        generator: The random numbers.
    """
    device = generator.device
    if all(one.asked is None for one in exemplars):
        which = torch.randint(len(exemplars), (count,), generator=generator, device=device)
    else:
        shown = torch.tensor([float(len(one.visible)) for one in exemplars], device=device)
        which = torch.multinomial(shown, count, replacement=True, generator=generator)
    return [exemplars[i] for i in which.tolist()]


def count_whole(exemplars: Sequence[CanvasExemplar]) -> float:
    """How many whole radiographs were annotated, where each counts by the share of its landmarks asked for."""
    return sum(float(one.answered.float().mean()) for one in exemplars)


def carriers(exemplars: Sequence[CanvasExemplar]) -> list[CanvasExemplar]:
    """Choose the exemplars worth registering as a whole.

    Registration takes as long for one landmark as for all. So those count that show at least half as many landmarks as
    the fullest one, and others only for landmarks that no other exemplar shows.
    """
    most = max(len(one.visible) for one in exemplars)
    kept = {n for n, one in enumerate(exemplars) if 2 * len(one.visible) >= most}
    shown = torch.stack([exemplars[n].xy.isfinite().all(-1) for n in sorted(kept)]).any(0)
    for n, one in enumerate(exemplars):
        here = one.xy.isfinite().all(-1)
        if n not in kept and bool((here & ~shown).any()):
            kept.add(n)
            shown = shown | here
    return [exemplars[n] for n in sorted(kept)]


def pack_rows(visible: torch.Tensor) -> torch.Tensor:
    """Which exemplars to keep for each landmark where templates are independent of each other.

    Args:
        visible: `[M, K]` bool, whether exemplar m shows landmark k.

    Returns:
        `[R, K]` positions of exemplars, those that show the landmark first and in their order. R is how many show the
        landmark that is shown most often, so that a hundred single answers take as many rows as a few whole exemplars.
    """
    rows = max(1, int(visible.sum(0).max()))
    return torch.sort((~visible).to(torch.uint8), dim=0, stable=True).indices[:rows]
