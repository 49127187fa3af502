from __future__ import annotations

import pytest
import torch

from onemark import UserError
from onemark.nn.device import choose, describe, fabric_for, memory_errors, precision


def there(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "cpu"), (False, False, "cpu")],
)
def test_auto_takes_the_best_that_was_tried(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, chosen: str
):
    there(monkeypatch, cuda=cuda, mps=mps)
    assert choose("auto") == choose() == chosen


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_not_replaced(monkeypatch: pytest.MonkeyPatch, device: str):
    there(monkeypatch, cuda=False, mps=False)
    with pytest.raises(
        UserError, match=rf"device {device} is not available here \(.+\): use --device auto or cpu"
    ):
        choose(device)
    assert choose("cpu") == "cpu"


@pytest.mark.parametrize("device", ["", "tpu", "cuda:0", "CPU"])
def test_an_unknown_device(device: str):
    with pytest.raises(UserError, match=r"unknown device .* choose one of auto, cpu, cuda, mps"):
        choose(device)


def computes_16_bit(monkeypatch: pytest.MonkeyPatch, *instructions: str) -> None:
    """Let the CPU have only these; torch has no public names for them."""
    for name in ("amx_tile", "avx512_bf16"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name in instructions)


@pytest.mark.parametrize("instructions", ["amx_tile", "avx512_bf16"])
def test_a_cpu_with_instructions_for_it_computes_in_16_bit(
    monkeypatch: pytest.MonkeyPatch, instructions: str
):
    computes_16_bit(monkeypatch)
    assert precision("cpu") == "32-true"
    computes_16_bit(monkeypatch, instructions)
    assert precision("cpu") == "bf16-mixed"


def test_a_torch_without_the_query_computes_in_32_bit(monkeypatch: pytest.MonkeyPatch):
    for name in ("amx_tile", "avx512_bf16"):
        monkeypatch.delattr(torch.cpu, f"_is_{name}_supported", raising=False)
    assert precision("cpu") == "32-true"


def test_the_device_is_described_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    there(monkeypatch, cuda=False, mps=False)
    computes_16_bit(monkeypatch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert describe("cpu") == "CPU, 2 threads (as requested)"
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert describe("auto") == "CPU, 2 threads (no NVIDIA GPU found)"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert "an Apple GPU is taken only by name" in describe("auto")
    assert choose("mps") == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert describe("auto") == "CPU, 2 threads (this PyTorch does not support NVIDIA GPUs)"


def test_an_unusual_precision_is_named_in_words(monkeypatch: pytest.MonkeyPatch):
    there(monkeypatch, cuda=True, mps=False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    assert describe() == "GPU NVIDIA H100, with fast 16-bit arithmetic"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert describe() == "GPU NVIDIA H100", "which torch says can, because it emulates it"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert describe() == "GPU NVIDIA H100"


def test_fabric_is_on_the_device():
    assert fabric_for("cpu").device == torch.device("cpu")


def test_only_a_lack_of_memory_becomes_the_users_error():
    with (
        pytest.raises(UserError, match=r"^the device ran out of memory: buy more$"),
        memory_errors("buy more"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="something else"), memory_errors("buy more"):
        raise RuntimeError("something else")
    with pytest.raises(UserError, match=r"^another$"), memory_errors("buy more"):
        raise UserError("another")
