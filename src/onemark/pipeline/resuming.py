"""What `resume` finds out about a run folder before it changes anything there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from onemark.data.atomic import write_bytes
from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.paths import printable
from onemark.nn.weights import open_weights
from onemark.pipeline.model import fingerprint
from onemark.pipeline.recipes import get_recipe
from onemark.pipeline.runs.config import RunConfig
from onemark.pipeline.runs.folder import RunFolder
from onemark.pipeline.trainer import checkpoint_of, unfinished_head
from onemark.stages.base import MATCH
from onemark.types import LandmarkSet, UserError
from onemark.uncertainty.calibration import Rows

WARM_MINUTES = 1.0


def plan_rest(folder: RunFolder, minutes: float | None) -> dict[str, Any]:
    """What changes in the configuration of a run that is finished, by the minutes that the rest may take.

    Raises:
        UserError: it is finished already, or waits for an exemplar.
    """
    status = folder.status()
    if status.waits_for_exemplar:
        raise UserError(
            f"{folder.path} waits for its first exemplar: annotate a radiograph and give it with --exemplar"
        )
    if status.is_trained:
        raise UserError(
            f"{folder.path} is finished: teach it more with --exemplar, or predict radiographs with it"
        )
    if minutes is None:
        return {}
    try:
        head = unfinished_head(checkpoint_of(folder), folder.config)
    except UserError:  # damaged: the trainer says so and starts the stage again
        head = {}
    return {"minutes": minutes + (folder.config.seconds_spent + head.get("spent", 0.0)) / 60}


def plan_teaching(folder: RunFolder, names: tuple[str, ...], minutes: float | None) -> dict[str, Any]:
    """What changes in the configuration of a run that learns from its first, more or corrected exemplars.

    A run that was finished once may be taught again while that teaching is unfinished: its model is whole.

    Args:
        folder: The run.
        names: The landmarks that all of its exemplars together show then.
        minutes: The time to learn from them, where it is given.

    Raises:
        UserError: its first training is not finished, or its matcher is bound to other landmarks.
    """
    config, status = folder.config, folder.status()
    if status.is_unfinished and not status.fitted:
        raise UserError(
            f"{folder.path} is not finished, and only a finished run can be taught more: finish it with "
            f"`onemark resume {folder.path}` first, or fit in another folder"
        )
    saved = open_weights(folder.weights).slots if config.learned else {}
    matcher = get_recipe(config.recipe).matcher
    if MATCH in saved and matcher.bound_to_landmarks:
        _check_landmarks(tuple(saved[MATCH][1].get("names", ())), names)
    if minutes is None:
        minutes = _rest_of_budget(config) if status.waits_for_exemplar else WARM_MINUTES
        minutes = config.minutes if status.is_unfinished else minutes
    slots = tuple(slot for slot in saved if slot in get_recipe(config.recipe).slots)
    return {
        "done": {},
        "earlier_seconds": config.total_seconds,
        "warm": slots,
        "minutes": minutes,
        "training": config.training + 1,
    }


@contextlib.contextmanager
def taken_back_on_error(
    folder: RunFolder, before: RunConfig, exemplars: LandmarkTable, answers: bytes | None
) -> Iterator[None]:
    """Take back a teaching that is refused before anything was learned from it.

    Args:
        folder: The run.
        before: Its configuration before.
        exemplars: Its exemplars before.
        answers: What `RunFolder.read_answers` gave before: those of an unfinished teaching, or None.
    """
    try:
        yield
    except UserError:
        with contextlib.suppress(UserError):  # what was refused matters more than what fails now
            # Where the folder has gone, all of it is kept elsewhere, and writing would make another one in its place.
            if not folder.is_gone and not folder.config.done and not _has_learned(folder):
                # The number of the training stays used: what it left, such as a checkpoint, counts for no other one.
                kept = ("training", "teaching")
                former = {name: value for name, value in vars(before).items() if name not in kept}
                folder.teach(exemplars, **former)
                if answers is None:
                    folder.forget_answers()
                else:
                    write_bytes(folder.answers, answers)
        raise


def _has_learned(folder: RunFolder) -> bool:
    """Whether the weights hold anything of the present training."""
    return folder.weights.exists() and (
        open_weights(folder.weights).note.get("training") == folder.config.training
    )


def check_pictures(folder: RunFolder, cohort: Cohort, images: Sequence[str]) -> None:
    """Check that the radiographs of exemplars are those that a person annotated.

    Raises:
        UserError: one was replaced.
    """
    for image in images:
        known = folder.config.fingerprints.get(image)
        if known is not None and fingerprint(cohort[image]) != known:
            raise UserError(
                f"{printable(cohort.path(image))} is not the picture that was annotated: put that back, or annotate "
                "this one and give it with --exemplar"
            )


def find_kept_points(known: LandmarkTable, corrected: LandmarkTable) -> list[str]:
    """Images of exemplars that keep some of their former points: what is given for them does not answer all of these."""

    def keeps_points(one: LandmarkSet) -> bool:
        if one.image not in corrected:
            return True
        now = corrected[one.image]
        return bool(now.asked.size) and not one.answered_names <= now.answered_names

    return [one.image for one in known if keeps_points(one)]


def check_present(folder: RunFolder, cohort: Cohort, names: Sequence[str]) -> None:
    """Check that radiographs of a run are there.

    Raises:
        UserError: the cohort lacks some.
    """
    gone = [name for name in names if name not in cohort]
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        raise UserError(
            f"{cohort.folder} lacks {gone[0]!r}{more}, from which {folder.path} learns: put back what is gone, or "
            "give the folder where its radiographs are now"
        )


def exact_cohort(folder: RunFolder, cohort: Cohort) -> Cohort:
    """The radiographs that an unfinished run learns from: pseudo-labels in its checkpoint go by their order.

    Raises:
        UserError: one of them is gone.
    """
    names = folder.config.radiographs or cohort.names
    check_present(folder, cohort, names)
    return cohort.subset(names)


def learned_from(folder: RunFolder, cohort: Cohort, further: Sequence[str]) -> Cohort:
    """The radiographs that a run learned from, which may be a part of its folder, and further ones.

    Some may be gone: what needs them says so.
    """
    names = folder.config.radiographs or cohort.names
    wanted = {*names, *map(cohort.resolve, further)}
    return cohort.subset(name for name in cohort.names if name in wanted)


def merge_exemplars(known: LandmarkTable, corrected: LandmarkTable) -> LandmarkTable:
    """The exemplars of a run and more or corrected ones, without landmarks that nobody answered.

    Landmarks stay in the run's order, with new ones after them, because a network's heads lie in it.
    """
    both = known.merged(corrected)
    answered = np.array([one.answered for one in both]).any(0)
    kept = np.flatnonzero(answered).tolist()
    return LandmarkTable.from_sets((one.take(kept) for one in both), both.source)


def describe_lost(known: LandmarkTable, merged: LandmarkTable) -> str:
    """What of a run's exemplars `merge_exemplars` no longer holds, in a sentence; empty where nothing is lost."""
    lost: dict[str, list[str]] = {}
    for one in known:
        still = merged[one.image].answered_names
        gone = [one.names[k] for k in np.flatnonzero(one.visible) if one.names[k] not in still]
        if gone:
            lost[one.image] = gone
    if not lost:
        return ""
    image, names = next(iter(lost.items()))
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    more = f", nor points of {len(lost) - 1} more" if len(lost) > 1 else ""
    return (
        f"{printable(image)} was given again without {shown}, which it showed before: no longer learned{more}; to "
        "correct single points, add a column `answer` with `clicked` for each"
    )


def align_rows(
    rows: Rows, former: Sequence[str], names: Sequence[str]
) -> tuple[tuple[float | None, ...], ...]:
    """What corrections showed of the former landmarks, as rows for these."""
    known = [dict(zip(former, row, strict=True)) for row in rows if len(row) == len(former)]
    return tuple(tuple(row.get(name) for name in names) for row in known)


def _check_landmarks(former: tuple[str, ...], names: tuple[str, ...]) -> None:
    if former != names:
        raise UserError(
            f"this matcher has learned {', '.join(former)}, and the exemplars show {', '.join(names)}: give exemplars "
            "of the same landmarks, or start another run"
        )


def _rest_of_budget(config: RunConfig) -> float | None:
    """Minutes that a run which waits for its first exemplar has left; None for one without a budget."""
    if config.minutes is None:
        return None
    return float(max(WARM_MINUTES / 4, config.minutes - config.seconds_spent / 60))
