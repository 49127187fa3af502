"""What the network learns from: known correspondences, real pairs both ways, pseudo-labels, and switches for all."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F

from onemark.nn.device import fabric_for
from onemark.nn.training.canvases import CanvasExemplar, ResolutionLevel
from onemark.stages.match.edgetrans import synth
from onemark.stages.match.edgetrans.config import EdgeTransConfig
from onemark.stages.match.edgetrans.network import RegistrationNet
from onemark.stages.match.edgetrans.sift import align_by_sift
from onemark.stages.match.edgetrans.task import AveragedLabels, RegistrationTask

FABRIC = fabric_for("cpu")
CANVAS = (64, 96)
TINY = EdgeTransConfig(batch=2, width=16, length=8, w_inverse=0.1, renew=1.0)
WEIGHTS = ("w_global", "w_synthetic", "w_similarity", "w_smooth", "w_inverse", "w_match")


class Store:
    """Four smooth pictures."""

    canvas = CANVAS

    def __init__(self) -> None:
        coarse = torch.rand(4, 1, 9, 13, generator=torch.Generator().manual_seed(4))
        self.pictures = F.interpolate(coarse, CANVAS, mode="bicubic", align_corners=True).clamp(0, 1)

    def __len__(self) -> int:
        return 4

    def draw(self, count: int, generator: torch.Generator) -> list[int]:
        return torch.randperm(4, generator=generator).tolist()[:count]

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        return self.pictures[list(indices)]


def task(config: EdgeTransConfig = TINY) -> RegistrationTask:
    torch.manual_seed(0)
    xy = torch.tensor([[30.0, 20.0], [60.0, 40.0], [torch.nan, torch.nan]])
    level = ResolutionLevel(1.0, Store(), [CanvasExemplar(0, xy)])  # type: ignore[arg-type]
    return RegistrationTask(RegistrationNet(config, CANVAS), level, config, FABRIC)


def changed(**settings: object) -> EdgeTransConfig:
    return dataclasses.replace(TINY, **settings)  # type: ignore[arg-type]


# --- synthetic partners ----------------------------------------------------------------------------------


@pytest.mark.parametrize("synthesis", ["elastic", "published"])
def test_the_known_map_warps_the_radiograph_onto_its_partner(
    synthesis: str, generator: Callable[..., torch.Generator]
):
    config, pictures = changed(synthesis=synthesis), Store().pictures
    warp = synth.partners(4, CANVAS, config, generator())
    known = synth.to_registration(warp)
    torch.testing.assert_close(known.images(pictures), warp.images(pictures), atol=1e-4, rtol=0)
    points = torch.rand(4, 6, 2, generator=generator(1)) * 30 + torch.tensor([33.0, 17.0])
    torch.testing.assert_close(known.inverse(points), warp.inverse(points), atol=0.02, rtol=0)
    assert (known(points) - points).norm(dim=-1).mean() > 1


def test_the_published_draw_stays_in_its_ranges(generator: Callable[..., torch.Generator]):
    warp = synth.published_partners(500, CANVAS, generator())
    size = torch.linalg.det(warp.matrix).sqrt()
    assert 0.87 < size.min() < 0.89
    assert 1.11 < size.max() < 1.13
    angle = torch.atan2(warp.matrix[:, 1, 0], warp.matrix[:, 0, 0]) / synth.DEGREE
    assert angle.abs().max() <= 15.01
    assert 6 < angle.std() < 8
    assert (warp.translation.abs() / torch.tensor([48.0, 32.0])).max() <= 0.2
    assert warp.elastic.abs().amax((1, 2, 3)).min() > 0  # every one has a perspective


# --- batches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("partners", ["exemplar", "shuffled"])
def test_real_pairs_come_both_ways_and_bring_what_is_known_of_their_landmarks(
    partners: str, generator: Callable[..., torch.Generator]
):
    job = task(changed(partners=partners))
    job.labels.xy[1:] = torch.tensor([50.0, 30.0])
    batch = job.batch(generator(), 0.0)
    assert batch.source.tolist()[2:4] == batch.target.tolist()[4:]
    assert batch.target.tolist()[2:4] == batch.source.tolist()[4:]
    torch.testing.assert_close(
        batch.truth.images(batch.plain[batch.source[:2]]), batch.plain[batch.target[:2]], atol=1e-4, rtol=0
    )
    assert batch.target_xy.shape == batch.source_xy.shape == (2, 3, 2)
    if partners == "exemplar":
        torch.testing.assert_close(batch.plain[4:5], Store().pictures[:1])
        torch.testing.assert_close(batch.source_xy[0], job.level.exemplars[0].xy, equal_nan=True)
        there = batch.truth(batch.target_xy.nan_to_num())
        which = store_order(generator, job)
        expected = job.labels.xy[which].nan_to_num()
        torch.testing.assert_close(there[:, :2], expected[:, :2], atol=0.05, rtol=0)


def store_order(generator: Callable[..., torch.Generator], job: RegistrationTask) -> list[int]:
    return job.level.store.draw(job.config.batch, generator())


def test_batches_repeat_with_their_seed(generator: Callable[..., torch.Generator]):
    job = task()
    a, b, c = (job.batch(generator(s), 0.1) for s in (1, 1, 2))
    assert torch.equal(a.seen, b.seen)
    assert not torch.equal(a.seen, c.seen)


def test_pseudo_labels_are_renewed_when_it_is_time_and_slowly(generator: Callable[..., torch.Generator]):
    labels = AveragedLabels(3, 2, 0.9)
    first, second = torch.tensor([[[1.0, 2.0], [torch.nan] * 2]]), torch.tensor([[[2.0, 4.0], [5.0, 5.0]]])
    labels.renew([1], first)
    labels.renew([1], second)
    labels.renew([1], torch.full((1, 2, 2), torch.nan))
    torch.testing.assert_close(labels.xy[1], torch.tensor([[1.1, 2.2], [5.0, 5.0]]))
    assert labels.xy[[0, 2]].isnan().all()

    job = task(changed(batch=4, focus_from=0.5))
    job.batch(generator(), 0.4)
    assert job.labels.xy[1:].isnan().all()
    job.batch(generator(), 0.5)
    known = ~job.labels.xy.isnan().any(-1)
    assert known.tolist() == [[True, True, False]] * 4
    assert torch.equal(job.labels.xy[0, :2], job.level.exemplars[0].xy[:2])  # a person's marks stay
    assert job.module.training


def test_pseudo_labels_replace_nothing_that_a_person_said_of_any_radiograph(
    generator: Callable[..., torch.Generator],
):
    config, none = changed(batch=4, focus_from=0.0), [torch.nan] * 2
    whole = torch.tensor([[30.0, 20.0], [60.0, 40.0], [45.0, 30.0]])
    part = torch.tensor([[40.0, 30.0], none, none])  # too little to be registered with
    exemplars = [CanvasExemplar(0, whole), CanvasExemplar(1, part, torch.tensor([True, False, True]))]
    hidden = [CanvasExemplar(2, torch.tensor([none] * 3), torch.tensor([False, False, True]))]
    level = ResolutionLevel(1.0, Store(), exemplars, hidden)  # type: ignore[arg-type]
    job = RegistrationTask(task(config).module, level, config, FABRIC)
    job.batch(generator(), 0.5)
    assert torch.equal(job.labels.xy[0], whole)
    assert torch.equal(job.labels.xy[1, 0], part[0])
    known = ~job.labels.xy.isnan().any(-1)
    assert known.tolist() == [[True] * 3, [True, True, False], [True, True, False], [True] * 3]


# --- the loss --------------------------------------------------------------------------------------------


def test_every_part_has_its_switch(generator: Callable[..., torch.Generator]):
    job = task()
    batch = job.batch(generator(), 0.5)
    with torch.no_grad():
        whole, parts = job.loss(job.module, batch)
        assert set(parts) == {"global", "synthetic", "match", "similarity", "smooth", "inverse"}
        for name in WEIGHTS:
            off = task(changed(**{name: 0.0}))
            off.module.load_state_dict(job.module.state_dict())
            less, _ = off.loss(off.module, batch)
            part = parts[name[2:]] * getattr(TINY, name)
            assert float(whole - less) == pytest.approx(part, rel=0.1, abs=1e-3), name


def test_the_published_ramps_weigh_the_fields_little_at_first_and_the_synthetic_pairs_less_and_less(
    generator: Callable[..., torch.Generator],
):
    job = task(changed(local_ramp=1 / 3, synthetic_until=0.5, w_match=0.0, w_inverse=0.0, w_global=0.0))
    batch = job.batch(generator(), 0.1)
    with torch.no_grad():
        totals = {}
        for fraction in (0.0, 1 / 3, 0.6):
            total, parts = job.loss(job.module, dataclasses.replace(batch, fraction=fraction))
            totals[fraction] = float(total), parts
    assert totals[0.0][0] < 0.02 * totals[1 / 3][0]
    total, parts = totals[0.6]
    assert total == pytest.approx(0.25 * parts["similarity"] + parts["smooth"], rel=1e-2)


def test_the_weight_of_the_synthetic_pairs_counts_while_it_falls(
    generator: Callable[..., torch.Generator],
):
    totals = []
    for weight in (1.0, 3.0):
        job = task(changed(synthetic_until=0.5, w_synthetic=weight))
        with torch.no_grad():
            total, parts = job.loss(job.module, job.batch(generator(), 0.25))
        totals.append(float(total))
    fall = 1 - math.exp(-5 * 0.5**2)
    assert totals[1] - totals[0] == pytest.approx(2 * fall * parts["synthetic"], rel=1e-2)


def test_without_the_way_back_every_other_pair_is_seen_the_other_way(
    generator: Callable[..., torch.Generator],
):
    batch = task(changed(w_inverse=0.0)).batch(generator(), 0.0)
    assert (batch.source.tolist(), batch.target.tolist()) == ([0, 1, 4, 3], [2, 3, 2, 4])
    torch.testing.assert_close(batch.target_xy[1], batch.source_xy[0], equal_nan=True)  # the exemplar's own


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"field_stride": 2},
        {
            "pairing": "joint",
            "fine": "windows",
            "affine": "perspective",
            "synthesis": "published",
            "field_stride": 2,
            "coarse_passes": 1,
            "miss": "squared",
        },
    ],
)
def test_everything_that_should_learn_gets_a_gradient(
    settings: dict[str, object], generator: Callable[..., torch.Generator]
):
    job = task(changed(**settings))
    for head in (job.module.field.last, job.module.affine.last, job.module.coarse_field.last):
        torch.nn.init.normal_(head.weight, 0, 0.1)
    batch = job.batch(generator(), 0.5)
    with FABRIC.autocast():
        loss, _ = job.loss(job.module, batch)
    loss.backward()
    without = {k.rpartition(".")[0] for k, p in job.module.named_parameters() if p.grad is None}
    unused = ("backbone.up.0", "backbone.lateral.0")  # stride 2, which is not looked at
    assert {k for k in without if not k.startswith(unused)} == set()


def test_a_few_steps_on_one_batch_bring_its_synthetic_pairs_together(
    generator: Callable[..., torch.Generator],
):
    job = task(changed(w_similarity=0.0, w_inverse=0.0))
    batch = job.batch(generator(), 0.1)
    optimizer = torch.optim.Adam(job.module.parameters(), 3e-3)
    misses = []
    for _ in range(12):
        loss, parts = job.loss(job.module, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        misses.append(parts["synthetic"])
    assert misses[-1] < 0.8 * misses[0]


def test_key_points_align_a_turned_picture_and_nothing_aligns_an_empty_one(
    generator: Callable[..., torch.Generator],
):
    pictures = F.interpolate(
        torch.rand(1, 1, 24, 36, generator=generator(7)), (128, 192), mode="bicubic", align_corners=True
    ).clamp(0, 1)
    still = torch.zeros(1, 2, 128, 192)
    matrix = torch.tensor([[[0.98, -0.17], [0.17, 0.98]]])
    at = synth.Transform(matrix, torch.tensor([[4.0, -3.0]]), still, (128, 192))
    images = torch.cat([pictures, at.images(pictures), torch.zeros_like(pictures)])
    found = align_by_sift(images, torch.tensor([0, 0]), torch.tensor([1, 2]), 4)
    torch.testing.assert_close(found.matrix[0], matrix[0], atol=0.02, rtol=0)
    torch.testing.assert_close(found.translation[0], torch.tensor([4.0, -3.0]), atol=0.5, rtol=0)
    assert found.matrix[1].tolist() == [[1, 0], [0, 1]]
