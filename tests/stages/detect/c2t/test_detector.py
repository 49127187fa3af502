"""The stage C2T: what it learns, keeps and shows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onemark import Cohort, LandmarkSet, LandmarkTable, Radiograph, UserError
from onemark.nn.backbones.unet import UNet
from onemark.nn.device import fabric_for
from onemark.nn.heatmaps.heatmap import HeatmapNet
from onemark.nn.training.checkpoint import Checkpoint
from onemark.progress import Cancelled, Progress
from onemark.stages.detect.c2t import C2T, C2TConfig
from onemark.testing import fit_stage

FABRIC = fabric_for("cpu")
SHORT = C2TConfig(area=4096, batch=3, steps=3)


@pytest.fixture(scope="module")
def asked() -> list[str]:
    return []


@pytest.fixture(scope="module")
def detector(phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable, asked: list[str]) -> C2T:
    """Trained on the truth as pseudo-labels, for a moment."""

    def pseudo_label(radiograph: Radiograph) -> LandmarkSet:
        asked.append(radiograph.name)
        return truth[radiograph.name]

    config = C2TConfig(area=4096, batch=4, steps=25, strength=0.2)
    return fit_stage(C2T, phantoms, exemplars, config, labels=pseudo_label)


def test_it_learns_pseudo_labels_and_asks_for_each_once(
    detector: C2T, asked: list[str], phantoms: Cohort, truth: LandmarkTable
):
    assert len(asked) == len(set(asked))
    misses = [np.linalg.norm(detector.locate(r).xy - truth[r.name].xy, axis=1).mean() for r in phantoms]
    assert np.mean(misses) < 5  # px; the canvas has 0.4 of the radiographs' pixels per side


def test_the_networks_differ_though_both_start_from_the_matcher(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable
):
    torch.manual_seed(5)
    start = HeatmapNet(UNet(), 7).state_dict()  # as a matcher's: a backbone that fits, a head that does not
    fresh = C2T(SHORT, exemplars.names, (64, 64), FABRIC)
    fresh.start_from(start)
    for network in (fresh.network.first, fresh.network.second):
        state = network.state_dict()
        assert all(torch.equal(state[k], v) for k, v in start.items() if k.startswith("backbone."))
    assert not torch.equal(fresh.network.first.head.weight, fresh.network.second.head.weight)


def test_it_goes_on_from_its_own_weights(detector: C2T):
    fresh = C2T(detector.config, detector.names, detector.canvas, FABRIC)
    fresh.start_from(detector.network.state_dict())
    ours = fresh.network.state_dict()
    assert all(torch.equal(ours[k], v) for k, v in detector.network.state_dict().items())


def test_it_goes_on_with_a_landmark_more(detector: C2T):
    fresh = C2T(detector.config, (*detector.names, "new"), detector.canvas, FABRIC)
    fresh.start_from(detector.network.state_dict())
    ours, former = fresh.network.state_dict(), detector.network.state_dict()
    assert all(torch.equal(ours[k], v) for k, v in former.items() if ".head." not in k)
    assert len(fresh.network.first.head.weight) == len(fresh.names)


def test_what_is_restored_finds_the_same(detector: C2T, phantoms: Cohort):
    again = C2T.restore(*detector.state(), FABRIC)
    assert again.shape is not None
    ours, theirs = detector.locate(phantoms[5]), again.locate(phantoms[5])
    np.testing.assert_array_equal(ours.xy, theirs.xy)
    np.testing.assert_array_equal(ours.score, theirs.score)
    np.testing.assert_array_equal(ours.expected_error, theirs.expected_error)


@pytest.mark.parametrize("changes", [{}, {"loss": "square", "views": "pair", "sigma": 6.0, "coarse": 0.5}])
def test_a_stopped_fit_goes_on_to_the_same_weights(
    changes: dict[str, object],
    phantoms: Cohort,
    exemplars: LandmarkTable,
    truth: LandmarkTable,
    tmp_path: Path,
):
    config = dataclasses.replace(SHORT, **changes)

    def fit(seed: int, **context: Any) -> C2T:
        return fit_stage(
            C2T, phantoms, exemplars, config, labels=lambda r: truth[r.name], seed=seed, **context
        )

    def stop(event: Progress) -> None:
        if event.stage == "detect" and event.step == 2:
            raise Cancelled

    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    whole = fit(3).state()[0]
    with pytest.raises(Cancelled):
        fit(3, sink=stop, checkpoint=checkpoint)
    resumed = fit(3, checkpoint=checkpoint).state()[0]
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    other = fit(4).state()[0]
    assert not all(torch.equal(value, other[name]) for name, value in whole.items())


def test_heatmaps_of_both_are_shown(detector: C2T, phantoms: Cohort):
    radiograph = phantoms[6]
    shown = detector.explain(radiograph, detector.names[1]).maps
    together = detector.explain(radiograph).maps
    assert list(shown) == list(together) == ["heatmap", "heatmap 1", "heatmap 2"]
    for name, one in shown.items():
        assert one.shape == radiograph.size
        assert 0 <= one.min() <= one.max() <= 1 + 1e-6
        assert (together[name] >= one - 1e-6).all()
    assert not np.allclose(shown["heatmap 1"], shown["heatmap 2"])
    with pytest.raises(UserError, match="no landmark 'elbow'"):
        detector.explain(radiograph, "elbow")


def test_the_answer_lies_where_both_together_are_surest(
    detector: C2T, phantoms: Cohort, monkeypatch: pytest.MonkeyPatch
):
    k = len(detector.names)
    first, second = (torch.full((1, k, 32, 32), -20.0) for _ in range(2))
    first[:, :, 10, 12], first[:, :, 20, 20] = 5.0, 4.0  # the second thinks little of the first's best
    second[:, :, 20, 20] = 5.0
    frame = detector.reader.read(phantoms[0])[1]
    monkeypatch.setattr(detector, "shape", None)
    monkeypatch.setattr(detector.reader, "read", lambda r: ((first, second), frame))
    found = detector.locate(phantoms[0])
    np.testing.assert_allclose(found.xy[0], frame.to_image(np.array([40.5, 40.5])), atol=1e-2)
