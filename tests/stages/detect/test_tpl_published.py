"""The published configuration of TPL: discs and offsets that vote, one exemplar per batch, ImageNet's encoder."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

import onemark
from onemark import Cohort, LandmarkSet, LandmarkTable, Radiograph
from onemark.nn.backbones.unet import UNet
from onemark.nn.device import fabric_for
from onemark.nn.training.canvases import resolution_levels
from onemark.progress import silent
from onemark.stages.detect.tpl import TPL, TPLConfig
from onemark.stages.detect.tpl.voting import VotingNet, VotingTask, disc_radius, vote
from onemark.testing import fit_stage

FABRIC = fabric_for("cpu")
VOTING = TPLConfig(head="voting", area=4096, batch=3, steps=2, augment="none", drop=0.0, disc=0.1)
SHAPE = (96, 128)
LANDMARKS = torch.tensor([[40.3, 50.75], [100.0, 20.5], [9.2, 88.6], [126.9, 1.1]])


def grid() -> tuple[torch.Tensor, torch.Tensor]:
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    return x, y


def perfect(xy: torch.Tensor, radius: int) -> torch.Tensor:
    """What a network that knows landmarks `[K, 2]` would give: `[3, K, 96, 128]`."""
    x, y = grid()
    right, down = (xy[:, i, None, None] - m for i, m in enumerate((x, y)))
    inside = right**2 + down**2 < radius**2
    return torch.stack([torch.where(inside, 20.0, -20.0), right / radius, down / radius])


def labels(truth: LandmarkTable) -> Any:
    """Pseudo-labels: the truth, moved by 5 px to the right."""

    def pseudo_label(radiograph: Radiograph) -> LandmarkSet:
        true = truth[radiograph.name]
        return dataclasses.replace(true, xy=np.add(true.xy, [5.0, 0.0]))

    return pseudo_label


def task_of(config: TPLConfig, cohort: Cohort, exemplars: LandmarkTable, truth: LandmarkTable) -> VotingTask:
    def label(store: Any, index: int) -> torch.Tensor:
        xy = store.letterbox(index).to_canvas(labels(truth)(store.cohort[index]).xy)
        return torch.from_numpy(xy).float()

    torch.manual_seed(0)
    network = VotingNet(UNet(), len(truth.names))
    levels = resolution_levels(cohort, exemplars, (64, 64), 0, 100, silent)
    return VotingTask(network, levels, label, config)


# ---------------------------------------------------------------- votes


def test_the_radius_is_a_share_of_the_mean_side():
    assert disc_radius((384, 384), 0.05) == 19
    assert disc_radius((432, 344), 0.05) == 19
    assert disc_radius((64, 64), 0.005) == 1


def test_planted_discs_and_offsets_are_found_to_a_fraction_of_a_pixel():
    peaks, ballots = vote(perfect(LANDMARKS, 6), 6)
    assert torch.allclose(peaks.xy, LANDMARKS, atol=1e-3)
    assert (peaks.spread < 1e-3).all()
    assert ballots.shape == (4, 96, 128)
    assert ballots[0, 51, 40] == round(math.pi * 36)  # as many votes as a disc has pixels, all on one place
    hard, _ = vote(perfect(LANDMARKS, 6), 6, subpixel=False)
    assert torch.equal(hard.xy, LANDMARKS.round())


def test_votes_from_outside_the_disc_do_not_count():
    output = perfect(LANDMARKS[:2], 6)
    outside = output[0] < 0
    output[1:, outside] += 3 * torch.randn(2, int(outside.sum()), generator=torch.Generator().manual_seed(0))
    found, _ = vote(output, 6, subpixel=False)
    assert torch.equal(found.xy, LANDMARKS[:2].round())


def test_scattered_and_lost_votes_lower_the_score():
    output = perfect(LANDMARKS, 6)
    sure, _ = vote(output, 6)
    output[1:, 0] += 4 * torch.randn(2, 96, 128, generator=torch.Generator().manual_seed(0))  # scattered
    output[1:, 1] += 100  # all of them leave the map
    unsure, ballots = vote(output, 6)
    assert (sure.score > 0.99).all()
    assert unsure.score[0] < 0.2 < 5 < unsure.spread[0]
    assert unsure.score[1] == 0 == ballots[1].sum()
    assert torch.isfinite(unsure.xy).all()


def test_the_peak_is_the_mean_of_the_votes_near_the_best_pixel():
    output = perfect(LANDMARKS[:1], 6)
    x, _ = grid()
    output[1, 0] += torch.where(
        x % 2 == 0, 0.1, -0.05
    )  # every other column aims 0.6 px right, the rest 0.3 px left
    votes = x[output[0, 0] > 0] % 2 == 0
    share = float(votes.float().mean())
    found, _ = vote(output, 6)
    assert float(found.xy[0, 0] - LANDMARKS[0, 0]) == pytest.approx(0.6 * share - 0.3 * (1 - share), abs=0.01)


# ---------------------------------------------------------------- loss


def naive(config: TPLConfig, output: torch.Tensor, xy: torch.Tensor, radius: int) -> float:
    """Eq. 4 of one landmark, in numpy: `output` `[3, H, W]`."""
    x, y = (m.numpy().astype(float) for m in grid())
    right, down = float(xy[0]) - x, float(xy[1]) - y
    disc = right**2 + down**2 < radius**2
    p = 1 / (1 + np.exp(-output[0].double().numpy()))
    nats = -(disc * np.log(p) + ~disc * np.log(1 - p))
    focus = np.where(disc, 1 - p, p) if config.loss == "focal" else 1.0
    stray = np.abs(output[1].numpy() - right / radius) + np.abs(output[2].numpy() - down / radius)
    return config.heat_weight * (nats * focus).mean() + (stray * disc).sum() / disc.sum()


@pytest.mark.parametrize(("loss", "weight"), [("bce", 1.0), ("focal", 2.0)])
def test_the_loss_is_equation_4(
    loss: str, weight: float, phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable
):
    config = dataclasses.replace(VOTING, loss=loss, heat_weight=weight, disc=0.06)
    task = task_of(config, phantoms, exemplars, truth)
    output = torch.randn(2, 3, 4, *SHAPE, generator=torch.Generator().manual_seed(1))
    xy = torch.stack([LANDMARKS, LANDMARKS.flip(0)])
    xy[1, 2] = torch.nan  # not visible
    xy[0, 3, 0] = 128.4  # warped off the view
    found, known = task.misfit(output, xy)
    assert known.tolist() == [[True, True, True, False], [True, True, False, True]]
    for b, k in known.nonzero().tolist():
        expected = naive(config, output[b, :, k], xy[b, k], disc_radius(SHAPE, 0.06))
        assert float(found[b, k]) == pytest.approx(expected, rel=1e-4)


def test_what_costs_nothing_votes_for_the_landmark(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable
):
    task = task_of(VOTING, phantoms, exemplars, truth)
    radius = disc_radius(SHAPE, VOTING.disc)
    output = perfect(LANDMARKS, radius)
    found, _ = task.misfit(output[None], LANDMARKS[None])
    assert found.abs().max() < 1e-5
    assert torch.allclose(vote(output, radius)[0].xy, LANDMARKS, atol=1e-3)


# ---------------------------------------------------------------- batches


def test_one_exemplar_with_true_labels_is_in_every_batch(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable
):
    task = task_of(dataclasses.replace(VOTING, batch=17), phantoms, exemplars, truth)
    store = task.levels[0].store
    first = store.index(exemplars.images[0])
    for seed in range(3):
        batch = task.batch(torch.Generator().manual_seed(seed), 0.5)
        assert batch.exemplars >= 1
        assert torch.allclose(batch.views[-1], store.read([first])[0].clamp(min=1e-4), atol=1e-4)
        true = torch.from_numpy(store.letterbox(first).to_canvas(exemplars[exemplars.images[0]].xy)).float()
        assert torch.allclose(batch.xy[-1], true, atol=1e-3)
        drawn = sorted(store.draw(16, torch.Generator().manual_seed(seed)), key=lambda index: index == first)
        for index, xy in zip(drawn, batch.xy, strict=False):
            expected = true if index == first else task.label(store, index)
            assert torch.allclose(xy, expected, atol=1e-3)


def test_jitter_changes_grey_values_and_moves_nothing(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable
):
    plain, jitter, spatial = (
        task_of(dataclasses.replace(VOTING, augment=kind), phantoms, exemplars, truth).batch(
            torch.Generator().manual_seed(0), 0.0
        )
        for kind in ("none", "jitter", "spatial")
    )
    assert torch.allclose(plain.xy, jitter.xy, atol=1e-4)
    assert not torch.allclose(plain.xy, spatial.xy, atol=1.0)
    for one, other in zip(plain.views.flatten(1), jitter.views.flatten(1), strict=True):
        inner = (other > 0.01) & (other < 0.99)
        assert (one - other).abs().max() > 0.005
        assert (
            np.corrcoef(one[inner], other[inner])[0, 1] > 0.9999
        )  # brightness and contrast: a straight line


# ---------------------------------------------------------------- the stage


def test_learning_lowers_the_loss(phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable):
    task = task_of(VOTING, phantoms, exemplars, truth)
    batch = task.batch(torch.Generator().manual_seed(0), 0.0)
    optimizer = torch.optim.Adam(task.module.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss, _ = task.loss(task.module, batch)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]


def fitted(
    config: TPLConfig, cohort: Cohort, exemplars: LandmarkTable, truth: LandmarkTable, **more: Any
) -> TPL:
    return fit_stage(TPL, cohort, exemplars, config, labels=labels(truth), **more)


def test_a_vgg19_detector_learns_and_comes_back_the_same(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable
):
    settings = {"detect.weights": "none", "detect.area": 4096, "detect.batch": 2, "detect.steps": 2}
    config = onemark.RECIPES["cc2d"].configure(settings)["detect"]
    detector = fitted(config, phantoms, exemplars, truth)
    again = TPL.restore(*detector.state(), FABRIC)
    assert again.config == config
    assert isinstance(detector.network, VotingNet)
    for index in (1, 5):
        one, other = detector.locate(phantoms[index]), again.locate(phantoms[index])
        assert np.array_equal(one.xy, other.xy)
        assert np.array_equal(one.score, other.score)
    maps = detector.explain(phantoms[1], exemplars.names[2]).maps
    assert set(maps) == {"heatmap", "votes"}
    assert all(m.shape == phantoms[1].size and m.max() <= 1 + 1e-5 for m in maps.values())


def test_what_a_detector_starts_from(phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable):
    first = fitted(dataclasses.replace(VOTING, steps=1, rate=1e-7), phantoms, exemplars, truth)
    own = {k: torch.full_like(v, 0.01) for k, v in first.network.state_dict().items()}
    matcher = {k: v for k, v in own.items() if k.startswith("backbone.")} | {"heads.0.weight": torch.zeros(1)}
    config = dataclasses.replace(VOTING, steps=1, rate=1e-7)
    warm = fitted(config, phantoms, exemplars, truth, weights=own).network.state_dict()
    assert torch.allclose(warm["head.weight"], torch.tensor(0.01), atol=1e-5)
    compact = fitted(config, phantoms, exemplars, truth, weights=matcher).network.state_dict()
    assert torch.allclose(compact["backbone.up.0.0.weight"], torch.tensor(0.01), atol=1e-5)
    assert not torch.allclose(compact["head.weight"], torch.tensor(0.01), atol=1e-3)


def test_a_vgg19_detector_starts_anew_unless_it_is_taught_more(exemplars: LandmarkTable):
    config = dataclasses.replace(VOTING, encoder="vgg19")
    torch.manual_seed(0)
    detector = TPL(config, exemplars.names, (64, 64), FABRIC)
    state = {k: v.clone() for k, v in detector.network.state_dict().items()}
    detector.start_from({k: torch.zeros_like(v) for k, v in state.items() if k.startswith("backbone.")})
    assert all(torch.equal(v, state[k]) for k, v in detector.network.state_dict().items())
    detector.start_from({k: torch.zeros_like(v) for k, v in state.items()})
    assert all(not v.any() for v in detector.network.state_dict().values())
