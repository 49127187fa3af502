from __future__ import annotations

from typing import Literal

import pytest
import torch
from lightning_fabric import Fabric
from made_up import draw_weights
from torch import nn

from onemark.nn.backbones.unet import UNet
from onemark.nn.device import fabric_for
from onemark.nn.folding import fold
from onemark.nn.heatmaps.heatmap import HeatmapNet
from onemark.nn.reader import Reader


@pytest.fixture
def network() -> HeatmapNet:
    made = HeatmapNet(UNet((8, 8, 8, 8, 8)), 3)
    draw_weights(made)
    return made


def canvases() -> torch.Tensor:
    return torch.rand(2, 1, 64, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("trained_in", ["32-true", "bf16-mixed"])
def test_a_reader_answers_as_its_network_does_on_every_cpu(
    network: HeatmapNet, trained_in: Literal["32-true", "bf16-mixed"]
):
    found = Reader(network, (64, 32), Fabric(accelerator="cpu", devices=1, precision=trained_in))(canvases())
    with torch.no_grad():
        torch.testing.assert_close(found, network.eval()(canvases()), atol=1e-3, rtol=1e-4)


def test_folding_leaves_no_normalization_behind_a_convolution_and_the_network_as_it_was(network: HeatmapNet):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold(network.eval())
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_what_cannot_be_folded_is_asked_as_it_is():
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2)).eval()
    assert fold(plain) is plain


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_reader_notices_that_its_network_was_trained(network: HeatmapNet, inner: bool, mode: str):
    """A preview interrupts a training, which goes on with other weights; or the network is given others."""
    reader = Reader(nn.Sequential(network) if inner else network, (64, 32), fabric_for("cpu"))
    before = reader(canvases())
    network.train(mode == "train")
    with torch.no_grad():
        network.head.weight.mul_(2)
    torch.testing.assert_close(
        reader(canvases()) - network.head.bias[:, None, None],
        2 * (before - network.head.bias[:, None, None]),
        atol=1e-3,
        rtol=1e-4,
    )
