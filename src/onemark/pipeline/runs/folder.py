"""Run folders: everything that a finished or interrupted fit needs, in files that are never half written."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onemark.data.atomic import sync_folder, user_errors, writing
from onemark.data.cohort import Cohort
from onemark.data.json import SMALL, JsonLimits, parse_json, read_json
from onemark.data.landmarks.table import LandmarkTable, read_landmarks
from onemark.data.paths import printable, read_regular
from onemark.pipeline.runs.config import RunConfig, RunState, record_place, rename_slot
from onemark.types import UserError

CONFIG, EXEMPLARS, TEACHING, LOG = "config.json", "exemplars.csv", "teaching.csv", "log.jsonl"
WEIGHTS, ANSWERS = "weights.safetensors", "answers.safetensors"
OURS = (
    CONFIG,
    WEIGHTS,
    "checkpoint.safetensors",
    EXEMPLARS,
    TEACHING,
    "landmarks.csv",
    "suggestion.csv",
    ANSWERS,
    LOG,
    "report.html",
    "overlays",
)
LARGEST_ANSWERS = 1 << 28  # bytes
CONFIG_LIMITS = JsonLimits()  # a large archive's list of radiographs is part of it


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands, for those who ask what can be done with it.

    Attributes:
        state: Its state.
        learned: Slots of the stages that can be used.
        fitted: Whether a training was finished at least once.
        predicted: Whether its predictions were made with what it has learned last.
        has_checkpoint: Whether a stage in progress was saved.
    """

    state: RunState
    learned: tuple[str, ...]
    fitted: bool
    predicted: bool
    has_checkpoint: bool = False

    @property
    def has_learned(self) -> bool:
        """Whether there is anything that can be used or gone on from."""
        return bool(self.learned) or self.has_checkpoint

    @property
    def waits_for_exemplar(self) -> bool:
        """Whether the first exemplar is what is missing."""
        return self.state == RunState.SUGGESTED

    @property
    def is_trained(self) -> bool:
        """Whether nothing is left to train."""
        return self.state == RunState.DONE

    @property
    def is_unfinished(self) -> bool:
        """Whether a training was stopped, killed or is under way."""
        return self.state in (RunState.RUNNING, RunState.STOPPED)


class RunFolder:
    """A run on disk.

    Attributes:
        path: The folder.
        config: What `config.json` holds.
    """

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path, self.config = path, config
        self._place = _place_of(path)
        self._keeps_exemplars = False  # where they lay there before the run

    @classmethod
    def create(cls, path: Path | str, config: RunConfig, exemplars: LandmarkTable | None = None) -> RunFolder:
        """Start a run in a new folder, or in one that holds nothing of another run; exemplars may come later.

        The configuration is written last: a death before leaves no run, and the same call starts it.

        Raises:
            UserError: the folder holds a run or files of its names, or cannot be written.
        """
        path = Path(path)
        with user_errors(path):
            if path.exists() and not path.is_dir():
                raise UserError(f"{printable(path)} is a file: give a folder for the run")
            path.mkdir(parents=True, exist_ok=True)
            taken = [name for name in OURS if (path / name).exists()]
        if CONFIG in taken:
            raise UserError(
                f"{printable(path)} already holds a run: continue it with `onemark resume {printable(path)}` or "
                "choose another folder"
            )
        same = exemplars is not None and taken == [EXEMPLARS] and _holds(path / EXEMPLARS, exemplars)
        if taken and not same:
            raise UserError(
                f"{printable(path)} already holds {taken[0]}, which a run would replace: choose another folder"
            )
        run = cls(path, replace(config, identity=_identify(config, exemplars)))
        run._keeps_exemplars = same
        with run.discarded_on_error():
            if exemplars is not None and not same:
                exemplars.to_csv(path / EXEMPLARS)
            run.update()
        return run

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Open a run that is there.

        Raises:
            UserError: no run in that folder, or its `config.json` is damaged.
        """
        path = Path(path)
        shown = printable(path)
        try:
            content = read_json(path / CONFIG, CONFIG_LIMITS)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{shown} holds no run (no {CONFIG}): give the folder that `onemark fit` wrote"
            ) from None
        except (OSError, ValueError) as error:
            raise UserError(f"{shown}/{CONFIG} cannot be read ({error}): give another run folder") from None
        return cls(path, RunConfig.from_json(content, f"{shown}/{CONFIG}", (path / "landmarks.csv").exists()))

    @property
    def is_gone(self) -> bool:
        """Whether the folder was moved or deleted since, or is another one of that name by now."""
        return _place_of(self.path) != self._place or not (self.path / CONFIG).exists()

    def status(self) -> RunStatus:
        """Where the run stands."""
        config = self.config
        return RunStatus(
            config.state,
            config.learned,
            config.fits > 0,
            0 < config.fits == config.predicted,
            self.checkpoint.is_file(),
        )

    def update(self, **changes: Any) -> None:
        """Change fields of the configuration and write it."""
        self.config = replace(self.config, **changes)
        with writing(self.path / CONFIG, make_folder=False) as file:
            file.write(json.dumps(self.config.to_json(), indent=2) + "\n")

    def teach(self, exemplars: LandmarkTable, **changes: Any) -> None:
        """Change exemplars and configuration together: a death leaves both as they were, or lets `settle` end it."""
        exemplars.to_csv(self.path / TEACHING)
        self.update(teaching=True, **changes)
        self.settle()

    def settle(self) -> None:
        """End a change of exemplars that a death left half done. Only who holds the run may."""
        pending = self.path / TEACHING
        with user_errors(pending):
            if not self.config.teaching:  # it died before it counted
                pending.unlink(missing_ok=True)
                if self.status().is_trained:
                    self.forget_answers()
                return
            if pending.exists():
                pending.replace(self.path / EXEMPLARS)
                sync_folder(self.path)
        self.update(teaching=False)

    def read_answers(self) -> bytes | None:
        """The file of what the model predicted before a teaching; None where there is none that can be read."""
        try:
            return read_regular(self.answers, LARGEST_ANSWERS)
        except (OSError, UserError):
            return None

    def forget_answers(self) -> None:
        """Remove what the model predicted before a teaching. Raises UserError where that cannot be done."""
        with user_errors(self.answers):
            self.answers.unlink(missing_ok=True)

    def note_predicted(self, cohort: Cohort) -> None:
        """Note that the predictions in the folder were made with what it has learned last, on these radiographs."""
        self.update(predicted=self.config.fits, **record_place(cohort))

    def discard(self) -> None:
        """Remove what `create` made, where nothing was learned that could be lost."""
        if self.weights.exists() or self.checkpoint.exists():
            return
        with contextlib.suppress(OSError):
            for name in (CONFIG, LOG) if self._keeps_exemplars else (CONFIG, LOG, EXEMPLARS):
                (self.path / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def discarded_on_error(self) -> Iterator[None]:
        """Discard the new run when its input turns out to be wrong before anything was learned."""
        try:
            yield
        except UserError:
            self.discard()
            raise

    @property
    def weights(self) -> Path:
        """The network weights and templates."""
        return self.path / WEIGHTS

    @property
    def checkpoint(self) -> Path:
        """The resumable state of the stage in progress."""
        return self.path / "checkpoint.safetensors"

    @property
    def answers(self) -> Path:
        """What the model predicted before it was taught; there while a teaching is unfinished."""
        return self.path / ANSWERS

    @property
    def landmarks(self) -> Path:
        """The predictions."""
        return self.path / "landmarks.csv"

    @property
    def suggestion(self) -> Path:
        """What to annotate first, by the selector."""
        return self.path / "suggestion.csv"

    def exemplars(self) -> LandmarkTable:
        """The exemplars of the run; an empty table where it waits for the first one."""
        if self.status().waits_for_exemplar:
            return LandmarkTable((), ())
        pending = self.path / TEACHING
        if self.config.teaching and pending.exists():
            try:
                return read_landmarks(pending)
            except UserError:
                if pending.exists():  # else its owner has just renamed it
                    raise
        return read_landmarks(self.path / EXEMPLARS)

    def log(self) -> list[dict[str, Any]]:
        """The training log, a dict per step; empty where there is none yet, or none that can be read.

        A finished model does not need it, so a damaged log stops nothing.
        """
        path = self.path / LOG
        try:
            lines = read_regular(path, CONFIG_LIMITS.size).decode("utf-8").splitlines()
            entries = [parse_json(line, path, SMALL) for line in lines]
        except (OSError, ValueError):
            return []
        return [
            entry | {"stage": rename_slot(entry.get("stage", ""))}
            for entry in entries
            if isinstance(entry, dict)
        ]

    def write_log(self, log: Iterable[Mapping[str, Any]]) -> None:
        """Write the training log, a JSON object per line."""
        with writing(self.path / LOG, make_folder=False) as file:
            file.writelines(json.dumps(entry) + "\n" for entry in log)


def _place_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _identify(config: RunConfig, exemplars: LandmarkTable | None) -> str:
    """A digest of what a run is made from: the same again gives the same weights, which may change places."""
    made_from = [config.recipe, sorted(config.settings.items()), config.seed, config.radiographs]
    points: list[Any] = [[one.image, one.names, one.xy.tolist()] for one in exemplars or ()]
    points += [[one.image, one.answered.tolist()] for one in exemplars or () if not one.answered.all()]
    return hashlib.blake2b(json.dumps([made_from, points]).encode(), digest_size=16).hexdigest()


def _holds(path: Path, exemplars: LandmarkTable) -> bool:
    """Whether a file holds just these exemplars, such as those of a run that died before it began."""
    try:
        there = read_landmarks(path)
    except (UserError, OSError):
        return False
    one, other = (
        [(each.image, each.xy.tobytes(), each.answered.tobytes()) for each in table]
        for table in (there, exemplars)
    )
    return there.names == exemplars.names and one == other


def status_of(path: Path | None) -> RunStatus | None:
    """Where the run in a folder stands; None where there is none that can be opened."""
    try:
        return None if path is None else RunFolder.open(path).status()
    except UserError:
        return None
