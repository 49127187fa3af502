from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onemark.imaging.augment import Geometry, Intensity, Warp, sample

CANVAS = (96, 128)
STILL = Geometry(rotation=0, log_scale=0, shear=0, shift=0, elastic=0)
ONE_KIND = {
    "rotation": dataclasses.replace(STILL, rotation=0.4),
    "scale": dataclasses.replace(STILL, log_scale=0.3),
    "shear": dataclasses.replace(STILL, shear=0.1),
    "shift": dataclasses.replace(STILL, shift=0.15),
    "elastic": dataclasses.replace(STILL, elastic=0.01),
    "flip": dataclasses.replace(STILL, flip=1.0),
    "all": dataclasses.replace(Geometry(), flip=0.5),
}
kinds = st.sampled_from(sorted(ONE_KIND))
seeds = st.integers(0, 2**31)


def inner_points(
    generator: Callable[..., torch.Generator], batch: int, count: int, seed: int
) -> torch.Tensor:
    """`[batch, count, 2]` points of the middle of the canvas."""
    share = 0.3 + 0.4 * torch.rand(batch, count, 2, generator=generator(seed))
    return share * torch.tensor([CANVAS[1], CANVAS[0]])


def blobs(xy: torch.Tensor, sigma: float = 1.5) -> torch.Tensor:
    """`[B, N, 2]` points -> `[B, N, H, W]` Gaussians."""
    y, x = torch.meshgrid(*(torch.arange(n) for n in CANVAS), indexing="ij")
    square = (x - xy[..., 0, None, None]) ** 2 + (y - xy[..., 1, None, None]) ** 2
    return torch.exp(-square / (2 * sigma**2))


def centroids(maps: torch.Tensor) -> torch.Tensor:
    """`[B, N, H, W]` -> centres of mass `[B, N, 2]`."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in CANVAS), indexing="ij")
    return torch.stack([(maps * x).sum((2, 3)), (maps * y).sum((2, 3))], -1) / maps.sum((2, 3))[..., None]


@settings(deadline=None)
@given(kind=kinds, seed=seeds)
def test_inverse_undoes_forward(kind: str, seed: int, generator: Callable[..., torch.Generator]):
    warp = Warp.draw(3, CANVAS, ONE_KIND[kind], generator(seed))
    points = inner_points(generator, 3, 7, seed)
    torch.testing.assert_close(warp.inverse(warp.forward(points)), points, rtol=0, atol=5e-3)
    torch.testing.assert_close(warp.forward(warp.inverse(points)), points, rtol=0, atol=5e-3)


def test_inverse_holds_for_strong_warps_but_where_they_fold(generator: Callable[..., torch.Generator]):
    warp = Warp.draw(64, CANVAS, Geometry().times(2), generator(0))
    points = inner_points(generator, 64, 200, 0)
    missed = (warp.forward(warp.inverse(points)) - points).norm(dim=-1)
    assert (missed > 0.05).float().mean() < 0.002


@settings(deadline=None, max_examples=60)
@given(kind=kinds, seed=seeds)
def test_a_drawn_dot_follows_its_coordinates(kind: str, seed: int, generator: Callable[..., torch.Generator]):
    warp = Warp.draw(2, CANVAS, ONE_KIND[kind], generator(seed))
    points = inner_points(generator, 2, 3, seed)
    seen = centroids(warp.images(blobs(points)))
    expected = warp.inverse(points)
    inside = ((expected > 12) & (expected < torch.tensor([CANVAS[1], CANVAS[0]]) - 13)).all(-1)
    assert (seen - expected)[inside].norm(dim=-1).lt(0.6).all()  # a blob bends with the field


@pytest.mark.parametrize("kind", sorted(ONE_KIND))
def test_every_kind_moves_points(kind: str, generator: Callable[..., torch.Generator]):
    points = inner_points(generator, 8, 5, 0)
    moved = Warp.draw(8, CANVAS, ONE_KIND[kind], generator(0)).inverse(points)
    assert (moved - points).norm(dim=-1).mean() > 0.5


def test_no_change_changes_nothing(generator: Callable[..., torch.Generator]):
    warp = Warp.draw(2, CANVAS, STILL, generator(0))
    image = torch.rand(2, 1, *CANVAS, generator=generator(1))
    torch.testing.assert_close(warp.images(image), image, atol=1e-4, rtol=0)
    points = inner_points(generator, 2, 4, 0)
    torch.testing.assert_close(warp.inverse(points), points)


def test_a_shift_goes_the_way_it_says(generator: Callable[..., torch.Generator]):
    geometry = dataclasses.replace(STILL, shift=0.1)
    warp = Warp.draw(1, CANVAS, geometry, generator(3))
    points = inner_points(generator, 1, 4, 0)
    torch.testing.assert_close(warp.inverse(points), points - warp.translation[:, None])


def test_a_flip_mirrors_left_and_right(generator: Callable[..., torch.Generator]):
    warp = Warp.draw(1, CANVAS, ONE_KIND["flip"], generator(0))
    image = torch.rand(1, 1, *CANVAS, generator=generator(1))
    torch.testing.assert_close(warp.images(image), image.flip(-1), atol=1e-4, rtol=0)
    x, y = 20.0, 30.0
    mirrored = torch.tensor([[[CANVAS[1] - 1 - x, y]]])
    torch.testing.assert_close(warp.inverse(torch.tensor([[[x, y]]])), mirrored)


def test_as_many_points_as_pixels_are_still_points(generator: Callable[..., torch.Generator]):
    warp = Warp.draw(1, CANVAS, ONE_KIND["elastic"], generator(0))
    many = inner_points(generator, 1, CANVAS[0] * CANVAS[1], 0)
    few = warp.forward(many[:, :10])
    torch.testing.assert_close(warp.forward(many)[:, :10], few)


def test_what_leaves_the_canvas_is_black(generator: Callable[..., torch.Generator]):
    warp = Warp.draw(4, CANVAS, ONE_KIND["shift"], generator(1))
    views = warp.images(torch.ones(4, 1, *CANVAS))
    assert views.amin() == 0
    assert views.amax() <= 1 + 1e-6


def test_a_factor_scales_every_range():
    twice = Geometry(flip=0.3).times(2)
    once = Geometry(flip=0.3)
    for name in ("rotation", "log_scale", "shear", "shift", "elastic"):
        assert getattr(twice, name) == 2 * getattr(once, name)
    assert (twice.cells, twice.flip) == (once.cells, once.flip)


def test_the_same_generator_draws_the_same_warp(generator: Callable[..., torch.Generator]):
    first, second, other = (Warp.draw(2, CANVAS, Geometry(), generator(seed)) for seed in (5, 5, 6))
    for name in ("matrix", "translation", "elastic"):
        assert torch.equal(getattr(first, name), getattr(second, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))


def test_sample_reads_pixel_centres_at_integers():
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    xy = torch.tensor([[[[0.0, 0.0], [3.0, 2.0], [1.5, 1.0]]]])
    torch.testing.assert_close(sample(maps, xy)[0, 0, 0], torch.tensor([0.0, 11.0, 5.5]))


ALWAYS = Intensity(collimation=1, marker=1, invert=1)


@settings(deadline=None)
@given(seed=seeds, batch=st.integers(1, 3), height=st.integers(8, 40), strong=st.booleans())
def test_intensity_keeps_shape_and_range(
    seed: int, batch: int, height: int, strong: bool, generator: Callable[..., torch.Generator]
):
    images = torch.rand(batch, 1, height, 24, generator=generator(seed))
    changed = (ALWAYS if strong else Intensity()).apply(images, generator(seed))
    assert changed.shape == images.shape
    assert changed.isfinite().all()
    assert changed.amin() >= 0
    assert changed.amax() <= 1


def test_intensity_is_the_generators(generator: Callable[..., torch.Generator]):
    images = torch.rand(4, 1, 40, 40, generator=generator(0))
    first, second, other = (Intensity().apply(images, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_intensity_treats_each_image_in_its_own_way(generator: Callable[..., torch.Generator]):
    images = torch.rand(1, 1, 40, 40, generator=generator(0)).expand(6, -1, -1, -1)
    means = Intensity(noise=0).apply(images, generator(0)).mean((1, 2, 3))
    assert len(set(means.tolist())) == 6


NOTHING = Intensity(*(0.0,) * 8)


def test_no_intensity_change_changes_nothing(generator: Callable[..., torch.Generator]):
    images = torch.rand(2, 1, 30, 30, generator=generator(0))
    torch.testing.assert_close(NOTHING.apply(images, generator(0)), images, atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Intensity)])
def test_every_intensity_change_does_something(name: str, generator: Callable[..., torch.Generator]):
    images = torch.rand(8, 1, 40, 40, generator=generator(0)) * 0.8
    changed = dataclasses.replace(NOTHING, **{name: 1.0}).apply(images, generator(1))
    assert (changed - images).abs().amax() > 0.05


def test_a_negative_is_one_minus_the_image(generator: Callable[..., torch.Generator]):
    images = torch.rand(2, 1, 30, 30, generator=generator(0))
    changed = dataclasses.replace(NOTHING, invert=1.0).apply(images, generator(0))
    torch.testing.assert_close(changed, 1 - images, atol=2e-4, rtol=0)


def test_a_marker_is_small_and_bright_and_collimation_is_a_dark_border(
    generator: Callable[..., torch.Generator],
):
    images = torch.full((16, 1, 100, 100), 0.5)
    marked = dataclasses.replace(NOTHING, marker=1.0).apply(images, generator(0))
    bright = (marked > 0.75).float().mean((1, 2, 3))
    assert bright.gt(0).any()
    assert bright.lt(0.02).all()
    covered = dataclasses.replace(NOTHING, collimation=1.0).apply(images, generator(0))
    dark = covered < 0.15
    assert dark.any()
    assert not dark[:, :, 13:87, 13:87].any()
