from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from onemark import UserError
from onemark.nn.backbones import pretrained
from onemark.nn.backbones.hrnet import HRNet


@pytest.fixture(scope="module")
def network() -> HRNet:
    torch.manual_seed(0)
    return HRNet().eval()


def test_four_maps_of_the_promised_widths_and_strides(network: HRNet):
    with torch.inference_mode():
        maps = network(torch.rand(2, 1, 64, 32))
    assert [tuple(m.shape) for m in maps] == [
        (2, width, 64 // s, 32 // s) for width, s in zip(HRNet.widths, (4, 8, 16, 32), strict=True)
    ]


def test_a_grey_image_is_given_to_all_three_colours(network: HRNet):
    grey = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        for one, three in zip(network(grey), network(grey.expand(-1, 3, -1, -1)), strict=True):
            torch.testing.assert_close(one, three)


def test_weights_named_as_timms_reach_every_layer(network: HRNet, tmp_path: Path):
    path = tmp_path / "hrnet.safetensors"
    save_file(network.body.state_dict() | {"classifier.weight": torch.zeros(2)}, path)
    other = HRNet()
    pretrained.start(torch.nn.Sequential(other), "hrnet_w18", str(path), "match")
    ours = other.body.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in network.body.state_dict().items())
    save_file({"conv1.weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"holds no HRNet-W18: conv1\.weight of shape \(64, 3, 3, 3\)"):
        pretrained.start(other, "hrnet_w18", str(path), "match")
