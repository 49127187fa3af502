"""Radiographs spread over the processor's cores, each computed by one thread.

Most tensors of one radiograph are so small that several threads compute them no faster than one: on two cores a whole
prediction takes 0.099 s with one thread and 0.097 s with two, and two radiographs at once 0.119 s together. So answers do
not depend on the number of cores, either.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

MOST = 4  # radiographs at once: Python itself runs on one core at a time, about a quarter of each one's time

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(
    function: Callable[[Item], Result], items: Iterable[Item], device: torch.device
) -> Iterator[Result]:
    """What a function gives for each item, in their order, computed for several of them at once.

    The first one is computed alone, so that what the function keeps for later ones is made once.

    Args:
        function: What to compute; called from other threads. What it raises is raised here, in the item's turn.
        items: Taken one by one in the caller's thread, a few ahead of what is given.
        device: Where it computes. On a GPU one item is computed after the other, in the caller's thread.
    """
    threads = torch.get_num_threads()
    count = min(threads, MOST) if device.type == "cpu" else 1
    if count == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(count, "onemark-spread") as pool:
        _make_single(pool, count)
        torch.set_num_threads(threads)  # for threads that begin later
        coming: deque[Future[Result]] = deque()
        try:
            for n, item in enumerate(items):
                coming.append(pool.submit(function, item))
                if n == 0 or len(coming) > count:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for one in coming:
                one.cancel()


def _make_single(pool: ThreadPoolExecutor, count: int) -> None:
    """Let each thread of a pool compute by itself."""
    everyone = threading.Barrier(count)

    def prepare() -> None:
        everyone.wait()  # so that each thread prepares once
        torch.get_num_threads()  # a thread takes over the common number when it first asks, and would forget its own
        torch.set_num_threads(1)

    for one in [pool.submit(prepare) for _ in range(count)]:
        one.result()
