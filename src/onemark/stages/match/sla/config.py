"""The options of the SLA matcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onemark.nn.backbones.pyramid import Encoder
from onemark.nn.embedding.dense import DenseOptions
from onemark.nn.embedding.several import Several, several_option
from onemark.nn.training.schedule import Schedule
from onemark.options import option
from onemark.stages.config import EncoderConfig


@dataclass(frozen=True)
class SLAConfig(EncoderConfig):
    """A decoder for each landmark on a shared frozen encoder; the defaults are the compact form."""

    encoder: Encoder = option(
        "compact", "network that reads the radiographs; frozen for the landmarks' decoders"
    )
    weights: str = option(
        "none", "starting weights of vgg19 and efficientnet_lite0: none, imagenet, or a .safetensors file"
    )
    grow: float = option(
        0.0, "share of the encoder's schedule at two thirds of the canvas' sides first", low=0, high=1
    )
    # As published, the encoder is ImageNet's and never learns to match; without such weights it must.
    before: float = option(
        0.5,
        "share of the schedule in which the encoder learns, before it is frozen; 0 as published",
        low=0,
        high=0.95,
    )
    # The encoder's own pseudo-labels gain 0.05 mm over random ones (docs/benchmarks/per-landmark-matchers.md).
    start: Literal["matcher", "random"] = option(
        "matcher", "first pseudo-labels: what the encoder predicts by itself, or random points as published"
    )
    # Windows cut away all of a decoder's way up that a landmark does not need.
    views: Literal["windows", "patches"] = option(
        "windows",
        "what decoders see: windows of the encoder's fine maps around points, or whole maps and patches",
    )
    decoders: Literal["single", "adapter"] = option(
        "single", "one decoder for each landmark, or a shared one with a small part for each landmark"
    )
    adapter: int = option(
        16, "outputs of each layer for each landmark (C_A); 0 = all shared", low=0, high=256
    )
    width: int = option(32, "outputs of each layer of decoders that see windows", low=4, high=256)
    length: int = option(32, "numbers per embedding vector", low=4, high=512)
    context: Literal["none", "rfb"] = option(
        "none", "blocks before the embeddings of the three deepest levels"
    )
    temperature: float = option(
        DenseOptions.temperature, "factor on cosines before the softmax", low=0.1, high=1000
    )
    window: int = option(9, "half the window of comparisons of views=patches", unit="cells", low=2, high=64)
    patch: int = option(192, "side of the template patches", unit="canvas px", low=32, high=1024)
    several: Several = several_option()
    steps: int = option(800, "training steps, where no time budget is given", unit="steps", low=1)
    epochs: int = option(6, "how many times the pseudo-labels are renewed", low=1, high=10000)
    template: float = option(
        0.0,
        "share of each epoch in which only changed copies of the exemplars are learned from",
        low=0,
        high=1,
    )
    copies: int = option(2, "changed copies of the exemplars in all other steps", low=0, high=64)
    # Pairs that the paper lacks: the exemplar with the radiographs, as landmarks are matched later.
    cross: float = option(
        1.0,
        "weight of finding the exemplars' landmarks at the pseudo-labels; 0 as published",
        low=0,
        high=100,
    )
    batch: int = option(8, "radiographs per step, copies among them", low=1, high=1024)
    schedule: Schedule = option("cosine", "how the learning rate falls")
    peak: Literal["subpixel", "argmax"] = option(
        "subpixel", "where the joined map peaks; argmax as published"
    )
