"""Radiographs spread over the cores: in order, each by one thread, stopped when asked to."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from onemark.nn import threads
from onemark.nn.threads import count_threads, spread

CPU = torch.device("cpu")


@pytest.fixture
def two_threads() -> Iterator[None]:
    former = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(former)


@pytest.mark.usefixtures("two_threads")
def test_two_items_are_computed_at_once_in_their_order_each_by_one_thread():
    together = threading.Barrier(2, timeout=20)

    def look(item: int) -> tuple[int, int]:
        if item in (1, 2):
            together.wait()  # passes only if both are there at once
        return item, torch.get_num_threads()

    assert list(spread(look, range(5), CPU)) == [(n, 1) for n in range(5)]
    assert torch.get_num_threads() == 2
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [2]


@pytest.mark.usefixtures("two_threads")
def test_the_first_item_is_done_before_the_second_begins():
    done: list[int] = []

    def look(item: int) -> bool:
        ready = item == 0 or 0 in done
        done.append(item)
        return ready

    assert all(spread(look, range(8), CPU))


@pytest.mark.usefixtures("two_threads")
def test_what_an_item_raises_comes_in_its_turn_and_ends_the_others():
    begun: list[int] = []

    def look(item: int) -> int:
        begun.append(item)
        if item == 2:
            raise ValueError("no")
        return item

    given: list[int] = []
    with pytest.raises(ValueError, match="no"):
        given.extend(spread(look, range(100), CPU))
    assert given == [0, 1]
    assert len(begun) < 10


@pytest.mark.parametrize(("threads", "device"), [(1, "cpu"), (2, "cuda")])
def test_with_one_core_or_on_a_gpu_everything_is_computed_where_it_is_asked_for(threads: int, device: str):
    former = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        where = set(spread(lambda _: threading.get_ident(), range(3), torch.device(device)))
    finally:
        torch.set_num_threads(former)
    assert where == {threading.get_ident()}


@pytest.mark.parametrize(
    ("others", "cores", "most", "count"),
    [
        (0.0, 2, 2, 2),
        (0.1, 2, 2, 2),
        (0.25, 2, 2, 1),
        (0.9, 2, 2, 1),
        (0.25, 8, 4, 4),
        (0.75, 8, 4, 2),
        (0.02, 16, 16, 16),
    ],
)
def test_a_thread_gives_way_to_a_busy_program(others: float, cores: int, most: int, count: int):
    assert count_threads(others, cores, most) == count


@pytest.mark.usefixtures("two_threads")
def test_threads_give_way_only_where_wanted_and_are_restored(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threads.OthersMeter, "share", lambda self: 0.5)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(threads, "EVERY", 0.0)
    for wanted in (True, False):
        with threads.giving_way(wanted) as look:
            look()
            assert torch.get_num_threads() == (1 if wanted else 2)
        assert torch.get_num_threads() == 2
