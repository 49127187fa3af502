"""How several exemplars answer together."""

from __future__ import annotations

from typing import Any, Literal

import torch

from onemark.nn.heatmaps.decode import Peaks
from onemark.options import option

Several = Literal["mean", "best"]
ROUNDS = 5  # of reweighting
AGREE = 2.5  # canvas px within which answers agree


def several_option() -> Any:
    """The option `several` of a matcher's Config."""
    help = "how several exemplars answer: a mean weighted by likeness and agreement, or the most similar one (CC2D)"
    return option("mean", help)


def combine(found: Peaks, visible: torch.Tensor, several: Several, temperature: float) -> Peaks:
    """Combine the answers of M exemplars into one.

    A mean is the default, because it evens out what each exemplar's own placement is off by (docs/benchmarks.md).

    Args:
        found: The answers, `[..., M]`; canvas px.
        visible: `[..., M]` whether an exemplar shows a landmark; at least one must.
        several: `mean` or `best`.
        temperature: Factor on scores before their softmax over the exemplars (`mean`).

    Returns:
        Peaks `[...]`.
    """
    visible = visible.to(found.score.device)
    return (
        consensus(found, visible, temperature) if several == "mean" else choose_most_similar(found, visible)
    )


def choose_most_similar(found: Peaks, visible: torch.Tensor) -> Peaks:
    """Take the answer of the most similar exemplar (arg-max over templates, Yao et al. 2021, Eq. 3)."""
    which = found.score.masked_fill(~visible, -torch.inf).argmax(-1, keepdim=True)
    xy = found.xy.gather(-2, which[..., None].expand(*which.shape, 2))[..., 0, :]
    return Peaks(xy, found.score.gather(-1, which)[..., 0], found.spread.gather(-1, which)[..., 0])


def consensus(found: Peaks, visible: torch.Tensor, temperature: float) -> Peaks:
    """Average the answers, weighted by likeness and by agreement.

    The weight of an answer is one over its distance to the mean, so that one far from the others counts little. Mean
    and weights depend on each other and are found in a few rounds.
    """
    alike = (found.score * temperature).masked_fill(~visible, -torch.inf).softmax(-1)
    weight, answers = alike, found.xy.nan_to_num()
    for _ in range(ROUNDS):
        at = (weight[..., None] * answers).sum(-2, keepdim=True)
        weight = alike / (answers - at).norm(dim=-1).clamp(min=AGREE)
        weight = weight / weight.sum(-1, keepdim=True)
    score, spread = ((weight * value.nan_to_num()).sum(-1) for value in (found.score, found.spread))
    return Peaks((weight[..., None] * answers).sum(-2), score, spread)
