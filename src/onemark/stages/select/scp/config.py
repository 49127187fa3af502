"""The options of the SCP selector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onemark.options import option
from onemark.stages.selector import SelectorConfig


@dataclass(frozen=True)
class SCPConfig(SelectorConfig):
    """Which radiographs to mark; greedy by default, random sets as published."""

    keypoints: int = option(
        100, "most key points looked for in every radiograph", unit="per radiograph", low=1, high=1000
    )
    distance: float = option(
        10.0, "least distance between two key points of a radiograph", unit="canvas px", low=0, high=200
    )
    border: float = option(0.1, "share of each side of a radiograph without key points", low=0, high=0.45)
    search: Literal["greedy", "random"] = option(
        "greedy",
        "how the best set is sought: one radiograph after the other, or the best of random sets (paper)",
    )
    draws: int = option(100_000, "random sets that are compared", unit="sets", low=1, high=10_000_000)
