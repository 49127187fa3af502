"""The options of the F2 refiner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onemark.options import option
from onemark.stages.config import TrainedConfig

Learn = Literal["labels", "exemplar", "nothing"]


@dataclass(frozen=True)
class F2Config(TrainedConfig):
    """Crops of a fine canvas around coarse landmarks; the defaults are the compact form."""

    encoder: Literal["compact", "dino"] = option(
        "compact", "network that reads the crops; compact starts from the matcher's"
    )
    weights: str = option("none", "starting weights of dino: none, imagenet, or a .safetensors file")
    # Heatmaps gain twice as much as comparing crops (docs/benchmarks/refiner.md).
    learn: Learn = option(
        "labels",
        "labels: heatmaps, from the cohort; nothing: the matcher's descriptors as they are; exemplar: descriptors, "
        "from its changed copies, as published",
    )
    # Four times the matcher's: 0.38 mm per px on a cephalogram instead of 0.76.
    area: int = option(
        327680, "size of the canvas the crops are taken from", unit="px", low=4096, high=16777216
    )
    crop: int = option(64, "side of the crops, a multiple of 32", unit="canvas px", low=32, high=1024)
    # 2 mm on a cephalogram; 1 mm cost 0.03 mm, and no prior 0.01 mm (docs/benchmarks/refiner.md).
    prior: float = option(
        5.0,
        "how far heatmaps may move a landmark from its coarse place (standard deviation)",
        unit="canvas px",
        low=0.1,
        high=100000,
    )
    # 0.75 mm on a cephalogram, with temperature 20 the best of those tried; 3 mm made points worse than coarse ones.
    match_prior: float = option(
        2.0,
        "the same where crops are compared with the exemplar's: for labels, and for answers without heatmaps",
        unit="canvas px",
        low=0.1,
        high=100000,
    )
    # The cycle error among 3 places gained nothing: 98 % of the time it chose the likeliest one.
    top: int = option(
        1,
        "places of a crop of which the one counts whose way back to the exemplar is most exact; 1 = the likeliest",
        low=1,
        high=100,
    )
    temperature: float = option(20.0, "factor on cosines before the softmax", low=0.1, high=10000)
    steps: int = option(300, "training steps, where no time budget is given", unit="steps", low=1)
    rate: float = option(5e-4, "peak learning rate", low=1e-7, high=1)
    batch: int = option(
        4, "radiographs per step, every landmark's crop of each; of learn exemplar, crops", low=2, high=1024
    )
    sigma: float = option(2.0, "standard deviation of a map's target", unit="canvas px", low=0.3, high=100)
    drop: float = option(0.3, "share of the least fitting labels that a step leaves out", low=0, high=0.9)
    strength: float = option(1.0, "strength of the spatial augmentation of the crops", low=0, high=4)
    shift: float = option(
        4.0, "how far crops are moved while learning (standard deviation)", unit="canvas px", low=0, high=1000
    )
