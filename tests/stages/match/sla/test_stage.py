"""The stage: what is drawn and learned when, and what it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from onemark import Cohort, LandmarkTable, UserError
from onemark.nn.device import fabric_for
from onemark.nn.embedding.dense import DenseBatch
from onemark.nn.training.canvases import resolution_levels
from onemark.nn.training.checkpoint import Checkpoint
from onemark.progress import Cancelled, Progress, silent
from onemark.stages.base import ChosenStage
from onemark.stages.match.sla import SLA, SLAConfig
from onemark.stages.match.sla.foveal import WindowBatch, WindowViews
from onemark.stages.match.sla.network import LandmarkNet
from onemark.stages.match.sla.patches import PatchViews
from onemark.stages.match.sla.task import SLATask
from onemark.stages.match.sla.views import mean_known
from onemark.stages.match.sla.windows import Fovea
from onemark.testing import fit_stage
from onemark.types import LandmarkSet

FABRIC = fabric_for("cpu")
CANVAS = (96, 64)
TINY = SLAConfig(area=96 * 64, batch=3, copies=1, steps=4, epochs=2, width=8, length=8)
PATCHES = dataclasses.replace(TINY, views="patches", patch=32, window=3, copies=0, template=0.5)


def few(table: LandmarkTable, image: str, count: int = 3) -> LandmarkSet:
    """The first landmarks of a radiograph."""
    return LandmarkSet(image, table.names[:count], table[image].xy[:count].copy())


@pytest.fixture(scope="module")
def marked(truth: LandmarkTable, phantoms: Cohort) -> LandmarkTable:
    """Two exemplars with three landmarks, of which the second hides the first."""
    first, second = (few(truth, name) for name in phantoms.names[:2])
    second.xy[0] = np.nan
    return LandmarkTable.from_sets([first, second])


@pytest.fixture(scope="module")
def some(phantoms: Cohort) -> Cohort:
    return phantoms.subset(phantoms.names[:5])


@pytest.fixture(scope="module")
def matcher(marked: LandmarkTable, some: Cohort) -> SLA:
    return fit_stage(SLA, some, marked, TINY)


def task_of(marked: LandmarkTable, some: Cohort, **changes: Any) -> SLATask:
    """A task in float32 whose matcher finds every landmark at (10, 20), and later at (30, 40)."""
    config = dataclasses.replace(TINY, **changes)
    torch.manual_seed(0)
    network = LandmarkNet(config, 3)
    kind = WindowViews if config.views == "windows" else PatchViews
    fabric = Fabric(accelerator="cpu", devices=1)
    views = kind(network, config, CANVAS, fabric)
    levels = resolution_levels(some, marked, CANVAS, 0, 100, silent)

    def locate(canvases: torch.Tensor, start: torch.Tensor | None) -> torch.Tensor:
        return torch.tensor([10.0, 20.0] if start is None else [30.0, 40.0]).expand(len(canvases), 3, 2)

    return SLATask(network, levels, config, fabric, views, lambda: None, locate, silent)


# --- one step --------------------------------------------------------------------------------------------


def of(drawn: WindowBatch, k: int, landmarks: int) -> WindowBatch:
    """What was drawn, for one landmark."""
    fovea = Fovea([c[:, k : k + 1] for c in drawn.fovea.corners], drawn.fovea.shapes)
    windows = [m.chunk(landmarks, 1)[k] for m in drawn.windows]
    return WindowBatch(windows, fovea, drawn.xy[:, k : k + 1], drawn.known[:, k : k + 1], drawn.copies)


def test_one_step_of_all_landmarks_is_a_step_of_each(
    marked: LandmarkTable, some: Cohort, generator: Callable[..., torch.Generator]
):
    task = task_of(marked, some)
    task.begin_epoch(1, generator())
    steps = [task.batch(generator(seed), 0.6) for seed in range(3)]
    together = task.module
    alone = [LandmarkNet(task.config, 1) for _ in range(3)]
    for k, one in enumerate(alone):
        state = together.decoder.state_dict()
        one.decoder.load_state_dict({n: v.chunk(3)[k] if v.ndim else v for n, v in state.items()})
    networks = [together, *alone]
    optimizers = [torch.optim.Adam(one.decoder.parameters(), 1e-3) for one in networks]
    losses = []
    for drawn in steps:
        parts = [drawn, *(of(drawn, k, 3) for k in range(3))]
        row = []
        for network, optimizer, part in zip(networks, optimizers, parts, strict=True):
            loss = task.loss(network, part)[0]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            row.append(float(loss.detach()))
        losses.append(row)
    for row in losses:
        assert row[0] == pytest.approx(np.mean(row[1:]), abs=1e-4)


def test_a_landmark_weighs_the_same_however_often_it_is_known():
    values = torch.tensor([[1.0, 5.0, 9.0], [3.0, 7.0, 9.0]])
    known = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    assert float(mean_known(values, known)) == pytest.approx((2 + 7 + 0) / 3)


@pytest.mark.parametrize("views", ["windows", "patches"])
def test_views_show_landmarks_where_they_say(
    views: str,
    marked: LandmarkTable,
    some: Cohort,
    monkeypatch: pytest.MonkeyPatch,
    generator: Callable[..., torch.Generator],
):
    config = PATCHES if views == "patches" else TINY
    task = task_of(marked, some, **dataclasses.asdict(config))
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(
        task.module, "taps", lambda x: seen.append(x) or [x[:, :, ::s, ::s] for s in (2, 4, 8, 16, 32)]
    )
    dot = torch.tensor([[[30.0, 40.0], [20.0, 60.0], [45.0, 25.0]]]).repeat(4, 1, 1)
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(64.0), indexing="ij")
    blobs = torch.exp(-((x - dot[..., 0, None, None]) ** 2 + (y - dot[..., 1, None, None]) ** 2) / 8)
    for k in range(3):
        seen.clear()
        drawn = task.views.draw(0.2 + 0.6 * blobs[:, k : k + 1], dot, 2, generator(k))
        if views == "windows":
            images, at, known = seen[0], drawn.xy[:, k], drawn.known[:, k]
        else:
            images, at, known = seen[1].view(4, 3, 1, 32, 32)[:, k], drawn.here[:, k], drawn.known[:, k]
            whole = seen[0].flatten(1).argmax(1)
            assert ((torch.stack([whole % 64, whole // 64], 1) - drawn.there[:, k]).abs() < 1.5).all()
        for image, xy, counts in zip(images, at, known, strict=True):
            if counts:
                near = image[0].clone()
                near[near < near.quantile(0.98)] = 0  # noise, and burnt-in markers elsewhere
                column, row = (int(v.round()) for v in xy)
                around = image[0, max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
                assert around.max() > image[0].median() + 0.1
        assert known.sum() > 2


# --- what is learned when --------------------------------------------------------------------------------


def test_first_the_encoder_learns_then_each_landmark(
    marked: LandmarkTable, some: Cohort, generator: Callable[..., torch.Generator]
):
    task = task_of(marked, some, before=0.5)
    assert isinstance(task.batch(generator(), 0.4), DenseBatch)
    assert not task.module.frozen
    assert isinstance(task.batch(generator(), 0.5), WindowBatch)
    task.module.train()
    assert task.module.frozen
    assert not task.module.backbone.training
    assert task.module.decoder.training
    learning = [name for name, value in task.module.named_parameters() if value.requires_grad]
    assert learning
    assert all(name.startswith("decoder.") for name in learning)


def test_pseudo_labels_are_replaced_every_epoch_and_exemplars_keep_theirs(
    marked: LandmarkTable, some: Cohort, generator: Callable[..., torch.Generator]
):
    task = task_of(marked, some, before=0.2, epochs=4)
    task.batch(generator(), 0.2)
    assert (task.labels.xy[2:] == torch.tensor([10.0, 20.0])).all()
    task.batch(generator(), 0.39)
    assert (task.labels.xy[2:] == torch.tensor([10.0, 20.0])).all()
    task.batch(generator(), 0.41)
    assert int(task.labels.epoch) == 2
    assert (task.labels.xy[2:] == torch.tensor([30.0, 40.0])).all()
    for one in task.exemplars:
        torch.testing.assert_close(task.labels.xy[one.index], one.xy, equal_nan=True)


def test_they_can_start_at_random(
    marked: LandmarkTable, some: Cohort, generator: Callable[..., torch.Generator]
):
    task = task_of(marked, some, start="random")
    task.batch(generator(3), 0.5)
    drawn = task.labels.xy[2:]
    assert len(drawn.unique()) == drawn.numel()
    assert (drawn >= 0).all()
    assert (drawn < torch.tensor([64.0, 96.0])).all()


def test_an_epoch_begins_with_copies_of_the_exemplars_alone(
    marked: LandmarkTable,
    some: Cohort,
    monkeypatch: pytest.MonkeyPatch,
    generator: Callable[..., torch.Generator],
):
    task = task_of(marked, some, before=0.2, epochs=2, template=0.5)
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(task.views, "draw", lambda x, xy, copies, g: seen.append((len(x), copies)))
    for fraction in (0.2, 0.39, 0.41, 0.59, 0.61, 0.99):
        task.batch(generator(), fraction)
    assert seen == [(3, 3), (3, 3), (3, 1), (3, 1), (3, 3), (3, 1)]


# --- the matcher -----------------------------------------------------------------------------------------


def test_it_answers_in_pixels_of_the_radiograph(matcher: SLA, some: Cohort):
    found = matcher.locate(some[3])
    assert found.names == matcher.names
    height, width = some[3].size
    assert ((found.xy >= 0) & (found.xy <= [width - 1, height - 1])).all()
    assert ((found.score > 0) & (found.score <= 1)).all()
    assert (found.expected_error > 0).all()


def test_landmarks_are_found_where_they_were_described(marked: LandmarkTable, some: Cohort):
    task = task_of(marked, some, peak="argmax")
    canvas, xy = task.store.read([0]), task.exemplars[0].xy
    task.module.eval()
    with torch.inference_mode():
        templates = task.views.describe(canvas, xy)
        taps = task.module.taps(canvas)
        found = task.views.find(taps, xy[None] + 3, templates, torch.ones(1, 3, dtype=torch.bool))
    assert [level.shape for level in templates] == [(1, 3, 8)] * 3
    assert found.score.shape == (1, 3)
    assert (found.xy[0] - xy).norm(dim=-1).median() < 4


def test_whole_maps_are_looked_into_where_patches_were_described(
    marked: LandmarkTable,
    some: Cohort,
    monkeypatch: pytest.MonkeyPatch,
    generator: Callable[..., torch.Generator],
):
    task = task_of(marked, some, **dataclasses.asdict(PATCHES) | {"peak": "argmax"})
    places = torch.tensor([[21.0, 33.0], [40.0, 50.0], [9.0, 77.0]])
    maps = []
    for stride in (2, 4, 8, 16, 32):
        y, x = torch.meshgrid(torch.arange(96 // stride), torch.arange(64 // stride), indexing="ij")
        cells = torch.stack([x, y]) == (places // stride)[:, :, None, None]
        own = torch.randn(3, 8, 1, 1, generator=generator(stride)) * cells.all(1, keepdim=True)
        maps.append((own + 1e-3 * torch.randn(own.shape, generator=generator(1))).flatten(0, 1)[None])
    monkeypatch.setattr(task.module.decoder, "forward", lambda taps: maps)
    own = [
        m.view(3, 8, -1).gather(2, m.view(3, 8, -1).norm(dim=1).argmax(1)[:, None, None].expand(-1, 8, 1))
        for m in maps
    ]
    templates = [torch.nn.functional.normalize(v[..., 0], dim=-1)[None] for v in own]
    found = task.views.find(maps, None, templates, torch.ones(1, 3, dtype=torch.bool))
    assert ((found.xy[0] - places).abs() <= 1.5).all()


def test_what_is_restored_answers_the_same(matcher: SLA, some: Cohort):
    again = SLA.restore(*matcher.state(), FABRIC)
    ours, theirs = matcher.locate(some[4]), again.locate(some[4])
    np.testing.assert_array_equal(ours.xy, theirs.xy)
    np.testing.assert_array_equal(ours.expected_error, theirs.expected_error)


def test_new_exemplars_keep_the_network(matcher: SLA, some: Cohort, marked: LandmarkTable):
    again = fit_stage(SLA, some, marked, matcher.config, former=matcher)
    for name, value in matcher.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value)
    np.testing.assert_array_equal(again.locate(some[4]).xy, matcher.locate(some[4]).xy)


def test_other_landmarks_need_decoders_of_their_own(matcher: SLA, some: Cohort, truth: LandmarkTable):
    assert SLA.bound_to_landmarks
    other = LandmarkTable.from_sets([few(truth, some.names[0], 4)])
    again = fit_stage(SLA, some, other, matcher.config)
    assert len(again.network.state_dict()) == len(matcher.network.state_dict())
    with pytest.raises(RuntimeError, match="size mismatch"):
        fit_stage(SLA, some, other, matcher.config, former=matcher)


def test_evidence_shows_every_level_around_the_answer(matcher: SLA, some: Cohort):
    evidence = matcher.explain(some[3], matcher.names[1])
    levels = ["similarity s2", "similarity s4", "similarity s8"]
    assert list(evidence.maps) == [*levels, "similarity product"]
    for shown in evidence.maps.values():
        assert shown.shape == some[3].size
        assert 0 < shown.max() <= 1
    with pytest.raises(UserError, match="no landmark 'elbow'"):
        matcher.explain(some[3], "elbow")


def test_a_stopped_fit_ends_as_an_unbroken_one(
    matcher: SLA, some: Cohort, marked: LandmarkTable, tmp_path: Path
):
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    for last in (1, 3):

        def stop(event: Progress, last: int = last) -> None:
            if event.stage == "match" and event.step == last:
                raise Cancelled

        with pytest.raises(Cancelled):
            fit_stage(SLA, some, marked, TINY, sink=stop, checkpoint=checkpoint)
    again = fit_stage(SLA, some, marked, TINY, checkpoint=checkpoint)
    for name, value in matcher.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"before": 0.0}, "encoder=compact needs match.before above 0"),
        ({"before": 0.0, "encoder": "vgg19"}, "views=windows needs match.before above 0"),
        ({"before": 0.0, "encoder": "vgg19", "views": "patches"}, "start=matcher needs match.before above 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        SLA.check({"match": ChosenStage(SLA, dataclasses.replace(TINY, **changes))})


def test_a_patch_that_does_not_fit_on_the_canvas_is_refused(some: Cohort, marked: LandmarkTable):
    with pytest.raises(UserError, match="fit on the canvas"):
        fit_stage(SLA, some, marked, dataclasses.replace(TINY, views="patches", patch=128))


@pytest.mark.parametrize("adapter", [0, 2])
def test_an_adapter_learns_and_answers(adapter: int, some: Cohort, marked: LandmarkTable):
    config = dataclasses.replace(TINY, decoders="adapter", adapter=adapter, steps=3)
    log: list[dict[str, Any]] = []
    found = fit_stage(SLA, some, marked, config, log=log).locate(some[2])
    assert np.isfinite(found.xy).all()
    assert len(log) == 3


def test_the_published_form_learns_and_comes_back_the_same(some: Cohort, marked: LandmarkTable):
    config = dataclasses.replace(
        PATCHES, encoder="vgg19", before=0.0, start="random", batch=2, steps=1, decoders="adapter", adapter=2,
        context="rfb", area=4096,
    )  # fmt: skip
    matcher = fit_stage(SLA, some, marked, config)
    again = SLA.restore(*matcher.state(), FABRIC)
    np.testing.assert_array_equal(matcher.locate(some[2]).xy, again.locate(some[2]).xy)
    assert not matcher.coarse
