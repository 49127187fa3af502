"""Work on the next thing in a thread while the caller is at the last one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

Key = TypeVar("Key")
Result = TypeVar("Result")


def call_ahead(
    function: Callable[[Key], Result], keys: Sequence[Key], ahead: bool = True
) -> Iterator[tuple[Key, Callable[[], Result]]]:
    """Each key with a call that gives what the function gives or raises for it.

    Args:
        function: Called once for each key, in order, never twice at a time.
        keys: What to call it with.
        ahead: Whether a thread calls it one key ahead; otherwise nothing is called before the caller asks.
    """
    if not ahead:
        yield from ((key, partial(function, key)) for key in keys)
        return
    with ThreadPoolExecutor(1, "onemark-ahead") as thread:
        coming = [thread.submit(function, key) for key in keys[:1]]
        for n, key in enumerate(keys):
            one = coming.pop()
            one.exception()  # waits, so that the function never runs for two keys
            coming += [thread.submit(function, following) for following in keys[n + 1 : n + 2]]
            yield key, one.result
