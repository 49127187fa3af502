"""What a new run is given, for a fit and for a suggestion alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from onemark.data.cohort import Cohort
from onemark.data.keys import canonical
from onemark.data.urls import is_url
from onemark.imaging.orientation import Pairs
from onemark.nn.backbones import pretrained
from onemark.nn.device import choose
from onemark.options import settings_of
from onemark.pipeline.recipe import Configs
from onemark.pipeline.recipes import get_recipe
from onemark.pipeline.runs.config import RunConfig, RunState, Scalar
from onemark.progress import Sink
from onemark.stages.base import MATCH, SELECT
from onemark.types import UserError


def new_config(
    cohort: Cohort,
    recipe: str,
    minutes: float | None,
    device: str,
    seed: int,
    settings: Mapping[str, Any] | None,
    *,
    progress: Sink,
    state: RunState = RunState.RUNNING,
    orient: bool = True,
) -> RunConfig:
    """The configuration of a new run; pretrained weights that it starts from are fetched.

    Args:
        cohort: The radiographs.
        recipe: Name of a recipe.
        minutes: Time budget of the whole fit, or None.
        device: `auto`, `cpu`, `cuda` or `mps`.
        seed: Seed of the run.
        settings: `slot.field` -> value.
        progress: Is told when weights are fetched.
        orient: Whether radiographs that lie otherwise than the exemplar are brought upright first.
        state: `suggested` for a run whose matcher learns first; its selector's settings are kept, too.

    Raises:
        UserError: an unknown recipe, a wrong setting, a device or weights that are not there.
    """
    if is_url(cohort.place):
        raise UserError(
            f"training needs its radiographs on this machine: copy them from {cohort.place} into a folder"
        )
    chosen = get_recipe(recipe)
    configs = chosen.configure(settings, minutes)
    chosen.check(configs)
    suggesting = state == RunState.SUGGESTED
    pretrained.check(chosen.pretrained({MATCH: configs[MATCH]} if suggesting else configs), progress)
    spelled = spell_settings(configs)
    if suggesting:
        spelled |= {f"{SELECT}.{k}": v for k, v in settings_of(chosen.configure_selector(settings)).items()}
    return RunConfig(
        recipe,
        spelled,
        seed,
        choose(device),
        minutes,
        str(cohort.folder.resolve()),
        cohort.spacing_mm,
        cohort.names,
        state,
        orient=orient,
        threads=torch.get_num_threads(),
    )


def check_pairs(swap: Iterable[tuple[str, str]], names: Sequence[str]) -> Pairs:
    """Check that each pair is of two landmarks that there are, and that none is in two pairs.

    Raises:
        UserError: it is not so.
    """
    pairs = tuple((canonical(left), canonical(right)) for left, right in swap)
    seen: set[str] = set()
    for name in (name for pair in pairs for name in pair):
        if name not in names:
            raise UserError(
                f"swap names {name!r}, which no exemplar has: leave it out, or spell it as the exemplars do"
            )
        if name in seen:
            raise UserError(
                f"swap names {name!r} twice: give each landmark one partner, another landmark than itself"
            )
        seen.add(name)
    return pairs


def spell_settings(configs: Configs) -> dict[str, Scalar]:
    """`slot.field` -> value of checked options."""
    return {f"{slot}.{k}": v for slot, config in configs.items() for k, v in settings_of(config).items()}
