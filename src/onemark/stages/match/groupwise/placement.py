"""What exemplars say of each other's points: which are odd, and where they lie when all have a say.

Registration carries every exemplar's landmark to every other exemplar. With m_jk the geometric median of the ways from
landmark k of exemplar j to where the other exemplars put it, and o_jk the median of m_j of the landmarks next to it, the
point is odd where min(|m_jk|, |m_jk - o_jk|) is large: larger than `ODD` times its median over the other exemplars, and
than `LEAST` of the canvas' mean side. Taking o_jk away leaves out regions where registration itself has failed, because a
slip moves one point and leaves its neighbours where they are.

What a person means by a landmark may be known better from several exemplars than from one. So each point is carried to
other radiographs from between where it was placed and the mean of where the other exemplars put it. How far between is
what would have predicted each exemplar best from the others: points that are placed more exactly than registration
carries them stay where they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from onemark.nn.registration.fields import carry
from onemark.stages.match.groupwise.consensus import weighted_median
from onemark.stages.match.groupwise.group import STRIDES, Group

LEAST_EXEMPLARS = 4  # with three, one odd placement spoils the opinion of half of the others
ODD = 3.0
LEAST = 0.02  # 4 mm on a cephalogram, where two observers differ by 1 to 2 mm
AGREE = 0.5  # of the length of their median: opinions that near to it support it
NEIGHBOURS = 5  # of three, two may belong to the same odd region
MOST_NAMED = 5  # in one training: who has seen so many looks at the others, too
MOST = 0.75  # share of the other exemplars that must agree
# Shares that the others may have; larger ones were worse (docs/benchmarks/exemplars-and-suggestions.md).
SHARES = (0.0, 0.25, 0.5)
PREDICTING = 4  # exemplars from which another one is predicted: as many as answer for a radiograph


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
    away = _ways_to_opinions(group, members, xy)
    middles = _middles(away)
    alone = middles - _around(middles, xy)
    # Long by itself and against its neighbours: the shorter of both counts.
    length = torch.minimum(middles.norm(dim=-1), alone.norm(dim=-1))
    least = LEAST * sum(group.canvases.shape[-2:]) / 2
    found = []
    for j, k in length.isfinite().nonzero().tolist():
        usual = torch.cat([length[:j, k], length[j + 1 :, k]]).nanquantile(0.5)
        others = torch.cat([away[:j, j, k], away[j + 1 :, j, k]])
        others = others[others.isfinite().all(-1)]
        agreeing = int(((others - middles[j, k]).norm(dim=-1) < AGREE * length[j, k]).sum())
        if bool(length[j, k] > max(least, ODD * float(usual))) and agreeing >= MOST * len(others):
            found.append(OddPlacement(j, k, middles[j, k], agreeing, len(others)))
    return sorted(found, key=lambda odd: -float(length[odd.exemplar, odd.landmark]))[:MOST_NAMED]


def share_placements(group: Group, members: list[int], xy: torch.Tensor) -> torch.Tensor:
    """The exemplars' points `[M, K, 2]`, canvas px, each moved towards where the others put it, as far as that helps.

    Args:
        group: The group.
        members: `[M]` positions of the exemplars in it.
        xy: `[M, K, 2]` their landmarks, canvas px; NaN where one is not visible.
    """
    if len(members) < LEAST_EXEMPLARS:
        return xy
    away = _ways_to_opinions(group, members, xy)
    errors = [_error_between(group, members, xy, away, share) for share in SHARES]
    share = SHARES[min(range(len(SHARES)), key=lambda n: errors[n])]
    return xy + share * _mean_of_others(away).nan_to_num()


def _error_between(
    group: Group, members: list[int], xy: torch.Tensor, away: torch.Tensor, share: float
) -> float:
    """Mean distance, canvas px, of the exemplars' points from where the others put them with such a share.

    The exemplar that is predicted has no say about the points that predict it.
    """
    missed = []
    for j, member in enumerate(members):
        others = [i for i in range(len(members)) if i != j]
        near = sorted(others, key=lambda i: float(group.errors[members[i], member].mean()))[:PREDICTING]
        shared = xy[others] + share * _mean_of_others(away[others][:, others]).nan_to_num()
        at = {i: n for n, i in enumerate(others)}
        carried = [
            carry(group.fields[members[i], member][None].cpu(), shared[at[i]][None], STRIDES[-1])
            for i in near
        ]
        missed.append((torch.cat(carried).nanmean(0) - xy[j]).norm(dim=-1))
    return float(torch.stack(missed).nanmean())


def _mean_of_others(away: torch.Tensor) -> torch.Tensor:
    """`[M, K, 2]` mean way from each exemplar's points to where the others put them, of `[M, M, K, 2]`; NaN unknown."""
    itself = torch.eye(len(away), dtype=torch.bool)[:, :, None, None]
    return away.masked_fill(itself, torch.nan).nanmean(0)


def _ways_to_opinions(group: Group, members: list[int], xy: torch.Tensor) -> torch.Tensor:
    """`[M, M, K, 2]` from exemplar j's points to where exemplar i puts them, canvas px."""
    fields = group.fields[members][:, members].cpu()
    opinions = torch.stack([carry(row, xy[i].expand_as(xy), STRIDES[-1]) for i, row in enumerate(fields)])
    return opinions - xy


def _middles(away: torch.Tensor) -> torch.Tensor:
    """`[M, K, 2]` geometric medians of what the others say, of `[M, M, K, 2]`; NaN where too few have a say."""
    count, landmarks = away.shape[1:3]
    middles = torch.full((count, landmarks, 2), torch.nan)
    for j in range(count):
        for k in range(landmarks):
            others = torch.cat([away[:j, j, k], away[j + 1 :, j, k]])
            others = others[others.isfinite().all(-1)]
            if len(others) >= LEAST_EXEMPLARS - 1:
                middles[j, k] = weighted_median(others, torch.ones(len(others)), 1.0)
    return middles


def _around(middles: torch.Tensor, xy: torch.Tensor) -> torch.Tensor:
    """`[M, K, 2]` what is said of the `NEIGHBOURS` landmarks next to each, by their median along each axis."""
    distance = torch.cdist(xy, xy).nan_to_num(torch.inf)
    distance.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    unknown = middles.isnan().any(-1)[:, None].expand_as(distance)
    nearest, order = distance.masked_fill(unknown, torch.inf).sort(-1)
    nearest, order = nearest[..., :NEIGHBOURS], order[..., :NEIGHBOURS]
    rows = torch.arange(len(xy))[:, None, None]
    near = middles[rows, order].masked_fill(nearest.isinf()[..., None], torch.nan)
    return near.nanquantile(0.5, 2).nan_to_num(0.0)


def describe_odd_placement(landmark: str, image: str, pixels: float, odd: OddPlacement) -> str:
    """One sentence for the person, with the distance in px of the radiograph."""
    return (
        f"{landmark} of exemplar {image}: {odd.agreeing} of {odd.others} other exemplars put it "
        f"{pixels:.0f} px away; look again whether it lies where it should"
    )
