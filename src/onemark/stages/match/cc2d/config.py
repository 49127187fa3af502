"""The options of the CC2D matcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onemark.nn.backbones.context import Context
from onemark.nn.backbones.pyramid import Encoder
from onemark.nn.embedding.dense import DenseOptions
from onemark.nn.embedding.several import Several, several_option
from onemark.nn.training.schedule import Schedule
from onemark.options import option
from onemark.stages.config import EncoderConfig


@dataclass(frozen=True)
class CC2DConfig(EncoderConfig):
    """Self-supervised cascade matching; the defaults are the compact, dense form."""

    encoder: Encoder = option("compact", "network that reads the radiographs")
    weights: str = option(
        "none", "starting weights of vgg19 and efficientnet_lite0: none, imagenet, or a .safetensors file"
    )
    length: int = option(32, "numbers per embedding vector", low=4, high=512)
    temperature: float = option(
        DenseOptions.temperature, "factor on cosines before the softmax", low=0.1, high=1000
    )
    grow: float = option(
        0.0, "share of the schedule that is trained at two thirds of the canvas' sides first", low=0, high=1
    )
    hurried: float = option(
        1.0, "share of its time that it takes where all of it would leave too few steps", low=0.01, high=1
    )
    batch: int = option(DenseOptions.batch, "radiographs per step", low=1, high=1024)
    schedule: Schedule = option("cosine", "how the learning rate falls; halving six times as published")
    anchors: int = option(
        DenseOptions.anchors, "points compared per pair of views, or per patch", low=1, high=4096
    )
    window: int = option(
        DenseOptions.window, "half the window of fine comparisons", unit="cells", low=2, high=64
    )
    cross_from: float = option(
        DenseOptions.cross_from,
        "share of the schedule after which points are also paired across radiographs; 1 = never",
        low=0,
        high=1,
    )
    focus: float = option(
        DenseOptions.focus, "share of those points drawn around the exemplar's landmarks", low=0, high=1
    )
    focus_sigma: float = option(
        DenseOptions.focus_sigma, "spread of those points, as a share of the canvas side", low=0, high=1
    )
    cycle: float = option(
        DenseOptions.cycle,
        "largest distance between a point and its way there and back, for a pair to count",
        unit="canvas px",
        low=0.1,
    )
    task: Literal["dense", "patch"] = option(
        "dense", "what is learned from: pairs of views, or one template patch per radiograph as published"
    )
    patch: int = option(
        192, "side of the template patches of task patch", unit="canvas px", low=32, high=1024
    )
    context: Context = option(
        "none", "blocks before the embedding: aspp on all levels (paper), rfb on the three deepest (code)"
    )
    extractors: Literal["shared", "two"] = option(
        "shared", "networks for radiographs and patches: one (code) or two (paper, task patch)"
    )
    # In the released code (CC2Dv2's), not in the paper.
    distance_bias: float = option(
        DenseOptions.distance_bias,
        "added while learning to the cosines of wrong cells, per cell of distance",
        low=0,
        high=10,
    )
    bias_cap: float = option(DenseOptions.bias_cap, "greatest distance bias", low=0, high=10)
    # The sum of logits is the product read as probabilities, which a temperature and a sub-pixel peak need.
    cascade: Literal["sum", "product"] = option(
        "sum", "how levels are joined: sum of logits, or product of clipped cosines as published"
    )
    several: Several = several_option()
    peak: Literal["subpixel", "argmax"] = option(
        "subpixel", "where the joined map peaks; argmax as published"
    )
