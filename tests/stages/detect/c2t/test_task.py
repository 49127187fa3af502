"""Co-teaching: whom a network believes, what it is told, and what it sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import nn

from onemark import Cohort, LandmarkTable
from onemark.imaging.augment import UNCHANGED, Geometry, Warp
from onemark.imaging.letterbox import Letterbox
from onemark.nn.heatmaps.decode import pixels_to_cells
from onemark.nn.heatmaps.heatmap import gaussians
from onemark.nn.training.canvases import CanvasCache, resolution_levels
from onemark.progress import silent
from onemark.stages.detect.c2t.config import C2TConfig
from onemark.stages.detect.c2t.heat import carry_heat, disagreement, heat
from onemark.stages.detect.c2t.network import ConcatNet, Pair
from onemark.stages.detect.c2t.task import C2TTask, CoTeachingBatch, View, choose_trusted

CANVAS = (64, 64)
CONFIG = C2TConfig(area=4096, batch=4, drop=0.4, doubt=0.5, cross=0.0, exemplar=0.0)
PAIR = dataclasses.replace(CONFIG, views="pair")


def task_of(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable, config: C2TConfig = CONFIG
) -> C2TTask:
    def label(store: CanvasCache, index: int) -> torch.Tensor:
        return torch.from_numpy(store.letterbox(index).to_canvas(truth.sets[index].xy)).float()

    levels = resolution_levels(phantoms, exemplars, CANVAS, 0.0, 100, silent)
    return C2TTask(nn.Identity(), levels, label, config)


# --- fixed answers: what reaches which network -----------------------------------------------------------


class Said(nn.Module):
    """Two networks that say what they are told to, so that gradients show what each is taught."""

    def __init__(self, first: torch.Tensor, second: torch.Tensor) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(first), nn.Parameter(second)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.first, self.second

    def taught(self) -> list[list[bool]]:
        """Per network and radiograph whether any gradient came."""
        return [
            (p.grad.abs().flatten(1).sum(1) > 1e-9).tolist()
            for p in (self.first, self.second)
            if p.grad is not None
        ]


def view(generator: Callable[..., torch.Generator], count: int) -> View:
    """Radiographs as they are, the single landmark of each in the middle."""
    still = Warp.draw(count, CANVAS, Geometry().times(0), generator(0))
    return View(torch.zeros(count, 1, *CANVAS), torch.full((count, 1, 2), 31.5), still)


def spots(*right: float) -> torch.Tensor:
    """Sharp logits of one landmark, so many px right of the middle."""
    xy = torch.tensor([[[31.5 + x, 31.5]] for x in right])
    return gaussians(pixels_to_cells(xy, 2), (32, 32), 1.0).clamp(min=1e-9).log()


def teach(
    generator: Callable[..., torch.Generator], config: C2TConfig, module: Said, exemplars: int = 1
) -> torch.Tensor:
    task = C2TTask(module, [], lambda store, index: torch.zeros(0), config)
    count = len(module.first) // (2 if config.views == "pair" else 1)
    views = (view(generator, count),) * (2 if config.views == "pair" else 1)
    loss, _ = task.loss(module, CoTeachingBatch((views, views), exemplars, config.drop, config.doubt))
    loss.backward()
    return loss.detach()


def test_each_network_learns_from_what_the_other_one_trusts(generator: Callable[..., torch.Generator]):
    said = Said(spots(20, 1, 2, 3, 0), spots(1, 20, 2, 3, 0))  # the last one is the exemplar
    teach(generator, dataclasses.replace(CONFIG, drop=0.25, doubt=0.0), said)
    assert said.taught() == [[True, False, True, True, False], [False, True, True, True, False]]


def test_inconsistency_is_counted_for_each_radiograph(generator: Callable[..., torch.Generator]):
    weak = spots(3, 3, 3, 3, 0)
    strong = spots(3, 3, -3, 3, 0)  # as far from the label as the others, but elsewhere than on the weak view
    for doubt, kept in ((0.0, [True, True, True, False]), (0.5, [True, True, False, True])):
        said = Said(torch.cat([weak, strong]), torch.cat([weak, strong]))
        config = dataclasses.replace(PAIR, drop=0.25, doubt=doubt)
        teach(generator, config, said)
        first, second = (taught[:4] for taught in said.taught())
        assert first == second
        assert first[2] == kept[2]
    assert first == kept


def test_with_a_view_each_the_other_answer_stands_for_consistency(generator: Callable[..., torch.Generator]):
    said = Said(spots(3, 3, 3, 0), spots(3, -3, 3, 0))
    teach(generator, dataclasses.replace(CONFIG, drop=1 / 3, doubt=0.5), said)
    assert [taught[1] for taught in said.taught()] == [False, False]


def test_a_label_off_the_other_view_is_trusted_as_far_as_it_fits_on_the_own_one(
    generator: Callable[..., torch.Generator],
):
    said = Said(spots(20, 1, 2, 0), spots(0, 1, 2, 0))
    shown = view(generator, 4)
    off = shown.xy.clone()
    off[0] = -20.0
    task = C2TTask(said, [], lambda store, index: torch.zeros(0), CONFIG)
    views = (shown,), (dataclasses.replace(shown, xy=off),)
    task.loss(said, CoTeachingBatch(views, 1, 1 / 3, 0.0))[0].backward()
    assert said.taught() == [[False, True, True, False], [False, True, True, False]]


def test_an_answer_off_the_view_is_no_inconsistency(generator: Callable[..., torch.Generator]):
    said = Said(spots(0, 1, 2, 0), spots(-26, 21, 22, 20))
    second = view(generator, 4)
    right = torch.tensor([20.0, 0.0])
    warp = dataclasses.replace(second.warp, translation=right.expand(4, 2))
    first = dataclasses.replace(second, warp=warp)  # begins 20 px right of where the second one does
    second = dataclasses.replace(second, xy=second.xy + right)
    task = C2TTask(said, [], lambda store, index: torch.zeros(0), CONFIG)
    task.loss(said, CoTeachingBatch(((first,), (second,)), 1, 1 / 3, 0.5))[0].backward()
    assert said.taught()[1] == [True, True, False, False]


def test_both_networks_learn_the_exemplar_from_their_own_answers(generator: Callable[..., torch.Generator]):
    said = Said(spots(0, 0, 4), spots(0, 0, -4))
    teach(generator, dataclasses.replace(CONFIG, exemplar=1.0, drop=0.0), said)
    for one, pull in ((said.first, 1), (said.second, -1)):
        assert one.grad is not None
        x = torch.arange(32.0)
        assert pull * float((one.grad[2, 0] * x).sum()) > 0  # descending moves mass back to the middle
    free = Said(spots(0, 0, 4), spots(0, 0, -4))
    teach(generator, dataclasses.replace(CONFIG, exemplar=0.0, drop=0.0), free)
    assert [taught[2] for taught in free.taught()] == [False, False]


def test_every_exemplar_of_a_batch_counts(generator: Callable[..., torch.Generator]):
    config = dataclasses.replace(CONFIG, exemplar=1.0, drop=0.0)
    answers = spots(0, 0, 4, 4)
    one, two = (float(teach(generator, config, Said(answers, answers), exemplars)) for exemplars in (1, 2))
    assert two == pytest.approx(1.5 * one, rel=1e-3)  # 2 m against m + m / 3 of the pseudo-labels


@pytest.mark.parametrize("config", [CONFIG, PAIR])
def test_networks_are_drawn_to_each_other(config: C2TConfig, generator: Callable[..., torch.Generator]):
    n = 2 if config.views == "pair" else 1
    agree = Said(spots(*(0, 2, 0) * n), spots(*(0, 2, 0) * n))
    differ = Said(spots(*(0, 2, 0) * n), spots(*(0, -2, 0) * n))
    config = dataclasses.replace(config, cross=1.0, drop=0.0)
    assert float(teach(generator, config, differ)) > float(teach(generator, config, agree)) + 0.1


@pytest.mark.parametrize("detach", [True, False])
def test_gradients_stop_at_the_other_answer_where_asked(
    detach: bool, generator: Callable[..., torch.Generator]
):
    said = Said(spots(0, 2, 0), spots(0, -2, 0))
    config = dataclasses.replace(CONFIG, cross=1.0, drop=0.0, detach=detach)
    task = C2TTask(said, [], lambda store, index: torch.zeros(0), config)
    unlabelled = dataclasses.replace(view(generator, 3), xy=torch.full((3, 1, 2), torch.nan))
    batch = CoTeachingBatch(((unlabelled,), (unlabelled,)), 1, 0.0, 0.0)
    task.loss(said, batch)[0].backward()  # without labels, only the agreement is left
    alone = nn.Parameter(said.first.detach().clone())
    given = carry_heat(heat(said.second.detach(), config.loss), unlabelled.warp, unlabelled.warp)
    (disagreement(alone, given, config.loss)[0].mean() / 2).backward()
    assert said.first.grad is not None
    assert alone.grad is not None
    assert torch.allclose(said.first.grad, alone.grad, atol=1e-7) == detach


def test_the_most_doubtful_labels_of_each_landmark_are_left_out():
    doubt = torch.tensor([[1.0, 9.0], [2.0, 1.0], [30.0, 2.0], [3.0, 30.0]])
    known = torch.ones(4, 2, dtype=torch.bool)
    assert choose_trusted(doubt, known, 0.25).tolist() == [
        [True, True],
        [True, True],
        [False, True],
        [True, False],
    ]
    known[0, 0] = False  # an unknown one counts as the most doubtful
    assert choose_trusted(doubt, known, 0.25)[:, 0].tolist() == [False, True, True, True]
    assert choose_trusted(doubt, known, 0.95).sum(0).tolist() == [1, 1]


# --- batches ---------------------------------------------------------------------------------------------


def test_each_network_has_its_own_view_of_the_same_radiographs(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    truth: LandmarkTable,
    generator: Callable[..., torch.Generator],
):
    first, second = task_of(phantoms, exemplars, truth).batch(generator(1), 0.5).views
    assert len(first) == len(second) == 1
    assert (first[0].images - second[0].images).abs().amax((1, 2, 3)).min() > 0.1
    there = second[0].warp.inverse(first[0].warp.forward(first[0].xy))
    torch.testing.assert_close(there, second[0].xy, atol=0.05, rtol=0)


def test_a_weak_view_is_the_radiograph_as_it_is(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    truth: LandmarkTable,
    generator: Callable[..., torch.Generator],
):
    first, second = task_of(phantoms, exemplars, truth, PAIR).batch(generator(1), 0.5).views
    assert all(ours is theirs for ours, theirs in zip(first, second, strict=True))
    weak, strong = first
    frame = Letterbox.fit(phantoms[0].size, CANVAS)
    torch.testing.assert_close(weak.images[-1], frame.render(phantoms[0].pixels)[None], atol=2e-4, rtol=0)
    placed = torch.from_numpy(frame.to_canvas(truth.sets[0].xy)).float()
    torch.testing.assert_close(weak.xy[-1], placed, atol=1e-3, rtol=0)
    assert (strong.images - weak.images).abs().amax((1, 2, 3)).min() > 0.1


@pytest.mark.parametrize("augment", ["spatial", "affine"])
def test_landmarks_follow_every_view(
    augment: str,
    phantoms: Cohort,
    exemplars: LandmarkTable,
    truth: LandmarkTable,
    monkeypatch: pytest.MonkeyPatch,
    generator: Callable[..., torch.Generator],
):
    config = dataclasses.replace(PAIR, augment=augment, strength=1.0)
    task = task_of(phantoms, exemplars, truth, config)
    task.intensity = UNCHANGED
    still = task.batch(generator(3), 0.5).views[0][0].xy
    dots = gaussians(still[:, :1], CANVAS, 1.5)  # the first landmark as a dot on an empty canvas
    monkeypatch.setattr(task.levels[0].store, "read", lambda indices: dots / dots.amax())
    strong = task.batch(generator(3), 0.5).views[0][1]
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    mass = strong.images.sum((2, 3))
    seen = (
        torch.stack([(strong.images * x).sum((2, 3)), (strong.images * y).sum((2, 3))], -1) / mass[..., None]
    )
    assert (strong.xy - still).norm(dim=-1).mean() > 2
    assert (seen - strong.xy[:, :1]).norm(dim=-1).max() < 1.0


def test_doubt_grows_over_the_first_part(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    truth: LandmarkTable,
    generator: Callable[..., torch.Generator],
):
    task = task_of(phantoms, exemplars, truth)
    batches = [task.batch(generator(0), fraction) for fraction in (0, 0.15, 0.3, 1)]
    assert [b.drop for b in batches] == pytest.approx([0, 0.2, 0.4, 0.4])
    assert [b.doubt for b in batches] == pytest.approx([0, 0.25, 0.5, 0.5])
    assert batches[0].exemplars >= 1
    wide = dataclasses.replace(CONFIG, batch=8)
    four = task_of(phantoms, LandmarkTable.from_sets(truth.sets[:4]), truth)
    assert four.exemplars_of(wide.batch, generator(0)) == 2


# --- the networks ----------------------------------------------------------------------------------------


def test_the_second_network_may_look_at_a_coarser_canvas():
    torch.manual_seed(0)
    pair = Pair(dataclasses.replace(CONFIG, coarse=0.5), 3).eval()
    views = torch.rand(1, 1, 128, 192)
    seen: list[tuple[int, ...]] = []
    pair.second.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    with torch.inference_mode():
        ours, theirs = pair(views)
    assert ours.shape == theirs.shape == (1, 3, 64, 96)
    assert seen == [(1, 1, 64, 96)]


def test_the_published_network_gives_maps_at_stride_four():
    network = ConcatNet(5).eval()
    with torch.inference_mode():
        maps = network(torch.rand(1, 1, 64, 96))
    assert maps.shape == (1, 5, 16, 24)
    assert (maps - maps.roll(1, 1)).abs().amax((0, 2, 3)).min() > 0
