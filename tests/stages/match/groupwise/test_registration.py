"""Registration of pairs and the agreement of a group, on fields that are known."""

from __future__ import annotations

import math

import pytest
import torch

from onemark.imaging.augment import Geometry, Warp
from onemark.nn.registration.features import Described, blur, describe, describe_appearance
from onemark.nn.registration.fields import carry, follow, invert, resize_field
from onemark.nn.registration.register import fit_affine, fit_field
from onemark.stages.match.groupwise.config import GroupwiseConfig
from onemark.stages.match.groupwise.consensus import agree_on, loop_errors, pass_over, weighted_median
from onemark.stages.match.groupwise.group import (
    STRIDES,
    Group,
    agree_outside,
    arrive,
    empty_group,
    extend_group,
)

CANVAS = (128, 160)
STEPS = GroupwiseConfig(affine_steps=40, field_steps=30)


def texture(seed: int = 0) -> torch.Tensor:
    """A canvas `[1, 1, H, W]` with structure at all sizes, in 0...1."""
    noise = torch.randn(3, 1, 1, *CANVAS, generator=torch.Generator().manual_seed(seed))
    layers = [blur(one, sigma) * sigma for one, sigma in zip(noise, (2.0, 5.0, 12.0), strict=True)]
    return torch.stack(layers).sum(0).mul(0.5).sigmoid()


def views(count: int, geometry: Geometry) -> tuple[torch.Tensor, Warp]:
    """`[count, 1, H, W]` warped copies of one texture, and the warps from their pixels to the texture's."""
    warp = Warp.draw(count, CANVAS, geometry, torch.Generator().manual_seed(1))
    return warp.images(texture().expand(count, -1, -1, -1)), warp


def points(count: int) -> torch.Tensor:
    return (torch.tensor([[50.0, 40.0], [80.0, 64.0], [110.0, 90.0], [60.0, 85.0]])).expand(count, -1, -1)


def uniform(x: float, y: float, shape: tuple[int, int] = (4, 5)) -> torch.Tensor:
    return torch.tensor([float(x), float(y)]).expand(1, *shape, 2).clone()


@pytest.mark.parametrize("stride", [2, 8])
def test_a_bright_and_a_dark_edge_differ_in_the_gradient_and_not_in_its_direction(stride: int):
    bright, dark = describe(texture(), stride), describe(1 - texture(), stride)
    signed, direction = slice(-4, -2), slice(-2, None)
    assert torch.allclose(bright[:, signed], -dark[:, signed], atol=1e-4)
    assert torch.allclose(bright[:, direction], dark[:, direction], atol=1e-4)
    assert bright[:, direction].std() > 0.3


def test_edges_weigh_most_on_fine_grids_and_where_affine_maps_are_fitted():
    def edges(channels: torch.Tensor) -> float:
        energy = channels.square().mean((0, 2, 3))
        return float(energy[-4:].sum() / energy.sum())

    fine, coarse, affine = describe(texture(), 4), describe(texture(), 8), describe(texture(), 8, True)
    assert min(edges(fine), edges(affine)) > 0.85
    assert 0.2 < edges(coarse) < 0.5


def test_exposure_is_no_difference():
    for describing in (describe, describe_appearance):
        one, other = describing(texture(), 4), describing(0.2 + 0.6 * texture(), 4)
        assert (one - other).abs().mean() < 0.1 * one.abs().mean()


def test_affine_maps_are_recovered():
    seen, warp = views(3, Geometry(rotation=0.15, log_scale=0.15, shift=0.06, elastic=0))
    source = describe(texture(), 4).expand(3, -1, -1, -1)
    field, unlike = fit_affine(source, describe(seen, 4), 80, 4)
    assert (unlike < (source - describe(seen, 4)).square().mean((1, 2, 3))).all()
    truth = warp.inverse(points(3))
    away = (carry(field, points(3), 4) - truth).norm(dim=-1)
    assert away.mean() < 0.35 * (points(3) - truth).norm(dim=-1).mean()


def test_a_pair_that_is_alike_enough_is_left_where_it_is():
    seen, _ = views(1, Geometry(rotation=0.05, log_scale=0, shift=0.02, elastic=0))
    source, target = describe(texture(), 4), describe(seen, 4)
    at_first = fit_affine(source, target, 40, 4, scales=(1.0,), enough=1e9)
    assert not at_first[0].any()
    enough = 0.7 * float(at_first[1])
    _, unlike = fit_affine(source, target, 40, 4, scales=(1.0,), enough=enough)
    _, to_the_end = fit_affine(source, target, 40, 4, scales=(1.0,))
    assert to_the_end < unlike <= enough


def test_fields_follow_what_an_affine_map_cannot():
    seen, warp = views(3, Geometry(rotation=0, log_scale=0, shear=0, shift=0, elastic=0.02))
    start = torch.zeros(3, 4, 5, 2)
    source = describe(texture(), 2).expand(3, -1, -1, -1)
    field = fit_field(source, describe(seen, 2), start, 60, 2, bending=0.3, slope=0.01)
    truth = warp.inverse(points(3))
    before = (points(3) - truth).norm(dim=-1).mean()
    assert (carry(field, points(3), 2) - truth).norm(dim=-1).mean() < 0.3 * before


def test_penalties_do_not_pull_on_the_base():
    still = torch.zeros(1, 4, *(n // 4 for n in CANVAS))
    base = uniform(0, 0, (16, 20)) + torch.linspace(-8, 8, 20)[:, None]
    field = fit_field(still, still, base, 20, 4, bending=10, slope=10)
    assert torch.allclose(field, resize_field(base, still.shape[-2:]), atol=1e-3)


def test_following_there_and_back_returns():
    there, back = uniform(3, -2), uniform(-3, 2)
    assert loop_errors(there, back, 4).max() < 1e-6
    assert torch.allclose(loop_errors(there, uniform(1, -2), 4), torch.tensor(math.hypot(4, 4) / 4))
    assert torch.allclose(follow(there, there, 4), uniform(6, -4))


def test_a_wrong_direct_field_is_outvoted_by_detours_that_return():
    right, wrong = uniform(2, 1), uniform(30, 0)
    sure = torch.zeros(4, 4, 5)
    agreed, apart = agree_on(torch.cat([wrong, right, right, right]), sure, 4)
    assert (agreed - right[0]).abs().max() < 0.5
    assert apart.mean() == pytest.approx((30.0 - 2) / 4, abs=1)
    unsure = torch.tensor([0.0, 400, 400, 400]).view(4, 1, 1).expand(4, 4, 5)
    agreed, _ = agree_on(torch.cat([right, wrong, wrong, wrong]), unsure, 4)
    assert (agreed - right[0]).abs().max() < 0.5


def test_a_detour_has_the_errors_of_both_legs():
    fields, errors = pass_over(
        uniform(4, 0), torch.full((1, 4, 5), 2.0), uniform(0, 4), torch.full((1, 4, 5), 3.0), 4
    )
    assert torch.allclose(fields, uniform(4, 4))
    assert torch.allclose(errors, torch.tensor(13.0))


def test_a_median_ignores_what_lies_far_away():
    answers = torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [50.0, 50.0]])
    assert weighted_median(answers, torch.ones(4), 0.01).norm() < 0.2


@pytest.fixture(scope="module")
def cohort() -> tuple[torch.Tensor, torch.Tensor]:
    """Six views of one texture, and the same points on all of them."""
    seen, warp = views(6, Geometry(rotation=0.1, log_scale=0.08, shift=0.04, elastic=0.012))
    return seen, warp.inverse(points(6))


def test_a_group_knows_its_own_and_carries_points_between_any_two(cohort: tuple[torch.Tensor, torch.Tensor]):
    seen, xy = cohort
    reports: list[tuple[int, int]] = []
    group = extend_group(empty_group(seen), seen[:4], STEPS, lambda *report: reports.append(report))
    assert [group.index(one) for one in seen] == [0, 1, 2, 3, None, None]
    registrations = 4 * 3 * (1 + len(STRIDES))  # ordered pairs, affine maps and one field a stride
    assert reports[-1] == (registrations, registrations)
    ways = arrive(group, [0], seen[:1], Described(seen[3:4]), STEPS)
    away = (ways.carry(xy[:1])[0] - xy[3]).norm(dim=-1).mean()
    assert away < 0.3 * (xy[0] - xy[3]).norm(dim=-1).mean()


def test_a_radiograph_outside_the_group_is_reached_from_exemplars_inside_and_outside(
    cohort: tuple[torch.Tensor, torch.Tensor],
):
    seen, xy = cohort
    group = extend_group(empty_group(seen), seen[:3], STEPS, lambda *_: None)
    ways = arrive(group, [0, 1], torch.stack([seen[0], seen[4]]), Described(seen[5:6]), STEPS)
    away = (ways.carry(xy[[0, 4]])[0] - xy[5]).norm(dim=-1).mean(1)
    assert (away < 0.5 * (xy[[0, 4]] - xy[5]).norm(dim=-1).mean(1)).all()
    assert (ways.apart[0] > 0).any()
    assert ways.apart[1].max() < 1e-4  # an exemplar outside the group has the direct way alone


def test_a_reference_that_is_led_astray_is_outvoted():
    count, shape = 5, (16, 12)
    group = Group(
        torch.zeros(count, 1, 64, 48),
        torch.zeros(count, count, *shape, 2),
        torch.zeros(count, count, *shape),
        torch.zeros(count, count, 2, 1),
    )
    fields = torch.zeros(6, 4, 3, 2)
    fields[..., 0] = 3.0
    fields[2, ..., 0] = 40.0  # to its neighbour
    fields[5, ..., 0] = 7.0
    which = [0, 1, 2, 3, 4, -1]
    agreed, apart = agree_outside(group, which, fields, 16)
    torch.testing.assert_close(
        agreed[:5], torch.full((5, 4, 3, 1), 3.0) * torch.tensor([1.0, 0.0]), atol=2.0, rtol=0
    )
    assert torch.equal(agreed[5], fields[5])  # outside the group, it has no detours
    # The one that was led astray, 37 px from the others, is one of five answers.
    torch.testing.assert_close(apart[:5], torch.full((5, 4, 3), 37 / 5), atol=1.5, rtol=0)
    assert apart[5].isnan().all()
    assert agree_outside(group, [0, -1], fields[:2], 16)[1].isnan().all()


def test_answers_that_had_to_agree_tell_how_far_apart_they_lay(cohort: tuple[torch.Tensor, torch.Tensor]):
    seen, xy = cohort
    group = extend_group(empty_group(seen), seen[:3], STEPS, lambda *_: None)
    others = ~torch.eye(3, dtype=torch.bool)
    assert group.disputes.shape == (3, 3, 4, 5)  # stride 32
    assert (group.disputes[others] > 0).all()
    for target in (seen[2:3], seen[5:6]):
        ways = arrive(group, [0, 1], torch.stack([seen[0], seen[4]]), Described(target), STEPS)
        disputes = ways.dispute(xy[[0, 4]])
        assert (disputes[0] > 0).all()
        assert disputes[1].isnan().all()  # an exemplar outside the group has one way
    wider = extend_group(group, seen[4:5], STEPS, lambda *_: None)
    assert torch.equal(wider.disputes[:3, :3][others], group.disputes[others])
    assert (wider.disputes[3, :3] > 0).all()
    pair = extend_group(empty_group(seen), seen[:2], STEPS, lambda *_: None)
    assert pair.disputes.isnan().all()  # without a third one there are no detours


def test_the_way_back_returns():
    field = uniform(3, -2, (16, 20)) + torch.linspace(-2, 2, 20)[:, None]
    there_and_back = follow(field, invert(field, 4), 4)
    assert there_and_back[:, 2:-2, 4:-4].abs().max() < 0.05


def test_what_joins_leaves_the_group_as_it_is(cohort: tuple[torch.Tensor, torch.Tensor]):
    seen, xy = cohort
    group = extend_group(empty_group(seen), seen[:3], STEPS, lambda *_: None)
    wider = extend_group(group, seen[4:5], STEPS, lambda *_: None)
    assert torch.equal(wider.fields[:3, :3], group.fields)
    away = (carry(wider.fields[:1, 3], xy[:1], 4) - xy[4]).norm(dim=-1).mean()
    assert away < 0.5 * (xy[0] - xy[4]).norm(dim=-1).mean()


def test_a_group_of_one_has_nothing_to_register():
    group = extend_group(empty_group(texture()), texture(), STEPS, lambda *_: None)
    assert len(group) == 1
    assert group.fields.abs().max() == 0
