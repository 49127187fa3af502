from __future__ import annotations

import hashlib
from pathlib import Path

import pooch
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import onemark
from onemark import Cohort, LandmarkTable, Progress, UserError
from onemark.nn.backbones import pretrained
from onemark.nn.backbones.vgg import VGGUNet

WANTED = {"match": ("vgg19", "imagenet")}


class Stub(nn.Module):
    """Stands for a VGGUNet: remembers what it was given."""

    def take(self, state: dict[str, torch.Tensor], origin: str) -> None:
        self.state, self.origin = state, origin


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for weights, empty; nothing can be fetched, and torch hub's folder is empty too."""

    def offline(*_: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr(pooch, "retrieve", offline)
    monkeypatch.setattr(pretrained.platformdirs, "user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return pretrained.cache_folder()


def official(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small file in torch's own format, known as VGG19's official one."""
    folder.mkdir(parents=True)
    path = folder / "vgg19-test.pth"
    torch.save({"features.0.weight": torch.arange(3.0)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    source = pretrained.Source("https://example.org/vgg19-test.pth", digest)
    monkeypatch.setitem(pretrained.SOURCES, "vgg19", source)
    return path


def test_missing_weights_tell_what_to_fetch_where_to_put_it_and_what_needs_none(cache: Path):
    both = WANTED | {"detect": ("vgg19", "imagenet")}
    seen: list[Progress] = []
    with pytest.raises(UserError) as error:
        pretrained.check(both, seen.append)
    message = str(error.value)
    assert "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth" in message
    assert str(cache) in message
    assert "--set match.weights=none --set detect.weights=none" in message
    assert "recipe onemark" in message
    assert "vgg19-dcbb9e9d.pth" in seen[0].message


def test_missing_weights_stop_a_fit_before_it_begins(
    cache: Path, phantoms: Cohort, exemplars: LandmarkTable, tmp_path: Path
):
    with pytest.raises(UserError, match="could not be fetched"):
        onemark.fit(phantoms, exemplars, recipe="cc2d", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("folder", ["cache/weights", "hub/checkpoints"])
def test_official_weights_are_found_and_reach_every_encoder(
    folder: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = official(tmp_path / folder, monkeypatch)
    monkeypatch.setattr(pretrained, "VGGUNet", Stub)
    two = nn.ModuleList([Stub(), nn.Sequential(Stub())])
    pretrained.check(WANTED)
    pretrained.start(two, "vgg19", "imagenet", "match")
    for stub in (two[0], two[1][0]):
        assert torch.equal(stub.state["features.0.weight"], torch.arange(3.0))
        assert stub.origin == str(path)


def test_a_file_that_is_not_the_official_one_is_not_opened(cache: Path, monkeypatch: pytest.MonkeyPatch):
    path = official(cache, monkeypatch)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="damaged or not the official file"):
        pretrained.start(Stub(), "vgg19", "imagenet", "match")


def test_weights_none_asks_for_nothing(cache: Path):
    pretrained.check({})
    pretrained.start(Stub(), "vgg19", "none", "match")  # would look for a file otherwise


def test_weights_of_an_encoder_that_has_none_are_refused(cache: Path):
    with pytest.raises(
        UserError,
        match=r"match\.weights=imagenet is for match\.encoder=vgg19 or .* or dino, not compact",
    ):
        pretrained.check({"match": ("compact", "imagenet")})


def test_own_files_are_safetensors(cache: Path, tmp_path: Path):
    def fails(weights: Path) -> str:
        with pytest.raises(UserError) as error:
            pretrained.start(VGGUNet(), "vgg19", str(weights), "detect")
        return str(error.value)

    (tmp_path / "a.pth").touch()
    (tmp_path / "b.safetensors").write_bytes(b"rubbish")
    save_file({"features.0.weight": torch.zeros(2)}, tmp_path / "c.safetensors")
    assert "detect.weights must be none, imagenet or a .safetensors file" in fails(tmp_path / "a.pth")
    assert "is missing" in fails(tmp_path / "none.safetensors")
    assert "cannot be read" in fails(tmp_path / "b.safetensors")
    assert "holds no VGG19: features.0.weight of shape (64, 3, 3, 3)" in fails(tmp_path / "c.safetensors")


def test_own_weights_reach_the_encoder_and_leave_the_decoder(cache: Path, tmp_path: Path):
    giver, taker = VGGUNet(), VGGUNet()
    state = {f"features.{k}": v for k, v in giver.features.state_dict().items()}
    save_file(state | {"classifier.0.weight": torch.zeros(2)}, tmp_path / "vgg.safetensors")
    decoder = {k: v.clone() for k, v in taker.up.state_dict().items()}
    pretrained.start(taker, "vgg19", str(tmp_path / "vgg.safetensors"), "match")
    assert all(torch.equal(v, taker.features.state_dict()[k]) for k, v in giver.features.state_dict().items())
    assert all(torch.equal(v, taker.up.state_dict()[k]) for k, v in decoder.items())
