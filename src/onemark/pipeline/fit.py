"""fit, resume and load: the ways to a fitted model."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onemark.data.cohort import Cohort, open_cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.paths import printable
from onemark.imaging.orientation import Pairs
from onemark.nn.device import choose, fabric_for, same_threads
from onemark.nn.fabric import Fabric
from onemark.nn.processes import ONE, Processes
from onemark.nn.training.ranks import wait_for_all
from onemark.options import check_budget_and_seed
from onemark.pipeline import resuming
from onemark.pipeline.model import Model, fingerprint
from onemark.pipeline.orienting import turn_table
from onemark.pipeline.questions.answering import FormerAnswers, forget_moved, note_answers
from onemark.pipeline.recipes import get_recipe
from onemark.pipeline.restoring import count_finished, restore
from onemark.pipeline.runs.config import RunState, record_place
from onemark.pipeline.runs.fetching import find_run
from onemark.pipeline.runs.folder import RunFolder
from onemark.pipeline.runs.locks import locked
from onemark.pipeline.starting import check_pairs, new_config
from onemark.pipeline.trainer import Trainer, checkpoint_of, shown_landmarks
from onemark.progress import Progress, Sink, silent
from onemark.types import LandmarkSet, UserError
from onemark.uncertainty.calibration import Corrections
from onemark.uncertainty.learning import compare_corrections


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
    swap: Iterable[tuple[str, str]] = (),
    processes: Processes = ONE,
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
        swap: Left-right pairs of landmarks, which change names with each other on mirrored radiographs.
        processes: How many of them share each step's batch. The others run this program again from its start, unless
            torchrun or Slurm has started them; only the first one writes, and its model is the one to use.
        progress: Takes the progress; raising Cancelled in it stops the work, resumable when there is a run folder.

    Raises:
        UserError: something in the input is wrong, or the device has too little memory.
        Cancelled: `progress` asked to stop.
    """
    check_budget_and_seed(minutes, seed)
    get_recipe(recipe).configure(settings, minutes)
    fabric = fabric_for(device, processes)
    if not fabric.is_global_zero:
        out, progress = None, silent
    with locked(out, make=True) if out is not None else nullcontext():
        exemplars, prints = _read_exemplars(exemplars, cohort)
        _check_shown(exemplars, cohort)
        _report_unshown(exemplars, progress)
        pairs = check_pairs(swap, exemplars.names)
        _check_turned(pairs, orient)
        config = new_config(cohort, recipe, minutes, device, seed, settings, orient=orient, progress=progress)
        config = replace(config, fingerprints=prints, parts=processes.count, swap=pairs)
        folder = None if out is None else RunFolder.create(out, config, exemplars)
        config = folder.config if folder else config
        with folder.discarded_on_error() if folder else nullcontext():
            return Trainer(cohort, exemplars, config, folder, progress, fabric=fabric).finish()


def resume(
    run: Path | str,
    *,
    cohort: Cohort | None = None,
    exemplars: LandmarkTable | None = None,
    minutes: float | None = None,
    device: str | None = None,
    swap: Iterable[tuple[str, str]] | None = None,
    processes: Processes = ONE,
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
        swap: With exemplars, the left-right pairs as for `fit`, instead of the run's own.
        processes: As for `fit`; teaching takes one.
        progress: As for `fit`.

    Raises:
        UserError: no run there, its radiographs are gone, there is nothing to resume, or exemplars are for a run whose
            first training is not finished; the run is then as it was.
        Cancelled: `progress` asked to stop.
    """
    check_budget_and_seed(minutes)
    started = time.monotonic()
    if processes.count > 1 and exemplars is not None:
        raise UserError("one process teaches a run: leave out --devices and --nodes")
    if swap is not None and exemplars is None:
        raise UserError("a run takes left-right pairs with exemplars: give --exemplar, or leave out --swap")
    fabric = None
    if processes.count > 1:
        fabric = fabric_for(device or RunFolder.open(run).config.device, processes)
        if not fabric.is_global_zero:
            return _follow(run, cohort, fabric)
    with locked(run):
        folder = RunFolder.open(run)
        chosen = choose(device or folder.config.device)
        folder.settle()
        count_finished(folder)
        with same_threads(folder.config.threads, chosen):
            if exemplars is None:
                prepared = _plan_rest(folder, cohort, minutes)
            else:
                prepared = _plan_teaching(folder, cohort, exemplars, minutes, chosen, swap, progress)
            return _go_on(folder, prepared, chosen, progress, started, fabric)


def _follow(run: Path | str, cohort: Cohort | None, fabric: Fabric) -> Model:
    """Take part in a training that the first process goes on with, which alone writes."""
    wait_for_all(fabric)
    folder = RunFolder.open(run)
    cohort = resuming.exact_cohort(folder, cohort or open_own_cohort(folder))
    known = folder.exemplars().checked(cohort)
    return Trainer(cohort, known, folder.config, folder, silent, fabric=fabric).finish()


@dataclass(frozen=True)
class _Prepared:
    """What `resume` is to go on with.

    Attributes:
        cohort: The radiographs to learn from.
        known: All exemplars.
        changes: What changes in the configuration.
        teaches: Whether the exemplars change.
        former: The model before it is taught; None for a run without one.
    """

    cohort: Cohort
    known: LandmarkTable
    changes: dict[str, Any]
    teaches: bool = False
    former: FormerAnswers | None = None


def _plan_rest(folder: RunFolder, cohort: Cohort | None, minutes: float | None) -> _Prepared:
    """Prepare to finish a run."""
    cohort = cohort or open_own_cohort(folder)
    known = folder.exemplars()
    resuming.check_present(folder, cohort, known.images)
    changes = resuming.plan_rest(folder, minutes)
    cohort = resuming.exact_cohort(folder, cohort)
    known = known.checked(cohort)
    resuming.check_pictures(folder, cohort, known.images)
    return _Prepared(cohort, known, changes)


def _plan_teaching(
    folder: RunFolder,
    cohort: Cohort | None,
    exemplars: LandmarkTable,
    minutes: float | None,
    device: str,
    swap: Iterable[tuple[str, str]] | None,
    progress: Sink,
) -> _Prepared:
    """Prepare to teach a run more or corrected exemplars."""
    cohort = cohort or open_own_cohort(folder, exemplars.images)
    known = folder.exemplars()
    resuming.check_present(folder, cohort, known.images)
    (corrected, prints), former = _read_exemplars(exemplars, cohort), shown_landmarks(known).names
    resuming.check_pictures(folder, cohort, resuming.find_kept_points(known, corrected))
    merged = resuming.merge_exemplars(known, corrected)
    if lost := resuming.describe_lost(known, merged):
        progress(Progress("read", 0, 1, message=lost))
    known = merged.checked(cohort)
    names = _check_shown(known, cohort)
    changes = resuming.plan_teaching(folder, names, minutes)
    if swap is not None:
        changes["swap"] = check_pairs(swap, known.names)
        _check_turned(changes["swap"], folder.config.orient)
    _report_unshown(known, progress)
    model = load(folder.path, device) if folder.status().is_trained else None
    if model is not None and model.orienter is not None and "swap" in changes:
        # The corrections go by the new pairs already; by the old ones they would look like large errors.
        model = replace(model, orienter=replace(model.orienter, swap=changes["swap"]))
    learned = LandmarkTable.from_sets(() if model is None else _of_same_pictures(model, prints, corrected))
    before = note_answers(model, learned, corrected, cohort) if model is not None else None
    if before is None and folder.answers.exists():  # of a teaching that was stopped
        with suppress(UserError):  # where they are damaged, the training says so
            before = forget_moved(FormerAnswers.read(folder.answers), folder.exemplars(), corrected)
    shown = _compare_corrections(model, learned, corrected, cohort)
    for name, rows in vars(shown).items():
        changes[name] = resuming.align_rows((*getattr(folder.config, name), *rows), former, names)
    changes["radiographs"] = cohort.names
    changes["fingerprints"] = {**folder.config.fingerprints, **prints}
    return _Prepared(cohort, known, changes, teaches=True, former=before)


def _go_on(
    folder: RunFolder,
    what: _Prepared,
    device: str,
    progress: Sink,
    started: float,
    fabric: Fabric | None = None,
) -> Model:
    before, known = folder.config, folder.exemplars()
    answers = folder.read_answers() if what.teaches else None
    changes = {"state": RunState.RUNNING, "device": device, **record_place(what.cohort), **what.changes}
    if not what.teaches:
        folder.update(**changes)
    else:
        if what.former is not None:
            what.former.save(folder.answers)  # before the teaching counts; `settle` removes what does not
        folder.teach(what.known, **changes)
        checkpoint_of(folder).remove()
    if fabric is not None:
        wait_for_all(fabric)  # the others read what is written by now
    late = time.monotonic() - started
    trainer = Trainer(what.cohort, what.known, folder.config, folder, progress, late, fabric)
    with resuming.taken_back_on_error(folder, before, known, answers) if what.teaches else nullcontext():
        return trainer.finish()


def _check_shown(exemplars: LandmarkTable, cohort: Cohort) -> tuple[str, ...]:
    """The landmarks that exemplars show. Raises UserError where there are none."""
    names: tuple[str, ...] = shown_landmarks(exemplars).names
    if not names:
        raise UserError(f"no exemplar in {cohort.folder} shows a landmark; place at least one")
    return names


def _check_turned(pairs: Pairs, orient: bool) -> None:
    if pairs and not orient:
        raise UserError(
            "swap is for mirrored radiographs, which --no-orient leaves as they lie: leave one of both out"
        )


def open_own_cohort(folder: RunFolder, further: Sequence[str] = ()) -> Cohort:
    """The radiographs where the run has noted them."""
    cohort = open_cohort(folder.config.cohort, spacing_mm=folder.config.spacing_mm)
    return resuming.learned_from(folder, cohort, further)


def load(run: Path | str, device: str = "auto") -> Model:
    """The model of a finished run; of an unfinished one, as far as it came.

    Args:
        run: The run folder, or its address, such as `s3://bucket/runs/hips`.
        device: auto, cpu, cuda or mps.

    Raises:
        UserError: no run there, or nothing learned yet.
    """
    folder = RunFolder.open(find_run(run))
    if folder.status().waits_for_exemplar:
        raise UserError(
            f"{folder.path} has no exemplar yet: go on with `onemark fit --resume {folder.path} --exemplar FILE`"
        )
    exemplars = shown_landmarks(folder.exemplars())
    _check_none_lost(folder, exemplars)
    restored = restore(folder, exemplars.names, fabric_for(device))
    if any(stage.names != exemplars.names for stage in restored.stages.values()):
        shown = printable(folder.path)
        raise UserError(f"{shown} is being taught other landmarks: finish that with `onemark resume {shown}`")
    return Model(
        folder.config.recipe,
        restored.stages,
        exemplars,
        folder.config.fingerprints,
        None,
        folder.log(),
        restored.error_model,
        restored.orienter,
        restored.trust,
        folder,
        restored.mean_error,
    )


def _check_none_lost(folder: RunFolder, exemplars: LandmarkTable) -> None:
    lost = [image for image in folder.config.fingerprints if image not in exemplars]
    if lost:
        raise UserError(
            f"{printable(folder.path)}/exemplars.csv is damaged, it lacks {printable(lost[0])!r}, from which the run "
            "learned: put its rows back, or fit again in another folder"
        )


def _of_same_pictures(
    model: Model, prints: Mapping[str, str], corrected: LandmarkTable
) -> Iterator[LandmarkSet]:
    """What a model has learned but for radiographs of other pictures now, by their fingerprints, with other points.

    A picture that was only saved again, such as with fewer bits, keeps its points, which then are no news.
    """
    for one in model.exemplars:
        same = prints.get(one.image) in (None, model.fingerprints.get(one.image))
        if same or _is_as_placed(one, corrected[one.image]):
            yield one


def _is_as_placed(one: LandmarkSet, now: LandmarkSet) -> bool:
    places = dict(zip(now.names, now.xy, strict=True))
    return all(
        np.array_equal(xy, places.get(name, xy), equal_nan=True)
        for name, xy in zip(one.names, one.xy, strict=True)
    )


def _compare_corrections(
    model: Model | None, known: LandmarkTable, corrected: LandmarkTable, cohort: Cohort
) -> Corrections:
    """What corrections of a finished run, which has learned what is known, show about its expected errors."""
    if model is None:
        return Corrections()
    # The window gives all exemplars each time, and most of them are known.
    news = [one for one in corrected if np.isfinite(known.news_in(one, model.names)).any()]
    if not news:
        return Corrections()
    looks = {one.image: model.look(cohort[one.image]) for one in news}
    ways = {image: way for image, (way, _) in looks.items()}
    return compare_corrections(
        model.error_model,
        model.stages,
        model.trust,
        turn_table(LandmarkTable.from_sets(one for one in known if one.image in ways), cohort, ways),
        turn_table(LandmarkTable.from_sets(news), cohort, ways),
        cohort.turned(ways),
        model.mean_error,
        {image: unlike for image, (_, unlike) in looks.items()},
    )


def _read_exemplars(exemplars: LandmarkTable, cohort: Cohort) -> tuple[LandmarkTable, dict[str, str]]:
    """The exemplars under the cohort's names, and the fingerprints of their radiographs.

    Each is decoded now, to find a damaged one before anything is written, and to know later whether it was replaced.
    """
    exemplars = exemplars.checked(cohort)
    return exemplars, {one.image: fingerprint(cohort[one.image]) for one in exemplars}


def _report_unshown(exemplars: LandmarkTable, progress: Sink) -> None:
    unshown = ", ".join(name for name in exemplars.names if name not in shown_landmarks(exemplars).names)
    if unshown:
        message = (
            f"not predicted, because no exemplar shows it: {unshown}; place it on one to have it predicted"
        )
        progress(Progress("read", 0, 1, message=message))
