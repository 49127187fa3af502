"""The options of the SCP selector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onemark.options import option
from onemark.stages.selector import SelectorConfig


@dataclass(frozen=True)
class SCPConfig(SelectorConfig):
    """Which radiographs to annotate: greedy by default, random sets as published."""

    # The paper's number; the released code has no cap.
    keypoints: int = option(100, "most key points per radiograph", unit="per radiograph", low=1, high=1000)
    distance: float = option(
        10.0, "least distance between two key points of a radiograph", unit="canvas px", low=0, high=200
    )
    border: float = option(0.1, "share of each side of a radiograph without key points", low=0, high=0.45)
    # Greedy sets nest, so the first of five is also the one to annotate alone, and they score at least 63 % of the best.
    search: Literal["greedy", "random"] = option(
        "greedy",
        "how to search the best set: one radiograph after the other, or the best of random sets (paper)",
    )
    # The paper's text has 10,000 sets; its figures are from 100,000.
    draws: int = option(100_000, "random sets that are compared", unit="sets", low=1, high=10_000_000)
