"""suggest: which radiographs to annotate first, and a run that goes on with them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.suggestion import Suggestion
from onemark.nn.backbones import pretrained
from onemark.nn.device import choose
from onemark.nn.training.canvases import CanvasCache, learning_pool
from onemark.nn.training.loop import hash_text
from onemark.options import check_budget_and_seed, settings_of
from onemark.pipeline.recipe import Recipe
from onemark.pipeline.recipes import RECIPES, get_recipe
from onemark.pipeline.restoring import count_finished
from onemark.pipeline.resuming import check_present
from onemark.pipeline.runs.config import RunConfig, RunState
from onemark.pipeline.runs.folder import CONFIG, RunFolder
from onemark.pipeline.runs.locks import locked
from onemark.pipeline.starting import new_config, spell_settings
from onemark.pipeline.trainer import Trainer
from onemark.progress import Progress, Sink, silent
from onemark.stages.answers import matcher_of
from onemark.stages.base import MATCH, SELECT
from onemark.stages.config import StageConfig
from onemark.stages.matcher import Matcher
from onemark.types import UserError

NO_EXEMPLARS = LandmarkTable((), ())


def suggest(
    cohort: Cohort,
    *,
    number: int = 1,
    recipe: str = "onemark",
    minutes: float | None = None,
    out: Path | str | None = None,
    device: str = "auto",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    orient: bool = True,
    progress: Sink = silent,
) -> Suggestion:
    """Say which radiographs are worth annotating (Quan et al., CVPR 2022), before anything is annotated.

    The recipe's matcher learns from the radiographs alone. With `out` it is kept, and `resume(out, exemplars=...)` goes
    on from it: nothing is trained twice. An `out` that holds a matcher already is asked without any training.

    Args:
        cohort: The radiographs.
        number: How many to annotate.
        recipe: Name of a recipe whose matcher learns without exemplars.
        minutes: Time budget of the matcher's training; without it the recipe's number of steps.
        out: Run folder to make, or one that is there.
        device: `auto`, `cpu`, `cuda` or `mps`.
        seed: The same seed gives the same suggestion on the same CPU.
        settings: `slot.field` -> value; `select.field` for the selector.
        orient: As for `fit`, which goes on with the run.
        progress: Takes the progress; raising Cancelled in it stops the work, resumable by the same call when there is
            a run folder.

    Raises:
        UserError: something in the input is wrong, or the recipe's matcher needs an exemplar.
        Cancelled: `progress` asked to stop.
    """
    check_budget_and_seed(minutes, seed)
    _check_number(number, len(cohort))
    with locked(out, make=True) if out is not None else nullcontext():
        begun = _find_begun(out, cohort, device)
        if begun is not None:
            folder: RunFolder | None
            folder, config = begun
        else:
            total = None if minutes is None else total_minutes(minutes, _suggesting_recipe(recipe))
            new = (cohort, recipe, total, device, seed, settings)
            config = new_config(*new, orient=orient, progress=progress, state=RunState.SUGGESTED)
            folder = None if out is None else RunFolder.create(out, config)
            config = folder.config if folder else config
        chosen = _suggesting_recipe(config.recipe)
        with folder.discarded_on_error() if folder and begun is None else nullcontext():
            options = chosen.configure_selector({**config.settings, **(settings or {})})
            _check_pool(number, options.pool)
            stages = Trainer(cohort, NO_EXEMPLARS, config, folder, progress).fit_until(MATCH)
        found = _choose(chosen, matcher_of(stages), cohort, config.seed, options, number, progress)
        found = replace(found, run=folder.path if folder else None)
        if folder is not None:
            found.to_csv(folder.suggestion)
        return found


def _check_number(number: int, count: int) -> None:
    if not 1 <= number <= count:
        raise UserError(f"--number must be between 1 and {count}, the radiographs there are, not {number}")


def _check_pool(number: int, pool: int) -> None:
    """Say before the training, and not after it, that fewer radiographs are compared than are asked for."""
    if number > pool:
        raise UserError(
            f"--number {number} is more than the {pool} radiographs that are compared: give less, or "
            f"--set select.pool={number}"
        )


def _choose(
    recipe: Recipe,
    matcher: Matcher,
    cohort: Cohort,
    seed: int,
    options: Any,
    number: int,
    progress: Sink,
) -> Suggestion:
    """The selector's answer, with these options, by what the matcher has learned."""
    pool = learning_pool(cohort, NO_EXEMPLARS, options.pool)
    store = CanvasCache(pool, matcher.canvas, progress, matcher.config.framing)
    selector = recipe.selector(options, matcher.embed).compare(store, progress)
    readable = sum(store.usable(index) for index in range(len(store)))
    if number > readable:
        message = f"only {readable} radiographs could be read, so {readable} are suggested and not {number}"
        progress(Progress(SELECT, 1, 1, message=message))
        number = readable
    return selector.choose(number, torch.Generator().manual_seed(hash_text(f"{seed}/select")))


def _suggesting_recipe(recipe: str) -> Recipe:
    chosen = get_recipe(recipe)
    if not chosen.matcher.learns_without_exemplars:
        raise UserError(
            f"the matcher of recipe {recipe} learns nothing before a radiograph is annotated: choose recipe onemark or "
            "scp"
        )
    return chosen


def _find_begun(out: Path | str | None, cohort: Cohort, device: str) -> tuple[RunFolder, RunConfig] | None:
    """The run that is there already, settled, and its configuration. Raises UserError as `_settled_config` does."""
    if out is None or not (Path(out) / CONFIG).exists():
        return None
    folder = RunFolder.open(out)
    folder.settle()
    count_finished(folder)
    return folder, _settled_config(folder, cohort, device)


def _settled_config(folder: RunFolder, cohort: Cohort, device: str) -> RunConfig:
    """The configuration of a run that is there.

    Raises:
        UserError: it belongs to another folder; or its matcher has not learned and its exemplars are placed already:
            then `resume` goes on with it.
    """
    learned_in = Path(folder.config.cohort)
    if not learned_in.is_dir():  # it may have moved
        check_present(folder, cohort, folder.config.radiographs)
    elif not learned_in.samefile(cohort.folder):
        raise UserError(
            f"{folder.path} belongs to the radiographs in {learned_in}, not to those in {cohort.folder}: give that "
            "folder, or another --out"
        )
    if MATCH not in folder.config.done and not folder.status().waits_for_exemplar:
        # A matcher that is being taught must not be taken for one without exemplars.
        raise UserError(
            f"the matcher of {folder.path} has not learned its exemplars yet: finish it with "
            f"`onemark resume {folder.path}`"
        )
    return replace(folder.config, device=choose(device))


HURRIED = "hurried"
"""The matcher's option that only matters once there are exemplars."""


def same_matcher(
    run: Path | str,
    *,
    recipe: str = "onemark",
    minutes: float | None = None,
    settings: Mapping[str, Any] | None = None,
) -> bool:
    """Whether a run's matcher is the one that such a fit would have, so that it need not learn again.

    Args:
        run: A run folder; anything else has no matcher.
        recipe: Name of a recipe.
        minutes: Time budget of the whole fit.
        settings: `slot.field` -> value.

    Raises:
        UserError: an unknown recipe, or a wrong setting.
    """
    wanted = get_recipe(recipe)
    options = settings_of(wanted.configure(settings, minutes)[MATCH])
    try:
        config = RunFolder.open(run).config
    except UserError:
        return False
    there = RECIPES.get(config.recipe)
    if there is None or there.matcher is not wanted.matcher:
        return False
    # A run of an earlier version does not name the options that are new since then.
    usual = settings_of(wanted.matcher.Config())
    return all(
        config.settings.get(f"{MATCH}.{name}", usual[name]) == value
        for name, value in options.items()
        if name != HURRIED
    )


def settled_differently(
    run: Path | str,
    *,
    recipe: str | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    orient: bool | None = None,
) -> list[str]:
    """Which of these options a suggestion's run has settled otherwise, so that it would pass over them.

    Args:
        run: A run folder of `suggest`.
        recipe: Name of a recipe, where one is given.
        minutes: Time budget of the matcher's training.
        seed: The seed.
        settings: `slot.field` -> value; the selector's are free.
        orient: Whether radiographs are brought upright.

    Returns:
        `recipe`, `minutes`, `seed`, `orient` or names of settings; none where the run is as asked for.

    Raises:
        UserError: no such run, an unknown recipe, or a wrong setting.
    """
    config = RunFolder.open(run).config
    chosen = get_recipe(config.recipe)
    if recipe not in (None, chosen.name):
        return ["recipe"]
    total = None if minutes is None else total_minutes(minutes, chosen)
    wanted = spell_settings(chosen.configure(settings, config.minutes))
    fixed = [name for name in settings or {} if not name.startswith(f"{SELECT}.")]
    differ = {"minutes": total not in (None, config.minutes), "seed": seed not in (None, config.seed)}
    differ["orient"] = orient not in (None, config.orient)
    differ |= {name: wanted[name] != config.settings.get(name) for name in fixed}
    return [name for name, other in differ.items() if other]


def adopt(
    run: Path | str,
    *,
    recipe: str = "onemark",
    minutes: float | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Sink = silent,
) -> None:
    """Give a run that waits for its first exemplar these options for what follows its matcher; `resume` keeps to them.

    Args:
        run: A run folder of `suggest`.
        recipe: Name of a recipe with the same matcher: see `same_matcher`.
        minutes: Time budget of the whole fit, including what the matcher has had.
        settings: `slot.field` -> value.
        progress: Is told what has to be fetched.

    Raises:
        UserError: no such run, another matcher, or one of the options is wrong.
    """
    with locked(run):
        _adopt(RunFolder.open(run), recipe, minutes, settings, progress)


def _adopt(
    folder: RunFolder,
    recipe: str,
    minutes: float | None,
    settings: Mapping[str, Any] | None,
    progress: Sink,
) -> None:
    if not folder.status().waits_for_exemplar:
        raise UserError(f"{folder.path} has its exemplars already: go on with it by `onemark resume`")
    if not same_matcher(folder.path, recipe=recipe, minutes=minutes, settings=settings):
        raise UserError(
            f"{folder.path} has another matcher than these options ask for: fit in another folder"
        )
    chosen, configs = _checked_choice(recipe, minutes, settings, progress)
    selecting = settings_of(chosen.configure_selector(settings))
    spelled = spell_settings(configs) | {f"{SELECT}.{name}": value for name, value in selecting.items()}
    folder.update(recipe=recipe, minutes=minutes, settings=spelled)


def _checked_choice(
    recipe: str, minutes: float | None, settings: Mapping[str, Any] | None, progress: Sink
) -> tuple[Recipe, dict[str, StageConfig]]:
    chosen = get_recipe(recipe)
    configs = chosen.configure(settings, minutes)
    chosen.check(configs)
    pretrained.check(chosen.pretrained(configs), progress)
    return chosen, configs


def total_minutes(minutes: float, recipe: Recipe) -> float:
    """The budget of a whole fit whose matcher has these minutes."""
    return round(minutes / recipe.suggesting_share, 9)
