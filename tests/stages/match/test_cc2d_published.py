"""The published configuration of CC2D: template patches, two extractors, the product of clipped cosines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import onemark
from onemark import Cohort, LandmarkTable, UserError
from onemark.imaging.augment import UNCHANGED, sample
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.device import fabric_for
from onemark.nn.embedding.embed import TwoEmbedders, distance_bias
from onemark.nn.embedding.locate import describe, find, find_product, nearest_cells
from onemark.nn.embedding.patches import crop, patches_around
from onemark.nn.training.canvases import ResolutionLevel, resolution_levels
from onemark.progress import silent
from onemark.stages.match.cc2d import CC2D, CC2DConfig, patch
from onemark.stages.match.cc2d.patch import PatchBatch, PatchTask
from onemark.testing import fit_stage

FABRIC = fabric_for("cpu")
TINY = CC2DConfig(task="patch", area=4096, patch=32, batch=2, anchors=4, steps=3, window=3, rate=1e-3)


class Canvases:
    """Stands for a FrameStore that always draws the same canvases `[B, 1, H, W]`."""

    def __init__(self, canvases: torch.Tensor) -> None:
        self.canvases, self.canvas = canvases, tuple(canvases.shape[-2:])

    def draw(self, count: int, generator: torch.Generator) -> list[int]:
        return list(range(count))

    def read(self, indices: list[int]) -> torch.Tensor:
        return self.canvases[indices]


def draw(generator: Callable[..., torch.Generator], canvases: torch.Tensor, **changes: Any) -> PatchBatch:
    """A batch from given canvases, the same patches, turns and anchors for canvases of the same shape."""
    config = dataclasses.replace(TINY, batch=len(canvases), patch=64, **changes)
    return PatchTask(None, [ResolutionLevel(1.0, Canvases(canvases), [])], config).batch(generator(), 0.0)


def ramps(count: int) -> torch.Tensor:
    """`[count, 2, 96, 128]`: the x and the y of every pixel, over 128."""
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    return (torch.stack([x, y]) / 128).expand(count, -1, -1, -1)


# ---------------------------------------------------------------- patches


def test_a_point_keeps_its_place_through_crop_and_turn(
    monkeypatch: pytest.MonkeyPatch, generator: Callable[..., torch.Generator]
):
    monkeypatch.setattr(patch, "JITTER", UNCHANGED)
    coordinates = ramps(8).clone()
    coordinates[:, :, 0, 0] = 0  # grey values stay within [0, 1]
    x, y = (draw(generator, coordinates[:, i : i + 1], anchors=16) for i in range(2))
    assert torch.equal(x.here, y.here)
    seen = torch.stack([sample(b.patches, b.here[:, None])[:, 0, 0] for b in (x, y)], -1) * 128
    inner = (x.there >= 1).all(-1) & (x.inside > 0)  # augmentation lifts black off zero
    assert inner.float().mean() > 0.9
    assert (seen - x.there)[inner].abs().max() < 0.02
    moved = (x.here - x.there).diff(dim=1).norm(dim=-1)
    assert (moved > 1).float().mean() > 0.5  # the patches are turned, not only moved


def test_a_drawn_dot_lies_where_its_coordinate_says(generator: Callable[..., torch.Generator]):
    empty = torch.full((8, 1, 96, 128), 0.3)
    there = draw(generator, empty, anchors=1).there
    away = (ramps(8) * 128 - there[:, 0, :, None, None]).pow(2).sum(1, keepdim=True)
    batch = draw(generator, 0.3 + 0.6 * torch.exp(-away / 4), anchors=1)
    assert torch.equal(batch.there, there)
    best = batch.patches.flatten(1).argmax(1)
    dot = torch.stack([best % 64, best // 64], -1)
    assert ((dot - batch.here[:, 0]).abs().amax(-1) < 1.0)[batch.inside[:, 0] > 0].all()


def test_anchors_come_from_the_inner_part_and_patches_lie_inside(generator: Callable[..., torch.Generator]):
    batch = draw(generator, torch.rand(64, 1, 96, 128, generator=generator(3)), anchors=32)
    assert batch.patches.shape == (64, 1, 64, 64)
    corner = batch.there.amin(1).floor()
    assert (batch.there >= 0.1 * 63 - 1e-3).all()
    assert (batch.there[..., 0] <= 127 - 0.1 * 63 + 1e-3).all()
    assert (batch.there[..., 1] <= 95 - 0.1 * 63 + 1e-3).all()
    assert (batch.there.amax(1) - corner).amax() <= 0.8 * 63 + 1
    on_patch = ((batch.here >= 0) & (batch.here <= 63)).all(-1)
    assert torch.equal(on_patch.float(), batch.inside)


def test_patches_around_points_move_inwards_at_borders(generator: Callable[..., torch.Generator]):
    canvas = torch.rand(1, 1, 64, 96, generator=generator())
    xy = torch.tensor([[48.0, 32.0], [0.0, 0.0], [95.0, 63.0], [40.6, 20.2]])
    patches, inner = patches_around(canvas, xy, 32)
    assert patches.shape == (4, 1, 32, 32)
    assert torch.equal(patches[1, 0], canvas[0, 0, :32, :32])
    assert torch.equal(patches[2, 0], canvas[0, 0, 32:, 64:])
    assert torch.allclose(
        sample(patches, inner[:, None, None]).flatten(), sample(canvas, xy[None, None]).flatten(), atol=1e-5
    )
    assert (inner[0] - 15.5).abs().max() <= 0.5
    two = torch.stack([canvas[0], 1 - canvas[0]])
    cut = crop(two, torch.tensor([[3, 5], [7, 0]]), 32)
    assert torch.equal(cut[0, 0], canvas[0, 0, 5:37, 3:35])
    assert torch.equal(cut[1, 0], 1 - canvas[0, 0, 0:32, 7:39])


@pytest.mark.parametrize("size", [48, 160])
def test_a_patch_that_does_not_fit_is_refused(size: int):
    with pytest.raises(UserError, match=r"multiple of 32 px and fit on the canvas of 128 x 96 px"):
        PatchTask(None, [ResolutionLevel(1.0, Canvases(ramps(1)), [])], dataclasses.replace(TINY, patch=size))


# ---------------------------------------------------------------- loss


def planted(generator: Callable[..., torch.Generator], seed: int) -> list[torch.Tensor]:
    g = generator(seed)
    return [torch.randn(2, 5, 64 // s, 96 // s, generator=g) for s in STRIDES]


def nats(template: torch.Tensor, m: torch.Tensor, x: int, y: int, half: int | None, slope: float) -> float:
    """Eq. 2 of one anchor on one level, cell by cell."""
    logits = []
    for row in range(m.shape[1]):
        for column in range(m.shape[2]):
            if half is None or max(abs(row - y), abs(column - x)) <= half:
                cosine = float(F.cosine_similarity(template, m[:, row, column], dim=0))
                logits.append(10 * (cosine + min(slope * math.hypot(row - y, column - x), 0.8)))
    right = 10 * float(F.cosine_similarity(template, m[:, y, x], dim=0))
    return math.log(sum(math.exp(v) for v in logits)) - right


@pytest.mark.parametrize("slope", [0.0, 0.07])
def test_the_loss_is_equation_2(slope: float, generator: Callable[..., torch.Generator]):
    whole, patches = planted(generator, 0), planted(generator, 1)
    here = torch.tensor([[[20.0, 31.4], [0.0, 63.0]], [[50.0, 5.0], [33.0, 40.0]]])
    there = torch.tensor([[[0.0, 0.0], [95.0, 63.0]], [[63.5, 40.0], [17.0, 22.0]]])
    inside = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    images = torch.zeros(2, 1, 64, 96), torch.ones(2, 1, 64, 96)
    config = dataclasses.replace(TINY, distance_bias=slope)
    task = PatchTask(None, [ResolutionLevel(1.0, Canvases(images[0]), [])], config)
    loss, _ = task.loss(
        lambda x: whole if x is images[0] else patches, PatchBatch(*images, here, there, inside)
    )

    expected = 0.0
    for level, stride in enumerate(STRIDES):
        half = None if stride == 32 else config.window
        for b, n in ((0, 0), (0, 1), (1, 0)):  # the last anchor was turned off its patch
            px, py = (int(v + 0.5) // stride for v in here[b, n])
            x, y = (int(v + 0.5) // stride for v in there[b, n])
            template = patches[level][b, :, py, px]
            expected += nats(template, whole[level][b], x, y, half, slope) / 3
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_distance_bias_grows_by_the_cell_up_to_its_cap():
    index = torch.arange(48).view(1, 1, 48)
    bias = distance_bias(index, 8, torch.tensor([[[2.0, 3.0]]]), 0.07, 0.3).view(6, 8)
    assert bias[3, 2] == 0
    assert float(bias[3, 5]) == pytest.approx(0.07 * 3)
    assert float(bias[0, 6]) == pytest.approx(0.3)  # 0.07 * 5 is above
    assert float(bias[4, 3]) == pytest.approx(0.07 * math.sqrt(2))


def test_distance_bias_works_on_dense_pairs_too(phantoms: Cohort, exemplars: LandmarkTable):
    losses = []
    for slope in (0.0, 0.07):
        config = CC2DConfig(area=4096, batch=2, steps=1, distance_bias=slope)
        log: list[dict[str, Any]] = []
        fit_stage(CC2D, phantoms, exemplars, config, log=log)
        losses.append(log[0]["loss"])
    assert losses[1] > losses[0] + 0.1


# ---------------------------------------------------------------- inference


def test_templates_are_the_cells_in_which_points_lie(generator: Callable[..., torch.Generator]):
    xy = torch.tensor([0.0, 1.4, 1.6, 31.0, 32.0])
    assert nearest_cells(xy, 2).tolist() == [0, 0, 1, 15, 16]
    assert nearest_cells(xy, 32).tolist() == [0, 0, 0, 0, 1]
    maps = planted(generator, 2)
    point = torch.tensor([[[37.0, 21.0]]]).expand(2, -1, -1)
    for stride, m, v in zip(STRIDES, maps, describe(maps, point, rounded=True), strict=True):
        cell = m[:, :, 21 // stride, 37 // stride]
        assert torch.allclose(v[:, 0], F.normalize(cell, dim=-1), atol=1e-6)


def test_the_product_of_clipped_cosines_is_equation_3(generator: Callable[..., torch.Generator]):
    maps = planted(generator, 3)
    vectors = describe(maps, torch.tensor([[[40.0, 20.0], [77.0, 50.0]]]).expand(2, -1, -1))
    product = torch.ones(2, 2, 64, 96)
    for v, m in zip(vectors, maps, strict=True):
        cosines = torch.einsum("bnc,bchw->bnhw", v, F.normalize(m, dim=1))
        product *= F.interpolate(cosines.clamp(0, 1), (64, 96), mode="bilinear", align_corners=False)
    found = find_product(vectors, maps, (64, 96), 10.0, radius=0)
    best = product.flatten(2).argmax(-1)
    assert torch.allclose(found.xy, torch.stack([best % 96, best // 96], -1).float(), atol=1e-4)
    assert torch.allclose(found.score, product.flatten(2).amax(-1) ** 0.2, atol=1e-5)
    between = find_product(vectors, maps, (64, 96), 10.0).xy
    assert ((between - found.xy).abs() <= 3).all()
    assert (between != between.round()).any()


def test_the_peak_of_the_sum_can_be_a_cell(generator: Callable[..., torch.Generator]):
    maps = planted(generator, 4)
    vectors = describe(maps, torch.tensor([[[40.5, 20.5]]]).expand(2, -1, -1))
    best, mean = (find(vectors, maps, 10.0, radius).xy for radius in (0, 3))
    assert torch.equal(
        best, torch.tensor([[[40.5, 20.5]]]).expand(2, -1, -1)
    )  # the centre of a cell of stride 2
    assert not torch.equal(mean, best)


# ---------------------------------------------------------------- the stage


def state_of(matcher: CC2D) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in matcher.network.state_dict().items()}


def test_two_extractors_both_learn_and_templates_come_from_patches(
    phantoms: Cohort, exemplars: LandmarkTable
):
    config = dataclasses.replace(TINY, extractors="two", cascade="product", peak="argmax", steps=2)
    torch.manual_seed(0)
    before = state_of(CC2D(config, exemplars.names, (64, 64), FABRIC))
    matcher = fit_stage(CC2D, phantoms, exemplars, config)
    assert isinstance(matcher.network, TwoEmbedders)
    after = state_of(matcher)
    for name in ("heads.0.weight", "template.heads.0.weight"):
        assert not torch.equal(before[name], after[name])

    store = resolution_levels(phantoms, exemplars, matcher.canvas, 0, 100, silent)[0]
    canvas, xy = store.store.read([store.exemplars[0].index]), store.exemplars[0].xy
    patches, inner = patches_around(canvas, xy, 32)
    with torch.inference_mode():
        maps = matcher.network.template.eval()(patches)
    for kept, level in zip(matcher.templates, describe(maps, inner[:, None], rounded=True), strict=True):
        assert torch.allclose(kept[0], level[:, 0], atol=0.05)  # bfloat16 where the processor has it
    found = matcher.locate(phantoms[2])
    assert np.isfinite(found.xy).all()
    assert set(matcher.explain(phantoms[2], exemplars.names[1]).maps) >= {
        "similarity s2",
        "similarity product",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "dense", "extractors": "two"}, "needs match.task=patch"),
        ({"context": "aspp", "batch": 1}, "needs match.batch of at least 2"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    changes: dict[str, Any], message: str, phantoms: Cohort, exemplars: LandmarkTable
):
    with pytest.raises(UserError, match=message):
        fit_stage(CC2D, phantoms, exemplars, dataclasses.replace(TINY, **changes))


def test_learning_lowers_the_loss(
    phantoms: Cohort, exemplars: LandmarkTable, generator: Callable[..., torch.Generator]
):
    config = dataclasses.replace(TINY, context="aspp", extractors="two", anchors=16)
    torch.manual_seed(0)
    network = CC2D(config, exemplars.names, (64, 64), FABRIC).network
    task = PatchTask(network, resolution_levels(phantoms, exemplars, (64, 64), 0, 100, silent), config)
    batch = task.batch(generator(), 0.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(6):
        loss, _ = task.loss(network, batch)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 2


def test_a_vgg19_matcher_learns_and_comes_back_the_same(phantoms: Cohort, exemplars: LandmarkTable):
    published = onemark.RECIPES["cc2d"].configure(
        {"match.weights": "none", "match.area": 4096, "match.patch": 32, "match.batch": 2, "match.steps": 2}
    )["match"]
    config = dataclasses.replace(published, extractors="shared", context="none")
    log: list[dict[str, Any]] = []
    matcher = fit_stage(CC2D, phantoms, exemplars, config, log=log)
    again = CC2D.restore(*matcher.state(), FABRIC)
    assert again.config == config
    assert len(log) == 2
    for index in (1, 5):
        one, other = matcher.locate(phantoms[index]), again.locate(phantoms[index])
        assert np.array_equal(one.xy, other.xy)
        assert np.array_equal(one.score, other.score)


def test_the_recipe_is_the_papers():
    config = onemark.RECIPES["cc2d"].configure()
    match, detect = config["match"], config["detect"]
    assert (match.encoder, match.weights, match.context, match.extractors) == (
        "vgg19",
        "imagenet",
        "aspp",
        "two",
    )
    assert (match.task, match.patch, match.anchors, match.length, 2 * match.window + 1) == (
        "patch",
        192,
        1,
        16,
        19,
    )
    assert (match.area, match.batch, match.steps) == (384**2, 8, 3500 * math.ceil(150 / 8))
    assert (match.optimizer, match.schedule, match.rate) == ("adam", "halving", 1e-3)
    assert (match.cascade, match.peak, match.distance_bias, match.temperature) == ("product", "argmax", 0, 10)
    assert (detect.head, detect.encoder, detect.weights, detect.disc) == ("voting", "vgg19", "imagenet", 0.05)
    assert (detect.area, detect.batch, detect.steps, detect.rate) == (384**2, 16, 300 * 150 // 15, 3e-4)
    assert (detect.loss, detect.heat_weight, detect.augment, detect.drop) == ("bce", 1, "jitter", 0)
    assert (detect.optimizer, detect.schedule, detect.peak) == ("adam", "tenths", "argmax")
