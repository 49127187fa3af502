"""The one orchestrator: fits the stages of a run in order, within its time, and keeps what they learn."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.imaging.orientation import Orientation
from onemark.nn.device import fabric_for
from onemark.nn.fabric import Fabric
from onemark.nn.training.canvases import learning_pool
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.weights import write_weights
from onemark.pipeline.model import Model
from onemark.pipeline.orienting import SLOT as ORIENTATION
from onemark.pipeline.orienting import (
    Orienter,
    RestoringSink,
    describe_orientations,
    find_reference,
    learn_orientations,
    turn_table,
)
from onemark.pipeline.prints import take_prints
from onemark.pipeline.questions.answering import FormerAnswers, learn_mean_error
from onemark.pipeline.recipes import get_recipe
from onemark.pipeline.rescue import moved_error, rescue
from onemark.pipeline.restoring import note_of, restore, saved_orientation
from onemark.pipeline.runs.config import RunConfig, RunState
from onemark.pipeline.runs.folder import RunFolder
from onemark.pipeline.teaching import choose_better
from onemark.progress import Cancelled, Progress, Sink
from onemark.stages.base import MATCH, Stage, StageContext
from onemark.stages.detector import Detector
from onemark.stages.matcher import Matcher
from onemark.stages.mean_error import SLOT as MEAN_ERROR
from onemark.stages.mean_error import MeanError
from onemark.stages.trust import SLOT as TRUST
from onemark.stages.trust import Trust, measure_trust
from onemark.types import LandmarkSet, UserError
from onemark.uncertainty.calibration import Corrections
from onemark.uncertainty.error_model import ErrorModel
from onemark.uncertainty.learning import SLOT as ERROR_MODEL
from onemark.uncertainty.learning import learn_error_model, seconds_to_train


class Trainer:
    """One training of a run, from wherever its configuration says it stands.

    Args:
        cohort: The radiographs to learn from.
        exemplars: Landmarks of radiographs of the cohort; an empty table for a matcher that learns without them.
        config: The run's configuration.
        folder: Where to keep what is learned; None for a training that leaves nothing.
        sink: Takes the progress.
        late: Seconds of the time budget that are gone already.
        fabric: Device and processes; by default one process on the run's device.
    """

    def __init__(
        self,
        cohort: Cohort,
        exemplars: LandmarkTable,
        config: RunConfig,
        folder: RunFolder | None,
        sink: Sink,
        late: float = 0.0,
        fabric: Fabric | None = None,
    ) -> None:
        self.cohort, self.exemplars = cohort, shown_landmarks(exemplars)
        self.config, self.folder = config, folder
        self.sink = sink
        self.orienter: Orienter | None = None
        self.original = self.cohort, self.exemplars
        self.recipe = get_recipe(config.recipe)
        self.configs = self.recipe.configure(config.settings)
        self.fabric = fabric or fabric_for(config.device)
        self.checkpoint = None if folder is None else checkpoint_of(folder)
        if self.checkpoint:
            self.checkpoint.before_saving = self._follow_folder
        self._all_exemplars = exemplars
        self._answers: FormerAnswers | None = None
        # Whether the first exemplar has another orientation than when the mean errors were measured.
        self._reoriented = False
        self._states: Mapping[str, Any] = {}
        self._moved: UserError | None = None
        if self.fabric.is_global_zero:
            self._pass_over_damaged_checkpoint()
        self.head = unfinished_head(self.checkpoint, config)
        self.log: list[dict[str, Any]] = self.head["log"] if self.head else (folder.log() if folder else [])
        budget = seconds_to_train(config.minutes)
        self.budget = None if budget is None else budget - late
        self.deadline: float | None = None
        self.mean_error: MeanError | None = None
        # Of the model that is taught, until they are measured again.
        self.trust: Trust | None = None
        self.error_model: ErrorModel | None = None

    def fit_until(self, last: str) -> dict[str, Stage]:
        """Fit the stages up to the slot `last`, those that have not learned yet.

        Raises:
            UserError: something in the input is wrong, or the device has too little memory.
            Cancelled: the sink asked to stop; the folder then holds a resumable state.
        """
        self._bring_upright()
        slots = list(self.recipe.slots)
        slots = slots[: slots.index(last) + 1]
        if self.budget is not None:
            share = sum(self.shares[slot] for slot in slots) / sum(self.shares.values())
            gone = self.config.seconds_spent + self.head.get("spent", 0.0)
            self.deadline = time.monotonic() + self.budget * share - gone
        former = self._restore_stages()
        stages: dict[str, Stage] = {}
        for slot in slots:
            if slot in self.config.done:
                stages[slot] = former[slot]
                continue
            started = time.monotonic()
            stages[slot] = self._fit_stage(slot, stages, former)
            before = self.head["spent"] if self.head.get("stage") == slot else 0.0
            self._keep(slot, former | stages, before + time.monotonic() - started)
        return stages

    def finish(self) -> Model:
        """Fit all stages and, in the first process, the error model.

        Raises:
            UserError: something in the input is wrong, or the device has too little memory.
            Cancelled: the sink asked to stop; the folder then holds a resumable state.
        """
        self._answers = self._read_answers()
        try:
            stages = self.fit_until(list(self.recipe.slots)[-1])
            if not self.fabric.is_global_zero:
                return Model(self.recipe.name, stages, self.exemplars, {}, self.cohort, self.log)
            self._measure_trust(stages)
            self._learn_mean_error(stages)
            self._learn_error_model(stages)
            prints = take_prints(*self.original, self.config.fingerprints, self.sink)
        except (Cancelled, KeyboardInterrupt):
            self._note(state=RunState.STOPPED)
            raise
        if self.checkpoint:
            self.checkpoint.remove()  # all stages count by now
        if self.folder is not None:
            self.folder.forget_answers()
        self._note(state=RunState.DONE, fingerprints=prints, fits=self.config.fits + 1)
        cohort, exemplars = self.original
        learned = (self.error_model, self.orienter, self.trust)
        kept = (self.folder, self.mean_error)
        return Model(self.recipe.name, stages, exemplars, prints, cohort, self.log, *learned, *kept)

    def _bring_upright(self) -> None:
        """Find which radiographs lie otherwise than the first exemplar, and let the stages see them as it lies."""
        if not self.config.orient or not len(self.exemplars) or self.orienter is not None:
            return
        started = time.monotonic()
        saved = None
        if self.folder is not None and self.config.learned:
            saved = saved_orientation(self.folder)
        pools = {config.pool for config in self.configs.values()}
        names = [name for pool in pools for name in learning_pool(self.cohort, self.exemplars, pool).names]
        looked_at = self.cohort.subset(names)
        self.orienter = learn_orientations(looked_at, self.exemplars, self.sink, saved, self.config.swap)
        if saved is not None and not torch.equal(saved[0]["canvas"], self.orienter.canvas):
            self._forget_if_turned(Orienter.restore(*saved))
        self.cohort = looked_at  # of the others nobody knows how they lie
        self._see_turned({name: way for name, way in self.orienter.other_ways.items() if name in looked_at})
        if self.budget is not None:
            self.budget -= time.monotonic() - started

    def _forget_if_turned(self, former: Orienter) -> None:
        """Forget what was measured in the former orientation, where the first exemplar's picture was turned since."""
        if former.find(self.cohort[find_reference(self.exemplars)]).is_upright:
            return
        self._reoriented, self._answers = True, None
        if self.folder is not None:
            self.folder.forget_answers()
        self._note(angles=())
        message = "the picture of the first exemplar has been turned, so mean errors start from zero"
        self.sink(Progress(MEAN_ERROR, 1, 1, message=message))

    def _see_turned(self, other: Mapping[str, Orientation]) -> None:
        if other:
            self.sink(Progress(ORIENTATION, 1, 1, message=describe_orientations(other)))
            self.exemplars = turn_table(self.exemplars, self.cohort, other)
            self.sink = RestoringSink(self.sink, self.cohort, other)
            self.cohort = self.cohort.turned(other)

    def _restore_stages(self) -> dict[str, Stage]:
        """What the folder holds of this and earlier trainings."""
        if self.folder is None or not self.config.learned:
            if not self.head:
                self.log.clear()  # of a stage that died before it was kept
            return {}
        # A matcher that is only to be asked for suggestions may have learned exemplars' landmarks.
        names = self.exemplars.names or shown_landmarks(self.folder.exemplars()).names
        restored = restore(self.folder, names, self.fabric)
        # Those of networks that learn from answers now are measured again in the end; until then they would be wrong.
        measured = self._answers is None and not self._reoriented
        self.mean_error = restored.mean_error if measured else None
        if all(stage.names == names for stage in restored.stages.values()):
            self.trust, self.error_model = restored.trust, restored.error_model
        if not self.head and restored.logged is not None:
            del self.log[restored.logged :]
        # A folder that goes before a stage is kept must cost nothing.
        self._states = self._collect(restored.stages)
        return dict(restored.stages)

    def _pass_over_damaged_checkpoint(self) -> None:
        """Only the stage in progress needs it, which then starts again."""
        try:
            unfinished_head(self.checkpoint, self.config)
        except UserError as error:
            assert self.checkpoint is not None
            self.checkpoint.remove()
            self.sink(Progress("read", 0, 1, message=f"{error}; the stage in progress starts again"))

    def _fit_stage(self, slot: str, before: Mapping[str, Stage], former: Mapping[str, Stage]) -> Stage:
        stage = self.recipe.slots[slot]
        context = StageContext(
            self.fabric,
            self.config.seed,
            self.sink,
            self.checkpoint,
            self.log,
            self.deadline,
            slot,
            stage.stream,
            self.config.parts,
            cohort=self.cohort,
            exemplars=self.exemplars,
            config=self.configs[slot],
            seconds=self._seconds_for(slot),
            former=self._former(slot, former),
            before=dict(before),
        )
        fitted, seed = stage.fit(context), self.config.seed
        kept = choose_better(fitted, context.former, before, self.exemplars, self.cohort, seed)
        if kept is not fitted:
            message = f"the {slot} stage stays as it was, because it had too little time to learn; more minutes help"
            self.sink(Progress(slot, 1, 1, message=message))
        return kept

    @property
    def shares(self) -> dict[str, float]:
        """Slot -> share of the time. The more radiographs are annotated, the less depends on the matcher's answers."""
        if not len(self.exemplars):
            first = self.recipe.suggesting_share
            rest = sum(share for slot, share in self.recipe.shares.items() if slot != MATCH)
            return {**self.recipe.shares, MATCH: first / (1 - first) * rest if first < 1 else 1.0}
        unlabelled = 1 - self.exemplars.answers / len(self.cohort)
        detects = any(issubclass(stage, Detector) for stage in self.recipe.slots.values())
        return {
            slot: self.recipe.shares[slot] * (unlabelled if detects and issubclass(stage, Matcher) else 1.0)
            for slot, stage in self.recipe.slots.items()
        }

    def _former(self, slot: str, former: Mapping[str, Stage]) -> Stage | None:
        """The stage of an earlier training to go on from, if any."""
        stage = former[slot] if slot in self.config.warm else None
        if isinstance(stage, Matcher | None):
            return stage
        # Heads are told apart by their size alone: those of as many other landmarks would be taken for these.
        others = stage.names != self.exemplars.names and len(stage.names) == len(self.exemplars.names)
        return None if others else stage

    def _seconds_for(self, slot: str) -> float | None:
        """This stage's part of what is left of the budget."""
        if self.budget is None:
            return None
        slots = list(self.recipe.slots)
        later = slots[slots.index(slot) :]
        share = self.shares[slot] / sum(self.shares[one] for one in later)
        return float(max(1.0, (self.budget - self.config.seconds_spent) * share))

    def _keep(self, slot: str, stages: Mapping[str, Stage], seconds: float) -> None:
        """Keep what a stage has learned.

        The stage counts once its weights are there: they say so themselves, so that a death before the configuration
        is written neither loses the stage nor trains it twice.
        """
        done = {**self.config.done, slot: seconds}
        self._write_weights(stages, done)
        self._note(done=done)

    def _measure_trust(self, stages: Mapping[str, Stage]) -> None:
        self.trust = measure_trust(stages, self.exemplars, self.cohort, self.config.seed)
        if self.trust is not None and self.trust.describe():
            self.sink(Progress(TRUST, 1, 1, message=self.trust.describe()))

    def _read_answers(self) -> FormerAnswers | None:
        """The answers of this teaching, if it is one of a trained model, and what that predicted."""
        if self.folder is None or not self.folder.answers.exists() or not self.fabric.is_global_zero:
            return None
        try:
            return FormerAnswers.read(self.folder.answers)
        except UserError as error:  # the stages learn the answers; only the mean errors need the file
            self.sink(Progress(MEAN_ERROR, 1, 1, message=f"{error}; nothing is learned of mean errors"))
            return None

    def _learn_mean_error(self, stages: Mapping[str, Stage]) -> None:
        """Learn the mean errors from the answers of this teaching."""
        if self._answers is None:
            return
        former = self._answers
        self.mean_error = learn_mean_error(
            former, stages, self.trust, self.exemplars.names, self.original[0], self.orienter
        )
        if self.mean_error.describe():
            self.sink(Progress(MEAN_ERROR, 1, 1, message=self.mean_error.describe()))

    def _learn_error_model(self, stages: Mapping[str, Stage]) -> None:
        config = self.config
        shown = Corrections(config.ratios, config.angles, config.doubts, config.usual)
        self.error_model = learn_error_model(
            stages, self.trust, self.exemplars, self.cohort, shown, self.sink, self.config.seed
        )
        self._write_weights(stages, self.config.done)

    def _write_weights(self, stages: Mapping[str, Stage], done: Mapping[str, float]) -> None:
        if self.folder is None or not self.fabric.is_global_zero:
            return
        self._states = self._collect(stages)
        self._follow_folder()
        self._write_states(self.folder, done)  # in the folder that there is now

    def _collect(self, stages: Mapping[str, Stage]) -> Mapping[str, Any]:
        """All that was learned, as the weights file holds it."""
        learned = {
            TRUST: self.trust,
            ERROR_MODEL: self.error_model,
            MEAN_ERROR: self.mean_error,
            ORIENTATION: self.orienter,
        }
        states = {name: stage.state() for name, stage in stages.items()}
        return states | {name: one.state() for name, one in learned.items() if one is not None}

    def _write_states(self, folder: RunFolder, done: Mapping[str, float]) -> None:
        folder.write_log(self.log)
        note = note_of(folder, self.exemplars.names, done, len(self.log))
        write_weights(folder.weights, self._states, note, make_folder=False)

    def _follow_folder(self) -> UserError | None:
        """Where the run folder is gone, go on in a new one, with all that was learned; returns what is to be said."""
        if self.folder is None or not self.folder.is_gone:
            return self._moved
        former = self.folder.path
        self.folder = rescue(self.folder, self._all_exemplars, self.exemplars.names, self._states, self.log)
        if self._answers is not None:
            self._answers.save(self.folder.answers)
        if self.checkpoint:
            self.checkpoint.path = self.folder.checkpoint
        trained = set(self.recipe.slots) <= set(self.config.done)
        self._moved = moved_error(former, self.folder.path, trained, not len(self._all_exemplars))
        return self._moved

    def _note(self, **changes: Any) -> None:
        self.config = replace(self.config, **changes)
        if self.folder is not None and self.fabric.is_global_zero:
            moved = self._follow_folder()
            self.folder.update(**changes)
            if moved is not None:
                raise moved


def checkpoint_of(folder: RunFolder) -> Checkpoint:
    """The checkpoint of a run, which knows the state of another training from its own."""
    config = folder.config
    return Checkpoint(folder.checkpoint, f"{config.identity}/{config.training}" if config.identity else "")


def unfinished_head(checkpoint: Checkpoint | None, config: RunConfig) -> dict[str, Any]:
    """The head of the saved state of a stage in progress; empty where there is none."""
    head = checkpoint.head() if checkpoint else {}
    return {} if head.get("stage") in config.done else head


def shown_landmarks(exemplars: LandmarkTable) -> LandmarkTable:
    """The exemplars with only those landmarks that at least one of them shows."""
    if not len(exemplars):
        return exemplars
    seen = np.asarray(np.isfinite(np.stack([one.xy for one in exemplars])).all(2).any(0))
    return LandmarkTable.from_sets(
        LandmarkSet(one.image, one.names, one.xy, asked=one.asked).take(np.flatnonzero(seen).tolist())
        for one in exemplars
    )
