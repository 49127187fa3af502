"""What a model predicted just before it learned from answers: kept until the teaching ends, for the mean errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.data.choice import pick_evenly
from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.paths import printable
from onemark.nn.weights import read_weights, write_weights
from onemark.pipeline.model import Model
from onemark.pipeline.orienting import Orienter
from onemark.stages.answers import Stages
from onemark.stages.mean_error import SLOT, MeanError
from onemark.stages.trust import Trust, ask
from onemark.types import LandmarkSet, Radiograph, UserError

OTHERS = 16  # radiographs on which it is seen how the predictions move
_FORMER = "former"


@dataclass(frozen=True)
class FormerAnswers:
    """A model before a teaching.

    Attributes:
        mean_error: The answers so far and the new ones, by how far that model was off.
        images: R radiographs of which nobody annotated all landmarks.
        xy: `[R, K, 2]` what it predicted on them, px of the upright radiographs; NaN where there is an answer.
    """

    mean_error: MeanError
    images: tuple[str, ...]
    xy: NDArray[np.float64]

    def save(self, path: Path) -> None:
        """Write it. Raises UserError where that is not possible."""
        former = ({"xy": torch.from_numpy(self.xy)}, {"images": list(self.images)})
        write_weights(path, {SLOT: self.mean_error.state(), _FORMER: former}, make_folder=False)

    @classmethod
    def read(cls, path: Path) -> FormerAnswers:
        """What `save` wrote.

        Raises:
            UserError: it is damaged, or its parts do not fit together.
        """
        slots = read_weights(path)
        try:
            tensors, head = slots[_FORMER]
            images, xy = tuple(map(str, head["images"])), tensors["xy"].double().numpy()
            mean_error = MeanError.restore(*slots[SLOT])
            if xy.shape != (len(images), len(mean_error.names), 2):
                raise ValueError("its predictions do not fit its radiographs")
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise UserError(
                f"{printable(path)} is damaged ({printable(error)}): give the answers again"
            ) from None
        return cls(mean_error, images, xy)


def note_answers(
    model: Model, known: LandmarkTable, corrected: LandmarkTable, cohort: Cohort
) -> FormerAnswers:
    """Note how far a model is off from new answers, and what it predicts on a few other radiographs.

    Args:
        model: The model, which has not learned from them.
        known: The exemplars that it learned from, of the same pictures; their answers are news where they lie elsewhere.
        corrected: The answers.
        cohort: The radiographs.
    """
    mean_error = model.mean_error or _begin(model, cohort)
    images, errors = [], []
    for one in corrected:
        fresh, moved = known.news_in(one, model.names), _moved_answers(one, known, model.names)
        if not np.isfinite(fresh).any() and moved is None:
            continue
        radiograph = cohort[one.image]
        orientation = model.orientation(radiograph)
        upright = orientation.turn(radiograph)
        predicted = ask(model.stages, upright, model.trust).final.xy
        placed = LandmarkSet(one.image, model.names, fresh)
        way = orientation.turn_landmarks(placed, radiograph.size).xy - predicted
        if moved is not None:
            then, now = (orientation.turn_landmarks(each, radiograph.size).xy for each in moved)
            mean_error = mean_error.moved(one.image, mean_error.measure(now - then, predicted, upright.size))
        if np.isfinite(fresh).any():
            images.append(one.image)
            errors.append(mean_error.measure(way, predicted, upright.size))
    if errors:
        mean_error = mean_error.with_errors(images, np.stack(errors))
    told = {name: _told_of(name, (known, corrected), model.names) for name in cohort.names}
    others, places = [], []
    for radiograph in cohort.readable(_choose_others(told)):
        others.append(radiograph.name)
        places.append(_predict_untold(model, radiograph, told[radiograph.name]))
    xy = np.stack(places) if places else np.empty((0, len(model.names), 2))
    return FormerAnswers(mean_error, tuple(others), xy)


def forget_moved(former: FormerAnswers, known: LandmarkTable, corrected: LandmarkTable) -> FormerAnswers:
    """The same without answers that a person has corrected since, and without predictions on radiographs answered since.

    They cannot be measured once the model learns.

    Args:
        former: A model before a teaching that has not ended.
        known: What was taught.
        corrected: The answers now.
    """
    mean_error = former.mean_error
    for one in corrected:
        moved = _moved_answers(one, known, mean_error.names)
        if moved is not None:
            changed = (moved[0].xy != moved[1].xy).any(1)
            mean_error = mean_error.moved(one.image, np.where(changed[:, None], np.nan, np.zeros(2)))
    # What is answered since will be learned by heart, and says nothing of how the predictions move.
    taught = {one.image: one.answered_names for one in known}
    news = {one.image for one in corrected if not one.answered_names <= taught.get(one.image, frozenset())}
    kept = [n for n, image in enumerate(former.images) if image not in news]
    images = tuple(former.images[n] for n in kept)
    return replace(former, mean_error=mean_error, images=images, xy=former.xy[kept])


def learn_mean_error(
    former: FormerAnswers,
    stages: Stages,
    trust: Trust | None,
    names: tuple[str, ...],
    cohort: Cohort,
    orienter: Orienter | None,
) -> MeanError:
    """The mean errors of newly taught stages.

    Args:
        former: The model before the teaching.
        stages: Slot -> fitted stage.
        trust: How far detector and refiner are believed.
        names: The landmarks that the stages predict.
        cohort: The radiographs as they lie.
        orienter: Brings them upright, as it did for the model before.
    """
    frame = former.mean_error
    common = [names.index(name) for name in frame.names if name in names]
    at = [n for n, name in enumerate(frame.names) if name in names]
    moved = []
    for image, then in zip(former.images, former.xy, strict=True):
        for radiograph in cohort.readable([image] if image in cohort else []):
            upright = radiograph if orienter is None else orienter.find(radiograph).turn(radiograph)
            now = np.full_like(then, np.nan)
            now[at] = ask(stages, upright, trust).final.xy[common]
            moved.append(frame.measure(now - then, now, upright.size))
    return frame.after(_mean_of_known(np.array(moved).reshape(-1, len(frame.names), 2))).align(names)


def _begin(model: Model, cohort: Cohort) -> MeanError:
    """No answers yet, in the frame of the exemplar that shows most landmarks."""
    fullest = max(model.exemplars, key=lambda one: int(one.visible.sum()))
    radiograph = cohort[fullest.image]
    orientation = model.orientation(radiograph)
    upright = orientation.turn_landmarks(fullest, radiograph.size)
    return MeanError.begin(upright, orientation.turn(radiograph).size)


def _moved_answers(
    one: LandmarkSet, known: LandmarkTable, names: tuple[str, ...]
) -> tuple[LandmarkSet, LandmarkSet] | None:
    """Former and present places of the answers that a person has corrected; None where there are none.

    Of one that is not visible now, the present place is NaN; all other landmarks lie in the corner in both.
    """
    if one.image not in known:
        return None
    former, present = (dict(zip(each.names, each.xy, strict=True)) for each in (known[one.image], one))
    answered = one.answered_names
    moved = np.array(
        [
            name in former
            and name in answered
            and bool(np.isfinite(former[name]).all())
            and not np.array_equal(former[name], present[name])
            for name in names
        ]
    )
    if not moved.any():
        return None
    corner = np.zeros(2)
    places = (
        np.stack([each[name] if yes else corner for name, yes in zip(names, moved, strict=True)])
        for each in (former, present)
    )
    then, now = (LandmarkSet(one.image, names, xy) for xy in places)
    return then, now


def _told_of(image: str, tables: Iterable[LandmarkTable], names: tuple[str, ...]) -> NDArray[np.bool_]:
    """`[K]` whether a person has answered for a landmark of a radiograph."""
    sets = [table[image] for table in tables if image in table]
    told = {name for one in sets for name in one.answered_names}
    return np.array([name in told for name in names], np.bool_)


def _choose_others(told: Mapping[str, NDArray[np.bool_]]) -> list[str]:
    """Radiographs without answers, and where there are few some with answers for a part of the landmarks."""
    free = pick_evenly([name for name, here in told.items() if not here.any()], OTHERS)
    partly = [name for name, here in told.items() if here.any() and not here.all()]
    return free + pick_evenly(partly, OTHERS - len(free))


def _predict_untold(model: Model, radiograph: Radiograph, told: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`[K, 2]` predictions, px of the upright radiograph; NaN where there is an answer, which models learn by heart."""
    orientation = model.orientation(radiograph)
    xy = ask(model.stages, orientation.turn(radiograph), model.trust).final.xy
    marks = LandmarkSet(radiograph.name, model.names, np.where(told[:, None], np.zeros(2), np.nan))
    # Of a mirrored radiograph, left-right pairs change places.
    here = orientation.turn_landmarks(marks, radiograph.size).visible
    return np.where(here[:, None], np.nan, xy)


def _mean_of_known(ways: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[K, 2]` mean of displacements `[R, K, 2]` over those that are no NaN; NaN where there are none."""
    known = np.isfinite(ways).all(-1, keepdims=True)
    count = known.sum(0)
    return np.asarray(np.where(known, ways, 0.0).sum(0) / np.where(count, count, np.nan))
