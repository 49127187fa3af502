"""A model whose networks have drawn weights: it predicts as a trained one does, without a training."""

from __future__ import annotations

import torch
from torch import nn

from onemark import LandmarkTable, Model
from onemark.imaging.letterbox import Size
from onemark.nn.device import fabric_for
from onemark.stages.detect.tpl import TPL, TPLConfig
from onemark.stages.match.groupwise import Groupwise, GroupwiseConfig
from onemark.stages.refine.f2 import F2, F2Config


def made_up_model(exemplars: LandmarkTable, canvas: Size = (96, 64), fine: Size = (160, 128)) -> Model:
    """Registration that is never asked, the compact detector and the refiner of the default recipe."""
    torch.manual_seed(1)
    names, fabric = exemplars.names, fabric_for("cpu")
    matcher = Groupwise(GroupwiseConfig(framing="alike"), names, canvas, fabric)
    detector = TPL(TPLConfig(framing="alike"), names, canvas, fabric)
    refiner = F2(F2Config(framing="alike", crop=32), names, fine, fabric)
    for network in (detector.network, refiner.network):
        assert network is not None
        draw_weights(network)
    stages = {"register": matcher, "detect": detector, "refine": refiner}
    return Model("made-up", stages, exemplars, {})


def draw_weights(network: nn.Module) -> None:
    """Statistics of normalization as after a training, and heads that are sure of something."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean, part.running_var = (
                torch.randn(part.num_features) / 4,
                torch.rand(part.num_features) + 0.5,
            )
    head = network.head
    assert isinstance(head, nn.Conv2d)
    nn.init.normal_(head.weight, std=2.0)
