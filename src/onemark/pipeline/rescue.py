"""What a run has learned, when its folder is moved or deleted meanwhile: kept in the nearest place, which is said."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from onemark.data.landmarks.table import LandmarkTable
from onemark.data.paths import printable
from onemark.nn.weights import Tensors, write_weights
from onemark.pipeline.model import Model
from onemark.pipeline.orienting import SLOT as ORIENTATION
from onemark.pipeline.restoring import note_of
from onemark.pipeline.runs.folder import RunFolder
from onemark.stages.mean_error import SLOT as MEAN_ERROR
from onemark.stages.trust import SLOT as TRUST
from onemark.types import UserError
from onemark.uncertainty.learning import SLOT as ERROR_MODEL

States = Mapping[str, tuple[Tensors, Mapping[str, Any]]]
"""Slot -> (tensors, JSON head)."""


def rescue(
    folder: RunFolder,
    exemplars: LandmarkTable,
    names: tuple[str, ...],
    states: States,
    log: Iterable[Mapping[str, Any]],
) -> RunFolder:
    """Write a run whose folder is gone into a new one, beside it where that is possible.

    Args:
        folder: The run as it was.
        exemplars: Its exemplars.
        names: The landmarks that they show.
        states: What its stages have learned.
        log: The training log.

    Raises:
        UserError: it can be written nowhere.
    """
    place = _new_folder(folder.path)
    kept, entries = RunFolder(place, folder.config), list(log)
    exemplars.to_csv(place / "exemplars.csv")
    if entries:
        kept.write_log(entries)
    if states:
        write_weights(kept.weights, states, note_of(kept, names, folder.config.done, len(entries)))
    kept.update(teaching=False)
    return kept


def moved_error(former: Path, place: Path, trained: bool, suggests: bool = False) -> UserError:
    """The sentence about it; a run that `suggests` has no exemplar yet: only another suggestion goes on with it."""
    words = "predict radiographs with it" if trained else f"go on with `onemark resume {printable(place)}`"
    if suggests:
        words = f"go on with `onemark suggest`, with --out {printable(place)}"
    return UserError(
        f"{printable(former)} was moved or deleted while onemark worked in it: what it has learned is kept in "
        f"{printable(place)}; {words}"
    )


def keep_model(model: object) -> tuple[RunFolder, UserError] | None:
    """Write a fitted model elsewhere where its run folder is gone; None where the folder is there.

    Raises:
        UserError: it can be written nowhere.
    """
    if not isinstance(model, Model) or model.folder is None or not model.folder.is_gone:
        return None
    states = {slot: stage.state() for slot, stage in model.stages.items()}
    if model.error_model is not None:
        states[ERROR_MODEL] = model.error_model.state()
    if model.orienter is not None:
        states[ORIENTATION] = model.orienter.state()
    if model.mean_error is not None:
        states[MEAN_ERROR] = model.mean_error.state()
    if model.trust is not None:
        states[TRUST] = model.trust.state()
    kept = rescue(model.folder, model.exemplars, model.names, states, model.log)
    return kept, moved_error(model.folder.path, kept.path, trained=True)


def _new_folder(former: Path) -> Path:
    for parent in _places(former):
        with contextlib.suppress(OSError):
            names = (f"{former.name}-kept{'' if number == 1 else f'-{number}'}" for number in count(1))
            place = next(parent / name for name in names if not (parent / name).exists())
            place.mkdir()
            return place
    raise UserError(
        f"{printable(former)} was moved or deleted, and nowhere else may onemark write: run it again"
    )


def _places(former: Path) -> Iterator[Path]:
    yield from (parent for parent in former.absolute().parents if parent.is_dir())
    yield Path.cwd()
    yield Path.home()
    yield Path(tempfile.gettempdir())
