"""The refiner on phantoms: what it learns, keeps, shows and refuses."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

import onemark
from onemark import Cohort, LandmarkSet, LandmarkTable, Progress, Radiograph, UserError
from onemark.nn.backbones.unet import UNet
from onemark.nn.device import fabric_for
from onemark.nn.embedding.embed import Embedder
from onemark.nn.training.canvases import resolution_levels
from onemark.options import from_settings
from onemark.stages.base import ChosenStage
from onemark.stages.config import StageConfig
from onemark.stages.match.cc2d import CC2D, CC2DConfig
from onemark.stages.refine.f2 import F2, F2Config
from onemark.stages.refine.f2.task import ExemplarTask, LabelTask
from onemark.stages.trust import Trust, ask
from onemark.testing import KnownPoints, fit_stage

Locate = Callable[[Radiograph], LandmarkSet]
SMALL: dict[str, Any] = {"area": 20480, "crop": 32, "match_prior": 3.0, "shift": 2.0}
SMALL |= {"learn": "labels", "steps": 2, "batch": 2, "rate": 1e-3}
DINO: dict[str, Any] = SMALL | {"encoder": "dino", "learn": "exemplar", "steps": 1, "top": 2}


def coarse_points(truth: LandmarkTable, away: float = 2.0) -> Locate:
    """A coarse stage that is wrong by about `away` px, the same every time."""

    def locate(radiograph: Radiograph) -> LandmarkSet:
        one = truth[radiograph.name]
        noise = np.random.default_rng(sum(radiograph.name.encode())).normal(0, away, one.xy.shape)
        known = np.full(len(one.names), 0.5)
        return LandmarkSet(one.image, one.names, one.xy + noise, known, known)

    return locate


@pytest.fixture(scope="module")
def start() -> dict[str, torch.Tensor]:
    """Weights of a compact matcher that has not learned."""
    torch.manual_seed(0)
    return Embedder(UNet(), 16).state_dict()


def chosen(match: StageConfig, refine: StageConfig) -> dict[str, ChosenStage]:
    return {"match": ChosenStage(CC2D, match), "refine": ChosenStage(F2, refine)}


def fitted(
    settings: dict[str, Any],
    phantoms: Cohort,
    exemplars: LandmarkTable,
    locate: Locate,
    start: dict[str, torch.Tensor],
    seed: int = 0,
    detector: Mapping[str, dict[str, torch.Tensor]] = MappingProxyType({}),
    **more: Any,
) -> F2:
    config = from_settings(F2Config, settings)
    before = {slot: KnownPoints(locate, weights) for slot, weights in detector.items()}
    return fit_stage(
        F2, phantoms, exemplars, config, labels=locate, weights=start, before=before, seed=seed, **more
    )


@pytest.fixture(scope="module")
def refiner(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable, start: dict[str, torch.Tensor]
) -> Callable[[str], F2]:
    """One of a kind, barely trained, when first asked for."""
    kinds = {"labels": SMALL, "nothing": SMALL | {"learn": "nothing"}, "exemplar": DINO}

    @functools.cache
    def get(kind: str) -> F2:
        return fitted(kinds[kind], phantoms, exemplars, coarse_points(truth), start)

    return get


KINDS = ("labels", "nothing", "exemplar")


@pytest.mark.parametrize("kind", KINDS)
def test_points_stay_near_and_come_with_scores(
    kind: str, refiner: Callable[[str], F2], phantoms: Cohort, truth: LandmarkTable
):
    coarse = coarse_points(truth)(phantoms[2])
    found = refiner(kind).refine(phantoms[2], coarse)
    assert (found.image, found.names) == (coarse.image, coarse.names)
    moved = np.linalg.norm(found.xy - coarse.xy, axis=1)
    assert moved.max() > 0.2
    assert moved.max() < 16
    assert ((found.score >= 0) & (found.score <= 1)).all()
    assert (found.expected_error >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_restored_answers_as_what_was_kept(
    kind: str, refiner: Callable[[str], F2], phantoms: Cohort, truth: LandmarkTable
):
    one, coarse = refiner(kind), coarse_points(truth)(phantoms[3])
    tensors, head = one.state()
    again = F2.restore({k: v.clone() for k, v in tensors.items()}, head, fabric_for("cpu"))
    ours, theirs = one.refine(phantoms[3], coarse), again.refine(phantoms[3], coarse)
    np.testing.assert_array_equal(ours.xy, theirs.xy)
    np.testing.assert_array_equal(ours.expected_error, theirs.expected_error)


@pytest.mark.parametrize("kind", KINDS)
def test_evidence_lies_around_the_coarse_point(
    kind: str, refiner: Callable[[str], F2], phantoms: Cohort, truth: LandmarkTable
):
    radiograph, one = phantoms[4], refiner(kind)
    coarse = coarse_points(truth)(radiograph)
    name = coarse.names[3]
    shown = one.explain(radiograph, coarse, name).maps["refined"]
    assert shown.shape == radiograph.size
    assert shown.dtype == np.float32
    y, x = np.nonzero(shown > 1e-3)
    assert np.abs(np.stack([x, y], 1) - coarse.xy[3]).max() < 20
    every = one.explain(radiograph, coarse).maps["refined"]
    assert (every > 0.5).sum() > (shown > 0.5).sum()
    with pytest.raises(UserError, match="no landmark 'elbow' in this run"):
        one.explain(radiograph, coarse, "elbow")


def test_heatmaps_learn_to_mend_coarse_points(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable, start: dict[str, torch.Tensor]
):
    locate = coarse_points(truth, 2.5)
    refiner = fitted(SMALL | {"steps": 60, "batch": 3}, phantoms, exemplars, locate, start)
    before, after = [], []
    for radiograph in list(phantoms)[1:]:
        coarse = locate(radiograph)
        right = truth[radiograph.name].xy
        before.append(np.linalg.norm(coarse.xy - right, axis=1).mean())
        after.append(np.linalg.norm(refiner.refine(radiograph, coarse).xy - right, axis=1).mean())
    assert np.mean(after) < 0.9 * np.mean(before)


def test_the_same_seed_gives_the_same_weights_and_another_others(
    refiner: Callable[[str], F2],
    phantoms: Cohort,
    exemplars: LandmarkTable,
    truth: LandmarkTable,
    start: dict[str, torch.Tensor],
):
    torch.manual_seed(99)
    again, other = (fitted(SMALL, phantoms, exemplars, coarse_points(truth), start, seed) for seed in (0, 1))
    weights = refiner("labels").network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in again.network.state_dict().items())
    assert any(not torch.equal(value, weights[name]) for name, value in other.network.state_dict().items())


def test_it_goes_on_from_its_former_self(
    refiner: Callable[[str], F2],
    phantoms: Cohort,
    exemplars: LandmarkTable,
    truth: LandmarkTable,
    start: dict[str, torch.Tensor],
):
    former = refiner("labels")
    barely = SMALL | {"rate": 1e-7, "steps": 1}
    later = fitted(barely, phantoms, exemplars, coarse_points(truth), start, former=former)
    torch.testing.assert_close(later.network.head.weight, former.network.head.weight, atol=1e-5, rtol=0)
    fresh = fitted(barely, phantoms, exemplars, coarse_points(truth), start)
    assert not torch.allclose(fresh.network.head.weight, former.network.head.weight, atol=1e-5)
    torch.testing.assert_close(
        fresh.network.backbone.lateral[0].weight, start["backbone.lateral.0.weight"], atol=1e-5, rtol=0
    )
    detector = {"detect": {"head.weight": torch.full_like(former.network.head.weight, 0.25)}}
    begun = fitted(barely, phantoms, exemplars, coarse_points(truth), start, detector=detector)
    torch.testing.assert_close(
        begun.network.head.weight, detector["detect"]["head.weight"], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        begun.network.backbone.lateral[0].weight, start["backbone.lateral.0.weight"], atol=1e-5, rtol=0
    )


def test_a_landmark_that_an_exemplar_hides_is_learned_from_the_other(
    phantoms: Cohort, truth: LandmarkTable, start: dict[str, torch.Tensor]
):
    first, second = (truth[name] for name in phantoms.names[:2])
    xy = first.xy.copy()
    xy[2] = np.nan
    both = LandmarkTable.from_sets([dataclasses.replace(first, xy=xy), second])
    for learn in ("labels", "nothing"):
        locate = coarse_points(truth)
        refiner = fitted(SMALL | {"learn": learn}, phantoms, both, locate, start)
        assert np.isfinite(refiner.refine(phantoms[5], locate(phantoms[5])).xy).all()


def test_radiographs_of_a_mixed_cohort_are_looked_at_as_they_were_learned(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable, start: dict[str, torch.Tensor]
):
    mixed = fitted(
        SMALL | {"framing": "mixed", "learn": "nothing"}, phantoms, exemplars, coarse_points(truth), start
    )
    wide = Radiograph("wide.png", np.pad(phantoms[2].pixels, ((0, 0), (0, 48))))
    coarse = dataclasses.replace(truth[phantoms.names[2]], image="wide.png")
    middle = np.array([wide.size[1], wide.size[0]]) / 2
    inner = coarse.names[int(np.linalg.norm(coarse.xy - middle, axis=1).argmin())]

    def aspect(refiner: F2) -> float:
        """Width over height of the crop around a landmark, in the radiograph's own pixels."""
        rows, columns = np.nonzero(refiner.explain(wide, coarse, inner).maps["refined"])
        return float((np.ptp(columns) + 1) / (np.ptp(rows) + 1))

    assert aspect(fitted_alike(mixed)) == pytest.approx(1, abs=0.05)
    assert aspect(mixed) == pytest.approx(176 / 128, abs=0.06)  # the width is squeezed to the canvas' 128 px


def fitted_alike(refiner: F2) -> F2:
    tensors, head = refiner.state()
    head["config"]["framing"] = "alike"
    return F2.restore(tensors, head, fabric_for("cpu"))


# --- tasks -----------------------------------------------------------------------------------------------


def test_labels_that_fit_least_are_left_out_and_unknown_ones_count_nothing(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable
):
    size = resolution_levels(phantoms, exemplars, (160, 128), 0.0, 400, lambda event: None)[-1]
    config = from_settings(F2Config, SMALL | {"drop": 0.5, "batch": 4})

    def label(store: Any, index: int) -> torch.Tensor:
        xy = torch.from_numpy(truth[phantoms.names[index]].xy).float()
        xy[0] = torch.nan
        return xy

    task = LabelTask(torch.nn.Identity(), size, label, label, config)
    generator = torch.Generator().manual_seed(1)
    batch = task.batch(generator, 1.0)
    assert batch.views.shape == (4 * len(truth.names), 1, 32, 32)
    assert (batch.exemplars, batch.drop) == (1, 0.5)
    assert batch.xy[:-1, 0].isnan().any()
    assert batch.xy[-1].isfinite().all()

    def loss(wrong: int) -> float:
        """Of heatmaps that are right but for a number of radiographs, where they say nothing."""
        cells = (batch.xy + 0.5) / 2 - 0.5
        y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
        away = (x - cells[..., 0, None, None]) ** 2 + (y - cells[..., 1, None, None]) ** 2
        logits = (-away / 2).nan_to_num(0.0)
        logits[:wrong] = 0
        return float(task.loss(lambda views: logits, batch)[0])  # type: ignore[arg-type]

    assert loss(0) == pytest.approx(0, abs=0.05)
    assert loss(1) == pytest.approx(loss(0), abs=0.05)  # a third of the labels, and half are left out
    assert loss(3) > 0.5


def test_descriptors_are_right_where_only_the_landmark_looks_like_itself(
    phantoms: Cohort, exemplars: LandmarkTable
):
    size = resolution_levels(phantoms, exemplars, (160, 128), 0.0, 400, lambda event: None)[-1]
    task = ExemplarTask(torch.nn.Identity(), size, 1, from_settings(F2Config, SMALL | {"batch": 6}))
    batch = task.batch(torch.Generator().manual_seed(0), 0.5)
    assert batch.views.shape == (6, 1, 32, 32)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    away = (x - batch.xy[..., 0, None]) ** 2 + (y - batch.xy[..., 1, None]) ** 2
    similar = (-away / 8).exp()
    right = torch.stack([similar, (1 - similar**2).clamp(min=0).sqrt()], 1)
    alike = torch.ones(6, 1, 32, 32)
    assert float(task.loss(lambda views: right, batch)[0]) < 0.1  # type: ignore[arg-type]
    assert float(task.loss(lambda views: alike, batch)[0]) > 0.5  # type: ignore[arg-type]


# --- in recipes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "matcher", "said"),
    [
        ({"crop": 50}, {}, r"refine\.crop must be a multiple of 32 px, not 50"),
        ({"encoder": "dino"}, {}, r"refine\.learn=labels is not for dino: set refine\.learn=exemplar"),
        (
            {"learn": "nothing"},
            {"encoder": "vgg19"},
            r"compares by a compact matcher's network, not by vgg19: set refine",
        ),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], matcher: dict[str, Any], said: str):
    configs = {"match": from_settings(CC2DConfig, matcher), "refine": from_settings(F2Config, settings)}
    with pytest.raises(UserError, match=said):
        F2.check(chosen(**configs))
    F2.check(chosen(match=CC2DConfig(), refine=F2Config()))
    F2.check(chosen(match=CC2DConfig(encoder="vgg19"), refine=F2Config()))


def test_behind_another_matcher_it_learns_from_the_coarse_points_and_says_so(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable, start: dict[str, torch.Tensor]
):
    def changed(by: float, weights: dict[str, torch.Tensor]) -> tuple[list[str], torch.Tensor]:
        events: list[Progress] = []
        config = from_settings(F2Config, SMALL | {"match_prior": by})
        locate = coarse_points(truth)
        f2 = fit_stage(F2, phantoms, exemplars, config, labels=locate, weights=weights, sink=events.append)
        return [event.message for event in events if event.message], f2.network.head.weight

    (told, one), (_, other) = changed(1.0, {}), changed(8.0, {})
    assert torch.equal(one, other)
    assert len(told) == 1
    assert "learns from the coarse points" in told[0]
    (told, one), (_, other) = changed(1.0, start), changed(8.0, start)
    assert not torch.equal(one, other)
    assert told == []


def test_the_recipe_refines_what_the_detector_found(
    phantoms: Cohort, exemplars: LandmarkTable, tiny: dict[str, object], tmp_path: Path
):
    settings = tiny | {f"refine.{k}": v for k, v in SMALL.items()}
    events: list[Progress] = []
    model = onemark.fit(
        phantoms,
        exemplars,
        settings=settings,
        out=tmp_path / "run",
        progress=events.append,
    )
    assert "refine" in {event.stage for event in events}
    loaded = onemark.load(tmp_path / "run")
    answers = ask(loaded.stages, phantoms[1], Trust.full(len(exemplars.names)))
    np.testing.assert_array_equal(answers.coarse.xy, model.stages["detect"].locate(phantoms[1]).xy)
    np.testing.assert_array_equal(
        answers.final.xy, model.stages["refine"].refine(phantoms[1], answers.coarse).xy
    )
    assert not np.allclose(answers.final.xy, answers.coarse.xy, atol=0.01)
    found = loaded.locate(phantoms[1])
    np.testing.assert_array_equal(found.xy, ask(loaded.stages, phantoms[1], model.trust).final.xy)
    assert "refined" in model.explain(phantoms[1]).maps
