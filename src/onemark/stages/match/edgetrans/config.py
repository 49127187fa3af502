"""The options of the EdgeTrans matcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onemark.nn.embedding.several import Several, several_option
from onemark.nn.training.canvases import Framing, framing_option
from onemark.nn.training.schedule import Schedule
from onemark.options import option
from onemark.stages.config import EncoderConfig

Affine = Literal["learned", "identity", "sift", "perspective"]


@dataclass(frozen=True)
class EdgeTransConfig(EncoderConfig):
    """Learned registration; the defaults are the compact form."""

    encoder: Literal["compact", "hrnet_w18"] = option("compact", "network that reads the radiographs")
    weights: str = option("none", "starting weights of hrnet_w18: none, imagenet, or a .safetensors file")
    # Apart, radiographs are read once each, and codes learn from synthetic pairs, whose right cells are known. That is
    # far quicker than learning to register from a picture of two radiographs (docs/recipes/edgetrans.md).
    pairing: Literal["siamese", "joint"] = option(
        "siamese",
        "how pairs are read: apart and correlated, or together as colours of one picture (published)",
    )
    area: int = option(
        49152, "size of the canvas the radiographs are scaled to", unit="px", low=4096, high=4194304
    )
    framing: Framing = framing_option("alike")
    width: int = option(48, "channels of the joint maps", low=8, high=512)
    layers: int = option(1, "attention layers per level (N_l; 2 published)", low=1, high=8)
    heads: int = option(2, "attention heads (N_h)", low=1, high=16)
    dropout: float = option(0.0, "dropout within attention", low=0, high=0.9)
    fine: Literal["convolution", "windows"] = option(
        "convolution", "how the two finest levels are refined: convolved, or attended in windows (published)"
    )
    length: int = option(32, "numbers per code of pairing siamese", low=4, high=512)
    reach: int = option(
        3, "half the window of local correlations of pairing siamese", unit="cells", low=1, high=16
    )
    temperature: float = option(
        10.0,
        "factor on cosines of pairing siamese, and on the scores of several exemplars",
        low=0.1,
        high=1000,
    )
    # Without it, 0.13 mm worse after 240 steps (docs/benchmarks/registration.md).
    guided: bool = option(
        True,
        "whether fields start at the smoothed local correlations of pairing siamese and learn on top",
    )
    # On cephalograms, which are framed alike, no affine map at all is better by 0.07 to 0.18 mm. Other folders are not
    # framed alike, so the map is learned.
    affine: Affine = option(
        "learned", "what comes before the fields: a learned affine map, nothing, SIFT, perspective"
    )
    passes: int = option(2, "cascaded deformation fields while learning (N_Phi)", low=1, high=8)
    passes_located: int = option(3, "cascaded deformation fields when predicting", low=1, high=16)
    coarse_passes: int = option(
        1, "how many of them, the first ones, stop at stride 8; 0 published", low=0, high=16
    )
    field_stride: Literal[2, 4] = option(4, "spacing of the deformation fields; 2 published", unit="px")
    batch: int = option(4, "radiographs per step", low=2, high=1024)
    schedule: Schedule = option("cosine", "how the learning rate falls; late as published")
    partners: Literal["exemplar", "shuffled"] = option(
        "exemplar",
        "what radiographs are registered with while learning: the exemplars, or each other (published)",
    )
    synthesis: Literal["elastic", "published"] = option(
        "elastic",
        "how partners of known correspondence are made: affine and elastic, or affine and perspective",
    )
    miss: Literal["robust", "squared"] = option(
        "robust", "how misses of synthetic pairs count: robustly in px, or squared in half sides (published)"
    )
    w_global: float = option(1.0, "weight of the affine map's miss on synthetic pairs", low=0)
    # Without it, 0.17 mm worse after 240 steps; without the similarity, no worse (docs/benchmarks/registration.md).
    w_synthetic: float = option(1.0, "weight of the fields' miss on synthetic pairs; 5 published", low=0)
    w_similarity: float = option(0.25, "weight of the similarity of warped and target radiograph", low=0)
    # Without it, 0.06 mm worse after 240 steps.
    w_focus: float = option(0.5, "share of that similarity that is of edges around landmarks", low=0, high=1)
    w_smooth: float = option(1.0, "weight of fields that are not smooth away from edges", low=0)
    # With it, 0.09 mm better at the same steps, but a step takes longer.
    w_inverse: float = option(
        0.0, "weight of the invertibility loss; 0 = pairs are registered in one direction at a time", low=0
    )
    w_match: float = option(1.0, "weight of the correlations of synthetic pairs (pairing siamese)", low=0)
    local_ramp: float = option(
        0.0, "share of the schedule in which the fields' losses rise; 1/3 published", low=0, high=1
    )
    synthetic_until: float = option(
        0.0, "share of the schedule in which the fields' miss loses its weight; 0 = never", low=0, high=1
    )
    focus_from: float = option(
        0.27, "share of the schedule after which pseudo-labels are kept and edges count", low=0, high=1
    )
    renew: float = option(
        0.25, "share of the steps that renew the pseudo-labels of their radiographs", low=0, high=1
    )
    # The published average of pseudo-labels.
    memory: float = option(
        0.9, "how much of a pseudo-label is kept when it is renewed (Eq. 4)", low=0, high=1
    )
    edge_width: float = option(
        0.0707,
        "spread of the edges' weight around landmarks, in half sides; paper 3 px, code 0.0707",
        low=0.001,
    )
    compare: Literal[1, 2] = option(2, "spacing of the grid on which radiographs are compared", unit="px")
    several: Several = several_option()
    # 10 steps gain 0.15 mm and take 0.7 s per radiograph, above the target of 0.5 s.
    refine: int = option(0, "gradient steps on the pair at hand when predicting", unit="steps", low=0)
    refine_rate: float = option(0.3, "size of those steps", unit="px", low=0.001)
