"""fit, resume, load and what they give: a Model that marks radiographs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import onemark
from onemark.data.cohort import Cohort, open_cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.nn.backbones import pretrained
from onemark.nn.device import choose, fabric_for
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.training.loop import Job
from onemark.nn.weights import read_weights, write_weights
from onemark.options import check_budget_and_seed, settings_of
from onemark.pipeline import recipes, resuming
from onemark.pipeline.answers import REFINE, answers, located, locating
from onemark.pipeline.runs import SUGGESTED, RunFolder
from onemark.progress import Cancelled, Progress, Sink, silent
from onemark.types import Evidence, LandmarkSet, Radiograph, UserError
from onemark.uncertainty.error_model import ErrorModel
from onemark.uncertainty.learning import SLOT as EXPECT
from onemark.uncertainty.learning import correction_ratios, learned, seconds_to_train, with_expected_errors


@dataclass
class Model:
    """A fitted recipe.

    Attributes:
        recipe: Name of the recipe.
        stages: Slot -> fitted stage.
        exemplars: What a person placed; returned as it is for these very radiographs.
        fingerprints: Image name of an exemplar -> digest of its pixels.
        cohort: The radiographs it learned from, when they are at hand.
        log: One dict per training step: stage, step, loss, seconds.
        expectation: Gives expected errors; None where the cohort is too small: they are then the width of the peak.
    """

    recipe: str
    stages: dict[str, Any]
    exemplars: LandmarkTable
    fingerprints: dict[str, str]
    cohort: Cohort | None = None
    log: list[dict[str, Any]] = field(default_factory=list)
    error_model: ErrorModel | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The landmark names, in the exemplars' order."""
        return self.exemplars.names

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of one radiograph; of an exemplar, what the person placed.

        A landmark that the person marked as not visible stays so.
        """
        if self.fingerprints.get(radiograph.name) == fingerprint(radiograph):
            placed = self.exemplars[radiograph.name]
            seen = np.isfinite(placed.xy).all(1)
            return replace(placed, score=seen.astype(float), expected_error=np.where(seen, 0.0, np.nan))
        found = answers(self.stages, radiograph)
        if self.error_model is None:
            return found.final
        return with_expected_errors(self.error_model, self.stages, radiograph, found)

    def margin(self, coverage: float = 0.9) -> float | None:
        """The multiple of the expected error that holds a share of true points, by corrections; None if these are few."""
        return None if self.error_model is None else self.error_model.calibration.margin(coverage)

    def predict(self, cohort: Cohort, progress: Sink = silent) -> LandmarkTable:
        """Landmarks of every radiograph that can be read; the others are reported to `progress`.

        Raises:
            UserError: not one radiograph could be read.
            Cancelled: `progress` asked to stop.
        """
        found = []
        for radiograph in cohort.readable(sink=progress):
            found.append(self.locate(radiograph))
            progress(Progress("predict", len(found), len(cohort), preview=found[-1:]))
        if not found:
            raise UserError(f"no radiograph in {cohort.folder} could be read: see the messages above")
        return LandmarkTable.from_sets(found)

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """What every stage can show for its answer, together.

        Raises:
            UserError: no landmark of that name.
        """
        shown = [stage.explain(radiograph, landmark) for stage in locating(self.stages)]
        if REFINE in self.stages:
            coarse = locating(self.stages)[-1].locate(radiograph)
            shown.append(self.stages[REFINE].explain(radiograph, coarse, landmark))
        maps = {name: m for one in shown for name, m in one.maps.items()}
        fields = [one.field for one in shown if one.field is not None]
        numbers = {name: n for one in shown for name, n in (one.numbers or {}).items()}
        return Evidence(radiograph.name, landmark, maps, fields[-1] if fields else None, numbers or None)


def fingerprint(radiograph: Radiograph) -> str:
    """A digest of a radiograph's pixels."""
    return hashlib.blake2b(radiograph.pixels.tobytes(), digest_size=16).hexdigest()


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
        progress: Takes the progress; raising Cancelled in it stops the work, resumable when there is a run folder.

    Raises:
        UserError: something in the input is wrong, or the device has too little memory.
        Cancelled: `progress` asked to stop.
    """
    check_budget_and_seed(minutes, seed)
    chosen = recipes.get(recipe)
    configs = chosen.configure(settings, minutes)
    exemplars = _readable(exemplars, cohort)
    _tell_unplaced(exemplars, progress)
    if REFINE in configs:
        chosen.slots[REFINE].check(configs)
    pretrained.check(configs, progress)
    config = {
        "onemark": onemark.__version__,
        "recipe": recipe,
        "settings": {f"{slot}.{k}": v for slot, c in configs.items() for k, v in settings_of(c).items()},
        "seed": seed,
        "device": choose(device),
        "minutes": minutes,
        "cohort": str(cohort.folder.resolve()),
        "spacing_mm": cohort.spacing_mm,
        "state": "running",
        "done": {},
        "warm": [],
        "radiographs": list(cohort.names),
    }
    run = None if out is None else RunFolder.create(out, config, exemplars)
    with run.discarded() if run else nullcontext():
        return _Work(cohort, exemplars, config, run, progress).finish()


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
    chosen = choose(device or folder.config["device"])
    if cohort is None:
        cohort = open_cohort(folder.config["cohort"], spacing_mm=folder.config["spacing_mm"])
        cohort = resuming.learned_from(folder, cohort, () if exemplars is None else exemplars.images)
    known = folder.exemplars()
    resuming.check_present(folder, cohort, known.images)
    if exemplars is None:
        changes = resuming.to_finish(folder, minutes)
        cohort = resuming.exactly(folder, cohort)
        known = known.checked(cohort)
    else:
        corrected, former = _readable(exemplars, cohort), _placed(known).names
        known = resuming.merged(known, corrected).checked(cohort)
        names = _placed(known).names
        changes = resuming.to_teach(folder, names, minutes)
        _tell_unplaced(known, progress)
        ratios = [*folder.config.get("ratios", []), *_taught(folder, corrected, cohort, chosen)]
        changes["ratios"] = resuming.aligned(ratios, former, names)
        changes["radiographs"] = list(cohort.names)
        folder.write_exemplars(known)
    whose = {"cohort": str(cohort.folder.resolve()), "spacing_mm": cohort.spacing_mm}
    folder.update(state="running", device=chosen, **whose, **changes)
    if changes.get("warm"):
        Checkpoint(folder.checkpoint).remove()
    late = time.monotonic() - started
    return _Work(cohort, known, folder.config, folder, progress, late).finish()


def load(run: Path | str, device: str = "auto") -> Model:
    """The model of a finished run; of an unfinished one, as far as it came.

    Raises:
        UserError: no run there, or nothing learned yet.
    """
    folder = RunFolder.open(run)
    if folder.config["state"] == SUGGESTED:
        raise UserError(
            f"{folder.path} has no exemplar yet: go on with `onemark fit --resume {folder.path} --exemplar FILE`"
        )
    fabric = fabric_for(device)
    recipe = recipes.get(folder.config["recipe"])
    saved = read_weights(folder.weights)
    stages = {
        slot: stage.restore(*saved[slot], fabric) for slot, stage in recipe.slots.items() if slot in saved
    }
    return Model(
        recipe.name,
        stages,
        _placed(folder.exemplars()),
        folder.config.get("fingerprints", {}),
        None,
        folder.log(),
        ErrorModel.restore(saved[EXPECT][0]) if EXPECT in saved else None,
    )


def _taught(folder: RunFolder, corrected: LandmarkTable, cohort: Cohort, device: str) -> list[Any]:
    """Rows of actual to expected error that corrections of a finished run show."""
    if folder.config["state"] != "done":
        return []
    model = load(folder.path, device)
    return correction_ratios(model, corrected, cohort)


def _readable(exemplars: LandmarkTable, cohort: Cohort) -> LandmarkTable:
    """The exemplars under the cohort's names; each is decoded, to tell of a damaged one before anything is written."""
    exemplars = exemplars.checked(cohort)
    for one in exemplars:
        cohort[one.image]
    return exemplars


def _placed(exemplars: LandmarkTable) -> LandmarkTable:
    """The exemplars with only those landmarks that at least one of them shows."""
    if not len(exemplars):
        return exemplars
    seen = np.asarray(np.isfinite(np.stack([one.xy for one in exemplars])).all(2).any(0))
    names = tuple(name for name, shown in zip(exemplars.names, seen, strict=True) if shown)
    return LandmarkTable.from_sets(LandmarkSet(one.image, names, one.xy[seen]) for one in exemplars)


def _tell_unplaced(exemplars: LandmarkTable, progress: Sink) -> None:
    unplaced = ", ".join(name for name in exemplars.names if name not in _placed(exemplars).names)
    if unplaced:
        message = f"left out, for no exemplar shows it: {unplaced}; place it on one to have it marked"
        progress(Progress("read", 0, 1, message=message))


class _Work:
    """One fit, from wherever its run folder says it stands; `late` seconds of its time are gone."""

    def __init__(
        self,
        cohort: Cohort,
        exemplars: LandmarkTable,
        config: dict[str, Any],
        run: RunFolder | None,
        sink: Sink,
        late: float = 0.0,
    ) -> None:
        self.cohort, self.exemplars, self.config, self.run = cohort, _placed(exemplars), config, run
        self.recipe = recipes.get(config["recipe"])
        self.configs = self.recipe.configure(config["settings"])
        self.fabric = fabric_for(config["device"])
        self.checkpoint = None if run is None else Checkpoint(run.checkpoint)
        self.head = resuming.unfinished(self.checkpoint, config)
        log = self.head["log"] if self.head else (run.log() if run else [])
        budget = seconds_to_train(config["minutes"])
        self.budget = None if budget is None else budget - late
        self.spent = float(sum(config["done"].values()))
        deadline = (
            None
            if self.budget is None
            else time.monotonic() + self.budget - self.spent - self.head.get("spent", 0.0)
        )
        self.job = Job(self.fabric, config["seed"], sink, self.checkpoint, log, deadline)

    def finish(self) -> Model:
        try:
            stages = dict(self._stages())
            error_model = self._expectation(stages)
        except (Cancelled, KeyboardInterrupt):
            self._note(state="stopped")
            raise
        prints = {one.image: fingerprint(self.cohort[one.image]) for one in self.exemplars}
        self._note(state="done", fingerprints=prints)
        if self.checkpoint:
            self.checkpoint.remove()
        return Model(self.recipe.name, stages, self.exemplars, prints, self.cohort, self.job.log, error_model)

    def _expectation(self, stages: Mapping[str, Any]) -> ErrorModel | None:
        ratios = self.config.get("ratios", [])
        found = learned(stages, self.exemplars, self.cohort, ratios, self.job.sink)
        if found is not None and self.run is not None and self.fabric.is_global_zero:
            states = {name: stage.state() for name, stage in stages.items()}
            write_weights(self.run.weights, states | {EXPECT: found.state()})
        return found

    def _stages(self) -> Iterator[tuple[str, Any]]:
        saved = read_weights(self.run.weights) if self.run and self.run.weights.exists() else {}
        saved.pop(EXPECT, None)
        former = {slot: self.recipe.slots[slot].restore(*saved[slot], self.fabric) for slot in saved}
        stages: dict[str, Any] = {}
        for slot in self.recipe.slots:
            if slot in self.config["done"]:
                stages[slot] = former[slot]
            else:
                started = time.monotonic()
                stages[slot] = self._fit(slot, stages, former)
                before = self.head["spent"] if self.head.get("stage") == slot else 0.0
                self._keep(slot, former | stages, before + time.monotonic() - started)
            yield slot, stages[slot]

    def _fit(self, slot: str, stages: Mapping[str, Any], former: Mapping[str, Any]) -> Any:
        stage, config, seconds = self.recipe.slots[slot], self.configs[slot], self._seconds(slot)
        warm = self._warm(slot, former)
        if slot == "match":
            return stage.fit(self.exemplars, self.cohort, config, self.job, seconds, warm)
        if slot == REFINE:
            locate = partial(located, dict(stages))
            begin = {name: one.network.state_dict() for name, one in stages.items()}
            return stage.fit(self.exemplars, self.cohort, config, self.job, locate, seconds, warm, begin)
        matcher = stages["match"]
        start = (warm or matcher).network.state_dict()
        return stage.fit(self.exemplars, self.cohort, config, self.job, matcher.locate, seconds, start)

    def _warm(self, slot: str, former: Mapping[str, Any]) -> Any:
        """The former stage to go on from, if any."""
        stage, names = former[slot] if slot in self.config["warm"] else None, self.exemplars.names
        own = getattr(stage, "names", names)
        # Heads are told apart by their size alone: those of as many other landmarks would be taken for these.
        return None if slot != "match" and own != names and len(own) == len(names) else stage

    def _seconds(self, slot: str) -> float | None:
        """This stage's part of what is left of the budget."""
        if self.budget is None:
            return None
        later = list(self.recipe.slots)[list(self.recipe.slots).index(slot) :]
        share = self.recipe.shares[slot] / sum(self.recipe.shares[s] for s in later)
        return float(max(1.0, (self.budget - self.spent) * share))

    def _keep(self, slot: str, stages: Mapping[str, Any], seconds: float) -> None:
        self.spent += seconds
        self.config["done"][slot] = seconds
        if self.run is None or not self.fabric.is_global_zero:
            return
        write_weights(self.run.weights, {name: stage.state() for name, stage in stages.items()})
        self.run.write_log(self.job.log)
        self._note(done=self.config["done"])

    def _note(self, **changes: Any) -> None:
        if self.run is not None and self.fabric.is_global_zero:
            self.run.update(**changes)
