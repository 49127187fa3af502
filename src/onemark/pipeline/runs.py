"""Run folders: everything that a finished or interrupted fit needs, in files that are never half written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from onemark.data.atomic import user_errors, writing
from onemark.data.landmarks.table import LandmarkTable, read_landmarks
from onemark.types import UserError

CONFIG = "config.json"
OURS = (
    CONFIG,
    "weights.safetensors",
    "checkpoint.safetensors",
    "exemplars.csv",
    "landmarks.csv",
    "suggestion.csv",
    "log.jsonl",
    "report.html",
    "overlays",
)

SUGGESTED = "suggested"
"""State of a run whose matcher learns, or has learned, without an exemplar: it waits for the first one."""

KEYS = ("recipe", "settings", "seed", "device", "minutes", "cohort", "spacing_mm", "state", "done", "warm")


class RunFolder:
    """A run on disk.

    Attributes:
        path: The folder.
        config: What `config.json` holds: version, recipe, settings, seed, device, folder, minutes, state and so on.
    """

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path, self.config = path, config
        self._made: tuple[Path, ...] = ()

    @classmethod
    def create(
        cls, path: Path | str, config: Mapping[str, Any], exemplars: LandmarkTable | None = None
    ) -> RunFolder:
        """Start a run in a new folder, or in one that holds nothing of another run; exemplars may come later.

        Raises:
            UserError: the folder holds a run or files of its names, or cannot be written.
        """
        path = Path(path)
        with user_errors(path):
            if path.exists() and not path.is_dir():
                raise UserError(f"{path} is a file: give a folder for the run")
            taken = [name for name in OURS if (path / name).exists()]
        if CONFIG in taken:
            raise UserError(
                f"{path} already holds a run: continue it with `onemark resume {path}` or choose another folder"
            )
        if taken:
            raise UserError(
                f"{path} already holds {taken[0]}, which a run would replace: choose another folder"
            )
        run = cls(path, dict(config))
        run._made = tuple(folder for folder in (path, *path.parents) if not folder.exists())
        with run.discarded():
            run.update()
            if exemplars is not None:
                run.write_exemplars(exemplars)
        return run

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Open a run that is there.

        Raises:
            UserError: no run in that folder, or its `config.json` is damaged.
        """
        path = Path(path)
        try:
            config = json.loads((path / CONFIG).read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{path} holds no run (no {CONFIG}): give the folder that `onemark fit` wrote"
            ) from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path / CONFIG} cannot be read ({error}): give another run folder") from None
        if not isinstance(config, dict) or "onemark" not in config:
            raise UserError(
                f"{path / CONFIG} is not a run of onemark: give the folder that `onemark fit` wrote"
            )
        missing = [key for key in KEYS if key not in config]
        if missing:
            raise UserError(f"{path / CONFIG} is damaged, {missing[0]!r} is missing: give another run folder")
        return cls(path, config)

    def update(self, **changes: Any) -> None:
        """Change the configuration and write it."""
        self.config |= changes
        with writing(self.path / CONFIG) as file:
            file.write(json.dumps(self.config, indent=2) + "\n")

    def discard(self) -> None:
        """Remove what `create` made, where nothing was learned that could be lost."""
        if self.weights.exists() or self.checkpoint.exists():
            return
        with contextlib.suppress(OSError):  # somebody else's files may lie there by now
            for name in ("exemplars.csv", CONFIG):
                (self.path / name).unlink(missing_ok=True)
            for folder in self._made:
                folder.rmdir()

    @contextlib.contextmanager
    def discarded(self) -> Iterator[None]:
        """Discard the new run when its input turns out to be wrong before anything was learned."""
        try:
            yield
        except UserError:
            self.discard()
            raise

    @property
    def weights(self) -> Path:
        """The network weights and templates."""
        return self.path / "weights.safetensors"

    @property
    def checkpoint(self) -> Path:
        """The resumable state of the stage in progress."""
        return self.path / "checkpoint.safetensors"

    @property
    def landmarks(self) -> Path:
        """The predictions."""
        return self.path / "landmarks.csv"

    def exemplars(self) -> LandmarkTable:
        """The exemplars of the run; an empty table where none was placed yet."""
        if not (self.path / "exemplars.csv").exists() and self.config["state"] == SUGGESTED:
            return LandmarkTable((), ())
        return read_landmarks(self.path / "exemplars.csv")

    def write_exemplars(self, exemplars: LandmarkTable) -> None:
        """Replace the exemplars."""
        exemplars.to_csv(self.path / "exemplars.csv")

    def log(self) -> list[dict[str, Any]]:
        """The training log, a dict per step; empty where there is none yet."""
        path = self.path / "log.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def write_log(self, log: Iterable[Mapping[str, Any]]) -> None:
        """Write the training log, a JSON object per line."""
        with user_errors(self.path / "log.jsonl"), writing(self.path / "log.jsonl") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in log)
