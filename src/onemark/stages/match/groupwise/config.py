"""The options of the groupwise matcher."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onemark.nn.embedding.several import Several, several_option
from onemark.options import option
from onemark.stages.config import StageConfig


@dataclass(frozen=True)
class GroupwiseConfig(StageConfig):
    """Registration of every radiograph with a few others of its cohort, which must agree."""

    # Nine detours halve the gross errors of dental panoramics; each further one costs as much and gains less.
    references: int = option(
        14, "radiographs that all others are registered with, exemplars first", low=2, high=64
    )
    # On 20 cephalograms 4 detours instead of 13 both ways cost 0.03 mm and take a fifth of the time.
    detours: int = option(
        4,
        "references that the way to a radiograph outside them also passes over on the finest grid; on coarser ones, all",
        low=0,
        high=64,
    )
    nearest: int = option(4, "exemplars that answer for a radiograph: those most like it", low=1, high=64)
    affine_steps: int = option(40, "gradient steps of the affine maps", unit="steps", low=1, high=1000)
    field_steps: int = option(
        40, "gradient steps of the fields, per resolution", unit="steps", low=1, high=1000
    )
    # Too much of it and fingers stay where the affine map puts them; too little and teeth take their neighbours' place.
    bending: float = option(3.0, "weight of the fields' bending", low=0, high=1000)
    diffusion: float = option(0.1, "weight of the fields' slope", low=0, high=1000)
    hold: float = option(
        0.5,
        "weight of the slope of what the last, finest step changes of the fields agreed on",
        low=0,
        high=1000,
    )
    temperature: float = option(10.0, "factor on the scores of several exemplars", low=0.1, high=1000)
    several: Several = several_option()

    def shortened(self, share: float) -> GroupwiseConfig:
        """The same with fewer gradient steps."""
        steps = {name: max(1, round(getattr(self, name) * share)) for name in ("affine_steps", "field_steps")}
        return replace(self, **steps)
