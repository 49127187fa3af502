"""From a run folder's weights to its stages: what is damaged, or of another run, is one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from onemark.data.paths import printable
from onemark.nn.fabric import Fabric
from onemark.nn.weights import SavedWeights, Tensors, open_weights
from onemark.pipeline.orienting import SLOT as ORIENTATION
from onemark.pipeline.orienting import Orienter
from onemark.pipeline.recipes import get_recipe
from onemark.pipeline.runs.folder import RunFolder
from onemark.stages.base import Stage
from onemark.stages.mean_error import SLOT as MEAN_ERROR
from onemark.stages.mean_error import MeanError
from onemark.stages.trust import SLOT as TRUST
from onemark.stages.trust import Trust
from onemark.types import UserError
from onemark.uncertainty.error_model import ROWS, ErrorModel
from onemark.uncertainty.learning import SLOT as ERROR_MODEL


@dataclass(frozen=True)
class Restored:
    """What a run has learned.

    Attributes:
        stages: Slot -> fitted stage, in the recipe's order.
        error_model: The error model, where there is one.
        orienter: Brings radiographs upright, where the run does so.
        trust: How far later stages are believed, where that was measured.
        logged: How many entries of the log belong to it; None where nobody noted it.
        mean_error: The landmarks' mean errors, where answers showed any.
    """

    stages: Mapping[str, Stage]
    error_model: ErrorModel | None = None
    orienter: Orienter | None = None
    trust: Trust | None = None
    logged: int | None = None
    mean_error: MeanError | None = None


def note_of(
    folder: RunFolder, names: tuple[str, ...], done: Mapping[str, float], logged: int
) -> dict[str, Any]:
    """What the weights say about themselves: whose they are, and of which training.

    No times, so that equal content gives equal bytes.
    """
    config = folder.config
    return {
        "run": config.identity,
        "recipe": config.recipe,
        "landmarks": list(names),
        "training": config.training,
        "done": list(done),
        "logged": logged,
    }


def restore(folder: RunFolder, names: tuple[str, ...], fabric: Fabric) -> Restored:
    """Restore the stages of a run.

    Args:
        folder: The run.
        names: The landmarks that its exemplars show.
        fabric: Device and precision.

    Raises:
        UserError: the weights are missing, damaged, or of another run, recipe or landmarks.
    """
    saved, recipe = open_weights(folder.weights), get_recipe(folder.config.recipe)
    _check_note(folder, saved.note, names)
    known = {*recipe.slots, ERROR_MODEL, MEAN_ERROR, ORIENTATION, TRUST}
    if any(slot not in known for slot in saved.slots) or any(
        slot not in saved.slots for slot in folder.config.learned
    ):
        raise _foreign(folder, f"of another recipe than {folder.config.recipe}")
    stages = {
        slot: _restored(folder, slot, stage, saved, fabric)
        for slot, stage in recipe.slots.items()
        if slot in saved.slots
    }
    _check_landmarks(folder, stages, names)
    return Restored(
        stages,
        _error_model(folder, saved, names),
        _orienter(folder, saved),
        _trust(folder, saved, names),
        saved.note.get("logged"),
        _mean_error(folder, saved, names),
    )


def saved_orientation(folder: RunFolder) -> tuple[Tensors, Mapping[str, Any]] | None:
    """What a run has saved about the orientation of its radiographs; None where it has nothing.

    Raises:
        UserError: the weights are missing or damaged.
    """
    saved = open_weights(folder.weights)
    _orienter(folder, saved)
    return saved.slots.get(ORIENTATION)


def saved_mean_error(folder: RunFolder) -> MeanError | None:
    """A run's answers by how far its predictions are off from them; None where it has none.

    Raises:
        UserError: the weights are missing or damaged.
    """
    saved = open_weights(folder.weights)
    return _part(folder, saved, MEAN_ERROR, lambda: MeanError.restore(*saved.slots[MEAN_ERROR]))


def count_finished(folder: RunFolder) -> None:
    """Count the stages whose weights were kept just before a death, so that the configuration does not know them.

    Raises:
        UserError: the weights are damaged.
    """
    config = folder.config
    if config.state == "done" or not folder.weights.exists():
        return
    note = open_weights(folder.weights).note
    if (note.get("run"), note.get("training")) != (config.identity, config.training):
        return
    newer = [slot for slot in _texts(note.get("done")) if slot not in config.done]
    if newer:
        seconds = {entry["stage"]: entry.get("seconds", 0.0) for entry in folder.log()}
        folder.update(done={**config.done, **{slot: _seconds(seconds.get(slot)) for slot in newer}})


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _check_note(folder: RunFolder, note: Mapping[str, Any], names: tuple[str, ...]) -> None:
    config = folder.config
    if not note:
        return
    if note.get("recipe") != config.recipe and folder.status().is_trained:
        raise _foreign(
            folder, f"of recipe {printable(note.get('recipe'))}, and the run is of {config.recipe}"
        )
    landmarks = _texts(note.get("landmarks"))
    if folder.status().is_trained and landmarks != names:
        raise _foreign(
            folder, f"of {len(landmarks)} landmarks ({_some(landmarks)}), and the run has {_some(names)}"
        )
    if config.identity and not _is_own_training(folder, note):
        raise _foreign(folder, "of another run, or of another time of this one")
    if type(note.get("logged")) is not int:
        raise _foreign(folder, "damaged")


def _is_own_training(folder: RunFolder, note: Mapping[str, Any]) -> bool:
    training = note.get("training")
    config = folder.config
    return note.get("run") == config.identity and isinstance(training, int) and training <= config.training


def _check_landmarks(folder: RunFolder, stages: Mapping[str, Stage], names: tuple[str, ...]) -> None:
    for slot, stage in stages.items():
        if slot in folder.config.done and stage.names != names:
            raise _foreign(
                folder,
                f"of {len(stage.names)} landmarks ({_some(stage.names)}), and the run has {_some(names)}",
            )


def _restored(folder: RunFolder, slot: str, stage: type[Stage], saved: SavedWeights, fabric: Fabric) -> Stage:
    tensors, head = saved.slots[slot]
    if any(name.startswith("network.") for name in _not_finite(tensors)):
        raise _foreign(folder, f"damaged: the {slot} stage holds values that are no numbers")
    try:
        return stage.restore(tensors, head, fabric)
    except Exception as error:  # a method of another package may raise anything at what it did not write
        why = " ".join(str(error).split())[:200]
        raise _foreign(
            folder, f"damaged or of another recipe: the {slot} stage cannot be restored ({printable(why)})"
        ) from error


def _not_finite(tensors: Tensors) -> Iterator[str]:
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            yield name


T = TypeVar("T")


def _part(folder: RunFolder, saved: SavedWeights, slot: str, restore: Callable[[], T]) -> T | None:
    """What the weights hold beside the stages, where they do."""
    if slot not in saved.slots:
        return None
    try:
        return restore()
    except (
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        RuntimeError,
        AttributeError,
        OverflowError,
    ) as error:
        what = f"damaged: its {slot.replace('_', ' ')} cannot be restored ({printable(error)})"
        raise _foreign(folder, what) from error


def _orienter(folder: RunFolder, saved: SavedWeights) -> Orienter | None:
    restored = _part(
        folder, saved, ORIENTATION, lambda: Orienter.restore(*saved.slots[ORIENTATION], folder.config.swap)
    )
    if restored is not None and (
        restored.canvas.ndim != 4 or not bool(torch.isfinite(restored.canvas).all())
    ):
        raise _foreign(folder, "damaged: its orientation is of no picture")
    return restored


def _trust(folder: RunFolder, saved: SavedWeights, names: tuple[str, ...]) -> Trust | None:
    restored = _part(folder, saved, TRUST, lambda: Trust.restore(saved.slots[TRUST][0]))
    if restored is None or restored.detector.shape == restored.refiner.shape == (len(names),):
        return restored
    if folder.status().is_trained:
        raise _foreign(folder, "damaged: its trust is of other landmarks")
    return None  # other landmarks are being taught


def _mean_error(folder: RunFolder, saved: SavedWeights, names: tuple[str, ...]) -> MeanError | None:
    restored = _part(folder, saved, MEAN_ERROR, lambda: MeanError.restore(*saved.slots[MEAN_ERROR]))
    if restored is None or restored.names == names:
        return restored
    if folder.status().is_trained:
        raise _foreign(folder, "damaged: its mean errors are of other landmarks")
    return restored.align(names)  # other landmarks are being taught


def _error_model(folder: RunFolder, saved: SavedWeights, names: tuple[str, ...]) -> ErrorModel | None:
    restored = _part(folder, saved, ERROR_MODEL, lambda: ErrorModel.restore(saved.slots[ERROR_MODEL][0]))
    if restored is None:
        return None
    fits = restored.level.shape == (len(names),) and restored.centre.shape == (len(ROWS), len(names))
    if restored.surroundings is not None:
        fits = fits and restored.surroundings.points.shape[1:] == (len(names), 2)
    if not fits and not folder.status().is_trained:
        return None  # other landmarks are being taught
    if not fits:
        raise _foreign(folder, "damaged: its error model is of other landmarks")
    return restored


def _foreign(folder: RunFolder, what: str) -> UserError:
    return UserError(
        f"{printable(folder.weights)} is {what}: put back the weights of this run, or run the fit again"
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(printable(name)[:40] for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
