"""The options of the TPL detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onemark.imaging.augment import Augment
from onemark.nn.backbones.pyramid import Encoder
from onemark.nn.training.schedule import Schedule
from onemark.options import option
from onemark.stages.config import EncoderConfig


@dataclass(frozen=True)
class TPLConfig(EncoderConfig):
    """A heatmap detector trained on pseudo-labels; the defaults are the compact form."""

    head: Literal["heatmap", "voting"] = option(
        "heatmap",
        "heatmap: softmax heatmap and soft peak; voting: sigmoid disc and offset votes, as published",
    )
    encoder: Encoder = option("compact", "network; compact starts from the matcher's where it has one")
    weights: str = option(
        "none", "starting weights of vgg19 and efficientnet_lite0: none, imagenet, or a .safetensors file"
    )
    enlarge: float = option(
        2.25,
        "how many times as large a canvas may be taken where the time budget leaves enough steps",
        low=1,
        high=16,
    )
    grow: float = option(
        0.0, "share of the schedule that is trained at two thirds of the canvas' sides first", low=0, high=1
    )
    steps: int = option(800, "training steps, where no time budget is given", unit="steps", low=1)
    # In the same time, 4 teach more than 8: 2.204 -> 2.094 mm with one label, 1.750 -> 1.544 with 150.
    batch: int = option(4, "radiographs per step, exemplars among them", low=2, high=1024)
    schedule: Schedule = option(
        "cosine", "how the learning rate falls; tenths, after each third, as published"
    )
    # 4 px cost 0.14 mm and 7 points of SDR at 2 mm, 1.4 px 0.04 mm (docs/benchmarks/what-was-tried.md).
    sigma: float = option(
        2.0, "standard deviation of a heatmap's target", unit="canvas px", low=0.3, high=100
    )
    drop: float = option(
        0.3,
        "share of the least fitting pseudo-labels of each landmark that a step leaves out",
        low=0,
        high=0.9,
    )
    strength: float = option(1.5, "strength of the spatial augmentation", low=0, high=4)
    augment: Augment = option(
        "spatial", "spatial: all changes; jitter: contrast and brightness (paper); none (code)"
    )
    # CC2D's R: 19 px on a canvas of 384 x 384 px.
    disc: float = option(0.05, "radius of the discs of head voting", unit="canvas sides", low=0.005, high=0.5)
    loss: Literal["bce", "focal"] = option(
        "bce", "loss of the discs of head voting: bce (paper) or focal (code)"
    )
    # The paper weighs both losses alike; the released code doubles this one.
    heat_weight: float = option(
        1.0, "weight of the discs against the offsets: 1 (paper) or 2 (code)", low=0, high=1000
    )
    peak: Literal["subpixel", "argmax"] = option(
        "subpixel", "where heatmap or votes peak; argmax as published"
    )
