"""What the processes of one training say to each other, through Fabric; nothing where there is one process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from onemark.nn.fabric import Fabric
from onemark.types import LostRank


def sum_over(fabric: Fabric, values: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes.

    Raises:
        LostRank: one of them has ended.
    """
    if fabric.world_size == 1:
        return values
    with lost_ranks():
        summed: torch.Tensor = fabric.all_reduce(values.to(fabric.device), reduce_op="sum")
    return summed


def follow_first(fabric: Fabric, *values: float) -> tuple[float, ...]:
    """The numbers of the first process, such as its clock's, by which all of them decide.

    Raises:
        LostRank: a process has ended.
    """
    if fabric.world_size == 1:
        return values
    shared = torch.tensor(values, dtype=torch.float64, device=fabric.device)
    with lost_ranks():
        torch.distributed.broadcast(shared, 0)
    return tuple(shared.tolist())


def wait_for_all(fabric: Fabric) -> None:
    """Wait until every process has come here. Raises LostRank."""
    if fabric.world_size > 1:
        with lost_ranks():
            fabric.barrier()


def start_alike(fabric: Fabric, modules: Mapping[str, nn.Module]) -> None:
    """Give all processes the first one's weights.

    Raises:
        LostRank: a process has ended.
    """
    if fabric.world_size == 1:
        return
    with lost_ranks(), torch.no_grad():
        for module in modules.values():
            for tensor in module.state_dict().values():
                shared = tensor.to(fabric.device)
                torch.distributed.broadcast(shared, 0)
                tensor.copy_(shared)


@contextmanager
def lost_ranks() -> Iterator[None]:
    """Turn what a collective raises when a process has ended into one sentence."""
    try:
        yield
    except RuntimeError as error:
        raise LostRank(
            "another process of this training has ended, so this one stops, too; the last saved state is kept"
        ) from error
