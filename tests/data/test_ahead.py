from __future__ import annotations

import threading

import pytest

from onemark.data.ahead import call_ahead


@pytest.mark.parametrize("ahead", [False, True])
def test_every_key_comes_once_in_order_with_its_result_or_its_error(ahead: bool):
    def invert(key: int) -> float:
        return 1 / key

    (one, first), (zero, second), (two, third) = call_ahead(invert, (1, 0, 2), ahead)
    assert (one, zero, two) == (1, 0, 2)
    assert (first(), third()) == (1.0, 0.5)
    with pytest.raises(ZeroDivisionError):
        second()


def test_the_next_key_is_worked_on_while_the_caller_is_at_the_last_one():
    began = {key: threading.Event() for key in "abc"}

    def begin(key: str) -> str:
        began[key].set()
        return key

    calls = call_ahead(begin, "abc")
    assert next(calls)[1]() == "a"
    assert began["b"].wait(5)
    assert not began["c"].is_set()
    calls.close()


def test_nothing_is_called_before_it_is_asked_for_without_a_thread():
    called: list[str] = []
    calls = call_ahead(called.append, "ab", False)
    next(calls)
    assert not called
