"""The options of the C2T detectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onemark.nn.training.schedule import Schedule
from onemark.options import option
from onemark.stages.config import TrainedConfig


@dataclass(frozen=True)
class C2TConfig(TrainedConfig):
    """Two heatmap detectors, co-trained on pseudo-labels; the defaults are the compact form."""

    encoder: Literal["compact", "hrnet_w18"] = option(
        "compact", "network of both detectors; compact starts from the matcher's where it has one"
    )
    weights: str = option("none", "starting weights of hrnet_w18: none, imagenet, or a .safetensors file")
    grow: float = option(
        0.0, "share of the schedule that is trained at two thirds of the canvas' sides first", low=0, high=1
    )
    # Below 1 a step costs less and the second network sees more of the anatomy at once.
    coarse: float = option(
        1.0, "sides of the second detector's canvas, as a share of the first one's", low=0.25, high=1
    )
    steps: int = option(300, "training steps, where no time budget is given", unit="steps", low=1)
    batch: int = option(8, "radiographs per step, exemplars among them", low=2, high=1024)
    schedule: Schedule = option("cosine", "how the learning rate falls; plateau as published")
    loss: Literal["divergence", "square"] = option(
        "divergence", "softmax heatmap and divergence, or plain heatmap and mean square (paper)"
    )
    # As TPL's, which was measured.
    sigma: float = option(
        2.0, "standard deviation of a heatmap's target", unit="canvas px", low=0.3, high=100
    )
    # Own views cost two passes a step instead of four, and let the networks err differently.
    views: Literal["own", "pair"] = option(
        "own", "own: a strong view for each detector; pair: a weak and a strong one for both (paper)"
    )
    augment: Literal["spatial", "affine"] = option(
        "spatial", "what makes a view strong: all changes, or turn and scale (paper)"
    )
    strength: float = option(1.5, "strength of the augmentation", low=0, high=4)
    drop: float = option(
        0.3,
        "share of each landmark's pseudo-labels that a step leaves out, as the other detector advises",
        low=0,
        high=0.95,
    )
    doubt: float = option(
        0.3, "weight of inconsistency against misfit when pseudo-labels are left out", low=0, high=1
    )
    cross: float = option(
        0.3, "weight of the agreement with the other detector against the pseudo-labels", low=0, high=100
    )
    # The released code lets gradients through both networks.
    detach: bool = option(True, "whether the other detector's answer is taken as given; no as published")
    exemplar: float = option(
        0.15,
        "weight of one exemplar's true labels against all pseudo-labels of a step; 1 as published",
        low=0,
        high=100,
    )
    peak: Literal["subpixel", "argmax"] = option(
        "subpixel", "where heatmaps peak: between cells, or the best"
    )
