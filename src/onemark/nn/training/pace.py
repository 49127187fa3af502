"""How long a training step takes, before a schedule is laid over a time budget."""

from __future__ import annotations

import copy
import math
import time

import torch
from torch import nn

from onemark.imaging.letterbox import Size
from onemark.nn.device import lacks_memory
from onemark.nn.fabric import Fabric
from onemark.nn.threads import giving_way
from onemark.nn.training.ranks import follow_first

TIMED = 2  # steps, after one that prepares memory and kernels
# Seconds of a time budget; on a CPU, less is not spent on looking how many steps there will be.
LOOK_FROM = 60.0


def is_worth_looking(seconds: float, fabric: Fabric) -> bool:
    """Whether `seconds` of a time budget leave time to look how long a step takes: on a GPU, always."""
    return seconds >= LOOK_FROM or fabric.device.type != "cpu"


def seconds_per_step(network: nn.Module, canvas: Size, batch: int, fabric: Fabric) -> float:
    """Seconds of a step's passes forward and backward, the same in all processes; the network stays as it is.

    Args:
        network: Takes `[B, 1, H, W]` and gives a tensor, or a list of them.
        canvas: `(H, W)`.
        batch: B of all processes together, each of which computes its part.
        fabric: Device and precision.

    Returns:
        Infinity where a device has too little memory for its part.

    Raises:
        LostRank: another process has ended.
    """
    # A copy, because batch normalization would learn from the empty canvases.
    network = copy.deepcopy(network).to(fabric.device).train()
    views = torch.zeros(math.ceil(batch / fabric.world_size), 1, *canvas, device=fabric.device)
    try:
        with giving_way(fabric.device.type == "cpu" and fabric.world_size == 1) as look:
            seconds = _time_steps(network, views, fabric)
            threads = torch.get_num_threads()
            look()
            if torch.get_num_threads() != threads:  # as the training will compute beside another busy program
                seconds = _time_steps(network, views, fabric)
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        seconds = math.inf
    (seconds,) = follow_first(fabric, seconds)
    return seconds


def _time_steps(network: nn.Module, views: torch.Tensor, fabric: Fabric) -> float:
    started = time.monotonic()
    for step in range(1 + TIMED):
        with fabric.autocast():
            given = network(views)
            maps = given if isinstance(given, list) else [given]
            loss = torch.stack([one.float().square().mean() for one in maps]).sum()
        fabric.backward(loss)
        float(loss.detach())  # waits for the device
        if step == 0:
            started = time.monotonic()
    return (time.monotonic() - started) / TIMED
