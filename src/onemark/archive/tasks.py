"""The task of a Dask worker. A scheduler loads this module, so it loads nothing else before it runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from onemark.data.paths import printable
from onemark.progress import SKIPPED, Progress
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.archive.parts import Part
    from onemark.archive.predicting import Predictor

_PATIENCE = 600.0
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Order:
    """What a worker needs to predict any shard; all of it has to be within its reach.

    Attributes:
        run: The run folder.
        out: The result, beside which plan and parts are.
        device: As for `onemark.load`.
        plan: Digest of the plan, so that a worker that has served an earlier one loads the model again.
    """

    run: str
    out: str
    device: str
    plan: str


@dataclass(frozen=True)
class Report:
    """What a worker says of a shard.

    Attributes:
        part: What is known of it.
        notes: What the readers noted of its radiographs, beyond those that were skipped.
    """

    part: Part
    notes: tuple[str, ...]


def predict_shard_of(order: Order, number: int) -> Report:
    """The task: predict one shard on a worker and write its part."""
    with _one_at_a_time:
        predictor = _predictor(order)
        notes: list[str] = []

        def note(event: Progress) -> None:
            if event.message and not event.message.startswith(SKIPPED):
                notes.append(event.message)

        predictor.progress = note
        return Report(predictor.predict(predictor.plan.shard(number)), tuple(notes))


@lru_cache(maxsize=1)
def _predictor(order: Order) -> Predictor:
    """The model, loaded once a worker.

    Raises:
        UserError: the run or the plan is out of the worker's reach, or no longer what was planned.
    """
    from onemark.archive.parts import Parts
    from onemark.archive.plan import identify_run
    from onemark.archive.predicting import Predictor
    from onemark.pipeline.fit import load

    parts = Parts(order.out)
    plan = parts.plan()
    if plan is None or plan.digest != order.plan:
        raise UserError(
            f"a worker finds no plan, or another one, in {parts.folder}; put --out where all workers reach it"
        )
    model = load(order.run, order.device)
    if identify_run(model) != plan.run:
        raise UserError(
            f"{printable(order.run)} has learned something else since; start the prediction again"
        )
    return Predictor(model, plan.cohort(), plan, parts, patience=_PATIENCE)
