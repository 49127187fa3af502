"""The compact detector: what it aims at, what it leaves out, and what it returns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from onemark import Cancelled, Cohort, LandmarkSet, LandmarkTable, Progress, Radiograph, UserError
from onemark.imaging.augment import UNCHANGED
from onemark.imaging.letterbox import Letterbox
from onemark.nn.backbones.unet import UNet
from onemark.nn.device import fabric_for
from onemark.nn.heatmaps.heatmap import HeatmapNet, gaussians
from onemark.nn.training import pace as pace_of_steps
from onemark.nn.training.canvases import CanvasCache, cohort_canvas, resolution_levels
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.training.pace import seconds_per_step
from onemark.progress import Sink, silent
from onemark.stages.base import StageContext
from onemark.stages.detect.tpl import TPL, TPLConfig
from onemark.stages.detect.tpl import detector as tpl
from onemark.stages.detect.tpl.heatmap import HeatmapBatch, HeatmapTask
from onemark.testing import fit_stage

FABRIC = fabric_for("cpu")
STILL = TPLConfig(area=4096, batch=4, augment="none", sigma=2.0)
CANVAS = (64, 64)


class Labels:
    """Pseudo-labels: the truth on the canvas, moved by 4 px; counts what it is asked for."""

    def __init__(self, truth: LandmarkTable) -> None:
        self.truth, self.asked = truth, []

    def __call__(self, store: CanvasCache, index: int) -> torch.Tensor:
        self.asked.append(index)
        xy = store.letterbox(index).to_canvas(self.truth.sets[index].xy)
        return torch.from_numpy(xy).float() + torch.tensor([4.0, 0.0])


def task_of(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable, config: TPLConfig = STILL
) -> HeatmapTask:
    torch.manual_seed(0)
    network = HeatmapNet(UNet(), len(truth.names))
    levels = resolution_levels(phantoms, exemplars, CANVAS, 0.0, 100, silent)
    return HeatmapTask(network, levels, Labels(truth), config)


# --- targets and losses ----------------------------------------------------------------------------------


def test_the_worst_labels_of_each_landmark_are_left_out(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable, monkeypatch: pytest.MonkeyPatch
):
    task = task_of(phantoms, exemplars, truth)
    misfits = torch.tensor([[1.0, 9.0], [2.0, 1.0], [30.0, 2.0], [3.0, 30.0], [0.0, 0.0]])
    known = torch.ones(5, 2, dtype=torch.bool)
    monkeypatch.setattr(task, "misfit", lambda output, xy: (misfits, known))

    def pseudo(drop: float) -> float:
        """The loss of the pseudo-labels, four fifths of the batch; the exemplar, which comes last, fits exactly."""
        empty = torch.zeros(5)
        return float(task.loss(nn.Identity(), HeatmapBatch(empty, empty, 1, drop))[0]) * 5 / 4

    assert pseudo(0.0) == pytest.approx(78 / 8)
    assert pseudo(0.25) == pytest.approx((1 + 2 + 3 + 9 + 1 + 2) / 6)
    assert pseudo(0.4) == pytest.approx((1 + 2 + 0.4 * 3 + 1 + 2 + 0.4 * 9) / 4.8)  # 2.4 of 4 count
    known[0, 0] = False  # an unknown one counts as the worst
    assert pseudo(0.25) == pytest.approx((2 + 3 + 30 + 9 + 1 + 2) / 6)
    known[:] = False
    assert pseudo(0.25) == 0


def test_the_loss_is_zero_where_the_heatmap_is_the_target(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable
):
    task = task_of(phantoms, exemplars, truth)
    xy = torch.tensor([[[20.0, 30.0], [40.5, 10.25]]])
    target = gaussians((xy + 0.5) / 2 - 0.5, (32, 32), 1.0)
    nats, known = task.misfit(target.clamp(min=1e-12).log() + 7, xy)
    torch.testing.assert_close(nats, torch.zeros(1, 2), atol=1e-3, rtol=0)
    assert known.all()
    assert (task.misfit(target.flip(-1).clamp(min=1e-12).log(), xy)[0] > 1).all()


# --- batches ---------------------------------------------------------------------------------------------


def test_an_exemplar_with_true_labels_ends_every_batch(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    truth: LandmarkTable,
    generator: Callable[..., torch.Generator],
):
    task = task_of(phantoms, exemplars, truth)
    batch = task.batch(generator(0), 0.5)
    frame = Letterbox.fit(phantoms[0].size, CANVAS)
    torch.testing.assert_close(batch.views[-1], frame.render(phantoms[0].pixels)[None], atol=2e-4, rtol=0)
    true = torch.from_numpy(frame.to_canvas(truth.sets[0].xy)).float()
    torch.testing.assert_close(batch.xy[-1], true, atol=1e-3, rtol=0)
    chosen = sorted(task.levels[0].store.draw(3, generator(0)), key=lambda index: index == 0)
    assert batch.exemplars == 1 + chosen.count(0)  # the exemplar drawn among the radiographs counts, too
    for one, index in zip(batch.xy, chosen, strict=False):
        moved = torch.tensor([0.0 if index == 0 else 4.0, 0.0])
        expected = frame.to_canvas(truth.sets[index].xy) + moved.numpy()
        torch.testing.assert_close(one, torch.from_numpy(expected).float(), atol=1e-3, rtol=0)
    assert task_of(phantoms, exemplars, truth, STILL).exemplars_of(24, generator(0)) == 3


@pytest.mark.parametrize(("known", "share"), [(1, 1), (4, 2), (9, 3), (12, 3)])
def test_more_exemplars_have_a_larger_share_of_every_batch(
    known: int, share: int, phantoms: Cohort, truth: LandmarkTable, generator: Callable[..., torch.Generator]
):
    exemplars = LandmarkTable.from_sets(truth.sets[:known])
    task = task_of(phantoms, exemplars, truth, dataclasses.replace(STILL, batch=8))
    batch = task.batch(generator(0), 0.5)
    assert batch.exemplars >= share
    placed = torch.stack([one.xy for one in task.levels[0].exemplars])
    for n, row in enumerate(batch.xy):  # true labels, not pseudo-labels, which lie 4 px beside them
        is_true = bool((placed - row).abs().amax((1, 2)).min() < 1e-3)
        assert is_true == (n >= len(batch.xy) - batch.exemplars)
    assert task_of(phantoms, exemplars, truth, STILL).exemplars_of(2, generator(0)) == 1


@pytest.mark.parametrize(("known", "mean"), [(1, 1), (4, 1), (10, 10**0.5 / 2), (12, 12**0.5 / 2)])
def test_a_small_batch_has_its_share_of_exemplars_on_average(
    known: int, mean: float, phantoms: Cohort, truth: LandmarkTable, generator: Callable[..., torch.Generator]
):
    task, draw = task_of(phantoms, LandmarkTable.from_sets(truth.sets[:known]), truth), generator(0)
    drawn = np.array([task.exemplars_of(4, draw) for _ in range(2000)])
    assert set(drawn) <= {int(mean), int(np.ceil(mean))}
    assert drawn.mean() == pytest.approx(mean, abs=0.04)  # standard error: 0.011


def test_no_pseudo_label_is_asked_for_an_exemplar(
    phantoms: Cohort, truth: LandmarkTable, generator: Callable[..., torch.Generator]
):
    task = task_of(phantoms, LandmarkTable.from_sets(truth.sets[:2]), truth)
    for seed in range(10):
        task.batch(generator(seed), 0.5)
    assert isinstance(task.label, Labels)
    assert {0, 1}.isdisjoint(task.label.asked)
    assert len(set(task.label.asked)) > 5


def test_landmarks_follow_the_augmentation(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    truth: LandmarkTable,
    monkeypatch: pytest.MonkeyPatch,
    generator: Callable[..., torch.Generator],
):
    still = task_of(phantoms, exemplars, truth).batch(generator(3), 0.5)
    task = task_of(phantoms, exemplars, truth, dataclasses.replace(STILL, augment="spatial", strength=2.0))
    dots = gaussians(still.xy[:, :1], CANVAS, 1.5)  # the first landmark as a dot on an empty canvas
    monkeypatch.setattr(task.levels[0].store, "read", lambda indices: dots / dots.amax())
    task.intensity = UNCHANGED
    batch = task.batch(generator(3), 0.5)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    mass = batch.views.sum((2, 3))
    seen = torch.stack([(batch.views * x).sum((2, 3)), (batch.views * y).sum((2, 3))], -1) / mass[..., None]
    assert (batch.xy - still.xy).norm(dim=-1).mean() > 2
    assert (seen - batch.xy[:, :1]).norm(dim=-1).max() < 1.0


def test_labels_are_left_out_more_and_more(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    truth: LandmarkTable,
    generator: Callable[..., torch.Generator],
):
    task = task_of(phantoms, exemplars, truth, dataclasses.replace(STILL, drop=0.4))
    drops = [task.batch(generator(0), fraction).drop for fraction in (0, 0.15, 0.3, 1)]
    assert drops == pytest.approx([0, 0.2, 0.4, 0.4])


def test_a_hidden_landmark_of_the_exemplar_teaches_nothing(
    phantoms: Cohort, truth: LandmarkTable, generator: Callable[..., torch.Generator]
):
    xy = truth.sets[0].xy.copy()
    xy[2] = np.nan
    task = task_of(phantoms, LandmarkTable.from_sets([dataclasses.replace(truth.sets[0], xy=xy)]), truth)
    batch = task.batch(generator(0), 0.0)
    assert batch.xy[-1, 2].isnan().all()
    loss, _ = task.loss(task.module, batch)
    loss.backward()
    grads = [p.grad for p in task.module.parameters()]
    assert loss.isfinite()
    assert all(grad is not None and grad.isfinite().all() for grad in grads)
    only = dataclasses.replace(batch, views=batch.views[-1:], xy=batch.xy[-1:], exemplars=1)
    logits = task.module(only.views).detach().requires_grad_()
    nats, known = task.misfit(logits, only.xy)
    (nats * known).sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 2].abs().sum() == 0
    assert logits.grad[0, 1].abs().sum() > 0


# --- the stage -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked() -> list[str]:
    return []


@pytest.fixture(scope="module")
def detector(phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable, asked: list[str]) -> TPL:
    """Trained on the truth as pseudo-labels, for a moment."""

    def pseudo_label(radiograph: Radiograph) -> LandmarkSet:
        asked.append(radiograph.name)
        return truth[radiograph.name]

    config = TPLConfig(area=4096, batch=4, steps=30, augment="none")
    return fit_stage(TPL, phantoms, exemplars, config, labels=pseudo_label)


def test_it_learns_pseudo_labels_and_asks_for_each_once(
    detector: TPL, asked: list[str], phantoms: Cohort, truth: LandmarkTable, exemplars: LandmarkTable
):
    assert len(asked) == len(set(asked))
    misses = [np.linalg.norm(detector.locate(r).xy - truth[r.name].xy, axis=1).mean() for r in phantoms]
    assert np.mean(misses) < 4  # px; the canvas has 0.4 of the radiographs' pixels per side
    network = detector.reader(torch.zeros(1, 1, *detector.canvas))
    assert network.shape == (1, len(truth.names), detector.canvas[0] // 2, detector.canvas[1] // 2)


def test_the_shape_comes_from_pseudo_labels_wherever_training_stopped(
    detector: TPL, phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable
):
    config = dataclasses.replace(detector.config, steps=1)
    short = fit_stage(TPL, phantoms, exemplars, config, labels=lambda r: truth[r.name])
    assert short.shape is not None
    assert detector.shape is not None
    np.testing.assert_array_equal(short.shape.mean, detector.shape.mean)
    np.testing.assert_array_equal(short.shape.stray, detector.shape.stray)


def test_what_is_restored_finds_the_same(detector: TPL, phantoms: Cohort):
    again = TPL.restore(*detector.state(), FABRIC)
    ours, theirs = detector.locate(phantoms[5]), again.locate(phantoms[5])
    np.testing.assert_array_equal(ours.xy, theirs.xy)
    np.testing.assert_array_equal(ours.score, theirs.score)
    np.testing.assert_array_equal(ours.expected_error, theirs.expected_error)


def test_it_starts_from_weights_that_fit(detector: TPL, phantoms: Cohort, exemplars: LandmarkTable):
    start = detector.network.state_dict() | {
        "head.weight": torch.zeros(3, 32, 1, 1),
        "stranger": torch.zeros(1),
    }
    fresh = TPL(detector.config, detector.names, detector.canvas, FABRIC)
    head = fresh.network.head.weight.clone()
    fresh.start_from(start)
    state = fresh.network.state_dict()
    torch.testing.assert_close(state.pop("head.weight"), head)
    assert all(torch.equal(value, start[name]) for name, value in state.items())


def test_heatmaps_are_shown_one_by_one_or_all_together(detector: TPL, phantoms: Cohort):
    radiograph = phantoms[6]
    one, other, together = (
        detector.explain(radiograph, name).maps["heatmap"] for name in (*detector.names[:2], None)
    )
    for shown in (one, other, together):
        assert shown.shape == radiograph.size
        assert 0 <= shown.min() <= shown.max() <= 1 + 1e-6
    assert (together >= np.maximum(one, other) - 1e-6).all()
    assert not np.allclose(one, other)
    with pytest.raises(UserError, match="no landmark 'elbow'"):
        detector.explain(radiograph, "elbow")


def test_spread_is_told_as_an_expected_error(
    detector: TPL, phantoms: Cohort, monkeypatch: pytest.MonkeyPatch
):
    sharp = torch.full((1, len(detector.names), 32, 32), -30.0)
    sharp[:, :, 10, 12] = 30

    def locate(logits: torch.Tensor) -> Any:
        monkeypatch.setattr(detector, "shape", None)
        monkeypatch.setattr(detector.reader, "read", lambda r: (logits, Letterbox.fit(r.size, (64, 64))))
        return detector.locate(dataclasses.replace(phantoms[0], spacing=None))

    sure, unsure = locate(sharp), locate(sharp * 0.02)
    assert (sure.score > 0.99).all()
    assert (sure.expected_error < 0.1).all()
    assert (unsure.score < 0.5).all()
    assert (unsure.expected_error > 10).all()
    np.testing.assert_allclose(
        sure.xy[0], Letterbox.fit((160, 128), (64, 64)).to_image(np.array([24.5, 20.5])), atol=1e-3
    )


# --- the canvas that there is time for ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pace", "seconds", "enlarge", "larger"),
    [
        (0.1, None, 4.0, 1),  # a number of steps: the canvas that was asked for
        (0.1, 59.0, 4.0, 1),  # too short to look
        (0.1, 600.0, 1.0, 1),
        (1.0, 600.0, 4.0, 1),  # 400 steps at most
        (0.3, 600.0, 4.0, 2),  # 1333 steps, 667 on twice the area, 333 on four times
        (0.1, 600.0, 4.0, 4),  # 1000 steps on four times the area
    ],
)
def test_the_canvas_is_as_fine_as_there_is_time_for(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    monkeypatch: pytest.MonkeyPatch,
    pace: float,
    seconds: float | None,
    enlarge: float,
    larger: int,
):
    monkeypatch.setattr(tpl, "seconds_per_step", lambda *_: pace)
    config = TPLConfig(area=16384, enlarge=enlarge)
    context = StageContext(FABRIC, cohort=phantoms, exemplars=exemplars, config=config, seconds=seconds)
    asked = cohort_canvas(phantoms, 16384)
    canvas = TPL.choose_canvas(context, asked)
    assert canvas == cohort_canvas(phantoms, larger * 16384)
    assert (canvas == asked) is (larger == 1)


def test_a_detector_knows_how_many_radiographs_had_time_to_be_labelled(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable
):
    def fit(seconds: float | None, former: TPL | None = None) -> TPL:
        return fit_stage(
            TPL,
            phantoms,
            exemplars,
            STILL,
            labels=lambda one: truth[one.name],
            former=former,
            seconds=seconds,
        )

    short = fit(seconds=1e-6)
    assert short.seen is not None
    assert 0 < short.seen < len(phantoms) - 1
    assert TPL.restore(*short.state(), FABRIC).seen == short.seen
    short.seen = 9
    assert fit(seconds=1e-6, former=short).seen == 9
    assert fit(seconds=None).seen is None


def test_a_detector_that_is_taught_more_stays_on_its_canvas(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pace_of_steps, "LOOK_FROM", 0.0)
    config = dataclasses.replace(STILL, enlarge=4.0)

    def fit(pace: float, former: TPL | None = None) -> TPL:
        monkeypatch.setattr(tpl, "seconds_per_step", lambda *_: pace)
        return fit_stage(
            TPL, phantoms, exemplars, config, labels=lambda one: truth[one.name], former=former, seconds=0.1
        )

    fine = fit(pace=0.0)
    assert fine.canvas == cohort_canvas(phantoms, 4 * 4096)
    assert fit(pace=1.0).canvas == cohort_canvas(phantoms, 4096)
    assert fit(pace=1.0, former=fine).canvas == fine.canvas


def test_a_detector_that_goes_on_keeps_its_canvas_and_the_labels_it_has(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    truth: LandmarkTable,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    monkeypatch.setattr(pace_of_steps, "LOOK_FROM", 0.0)
    checkpoint, asked = Checkpoint(tmp_path / "checkpoint.safetensors"), list[str]()
    config = dataclasses.replace(STILL, enlarge=4.0)

    def label(one: Radiograph) -> LandmarkSet:
        asked.append(one.name)
        return truth[one.name]

    def fit(pace: float, seconds: float, sink: Sink = silent) -> TPL:
        monkeypatch.setattr(tpl, "seconds_per_step", lambda *_: pace)
        return fit_stage(
            TPL, phantoms, exemplars, config, labels=label, seconds=seconds, sink=sink, checkpoint=checkpoint
        )

    def stop(event: Progress) -> None:
        if event.step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        fit(0.0, 60.0, stop)
    first = set(asked)
    assert len(first) > 1
    asked.clear()
    rest = fit(1.0, 1e-6)  # another machine, and the time is over
    assert rest.canvas == cohort_canvas(phantoms, 4 * 4096)
    assert not asked
    assert rest.seen == len(first)


def test_looking_at_the_pace_changes_neither_network_nor_draws():
    torch.manual_seed(1)
    network = HeatmapNet(UNet(), 2)
    before, drawn = {k: v.clone() for k, v in network.state_dict().items()}, torch.get_rng_state()
    assert 0 < seconds_per_step(network, CANVAS, 2, FABRIC) < math.inf
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_a_canvas_for_which_memory_does_not_suffice_is_never_enlarged(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> float:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("onemark.nn.training.pace._time_steps", fail)
    assert seconds_per_step(HeatmapNet(UNet(), 2), CANVAS, 2, FABRIC) == math.inf
