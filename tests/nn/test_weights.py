from __future__ import annotations

from pathlib import Path

import pytest
import torch

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
