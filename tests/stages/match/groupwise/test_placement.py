"""Points that lie elsewhere than the other exemplars agree on are named, and usual differences are not."""

from __future__ import annotations

from dataclasses import replace

import torch

from onemark.stages.match.groupwise.group import Group
from onemark.stages.match.groupwise.placement import (
    describe_odd_placement,
    find_odd_placements,
    share_placements,
)

SIDE = 256


def made_group(count: int, shift: float = 0.0) -> Group:
    """Radiographs that lie on each other, moved to the right by `shift` px more each."""
    steps = torch.arange(float(count))
    right = shift * (steps[None] - steps[:, None])
    fields = torch.zeros(count, count, SIDE // 4, SIDE // 4, 2)
    fields[..., 0] = right[:, :, None, None]
    disputes = torch.zeros(count, count, SIDE // 32, SIDE // 32)
    return Group(torch.zeros(count, 1, SIDE, SIDE), fields, torch.zeros(fields.shape[:-1]), disputes)


def points(count: int, landmarks: int, shift: float = 0.0, noise: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    xy = (60 + 30 * torch.arange(landmarks)).float()[None, :, None].expand(count, -1, 2).clone()
    xy[..., 0] += shift * torch.arange(float(count))[:, None]
    return xy + noise * torch.randn(count, landmarks, 2, generator=generator)


def test_an_odd_point_is_named_with_where_the_others_put_it():
    xy = points(6, 3, shift=5.0)
    xy[2, 1] += torch.tensor([12.0, -9.0])
    (odd,) = find_odd_placements(made_group(6, 5.0), list(range(6)), xy)
    assert (odd.exemplar, odd.landmark, odd.agreeing, odd.others) == (2, 1, 5, 5)
    torch.testing.assert_close(odd.away, torch.tensor([-12.0, 9.0]), atol=2.0, rtol=0)
    assert describe_odd_placement("sella", "a.png", 15.4, odd) == (
        "sella of exemplar a.png: 5 of 5 other exemplars put it 15 px away; look again whether it lies where it should"
    )


def test_the_farthest_comes_first_and_hidden_points_have_no_say():
    xy = points(8, 2)
    xy[0, 0] += 10
    xy[5, 1] += 20
    xy[1, 0] = torch.nan
    found = find_odd_placements(made_group(8), list(range(8)), xy)
    assert [(odd.exemplar, odd.landmark, odd.others) for odd in found] == [(5, 1, 7), (0, 0, 6)]


def test_a_landmark_that_everybody_places_otherwise_is_nobodys_slip():
    ways = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    xy = points(8, 4)
    xy[:, 1] += 12 * ways / ways.norm(dim=-1, keepdim=True)
    assert not find_odd_placements(made_group(8), list(range(8)), xy)


def test_small_differences_and_few_exemplars_say_nothing():
    xy = points(6, 2, noise=0.1)
    xy[2, 1] += 1.5
    assert not find_odd_placements(made_group(6), list(range(6)), xy)
    xy[2, 1] += 30
    assert find_odd_placements(made_group(6), list(range(6)), xy)
    assert not find_odd_placements(made_group(3), list(range(3)), xy[:3])


def test_points_move_towards_where_the_other_exemplars_put_them():
    true = points(10, 4, shift=5.0, noise=0.0)
    placed = points(10, 4, shift=5.0, noise=4.0)
    placed[3, 2] = torch.nan
    group, members = made_group(10, 5.0), list(range(10))
    shared = share_placements(group, members, placed)
    assert shared[3, 2].isnan().all()
    assert (shared - true).norm(dim=-1).nanmean() < 0.7 * (placed - true).norm(dim=-1).nanmean()


def test_points_that_are_placed_more_exactly_than_they_are_carried_stay_where_they_are():
    group, members, placed = made_group(8), list(range(8)), points(8, 4, noise=0.2)
    wrong = 6 * torch.randn(8, 8, 1, 1, 2, generator=torch.Generator().manual_seed(1))
    carried = replace(group, fields=group.fields + wrong)
    assert torch.equal(share_placements(carried, members, placed), placed)
    few = points(3, 4, noise=4.0)
    assert torch.equal(share_placements(made_group(3), list(range(3)), few), few)


def test_the_only_landmark_has_no_neighbours_that_excuse_it():
    xy = points(6, 1)
    xy[2, 0] += 30
    assert [
        (odd.exemplar, odd.landmark) for odd in find_odd_placements(made_group(6), list(range(6)), xy)
    ] == [(2, 0)]
