"""Which device and precision, chosen openly, through Lightning Fabric."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import torch

from onemark.nn.fabric import Fabric
from onemark.nn.processes import ONE, Processes
from onemark.types import UserError

DEVICES = ("auto", "cpu", "cuda", "mps")
MOST_THREADS = 1024
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")  # CUDA, MPS, CPU


def choose(device: str = "auto") -> str:
    """Turn `auto` into `cuda` or `cpu`; check that a named device is there.

    Nobody has run this on an Apple GPU yet, so `auto` does not take one.

    Raises:
        UserError: an unknown device, or one that this computer or this build of torch lacks.
    """
    if device not in DEVICES:
        raise UserError(f"unknown device {device!r}: choose one of {', '.join(DEVICES)}")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return "cuda" if there["cuda"] else "cpu"
    if not there[device]:
        raise UserError(
            f"device {device} is not available here ({_why_not(device)}): use --device auto or cpu"
        )
    return device


def precision(device: str) -> str:
    """Fabric's precision for a device: bfloat16 where it has instructions for it, else float32."""
    # torch says so of NVIDIA's cards before Ampere, too, which only emulate it.
    if device == "cuda" and torch.cuda.is_bf16_supported():
        old = torch.version.hip is None and torch.cuda.get_device_capability() < (8, 0)
        return "32-true" if old else "bf16-mixed"
    # Without matrix units, AVX-512's own instructions still make half as many steps again.
    if device == "cpu" and any(map(_has, ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))):
        return "bf16-mixed"
    return "32-true"


def _has(query: str) -> bool:
    """The answer of a query of torch that is not public; no where a version lacks it."""
    return bool(getattr(torch.cpu, query, lambda: False)())


def describe(device: str = "auto") -> str:
    """Describe the device that will be used in one line: `CPU, 2 threads (no NVIDIA GPU found)`."""
    chosen = choose(device)
    mixed = ", with fast 16-bit arithmetic" if precision(chosen) == "bf16-mixed" else ""
    if chosen == "cuda":
        return f"GPU {torch.cuda.get_device_name()}{mixed}"
    if chosen == "mps":
        return f"Apple GPU{mixed}"
    reason = "as requested" if device == "cpu" else _why_not("cuda")
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads != 1)}{mixed} ({reason})"


def fabric_for(device: str = "auto", processes: Processes = ONE) -> Fabric:
    """A Fabric of one process on one device, or of several: the others are started here unless they run already."""
    chosen = choose(device)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision on stderr
    fabric = Fabric(
        accelerator=chosen,
        devices=processes.devices,
        num_nodes=processes.nodes,
        strategy=processes.strategy(),
        precision=precision(chosen),
    )
    fabric.launch()
    return fabric


def lacks_memory(error: Exception) -> bool:
    """Whether an error says that the device has too little memory."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


@contextlib.contextmanager
def memory_errors(way_out: str) -> Iterator[None]:
    """Turn a device's lack of memory into a UserError that ends with the way out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        raise UserError(f"the device ran out of memory: {way_out}") from None


@contextlib.contextmanager
def same_threads(count: int, device: str) -> Iterator[None]:
    """Compute with as many threads as a run began with: on a CPU their number changes the last bits of every sum.

    Args:
        count: How many; 0 leaves the number as it is.
        device: Only `cpu` is concerned.
    """
    former = torch.get_num_threads()
    if device == "cpu" and 0 < count != former:
        torch.set_num_threads(min(count, MOST_THREADS))
    try:
        yield
    finally:
        if torch.get_num_threads() != former:
            torch.set_num_threads(former)


def _why_not(device: str) -> str:
    if device == "mps":
        return "no Apple GPU, or a torch without MPS"
    if torch.backends.mps.is_available():
        return "an Apple GPU is taken only by name, --device mps, because nobody has tried one yet"
    if torch.version.cuda is None:
        return "this PyTorch does not support NVIDIA GPUs"
    return "no NVIDIA GPU found"
