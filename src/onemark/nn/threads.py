"""Radiographs spread over the processor's cores, each computed by one thread.

Most tensors of one radiograph are so small that several threads compute them no faster than one: on two cores a whole
prediction takes 0.099 s with one thread and 0.097 s with two, and two radiographs at once 0.119 s together. So answers do
not depend on the number of cores, either.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from onemark.nn.processor import OthersMeter

MOST = 4  # radiographs at once: Python itself runs on one core at a time; on two cores three gain nothing
SPARE = 0.35  # of a core that other programs may take before a thread gives way
EVERY = 2.0  # seconds between looks at what they take

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


class GivingWay:
    """Computes with no more threads than there are free cores.

    The threads of one computation wait for each other many times a step. Where another program has one of the cores,
    each time takes as long as that program may keep it: beside a busy program of another session, two threads on two
    cores made 0.3 steps of the refiner per second, and one thread 4.7 (5.7 on a quiet machine).
    """

    def __init__(self) -> None:
        self.most = torch.get_num_threads()
        self._meter, self._looked = OthersMeter(), time.monotonic()

    def look(self) -> None:
        """Take as many threads as suit what other programs have taken since the last look, at most every `EVERY`."""
        now = time.monotonic()
        if now - self._looked < EVERY:
            return
        others = self._meter.share()
        if others is None:
            return
        self._meter.restart()
        self._looked = now
        count = count_threads(others, os.cpu_count() or 1, self.most)
        if count != torch.get_num_threads():
            torch.set_num_threads(count)


def count_threads(others: float, cores: int, most: int) -> int:
    """How many threads to compute with.

    Args:
        others: Share of all cores that other programs take, 0...1.
        cores: How many cores there are.
        most: Threads on a quiet machine.
    """
    return max(1, min(most, int(cores * (1 - others) + SPARE)))


@contextlib.contextmanager
def giving_way(wanted: bool) -> Iterator[Callable[[], None]]:
    """Let the block look now and then whether other programs need a core; in the end the threads are restored.

    Args:
        wanted: Otherwise nothing changes. The number of threads changes the last bits of every sum, so a training whose
            steps are counted keeps it.
    """
    way = GivingWay()
    try:
        yield way.look if wanted else lambda: None
    finally:
        if torch.get_num_threads() != way.most:
            torch.set_num_threads(way.most)
