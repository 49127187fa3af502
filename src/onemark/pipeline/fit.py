"""fit, resume and load: the ways to a fitted model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from onemark.data.cohort import Cohort, open_cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.nn.device import choose, fabric_for
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.weights import read_weights
from onemark.options import check_budget_and_seed
from onemark.pipeline import resuming
from onemark.pipeline.model import Model
from onemark.pipeline.orienting import SLOT as ORIENTATION
from onemark.pipeline.orienting import Orienter, turn_table
from onemark.pipeline.recipes import get_recipe
from onemark.pipeline.run_config import RunState
from onemark.pipeline.runs import RunFolder
from onemark.pipeline.starting import new_config
from onemark.pipeline.trainer import Trainer, shown_landmarks
from onemark.progress import Progress, Sink, silent
from onemark.stages.trust import SLOT as TRUST
from onemark.stages.trust import Trust
from onemark.types import UserError
from onemark.uncertainty.error_model import ErrorModel
from onemark.uncertainty.learning import SLOT as ERROR_MODEL
from onemark.uncertainty.learning import Ratios, correction_ratios


def fit(
    cohort: Cohort,
    exemplars: LandmarkTable,
    *,
    recipe: str = "onemark",
    minutes: float | None = None,
    out: Path | str | None = None,
    device: str = "auto",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    orient: bool = True,
    progress: Sink = silent,
) -> Model:
    """Learn from a cohort and its exemplars.

    Args:
        cohort: The radiographs.
        exemplars: Landmarks of at least one of them.
        recipe: Name of a recipe.
        minutes: Time budget that the whole schedule is laid over; without it the recipe's number of steps.
        out: Run folder to make; without it nothing is written and nothing can be resumed.
        device: `auto`, `cpu`, `cuda` or `mps`.
        seed: The same seed and number of steps give the same model on the same CPU.
        settings: `slot.field` -> value.
        orient: Whether radiographs that lie otherwise than the first exemplar, turned by quarters or mirrored, are
            recognized and brought upright before the stages see them; predictions are on the files as they are.
        progress: Takes the progress; raising Cancelled in it stops the work, resumable when there is a run folder.

    Raises:
        UserError: something in the input is wrong, or the device has too little memory.
        Cancelled: `progress` asked to stop.
    """
    check_budget_and_seed(minutes, seed)
    get_recipe(recipe).configure(settings, minutes)
    exemplars = _read_exemplars(exemplars, cohort)
    _report_unshown(exemplars, progress)
    config = new_config(cohort, recipe, minutes, device, seed, settings, orient=orient, progress=progress)
    folder = None if out is None else RunFolder.create(out, config, exemplars)
    with folder.discarded_on_error() if folder else nullcontext():
        return Trainer(cohort, exemplars, config, folder, progress).finish()


def resume(
    run: Path | str,
    *,
    cohort: Cohort | None = None,
    exemplars: LandmarkTable | None = None,
    minutes: float | None = None,
    device: str | None = None,
    progress: Sink = silent,
) -> Model:
    """Finish a run that was stopped or killed; or, given exemplars, teach a finished one more.

    Args:
        run: The run folder.
        cohort: The radiographs, where their folder has moved or there are more to learn from. A run that is not
            finished goes on with those it began with.
        exemplars: More or corrected exemplars: added to the run's, replacing those of the same radiographs. The
            matcher keeps its network and takes them as templates; detector and refiner go on from their weights.
        minutes: With exemplars, the time to learn from them (1 when left out, or that of the teaching which was
            stopped); else the time for the rest of the work instead of the rest of the run's own budget.
        device: Where to go on when not on the run's own device: `auto`, `cpu`, `cuda` or `mps`.
        progress: As for `fit`.

    Raises:
        UserError: no run there, its radiographs are gone, there is nothing to resume, or exemplars are for a run whose
            first training is not finished; the run is then as it was.
        Cancelled: `progress` asked to stop.
    """
    check_budget_and_seed(minutes)
    started, folder = time.monotonic(), RunFolder.open(run)
    chosen = choose(device or folder.config.device)
    if cohort is None:
        cohort = open_cohort(folder.config.cohort, spacing_mm=folder.config.spacing_mm)
        cohort = resuming.learned_from(folder, cohort, () if exemplars is None else exemplars.images)
    known = folder.exemplars()
    resuming.check_present(folder, cohort, known.images)
    if exemplars is None:
        changes = resuming.plan_rest(folder, minutes)
        cohort = resuming.exact_cohort(folder, cohort)
        known = known.checked(cohort)
    else:
        corrected, former = _read_exemplars(exemplars, cohort), shown_landmarks(known).names
        known = resuming.merge_exemplars(known, corrected).checked(cohort)
        names = shown_landmarks(known).names
        changes = resuming.plan_teaching(folder, names, minutes)
        _report_unshown(known, progress)
        ratios = (*folder.config.ratios, *_correction_ratios(folder, corrected, cohort, chosen))
        changes["ratios"] = resuming.align_ratios(ratios, former, names)
        changes["radiographs"] = cohort.names
        folder.write_exemplars(known)
    whose = {"cohort": str(cohort.folder.resolve()), "spacing_mm": cohort.spacing_mm}
    folder.update(state=RunState.RUNNING, device=chosen, **whose, **changes)
    if changes.get("warm"):
        Checkpoint(folder.checkpoint).remove()
    late = time.monotonic() - started
    return Trainer(cohort, known, folder.config, folder, progress, late).finish()


def load(run: Path | str, device: str = "auto") -> Model:
    """The model of a finished run; of an unfinished one, as far as it came.

    Raises:
        UserError: no run there, or nothing learned yet.
    """
    folder = RunFolder.open(run)
    if folder.status().waits_for_exemplar:
        raise UserError(
            f"{folder.path} has no exemplar yet: go on with `onemark fit --resume {folder.path} --exemplar FILE`"
        )
    fabric, recipe = fabric_for(device), get_recipe(folder.config.recipe)
    saved = read_weights(folder.weights)
    return Model(
        recipe.name,
        {slot: stage.restore(*saved[slot], fabric) for slot, stage in recipe.slots.items() if slot in saved},
        shown_landmarks(folder.exemplars()),
        folder.config.fingerprints,
        None,
        folder.log(),
        ErrorModel.restore(saved[ERROR_MODEL][0]) if ERROR_MODEL in saved else None,
        Orienter.restore(*saved[ORIENTATION]) if ORIENTATION in saved else None,
        Trust.restore(saved[TRUST][0]) if TRUST in saved else None,
    )


def _correction_ratios(folder: RunFolder, corrected: LandmarkTable, cohort: Cohort, device: str) -> Ratios:
    """What corrections of a finished run show about its expected errors."""
    if not folder.status().is_trained:
        return ()
    model = load(folder.path, device)
    ways = {one.image: model.orientation(cohort[one.image]) for one in corrected}
    corrected, upright = turn_table(corrected, cohort, ways), cohort.turned(ways)
    return correction_ratios(
        model.error_model, model.stages, model.trust, model.exemplars.images, corrected, upright
    )


def _read_exemplars(exemplars: LandmarkTable, cohort: Cohort) -> LandmarkTable:
    """The exemplars under the cohort's names; each is decoded now, to find a damaged one before anything is written."""
    exemplars = exemplars.checked(cohort)
    for one in exemplars:
        cohort[one.image]
    return exemplars


def _report_unshown(exemplars: LandmarkTable, progress: Sink) -> None:
    unshown = ", ".join(name for name in exemplars.names if name not in shown_landmarks(exemplars).names)
    if unshown:
        message = (
            f"not predicted, because no exemplar shows it: {unshown}; place it on one to have it predicted"
        )
        progress(Progress("read", 0, 1, message=message))
