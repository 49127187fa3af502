"""Exemplars whose points lie elsewhere than the other exemplars agree on: a slip of the hand, or another habit.

Registration carries every exemplar's landmark to every other exemplar. With d_ij from the point of exemplar j to where
exemplar i puts it, exemplar j is odd where the others agree: the geometric median m_j of its d_ij is long, both for the
landmark, longer than `ODD` times the median length of the other exemplars' medians, and on the radiograph, longer than
`LEAST` of the canvas' mean side. How many of the others agree is said with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from onemark.nn.registration.fields import carry
from onemark.stages.match.groupwise.consensus import weighted_median
from onemark.stages.match.groupwise.group import STRIDES, Group

LEAST_EXEMPLARS = 4  # with three, one odd placement spoils the opinion of half of the others
ODD = 3.0
LEAST = 0.015  # 3 mm on a cephalogram, where two observers differ by 1 to 2 mm
AGREE = 0.5  # of the length of their median: opinions that near to it support it
MOST = 0.75  # share of the other exemplars that must agree


@dataclass(frozen=True)
class OddPlacement:
    """A point that the other exemplars put elsewhere.

    Attributes:
        exemplar: Position among the exemplars.
        landmark: Position of the landmark.
        away: `[2]` (x, y) canvas px from the point to where the others put it.
        agreeing: How many of the others put it there.
        others: How many others show it.
    """

    exemplar: int
    landmark: int
    away: torch.Tensor
    agreeing: int
    others: int


def find_odd_placements(group: Group, members: list[int], xy: torch.Tensor) -> list[OddPlacement]:
    """Find points that lie elsewhere than the other exemplars agree on, the farthest first.

    Args:
        group: The group.
        members: `[M]` positions of the exemplars in it.
        xy: `[M, K, 2]` their landmarks, canvas px; NaN where one is not visible.
    """
    if len(members) < LEAST_EXEMPLARS:
        return []
    fields = group.fields[members][:, members].cpu()
    opinions = torch.stack([carry(row, xy[i].expand_as(xy), STRIDES[-1]) for i, row in enumerate(fields)])
    away = opinions - xy  # [M, M, K, 2]: what exemplar i says of exemplar j's points
    side = sum(group.canvases.shape[-2:]) / 2
    found = [odd for k in range(xy.shape[1]) for odd in _judge(away[:, :, k], k, LEAST * side)]
    return sorted(found, key=lambda odd: -float(odd.away.norm()))


def _judge(away: torch.Tensor, landmark: int, least: float) -> Iterator[OddPlacement]:
    """The odd ones among `[M, M, 2]` ways from exemplar j's point to where exemplar i puts it."""
    said: dict[int, torch.Tensor] = {}
    for j in range(len(away)):
        others = torch.cat([away[:j, j], away[j + 1 :, j]])
        others = others[others.isfinite().all(-1)]
        if len(others) >= LEAST_EXEMPLARS - 1:
            said[j] = others
    middles = {j: weighted_median(others, torch.ones(len(others)), 1.0) for j, others in said.items()}
    for j, middle in middles.items():
        length = float(middle.norm())
        usual = sorted(float(one.norm()) for i, one in middles.items() if i != j)
        agreeing = int(((said[j] - middle).norm(dim=-1) < AGREE * length).sum())
        is_long = bool(usual) and length > max(least, ODD * usual[len(usual) // 2])
        if is_long and agreeing >= MOST * len(said[j]):
            yield OddPlacement(j, landmark, middle, agreeing, len(said[j]))


def describe_odd_placement(landmark: str, image: str, pixels: float, odd: OddPlacement) -> str:
    """One sentence for the person, with the distance in px of the radiograph."""
    return (
        f"{landmark} of exemplar {image}: {odd.agreeing} of {odd.others} other exemplars put it "
        f"{pixels:.0f} px away; look again whether it lies where it should"
    )
