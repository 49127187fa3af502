"""The options of the CC2D matcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onemark.config import option


@dataclass(frozen=True)
class CC2DConfig:
    """Self-supervised cascade matching; the defaults are the compact, dense form."""

    encoder: Literal["compact", "vgg19"] = option("compact", "network that reads the radiographs")
    weights: str = option("none", "starting weights of vgg19: none, imagenet, or a .safetensors file")
    area: int = option(
        81920, "size of the canvas the radiographs are scaled to", unit="px", low=4096, high=4194304
    )
    length: int = option(32, "numbers per embedding vector", low=4, high=512)
    temperature: float = option(10.0, "factor on cosines before the softmax", low=0.1, high=1000)
    steps: int = option(400, "training steps, where no time budget is given", unit="steps", low=1)
    rate: float = option(2e-3, "peak learning rate", low=1e-7, high=1)
    batch: int = option(8, "radiographs per step", low=1, high=1024)
    anchors: int = option(96, "points compared per pair of views", low=1, high=4096)
    window: int = option(7, "half the window of fine comparisons", unit="cells", low=1, high=64)
    cross_from: float = option(
        0.3,
        "share of the schedule after which points are also paired across radiographs; 1 = never",
        low=0,
        high=1,
    )
    focus: float = option(0.5, "share of those points drawn around the exemplar's landmarks", low=0, high=1)
    focus_sigma: float = option(0.03, "spread of those points, as a share of the canvas side", low=0, high=1)
    cycle: float = option(
        4.0,
        "largest distance between a point and its way there and back, for a pair to count",
        unit="canvas px",
        low=0.1,
    )
    pool: int = option(
        400, "most radiographs learned from; of a larger folder an even choice", unit="radiographs", low=2
    )
