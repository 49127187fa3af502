"""A few of many, evenly spread: radiographs to look at, exemplars to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def pick_evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of the items, in their order and evenly spread from the first one on; all where there are fewer."""
    count = max(0, min(most, len(items)))
    return [items[n * len(items) // count] for n in range(count)]
