from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from onemark import UserError
from onemark.nn.weights import read_weights, write_weights


def test_what_is_written_is_read_to_the_last_bit(tmp_path: Path):
    tensors = {
        "a.b": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
        "turned": torch.arange(6).view(2, 3).t(),
        "yes": torch.tensor([True, False]),
        "nothing": torch.zeros(0, 5),
        "grad": torch.ones(2, requires_grad=True),
    }
    path = tmp_path / "w.safetensors"
    write_weights(path, {"match": (tensors, {"names": ["é", "b,c"]}), "detect": ({}, {"n": 1.5})})
    saved = read_weights(path)
    assert list(saved) == ["match", "detect"] or set(saved) == {"match", "detect"}
    read, head = saved["match"]
    assert head == {"names": ["é", "b,c"]}
    assert saved["detect"] == ({}, {"n": 1.5})
    assert set(read) == set(tensors)
    assert all(torch.equal(read[name], value) for name, value in tensors.items())


@pytest.mark.parametrize("text", [b"", b"rubbish" * 100, b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_damaged_file_is_named(tmp_path: Path, text: bytes):
    path = tmp_path / "w.safetensors"
    path.write_bytes(text)
    with pytest.raises(UserError, match=r"w\.safetensors is damaged"):
        read_weights(path)


def test_a_file_that_was_cut_short_is_named(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    write_weights(path, {"match": ({"a": torch.zeros(1000)}, {})})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"w\.safetensors is damaged"):
        read_weights(path)


def test_a_missing_file_says_why_it_may_be_missing(tmp_path: Path):
    with pytest.raises(UserError, match="resume"):
        read_weights(tmp_path / "w.safetensors")


def change_head(path: Path, **changes: object) -> None:
    """Write the same tensors with another head; None takes a key away."""
    with safe_open(path, "pt") as file:
        head = json.loads(file.metadata()["onemark"]) | changes
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  it is no dict
    save_file(tensors, path, {"onemark": json.dumps({k: v for k, v in head.items() if v is not None})})


@pytest.mark.parametrize("digest", [None, "00", 7, []])
def test_a_checksum_that_is_missing_or_wrong_is_damage(tmp_path: Path, digest: object):
    path = tmp_path / "w.safetensors"
    write_weights(path, {"match": ({"a": torch.zeros(3)}, {"n": 1})})
    change_head(path)
    assert read_weights(path)["match"][1] == {"n": 1}, "the same head again is no damage"
    change_head(path, digest=digest)
    with pytest.raises(UserError, match=r"w\.safetensors is damaged"):
        read_weights(path)


def test_files_of_the_first_version_have_no_checksum(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    save_file({"sharpen.a": torch.ones(2)}, path, {"sharpen": json.dumps({"n": 1})})
    tensors, head = read_weights(path)["refine"]
    assert (tensors["a"].tolist(), head) == ([1, 1], {"n": 1})
