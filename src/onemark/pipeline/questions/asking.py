"""ask: which single landmarks to have a person place next, and the questions' guesses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable, read_landmarks
from onemark.data.landmarks.units import in_one_unit
from onemark.data.questions import Question, Questions
from onemark.imaging.letterbox import Letterbox, canvas_for
from onemark.nn.registration.features import describe_appearance
from onemark.nn.threads import spread
from onemark.nn.training.canvases import learning_pool
from onemark.pipeline.fit import load, open_own_cohort
from onemark.pipeline.questions.choosing import choose_questions, measure_typicality
from onemark.pipeline.restoring import saved_mean_error
from onemark.pipeline.runs.folder import RunFolder
from onemark.progress import Progress, Sink, silent
from onemark.stages.answers import device_of
from onemark.types import LandmarkSet, Radiograph, UserError

POOL = 200  # most radiographs to ask about; an even choice of a larger cohort
AREA, STRIDE = 20_480, 16  # px of the canvas, and canvas px per cell, at which radiographs are compared


def ask(
    run: Path | str,
    *,
    number: int = 20,
    cohort: Cohort | None = None,
    device: str = "auto",
    progress: Sink = silent,
) -> Questions:
    """Say which landmarks of which radiographs are worth a click, as `onemark.pipeline.questions` chooses them.

    Nothing in the run changes. `resume(run, exemplars=answers)` teaches it the answers.

    Args:
        run: A finished run.
        number: How many questions.
        cohort: The radiographs, where their folder has moved.
        device: Where to predict those radiographs whose predictions the run does not hold: `auto`, `cpu`, `cuda`, `mps`.
        progress: Takes the progress; raising Cancelled in it stops the work.

    Raises:
        UserError: no run there, it is not finished, or there is nothing left to ask.
        Cancelled: `progress` asked to stop.
    """
    if number < 1:
        raise UserError(f"--number must be at least 1, not {number}")
    folder = RunFolder.open(run)
    if not folder.status().is_trained:
        raise UserError(
            f"{folder.path} is not finished, and only a trained run can ask: `onemark resume {folder.path}`"
        )
    exemplars = folder.exemplars()
    pool = learning_pool(cohort or open_own_cohort(folder), LandmarkTable((), ()), POOL)
    predictions, descriptors = _look(folder, pool, device, progress)
    unit, sets = in_one_unit(predictions, pool)
    errors = np.stack([_errors(one) for one in sets])
    open_ = np.stack([_open(one, exemplars) for one in sets])
    counts = _count_answers(folder, exemplars, sets[0].names)
    pairs = choose_questions(errors, measure_typicality(descriptors), open_, counts, number)
    if not pairs:
        raise UserError(f"nothing is left to ask in {pool.folder}: every radiograph is annotated")
    return Questions(tuple(_question(sets[i], k, unit) for i, k in pairs), folder.path)


def _count_answers(folder: RunFolder, exemplars: LandmarkTable, names: tuple[str, ...]) -> NDArray[np.int_]:
    """`[K]` how many answers show each landmark's mean error by now, or say that it is not visible."""
    hidden = Counter(name for one in exemplars for name in one.hidden_names)
    known = saved_mean_error(folder)
    shown = 0 if known is None else np.isfinite(known.align(names).errors).all(-1).sum(0)
    return np.asarray(np.array([hidden[name] for name in names], np.int_) + shown)


def _look(
    folder: RunFolder, pool: Cohort, device: str, progress: Sink
) -> tuple[list[LandmarkSet], NDArray[np.float64]]:
    """The predictions on every readable radiograph, and the radiographs' descriptors `[N, C]`."""
    known = _known_predictions(folder)
    held = set() if known is None else set(known.images)
    model = None if held.issuperset(pool.names) else load(folder.path, device)
    canvases: list[tuple[int, int]] = []

    def look(radiograph: Radiograph) -> tuple[LandmarkSet, NDArray[np.float64]]:
        if not canvases:
            canvases.append(canvas_for([radiograph.size], AREA))
        if known is not None and radiograph.name in held:
            found = known[radiograph.name]
        else:
            assert model is not None
            found = model.locate(radiograph)
        return found, _describe(radiograph, canvases[0])

    sets, descriptors = [], []
    place = torch.device("cpu") if model is None else device_of(model.stages)
    for found, descriptor in spread(look, pool.readable(sink=progress), place):
        sets.append(found)
        descriptors.append(descriptor)
        progress(Progress("ask", len(sets), len(pool)))
    if not sets:
        raise UserError(f"no radiograph in {pool.folder} can be read: see the messages above")
    # Radiographs that were predicted at different times list their landmarks alike.
    return list(LandmarkTable.from_sets(sets)), np.stack(descriptors)


def _known_predictions(folder: RunFolder) -> LandmarkTable | None:
    """The run's own predictions, where they are those of what it has learned last."""
    if not folder.status().predicted:
        return None
    try:
        return read_landmarks(folder.landmarks)
    except UserError:  # damaged or edited: predicting again takes longer, and that is all
        return None


def _describe(radiograph: Radiograph, canvas: tuple[int, int]) -> NDArray[np.float64]:
    image = Letterbox.fit(radiograph.size, canvas).render(radiograph.pixels)[None, None]
    return np.asarray(describe_appearance(image, STRIDE).flatten().double().numpy())


def _errors(one: LandmarkSet) -> NDArray[np.float64]:
    return one.expected_error if one.expected_error.size else np.full(len(one.names), np.nan)


def _open(one: LandmarkSet, exemplars: LandmarkTable) -> NDArray[np.bool_]:
    """`[K]` whether a landmark has a guess and no answer yet."""
    if one.image not in exemplars:
        return one.visible
    known = exemplars[one.image]
    answered = dict(zip(known.names, known.answered.tolist(), strict=True))
    return one.visible & ~np.array([answered.get(name, False) for name in one.names], np.bool_)


def _question(one: LandmarkSet, k: int, unit: str) -> Question:
    x, y = (float(value) for value in one.xy[k])
    return Question(one.image, one.names[k], x, y, float(_errors(one)[k]), unit)
