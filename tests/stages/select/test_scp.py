"""SCP: similarities by cascade, sets of radiographs by greedy or random search."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

from onemark import Cancelled, Cohort, Progress, UserError
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.embedding.locate import describe
from onemark.nn.training.canvases import CanvasCache
from onemark.stages.select.scp import SCP, SCPConfig
from onemark.stages.select.scp.search import best_of_random, greedy, score
from onemark.stages.select.scp.similarity import similarities

CANVAS = (128, 96)


def maps_of(generator: Callable[..., torch.Generator], seed: int, length: int = 16) -> list[torch.Tensor]:
    """Random embeddings per level that change slowly from cell to cell."""
    maps = []
    for stride in STRIDES:
        shape = (CANVAS[0] // stride, CANVAS[1] // stride)
        coarse = torch.randn(1, length, *(n // 2 + 2 for n in shape), generator=generator(seed + stride))
        maps.append(F.interpolate(coarse, shape, mode="bicubic", align_corners=True))
    return maps


def matrix(generator: Callable[..., torch.Generator], points: int = 60, radiographs: int = 9) -> torch.Tensor:
    return torch.rand(points, radiographs, generator=generator()) ** 4


# --- similarity --------------------------------------------------------------------------------------------


def test_points_of_the_same_radiograph_are_found_in_full_and_others_less(
    generator: Callable[..., torch.Generator],
):
    ours, theirs = maps_of(generator, 0), maps_of(generator, 100)
    xy = torch.rand(1, 30, 2, generator=generator()) * torch.tensor([70.0, 100.0]) + 12
    vectors = [level[0] for level in describe(ours, xy)]
    same, other = similarities(vectors, ours), similarities(vectors, theirs)
    assert same.shape == (30,)
    assert (same > other).all()
    assert same.mean() > 3 * other.mean()  # not 1: cells are compared, not points between them


def test_the_similarity_is_the_greatest_product_of_the_levels_cosines(
    generator: Callable[..., torch.Generator],
):
    maps = maps_of(generator, 3)
    xy = (torch.tensor([[[10.0, 20.0], [5.0, 7.0]]]) + 0.5) * 8 - 0.5
    vectors = [level[0] for level in describe(maps, xy)]
    product = torch.ones(2, *maps[0].shape[-2:])
    for v, m in zip(vectors, maps, strict=True):
        cosines = F.cosine_similarity(v[:, :, None, None], m, dim=1).clamp(0, 1)
        wide = F.interpolate(cosines[None], maps[0].shape[-2:], mode="bilinear", align_corners=False)[0]
        product = product * wide
    torch.testing.assert_close(similarities(vectors, maps), product.amax((1, 2)), atol=0.08, rtol=0)


def test_the_number_of_points_at_a_time_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, generator: Callable[..., torch.Generator]
):
    maps = maps_of(generator, 1)
    xy = torch.rand(1, 20, 2, generator=generator()) * torch.tensor([90.0, 120.0])
    vectors = [level[0] for level in describe(maps_of(generator, 2), xy)]
    whole = similarities(vectors, maps)
    monkeypatch.setattr("onemark.stages.select.scp.similarity.CHUNK", 7)
    torch.testing.assert_close(similarities(vectors, maps), whole)


# --- search ------------------------------------------------------------------------------------------------


def test_greedy_takes_each_time_what_adds_most(generator: Callable[..., torch.Generator]):
    similar = matrix(generator)
    chosen = greedy(similar, 4)
    assert chosen[0] == int(similar.mean(0).argmax())
    for size in range(1, 4):
        rest = [n for n in range(9) if n not in chosen[:size]]
        assert chosen[size] == max(rest, key=lambda n: score(similar, [*chosen[:size], n]))
    assert len(set(greedy(similar, 9))) == 9


def test_greedy_comes_close_to_the_best_of_all_sets(generator: Callable[..., torch.Generator]):
    similar = matrix(generator)
    best = max(score(similar, list(one)) for one in combinations(range(9), 3))
    assert score(similar, greedy(similar, 3)) >= 0.97 * best


def test_enough_random_sets_hold_the_best_and_few_do_not_always(generator: Callable[..., torch.Generator]):
    similar = matrix(generator)
    best = max(score(similar, list(one)) for one in combinations(range(9), 3))
    found = best_of_random(similar, 3, 2000, generator())
    assert score(similar, found) == pytest.approx(best)
    assert len(set(found)) == 3
    assert score(similar, best_of_random(similar, 3, 1, generator())) < best
    assert best_of_random(similar, 1, 1, generator()) == [int(similar.mean(0).argmax())]


def test_the_score_is_the_mean_over_points_of_the_best_chosen_radiograph():
    similar = torch.tensor([[0.2, 0.8, 0.1], [0.6, 0.4, 0.1]])
    assert score(similar, [0, 1]) == pytest.approx(0.7)
    assert score(similar, [0, 2]) == pytest.approx(0.4)


# --- selector ----------------------------------------------------------------------------------------------


def pooled(canvas: torch.Tensor) -> list[torch.Tensor]:
    """Embeddings without learning: grey value, its edges and a constant, at every level."""
    right = F.pad(canvas.diff(dim=3), (0, 1, 0, 0))
    down = F.pad(canvas.diff(dim=2), (0, 0, 0, 1))
    x = torch.cat([canvas - canvas.mean(), 4 * right, 4 * down, torch.full_like(canvas, 0.05)], 1)
    return [F.avg_pool2d(x, stride) for stride in STRIDES]


@pytest.fixture(scope="module")
def compared(phantoms: Cohort) -> SCP:
    store = CanvasCache(phantoms.subset(phantoms.names[:5]), CANVAS)
    return SCP(SCPConfig(keypoints=12), pooled).compare(store)


def test_every_radiograph_is_ranked_by_what_it_does_alone(
    compared: SCP, phantoms: Cohort, generator: Callable[..., torch.Generator]
):
    choice = compared.choose(2, generator())
    names, values = zip(*choice.ranking, strict=True)
    assert sorted(names) == sorted(phantoms.names[:5])
    assert list(values) == sorted(values, reverse=True)
    assert choice.chosen[0] == names[0]
    assert values[0] < choice.score <= 1
    assert 5 < len(compared.similar) <= 5 * 12


def test_both_searches_agree_where_all_sets_are_tried(
    compared: SCP, generator: Callable[..., torch.Generator]
):
    random = SCP(SCPConfig(search="random", draws=500), pooled)
    random.names, random.similar = compared.names, compared.similar
    ours, theirs = compared.choose(2, generator()), random.choose(2, generator())
    assert theirs.score >= ours.score > 0.98 * theirs.score


def test_more_than_there_are_cannot_be_chosen(compared: SCP, generator: Callable[..., torch.Generator]):
    for number in (0, 6):
        with pytest.raises(UserError, match="between 1 and 5"):
            compared.choose(number, generator())


def test_a_sink_can_stop_it(phantoms: Cohort):
    def sink(event: Progress) -> None:
        if event.step == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        SCP(SCPConfig(keypoints=4), pooled).compare(CanvasCache(phantoms, (64, 64)), sink)


def test_one_radiograph_leaves_nothing_to_choose(phantoms: Cohort):
    with pytest.raises(UserError, match="fewer than two"):
        SCP(SCPConfig(), pooled).compare(CanvasCache(phantoms.subset(phantoms.names[:1]), (64, 64)))
