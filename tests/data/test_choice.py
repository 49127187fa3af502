"""Choosing a few of many."""

from __future__ import annotations

import pytest

from onemark.data.choice import pick_evenly


@pytest.mark.parametrize(
    ("count", "most", "chosen"),
    [
        (0, 4, []),
        (3, 4, [0, 1, 2]),
        (4, 4, [0, 1, 2, 3]),
        (23, 12, [0, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21]),
        (5, 2, [0, 2]),
        (5, 0, []),
        (5, -1, []),
    ],
)
def test_a_few_are_spread_over_all(count: int, most: int, chosen: list[int]):
    assert pick_evenly(range(count), most) == chosen
