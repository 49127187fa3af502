"""Predict shards, and write each as a part when it is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from onemark.archive.parts import Part, Parts
from onemark.archive.plan import Plan, Shard
from onemark.archive.rows import Rows
from onemark.data.cohort import Cohort, say_repeated
from onemark.data.landmarks.table import LandmarkTable
from onemark.pipeline.model import Model
from onemark.progress import SKIPPED, Progress, Sink, silent
from onemark.types import LandmarkSet, Radiograph, UserError


@dataclass
class Predictor:
    """Predicts shards of a plan with one model.

    Attributes:
        model: The model.
        cohort: The radiographs of the plan.
        plan: The plan.
        parts: Where the parts are kept.
        progress: Takes an event for each radiograph, and messages about those that are skipped.
        patience: Seconds to wait for a process that predicts the same shard.
    """

    model: Model
    cohort: Cohort
    plan: Plan
    parts: Parts
    progress: Sink = silent
    patience: float = 0.0
    _done: int = field(default=0, init=False)
    _total: int = field(default=0, init=False)
    _noted: dict[str, int] = field(default_factory=dict, init=False)

    def run(self, numbers: Sequence[int] | None = None) -> list[Part]:
        """Predict the shards of these numbers, or all, unless they are done already.

        Raises:
            UserError: another process predicts one of them, or a part cannot be written.
            Cancelled: `progress` asked to stop; what is written is kept.
        """
        numbers = range(self.plan.count) if numbers is None else numbers
        self._done, self._total = 0, sum(len(self.plan.shard(number).names) for number in numbers)
        parts = [self.predict(self.plan.shard(number)) for number in numbers]
        say_repeated(self._noted, self._total, self.progress)
        return parts

    def predict(self, shard: Shard) -> Part:
        """Predict one shard unless it is done; then only repeat what was said of it. Raises as `run` does."""
        with self.parts.held_shard(shard.number, self.patience):
            part = self.parts.part(self.plan, shard.number)
            if part is None:
                return self._predict(shard)
        for sentence in part.skipped:
            self.progress(Progress("read", self._done, self._total, message=sentence))
        self._done += len(shard.names)
        self.progress(Progress("predict", self._done, self._total))
        return part

    def _predict(self, shard: Shard) -> Part:
        before, skipped, sets = self._done, _Skipped(self.progress), list[LandmarkSet]()
        spacing, uids = {}, dict[str, str]()

        def read() -> Iterator[Radiograph]:
            for radiograph in self.cohort.readable(shard.names, skipped, self._noted, ahead=True):
                spacing[radiograph.name] = radiograph.spacing
                if self.plan.dicom_uid:
                    uids[radiograph.name] = self._read_uid(radiograph.name)
                yield radiograph

        for found in self.model.locate_all(read()):
            sets.append(found)
            self._done = before + len(sets)
            self.progress(Progress("predict", self._done, self._total, preview=sets[-1:]))
        rows = Rows.of(
            LandmarkTable.from_sets(sets),
            spacing if self.plan.mm else None,
            uids if self.plan.dicom_uid else None,
        )
        part = self.parts.write(self.plan, shard, rows, skipped.sentences)
        self._done = before + len(shard.names)
        return part

    def _read_uid(self, name: str) -> str:
        try:
            return self.cohort.sop_instance_uid(name)
        except UserError as error:  # its pixels could be read, so the prediction counts
            self.progress(Progress("read", self._done, self._total, message=f"no UID: {error}"))
            return ""


class _Skipped:
    """A sink that keeps what is said of skipped radiographs, for those who go on after a death."""

    def __init__(self, sink: Sink) -> None:
        self.sentences: list[str] = []
        self._sink = sink

    def __call__(self, event: Progress) -> None:
        if event.message.startswith(SKIPPED):
            self.sentences.append(event.message)
        self._sink(event)
