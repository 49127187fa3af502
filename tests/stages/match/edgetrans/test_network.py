"""Attention, correlation and heads: what they see, and that a fresh network moves nothing that nothing speaks for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from onemark.stages.match.edgetrans.attention import STRIDES, Level, Pyramid, cut_windows, join_windows
from onemark.stages.match.edgetrans.config import EdgeTransConfig
from onemark.stages.match.edgetrans.correlation import (
    Match,
    fit_affine,
    near_cosines,
    near_match,
    smooth_field,
    unit,
    whole_match,
)
from onemark.stages.match.edgetrans.heads import AffineHead, FieldHead, affine_from
from onemark.stages.match.edgetrans.network import RegistrationNet
from onemark.stages.match.edgetrans.transform import Transform, cell_centres

CANVAS = (64, 96)
JOINT = EdgeTransConfig(pairing="joint", fine="windows", width=16, layers=2, field_stride=2, coarse_passes=0)
APART = EdgeTransConfig(width=16, length=8)
PAIRS = torch.tensor([0, 1]), torch.tensor([1, 2])


def maps(generator: Callable[..., torch.Generator], width: int = 8, batch: int = 2) -> list[torch.Tensor]:
    return [
        torch.randn(batch, width, CANVAS[0] // s, CANVAS[1] // s, generator=generator(s)) for s in STRIDES
    ]


def still(batch: int = 2, stride: int = 4) -> Transform:
    return Transform.identity(batch, CANVAS, stride, torch.device("cpu"))


# --- attention -------------------------------------------------------------------------------------------


def test_windows_are_squares_of_neighbours_and_go_back_where_they_came_from():
    m = torch.arange(2 * 3 * 8 * 12.0).view(2, 3, 8, 12)
    cut = cut_windows(m, 4)
    assert cut.shape == (2 * 2 * 3, 16, 3)
    torch.testing.assert_close(cut[1, :, 0].view(4, 4), m[0, 0, :4, 4:8])
    torch.testing.assert_close(join_windows(cut, m.shape, 4), m)


@pytest.mark.parametrize(("whole", "reached"), [(True, 64 * 96 // 16), (False, 16)])
def test_a_cell_sees_the_whole_level_or_its_window(whole: bool, reached: int):
    torch.manual_seed(0)
    level = Level((16, 24), 8, 1, 2, 0.0, whole, cross=False).eval()
    m = torch.randn(1, 8, 16, 24, requires_grad=True)
    out, _ = level(m, torch.zeros(1, 1, 8), None)
    out[0, :, 5, 6].square().sum().backward()
    assert m.grad is not None
    assert int((m.grad.abs().sum(1) > 0).sum()) == reached


def test_fine_windows_ask_the_same_area_of_the_lower_level():
    torch.manual_seed(0)
    level = Level((8, 8), 8, 1, 2, 0.0, whole=False, cross=True).eval()
    lower = torch.randn(1, 8, 4, 4, requires_grad=True)
    out, _ = level(torch.randn(1, 8, 8, 8), torch.zeros(1, 1, 8), lower)
    out[0, :, 1, 6].square().sum().backward()
    assert lower.grad is not None
    assert (lower.grad.abs().sum(1)[0] > 0).nonzero().tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]


@pytest.mark.parametrize("fine", [True, False])
def test_the_finest_map_and_the_token_depend_on_the_coarsest(
    fine: bool, generator: Callable[..., torch.Generator]
):
    torch.manual_seed(0)
    pyramid, given = Pyramid(CANVAS, 8, 1, 2, 0.0, fine).eval(), maps(generator)
    refined, token = pyramid(given)
    assert [m.shape for m in refined] == [m.shape for m in given]
    assert token.shape == (2, 8)
    changed, other = pyramid([*given[:3], given[3] + torch.randn(given[3].shape, generator=generator(9))])
    assert (changed[0] - refined[0]).abs().max() > 1e-3
    assert (other - token).abs().max() > 1e-3
    _, coarse = pyramid(given[2:])
    torch.testing.assert_close(coarse, token)


# --- correlation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "reach"), [((16, 24), 3), ((6, 10), 2), ((3, 5), 4)])
def test_products_in_blocks_are_those_of_every_step_of_the_window(
    shape: tuple[int, int], reach: int, generator: Callable[..., torch.Generator]
):
    a, b = (unit(torch.randn(2, 5, *shape, generator=generator(s))) for s in (1, 2))
    wide = torch.nn.functional.pad(b, (reach,) * 4)
    direct = [
        (a * wide[:, :, dy : dy + shape[0], dx : dx + shape[1]]).sum(1)
        for dy in range(2 * reach + 1)
        for dx in range(2 * reach + 1)
    ]
    torch.testing.assert_close(near_cosines(a, b, reach), torch.stack(direct, 1))


@pytest.mark.parametrize("whole", [True, False])
def test_a_shifted_map_is_matched_by_its_shift(whole: bool, generator: Callable[..., torch.Generator]):
    source = torch.randn(1, 32, 8, 12, generator=generator(3))
    target = source.roll(
        (2, -1), (2, 3)
    )  # what is at (x, y) of the target is at (x + 1, y - 2) of the source
    match = whole_match(target, source, 60.0, 8) if whole else near_match(target, source, 60.0, 3, 8)
    inner = match.move[0, :, 3:-3, 3:-3].flatten(1)
    torch.testing.assert_close(inner, torch.tensor([[8.0], [-16.0]]).expand_as(inner), atol=0.2, rtol=0)
    assert match.sure[0, 0, 3:-3, 3:-3].min() > 0.9


def test_the_affine_map_that_made_the_matches_is_fitted():
    at = Transform(
        torch.tensor([[[1.1, -0.1], [0.2, 0.9]]]), torch.tensor([[4.0, -3.0]]), still(1).displacement, CANVAS
    )
    move = (at.grid(16) - cell_centres(CANVAS, 16)).permute(0, 3, 1, 2)
    sure = torch.full((1, 1, 4, 6), 0.9)
    found = fit_affine(Match(torch.empty(0), move, sure, 16), still(1))
    torch.testing.assert_close(found.matrix, at.matrix, atol=2e-3, rtol=0)
    torch.testing.assert_close(found.translation, at.translation, atol=0.05, rtol=0)
    unsure = fit_affine(Match(torch.empty(0), move, sure * 0.01, 16), still(1))
    torch.testing.assert_close(unsure.matrix, still(1).matrix, atol=0.02, rtol=0)


def test_a_field_follows_the_sure_moves_and_fades_where_none_is():
    move, sure = torch.zeros(1, 2, 12, 40), torch.full((1, 1, 12, 40), 0.01)
    move[:, :, :, ::2], move[:, :, :, 1::2] = 6.0, -90.0
    sure[:, :, :, 0:12:2] = 0.9
    field = smooth_field(Match(torch.empty(0), move, sure, 4))
    assert (field[0, :, :, 4:8] - 6).abs().max() < 0.5
    assert field[0, :, :, 24:].abs().max() < 3


@pytest.mark.parametrize(("guided", "stride"), [(True, 4), (True, 2), (False, 4)])
def test_guided_fields_begin_at_the_local_correlations(
    guided: bool, stride: int, generator: Callable[..., torch.Generator]
):
    torch.manual_seed(0)
    config = replace(APART, affine="identity", guided=guided, field_stride=stride)  # type: ignore[arg-type]
    net = RegistrationNet(config, CANVAS).eval()
    for head in (net.field, net.coarse_field):
        for value in head.last.parameters():
            torch.nn.init.zeros_(value)
    images = torch.rand(2, 1, *CANVAS, generator=generator())
    with torch.no_grad():
        found = net(images, torch.tensor([0]), torch.tensor([1]), 2)
    begin = smooth_field(found.near[1][0])
    assert begin.abs().max() > 0.1
    assert found.near[1][0].stride == 4
    size = (CANVAS[0] // stride, CANVAS[1] // stride)
    begin = torch.nn.functional.interpolate(begin, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found.fields[1], begin if guided else torch.zeros_like(begin))


# --- heads -----------------------------------------------------------------------------------------------


def test_the_affine_heads_numbers_are_scales_turn_shear_and_shift():
    def made(**numbers: float) -> Transform:
        order = ("sx", "sy", "turn", "shear", "tx", "ty")
        return affine_from(torch.tensor([[numbers.get(n, 0.0) for n in order]]), still(1))

    point = torch.tensor([[[CANVAS[1] / 2 - 0.5 + 10, CANVAS[0] / 2 - 0.5]]])  # 10 px right of the centre
    assert (made()(point) - point).abs().max() < 1e-4
    assert (made(sx=0.5)(point) - point)[0, 0].tolist() == pytest.approx([5, 0], abs=1e-4)
    assert (made(sy=0.5)(point) - point)[0, 0].tolist() == pytest.approx([0, 0], abs=1e-4)
    assert (made(turn=1.0)(point) - point)[0, 0].tolist() == pytest.approx([-10, 10], abs=1e-4)
    assert (made(shear=0.2)(point + torch.tensor([0.0, 5.0])) - point)[0, 0].tolist() == pytest.approx(
        [0.1 * math.pi * 5, 5], abs=1e-4
    )
    assert (made(tx=1.0, ty=-0.5)(point) - point)[0, 0].tolist() == pytest.approx([48, -16], abs=1e-4)


def test_an_affine_map_is_done_on_the_targets_side_of_another():
    first = affine_from(torch.tensor([[0.1, 0.0, 0.2, 0.0, 0.1, 0.0]]), still(1))
    numbers = torch.tensor([[0.0, -0.2, -0.1, 0.05, 0.0, 0.2]])
    points = torch.tensor([[[10.0, 20.0], [70.0, 50.0]]])
    torch.testing.assert_close(
        affine_from(numbers, first)(points), first(affine_from(numbers, still(1))(points)), atol=1e-4, rtol=0
    )


def test_a_perspective_makes_one_side_larger():
    at = affine_from(torch.tensor([[0, 0, 0, 0, 0, 0, 0.5, 0.0]]), still(1))
    x = at.grid(4)[0, 8, :, 0]
    steps = x.diff()
    assert steps[0] > steps[-1] * 1.5
    assert (steps > 0).all()


def test_heads_begin_with_nothing_and_keep_their_range(generator: Callable[..., torch.Generator]):
    torch.manual_seed(0)
    field, affine = FieldHead(8, CANVAS, 2), AffineHead(8, perspective=False).eval()
    assert field(maps(generator)[0]).abs().max() == 0
    assert affine(torch.randn(2, 8)).abs().max() == 0
    torch.nn.init.constant_(field.last.bias, 99.0)
    assert field(maps(generator)[0]).amax((0, 2, 3)).tolist() == [CANVAS[1] / 4, CANVAS[0] / 4]
    assert field(maps(generator)[0]).shape == (2, 2, CANVAS[0] // 2, CANVAS[1] // 2)


# --- the whole -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [JOINT, APART])
def test_pairs_are_registered_in_cascades_of_any_length(
    config: EdgeTransConfig, generator: Callable[..., torch.Generator]
):
    torch.manual_seed(0)
    net = RegistrationNet(config, CANVAS).eval()
    images = torch.rand(3, 1, *CANVAS, generator=generator())
    with torch.no_grad():
        for part in (net.field, net.coarse_field or net.field):
            part.last.weight.normal_(0, 0.3 * part.ease, generator=generator())
        one, three = net(images, *PAIRS, 1), net(images, *PAIRS, 3)
    assert len(three.steps) == len(three.fields) == 3
    torch.testing.assert_close(one.answer.displacement, three.steps[0].displacement)
    assert three.steps[2].displacement.shape == (2, 2, *(n // config.field_stride for n in CANVAS))
    assert (three.steps[2].displacement - three.steps[1].displacement).abs().max() > 1e-3
    torch.testing.assert_close(three.steps[1].displacement, three.steps[0].then(three.fields[1]).displacement)


@pytest.mark.parametrize("config", [JOINT, APART])
def test_a_pair_does_not_depend_on_the_others_of_the_batch(
    config: EdgeTransConfig, generator: Callable[..., torch.Generator]
):
    torch.manual_seed(0)
    net = RegistrationNet(config, CANVAS).eval()
    images = torch.rand(3, 1, *CANVAS, generator=generator())
    with torch.no_grad():
        both = net(images, *PAIRS, 1)
        alone = net(images[1:], torch.tensor([0]), torch.tensor([1]), 1)
    torch.testing.assert_close(both.answer.grid(8)[1:], alone.answer.grid(8), atol=1e-2, rtol=0)


def test_affine_identity_is_left_out_and_a_given_start_is_kept(generator: Callable[..., torch.Generator]):
    torch.manual_seed(0)
    net = RegistrationNet(EdgeTransConfig(width=16, length=8, affine="identity"), CANVAS).eval()
    images = torch.rand(3, 1, *CANVAS, generator=generator())
    with torch.no_grad():
        assert net(images, *PAIRS, 1).affine.matrix.tolist() == still().matrix.tolist()
        start = affine_from(torch.full((2, 6), 0.1), still())
        torch.testing.assert_close(net(images, *PAIRS, 1, start).affine.grid(8), start.grid(8))


def test_encoders_are_named_as_the_detectors_are_so_that_these_can_start_from_them():
    names = {k for k in RegistrationNet(APART, CANVAS).state_dict() if k.startswith("backbone.")}
    from onemark.nn.backbones.unet import UNet

    assert names == {f"backbone.{k}" for k in UNet().state_dict()}
