from __future__ import annotations

import pytest
import torch
from torch import nn

from onemark.nn.backbones.context import context_blocks
from onemark.nn.backbones.pyramid import pyramid
from onemark.nn.backbones.vgg import TAPS, WIDTHS, VGGUNet, double_conv


@pytest.fixture(scope="module")
def network() -> VGGUNet:
    torch.manual_seed(0)
    return VGGUNet().eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(1))


def sizes(channels: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [(2, c, 64 // s, 96 // s) for c, s in zip(channels, (2, 4, 8, 16, 32), strict=True)]


@torch.no_grad()
def test_taps_lie_after_each_max_pool(network: VGGUNet, images: torch.Tensor):
    taps = network.taps(images)
    assert [tuple(m.shape) for m in taps] == sizes((64, 128, 256, 512, 512))
    assert TAPS == (64, 128, 256, 512, 512)
    first = network.features[:5](
        images.repeat(1, 3, 1, 1)
    )  # conv, ReLU, conv, ReLU, pool; grey in all colours
    assert torch.allclose(taps[0], first, atol=1e-6)
    assert [type(m) for m in network.features].count(nn.Conv2d) == 16
    assert all(
        float(m.std()) > 1e-3 for m in taps
    )  # random weights keep the signal through all sixteen layers


@torch.no_grad()
def test_the_decoder_gives_five_maps_finest_first(network: VGGUNet, images: torch.Tensor):
    maps = network(images)
    assert network.widths == WIDTHS == (128, 64, 128, 256, 512)
    assert [tuple(m.shape) for m in maps] == sizes(network.widths)
    assert torch.equal(maps[-1], network.taps(images)[-1])
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == 8


@torch.no_grad()
def test_grey_values_can_be_centred(network: VGGUNet, images: torch.Tensor):
    torch.manual_seed(0)
    centred = pyramid("vgg19", centred=True).eval()
    centred.load_state_dict(network.state_dict())
    assert torch.allclose(centred.taps(images)[2], network.taps(2 * images - 1)[2], atol=1e-5)


def test_instance_normalisation_looks_at_one_radiograph_alone():
    block = double_conv(4, 4, "instance").train()
    two = torch.rand(2, 4, 6, 6)
    assert torch.allclose(block(two)[:1], block(two[:1]), atol=1e-5)
    batch = double_conv(4, 4, "batch").train()
    assert not torch.allclose(batch(two)[:1], batch(two[:1]), atol=1e-5)


@pytest.mark.parametrize(("kind", "plain"), [("none", 5), ("aspp", 0), ("rfb", 2)])
def test_context_keeps_every_level_s_shape(kind: str, plain: int):
    widths = (8, 4, 8, 6, 10)
    blocks = context_blocks(kind, widths)
    assert [isinstance(block, nn.Identity) for block in blocks] == [n < plain for n in range(5)]
    for block, width in zip(blocks, widths, strict=True):
        m = torch.rand(2, width, 5, 7)
        assert block(m).shape == m.shape
        assert torch.equal(block(m), block(m))  # in training too: nothing is dropped at random


def test_context_sees_further_than_a_convolution():
    for kind in ("aspp", "rfb"):
        block = context_blocks(kind, (4,) * 5)[-1].eval()
        m = torch.rand(1, 4, 21, 21)
        moved = m.clone()
        moved[..., 4, 4] += 1
        changed = (block(moved) - block(m)).abs().amax(1)[0] > 1e-7
        assert changed[10, 10]  # six cells away
