"""The compact matcher: comparing embeddings, and pairs of points whose places are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from onemark import Cohort, LandmarkTable, UserError
from onemark.imaging.augment import Intensity, sample
from onemark.nn.backbones.pyramid import pyramid
from onemark.nn.backbones.unet import STRIDES
from onemark.nn.device import fabric_for
from onemark.nn.embedding import dense
from onemark.nn.embedding.dense import DenseTask
from onemark.nn.embedding.embed import Embedder, vectors_at, whole_cosines, window, window_cosines
from onemark.nn.embedding.locate import describe, find, level_maps
from onemark.nn.heatmaps.decode import pixels_to_cells
from onemark.nn.training.canvases import CanvasExemplar, ResolutionLevel
from onemark.stages.match.cc2d import CC2D, CC2DConfig
from onemark.stages.match.cc2d import matcher as cc2d
from onemark.testing import fit_stage

FABRIC = fabric_for("cpu")
CANVAS = (128, 96)
TINY = CC2DConfig(area=4096, batch=2, steps=2, length=8)


def smooth_maps(
    generator: Callable[..., torch.Generator], seed: int, batch: int = 2, length: int = 32
) -> list[torch.Tensor]:
    """Random embeddings per level `[B, C, h, w]` that change slowly from cell to cell."""
    maps = []
    for stride in STRIDES:
        shape = (CANVAS[0] // stride, CANVAS[1] // stride)
        coarse = torch.randn(batch, length, *(n // 2 + 2 for n in shape), generator=generator(seed + stride))
        maps.append(F.interpolate(coarse, shape, mode="bicubic", align_corners=True))
    return maps


def points(generator: Callable[..., torch.Generator], batch: int, count: int, seed: int = 0) -> torch.Tensor:
    """`[B, N, 2]` away from the border of the canvas."""
    return 12 + torch.rand(batch, count, 2, generator=generator(seed)) * torch.tensor(
        [CANVAS[1] - 24, CANVAS[0] - 24]
    )


# --- comparing -------------------------------------------------------------------------------------------


def test_vectors_are_bilinear_and_of_length_one(generator: Callable[..., torch.Generator]):
    m = torch.randn(2, 5, 7, 9, generator=generator(0))
    cells = torch.rand(2, 11, 2, generator=generator(1)) * torch.tensor([8.0, 6.0])
    found = vectors_at(m, cells)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2, 11))
    expected = sample(m, cells[:, None], "border")[:, :, 0].transpose(1, 2)
    torch.testing.assert_close(found, F.normalize(expected, dim=-1))


def test_vectors_beyond_the_border_are_those_of_the_border(generator: Callable[..., torch.Generator]):
    m = torch.randn(1, 4, 5, 6, generator=generator(0))
    beyond = torch.tensor([[[-0.4, 2.0], [5.4, 4.4]]])
    torch.testing.assert_close(vectors_at(m, beyond), vectors_at(m, torch.tensor([[[0.0, 2.0], [5.0, 4.0]]])))


def test_cosines_of_windows_are_those_of_the_whole_map(generator: Callable[..., torch.Generator]):
    m = torch.randn(2, 5, 7, 9, generator=generator(0))
    vectors = F.normalize(torch.randn(2, 3, 5, generator=generator(1)), dim=-1)
    whole = whole_cosines(vectors, m)
    direct = F.cosine_similarity(vectors[:, :, :, None, None], m[:, None], dim=2)
    torch.testing.assert_close(whole, direct)
    cells = torch.tensor([[[0, 0], [4, 3], [8, 6]]]).expand(2, -1, -1)
    index, inside = window(cells, 2, (7, 9))
    near = window_cosines(vectors, m, index)
    torch.testing.assert_close(near, whole.flatten(2).gather(2, index))
    assert inside.sum(-1).tolist() == [[9, 25, 9]] * 2
    assert index[0, 1].view(5, 5)[2, 2] == 3 * 9 + 4


def test_points_are_found_again_between_the_cells(generator: Callable[..., torch.Generator]):
    maps, xy = smooth_maps(generator, 0), points(generator, 2, 20)
    found = find(describe(maps, xy), maps, 10.0)
    miss = (found.xy - xy).norm(dim=-1)
    assert miss.mean() < 0.55  # px; cells are 2 px wide, so their centres alone miss by 0.77 on average
    assert miss.max() < 1.2
    cells = pixels_to_cells(find(describe(maps, xy), maps, 10.0, radius=0).xy, 2)
    torch.testing.assert_close(cells, cells.round(), atol=1e-3, rtol=0)
    assert (found.score > 0.7).all()


def test_points_are_found_where_the_content_has_moved_to(generator: Callable[..., torch.Generator]):
    maps, xy = smooth_maps(generator, 0), points(generator, 2, 20)
    xy = 12 + (xy - 12) * torch.tensor([0.4, 0.6])  # so that they stay on the canvas
    moved = [m.roll((32 // s, 32 // s), (2, 3)) for m, s in zip(maps, STRIDES, strict=True)]
    found = find(describe(maps, xy), moved, 10.0)
    assert (found.xy - xy - 32).norm(dim=-1).median() < 0.6
    level = level_maps(describe(maps, xy), moved)[0]
    assert level.shape == (2, 20, CANVAS[0] // 2, CANVAS[1] // 2)
    assert (level >= 0).all()


def test_what_is_not_there_gets_a_lower_score_and_a_larger_spread(generator: Callable[..., torch.Generator]):
    maps, others, xy = smooth_maps(generator, 0), smooth_maps(generator, 99), points(generator, 2, 20)
    right, wrong = (find(describe(maps, xy), target, 30.0) for target in (maps, others))
    assert wrong.score.max() < right.score.min()
    assert wrong.spread.mean() > right.spread.mean()


# --- what it learns from ---------------------------------------------------------------------------------


class Moved:
    """A store of four canvases: one smooth picture, moved by 0, 3, 6 and 9 px; the first pixel tells which."""

    canvas = CANVAS
    framing = "alike"

    def __init__(self) -> None:
        coarse = torch.rand(1, 1, 9, 7, generator=torch.Generator().manual_seed(4))
        self.picture = F.interpolate(coarse, CANVAS, mode="bicubic", align_corners=True).clamp(0, 1)

    def draw(self, count: int, generator: torch.Generator) -> list[int]:
        return torch.randperm(4, generator=generator).tolist()[:count]

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        canvases = torch.cat([self.picture.roll((3 * k, 3 * k), (2, 3)) for k in indices])
        for canvas, k in zip(canvases, indices, strict=True):
            canvas[0, 0, 0] = k / 10
        return canvases


class Mirror(nn.Module):
    """Stands in for the teacher: its finest map is the canvas itself."""

    def forward(self, canvases: torch.Tensor) -> list[torch.Tensor]:
        return [canvases] * 5


def oracle(
    source: list[torch.Tensor], target: list[torch.Tensor], xy: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Knows how far the target's picture is moved against the source's."""
    a, b = ((m[0][:, 0, 0, 0] * 10).round() for m in (source, target))
    there = xy + 3 * (b - a)[:, None, None]
    return there, torch.ones(there.shape[:2])


def dense_task(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> DenseTask:
    config = dataclasses.replace(CC2DConfig(batch=4, anchors=40), **changes)
    landmarks = torch.tensor([[40.0, 50.0], [60.0, 70.0], [torch.nan, torch.nan]])
    level = ResolutionLevel(1.0, Moved(), [CanvasExemplar(2, landmarks)])  # type: ignore[arg-type]
    task = DenseTask(Embedder(pyramid("compact"), 8), [level], config, FABRIC)
    task.teacher = Mirror()  # type: ignore[assignment]
    task.intensity = Intensity(*(0.0,) * 8)
    # Private: no network matches without error, and the geometry of the pairs is what is tested.
    monkeypatch.setattr(task, "_match_cycle", oracle)
    return task


@pytest.mark.parametrize(("fraction", "rolls"), [(0.0, [0]), (0.29, [0]), (0.3, [0, 1]), (1.0, [0, 1])])
def test_both_points_of_a_pair_show_the_same_content(
    monkeypatch: pytest.MonkeyPatch,
    fraction: float,
    rolls: list[int],
    generator: Callable[..., torch.Generator],
):
    task = dense_task(monkeypatch)
    batch = task.batch(generator(1), fraction)
    assert [pairs.roll for pairs in batch.pairs] == rolls
    seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def contrast(here: Any, there: Any, query: Any, target: Any, weight: Any, jitter: Any) -> torch.Tensor:
        inside = ((query > 2) & (target > 2) & (query < 90) & (target < 90)).all(-1)
        left, right = (sample(m[0], xy[:, None])[:, 0, 0] for m, xy in ((here, query), (there, target)))
        seen.append((left[inside], right[inside], weight))
        return query.sum() * 0

    # Private: the loss does not tell which points it compares.
    monkeypatch.setattr(task, "_contrast", contrast)
    task.loss(Mirror(), batch)
    assert len(seen) == len(rolls)
    for left, right, weight in seen:
        assert len(left) > 50
        assert (left - right).abs().median() < 0.01
        assert ((left - right).abs() < 0.05).float().mean() > 0.95
        assert weight.shape == (4, 40)


def test_half_the_points_across_radiographs_lie_around_the_landmarks(
    monkeypatch: pytest.MonkeyPatch, generator: Callable[..., torch.Generator]
):
    task = dense_task(monkeypatch, focus=0.5, focus_sigma=0.001)
    same, across = task.batch(generator(1), 0.5).pairs
    assert same.here.shape == across.here.shape == across.there.shape == (4, 40, 2)
    torch.testing.assert_close(same.here, across.here)
    back = torch.cat([across.here[:, 20:], across.there[:, 20:]]).flatten(0, 1)
    corners = torch.stack([torch.tensor([40.0, 50.0]), torch.tensor([60.0, 70.0])])
    moves = torch.tensor([[-6.0], [-3.0], [0.0], [3.0]]).expand(
        -1, 2
    )  # from exemplar 2 to radiographs 0 to 3
    allowed = (corners[:, None] + moves).flatten(0, 1)
    assert torch.cdist(back, allowed).amin(1).max() < 1.0


def test_points_are_only_paired_across_radiographs_when_told_to(
    monkeypatch: pytest.MonkeyPatch, generator: Callable[..., torch.Generator]
):
    task = dense_task(monkeypatch, batch=1)
    assert [pairs.roll for pairs in task.batch(generator(0), 0.9).pairs] == [0]


def test_the_loss_falls_when_embeddings_tell_places_apart(
    monkeypatch: pytest.MonkeyPatch, generator: Callable[..., torch.Generator]
):
    task = dense_task(monkeypatch)
    batch = task.batch(generator(1), 0.0)
    torch.manual_seed(0)
    random = Embedder(pyramid("compact"), 8)
    loss, metrics = task.loss(random, batch)
    assert loss.item() == pytest.approx(metrics["same"])
    optimizer = torch.optim.Adam(random.parameters(), 1e-2)
    for _ in range(6):
        optimizer.zero_grad()
        task.loss(random, batch)[0].backward()
        optimizer.step()
    assert task.loss(random, batch)[0].item() < loss.item() - 0.5


def test_the_teacher_follows_at_once_at_first_and_slowly_later():
    config = dataclasses.replace(TINY, cross_from=0.4)
    level = ResolutionLevel(1.0, Moved(), [])  # type: ignore[arg-type]
    task = DenseTask(Embedder(pyramid("compact"), 8), [level], config, FABRIC)
    weight, followed = task.module.heads[0].weight, task.teacher.heads[0].weight
    with torch.no_grad():
        weight += 1
    task.after(0.1)
    torch.testing.assert_close(followed, weight)
    before = followed.clone()
    with torch.no_grad():
        weight += 1
    task.after(0.2)
    torch.testing.assert_close(followed - before, torch.full_like(before, 1 - dense.TEACHER_MEMORY))
    assert not followed.requires_grad
    assert task.modules.keys() == {"module", "teacher"}


# --- exemplars -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def matcher(phantoms: Cohort, truth: LandmarkTable) -> CC2D:
    """Three exemplars, of which the second hides landmarks 0 and 1; hardly trained."""
    names = phantoms.names
    xy = truth[names[1]].xy.copy()
    xy[:2] = np.nan
    second = dataclasses.replace(truth[names[1]], xy=xy)
    exemplars = LandmarkTable.from_sets([truth[names[0]], second, truth[names[2]]])
    return fit_stage(CC2D, phantoms, exemplars, dataclasses.replace(TINY, area=10240, several="best"))


def test_every_exemplar_is_a_template(matcher: CC2D, truth: LandmarkTable):
    assert [level.shape for level in matcher.templates] == [(3, len(truth.names), 8)] * 5
    # The m-th row is of the m-th exemplar that shows a landmark, and two landmarks are on two exemplars only.
    assert matcher.visible.sum(1).tolist() == [len(truth.names), len(truth.names), len(truth.names) - 2]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_exemplar_finds_its_own_points(matcher: CC2D, phantoms: Cohort, truth: LandmarkTable, which: int):
    found = matcher.locate(phantoms[which])
    miss = np.linalg.norm(found.xy - truth[phantoms.names[which]].xy, axis=1)
    own = matcher.visible[which].numpy()
    assert np.median(miss[own]) < 6  # of 160 x 128 px; a wrong place is tens of px away
    assert (found.score[own] > 0.99).mean() > 0.8


def test_a_template_that_does_not_show_a_landmark_is_never_asked_for_it(
    matcher: CC2D, phantoms: Cohort, truth: LandmarkTable
):
    rest = LandmarkTable.from_sets([truth[phantoms.names[k]] for k in (0, 2)])
    without = fit_stage(CC2D, phantoms, rest, matcher.config, former=matcher)
    same = (matcher.locate(phantoms[1]).xy == without.locate(phantoms[1]).xy).all(-1)
    assert same[:2].all()  # which the second exemplar hides
    assert same[2:].mean() < 0.2


def test_what_is_restored_finds_the_same(matcher: CC2D, phantoms: Cohort):
    again = CC2D.restore(*matcher.state(), FABRIC)
    ours, theirs = matcher.locate(phantoms[5]), again.locate(phantoms[5])
    np.testing.assert_array_equal(ours.xy, theirs.xy)
    np.testing.assert_array_equal(ours.expected_error, theirs.expected_error)


def test_taking_exemplars_anew_keeps_the_network(matcher: CC2D, phantoms: Cohort, exemplars: LandmarkTable):
    again = fit_stage(CC2D, phantoms, exemplars, matcher.config, former=matcher)
    assert again.visible.shape[0] == 1
    assert again.canvas == matcher.canvas
    for name, value in matcher.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value)


def test_explaining_names_the_levels_and_refuses_strangers(matcher: CC2D, phantoms: Cohort):
    evidence = matcher.explain(phantoms[4])
    assert evidence.landmark == matcher.names[0]
    assert list(evidence.maps) == [*(f"similarity s{s}" for s in STRIDES), "similarity product"]
    product = np.prod([evidence.maps[f"similarity s{s}"].max() for s in STRIDES])
    assert evidence.maps["similarity product"].max() <= product + 1e-5
    with pytest.raises(UserError, match="no landmark 'elbow'"):
        matcher.explain(phantoms[4], "elbow")


# --- without exemplars, and the way back -----------------------------------------------------------------


def test_it_learns_without_exemplars_and_takes_them_later(phantoms: Cohort, truth: LandmarkTable):
    config = dataclasses.replace(TINY, cross_from=0.0)
    alone = fit_stage(CC2D, phantoms, LandmarkTable((), ()), config)
    assert alone.templates == []
    restored = CC2D.restore(*alone.state(), FABRIC)
    exemplars = LandmarkTable.from_sets(truth.sets[:2])
    later = fit_stage(CC2D, phantoms, exemplars, config, former=restored)
    ours, theirs = later.network.state_dict(), alone.network.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert later.templates[0].shape[:2] == (2, len(truth.names))


def test_the_way_back_ends_where_it_began_on_the_exemplar_itself(
    matcher: CC2D, phantoms: Cohort, truth: LandmarkTable
):
    exemplar, placed = phantoms[0], truth.sets[0].xy
    beside = placed.copy()
    beside[3] = np.nan
    moved = placed + np.array([9.0, 0.0])
    own, hidden, off = matcher.cycle_errors(
        exemplar, placed, [(exemplar, placed), (exemplar, beside), (exemplar, moved)]
    )
    assert np.median(own) < 2.5
    assert np.isnan(hidden).tolist() == [k == 3 for k in range(len(placed))]
    assert np.median(off) == pytest.approx(9.0, abs=3.0)


@pytest.mark.parametrize(
    ("seconds", "pace", "hurried", "taken"),
    [
        (None, 1.0, 0.25, None),  # a number of steps
        (200.0, 1.0, 0.25, 200.0),  # 200 / 1.6 = 125 steps: its answers will count
        (200.0, 1.1, 0.25, 50.0),  # 114 steps: they would not, so that a share must do
        (200.0, 1.1, 1.0, 200.0),
        (59.0, 0.01, 0.25, 14.75),  # too short to look
    ],
)
def test_it_takes_all_its_time_only_where_its_answers_will_count(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float | None,
    pace: float,
    hurried: float,
    taken: float | None,
):
    plans = []
    monkeypatch.setattr(cc2d, "seconds_per_step", lambda *_: pace)
    monkeypatch.setattr(cc2d, "train", lambda task, plan, *_: plans.append(plan))
    config = dataclasses.replace(TINY, hurried=hurried)
    fit_stage(CC2D, phantoms, exemplars, config, seconds=seconds)
    assert [plan.seconds for plan in plans] == [taken]


def test_context_blocks_and_two_extractors_are_networks_of_their_own():
    assert CC2D.architecture(TINY) == "compact"
    for changes in ({"context": "rfb"}, {"extractors": "two", "task": "patch"}):
        assert CC2D.architecture(dataclasses.replace(TINY, **changes)) == ""
