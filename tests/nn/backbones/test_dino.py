from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from onemark import UserError
from onemark.nn.backbones import dino, pretrained
from onemark.nn.backbones.dino import DinoKeys, log_bins
from onemark.nn.heatmaps.decode import cells_to_pixels


@pytest.fixture(scope="module")
def keys() -> DinoKeys:
    torch.manual_seed(0)
    return DinoKeys().eval()


def test_a_cell_holds_itself_its_neighbours_and_means_further_out():
    m = torch.arange(81.0).view(1, 1, 9, 9)
    bins = log_bins(m)[0, :, 4, 4]
    assert bins[:9].tolist() == [30, 31, 32, 39, 40, 41, 48, 49, 50]
    assert bins[9:].tolist() == [10, 13, 16, 37, 43, 64, 67, 70]  # each the middle of its own 3 x 3 cells
    corner = log_bins(m)[0, :, 0, 0]
    assert corner[:9].tolist() == [0, 0, 1, 0, 0, 1, 9, 9, 10]
    assert corner[9].item() == pytest.approx((0 + 1 + 9 + 10) / 4)


def test_maps_have_a_cell_for_every_four_pixels(keys: DinoKeys):
    with torch.inference_mode():
        assert keys(torch.rand(2, 1, 32, 48)).shape == (2, keys.width, 8, 12)


def test_patches_overlap_and_are_centred_where_the_cells_are(keys: DinoKeys):
    """A dot within 4 px of a cell's centre changes what the cell's token is made of; one further away does not."""
    proj = keys.body.patch_embed.proj
    seen: list[torch.Tensor] = []
    original = torch.nn.functional.conv2d

    def spy(*args: object) -> torch.Tensor:
        seen.append(original(*args))  # type: ignore[arg-type]
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(torch.nn.functional, "conv2d", spy)
        image = torch.zeros(1, 1, 32, 32)
        keys(image)
        for offset, changes in ((-3.5, True), (3.5, True), (4.5, False), (-4.5, False)):
            x = int(cells_to_pixels(torch.tensor(3.0), 4) + offset)
            dotted = image.clone()
            dotted[0, 0, 14, x] = 1
            keys(dotted)
            assert bool((seen[-1][..., 3, 3] != seen[0][..., 3, 3]).any()) == changes
    assert proj.weight.shape[-1] == 8


def test_keys_come_from_the_ninth_block(keys: DinoKeys):
    image = torch.rand(1, 1, 16, 16)
    with torch.inference_mode():
        before = keys(image)
        kept = keys.body.blocks[9].mlp.fc1.weight.clone()
        keys.body.blocks[9].mlp.fc1.weight.zero_()
        assert torch.equal(keys(image), before)
        keys.body.blocks[9].mlp.fc1.weight.copy_(kept)
        qkv = keys.body.blocks[8].attn.qkv
        third = len(qkv.weight) // 3
        kept = qkv.weight.clone()
        qkv.weight[:third] = 0  # queries
        qkv.weight[2 * third :] = 0  # values
        assert torch.equal(keys(image), before)
        qkv.weight[third : 2 * third] = 0
        assert not torch.equal(keys(image), before)
        qkv.weight.copy_(kept)


def test_weights_are_taken_from_a_file_and_wrong_ones_refused(keys: DinoKeys, tmp_path: Path):
    state = {k: torch.full_like(v, 0.5) for k, v in keys.body.state_dict().items()}
    save_file(state, tmp_path / "mine.safetensors")
    other = DinoKeys()
    pretrained.start(other, "dino", str(tmp_path / "mine.safetensors"), "refine")
    assert all(bool((value == 0.5).all()) for value in other.body.state_dict().values())
    del state["blocks.3.norm1.weight"]
    with pytest.raises(UserError, match=r"holds no ViT-S/8: blocks.3.norm1.weight"):
        other.take(state, "mine")


def test_the_official_file_has_a_name_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pretrained, "cache_folder", lambda: tmp_path)
    assert pretrained.SOURCES["dino"].name == f"{dino.NAME}.safetensors"
    network = DinoKeys()
    state = {k: torch.full_like(v, 0.25) for k, v in network.body.state_dict().items()}
    save_file(state, tmp_path / f"{dino.NAME}.safetensors")
    pretrained.start(network, "dino", "imagenet", "refine")
    assert all(bool((value == 0.25).all()) for value in network.body.state_dict().values())
