"""What `config.json` of a run folder holds: typed, versioned, and checked once, where it is opened."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import onemark
from onemark.data.cohort import Cohort
from onemark.imaging.orientation import Pairs
from onemark.types import UserError

FORMAT = 2
"""Version of the layout. 1 had no version, and called the refiner `sharpen`."""

Ratio = float | None
Scalar = str | int | float | bool


class RunState(enum.StrEnum):
    """Where a run stands. It is always written, never guessed from the files that exist or their times."""

    SUGGESTED = "suggested"
    """Its matcher learns, or has learned, without an exemplar; it waits for the first one."""
    RUNNING = "running"
    """A training is under way, or was killed."""
    STOPPED = "stopped"
    """A person stopped the training; `resume` goes on."""
    DONE = "done"
    """All stages have learned."""


@dataclass(frozen=True)
class RunConfig:
    """The configuration and the life of a run.

    Attributes:
        recipe: Name of the recipe.
        settings: `slot.field` -> value, of every option of every stage.
        seed: Seed of the run.
        device: `cpu`, `cuda` or `mps`.
        minutes: Time budget, or None.
        cohort: Folder of the radiographs.
        spacing_mm: mm per pixel in x and y that override what the files say, or None.
        radiographs: Names of the radiographs that the run learns from, in the cohort's order.
        state: Where the run stands.
        done: Slot -> seconds, of the stages that have learned in the present training.
        warm: Slots whose stages go on from what an earlier training left.
        ratios: Rows of actual to expected error, one for each corrected radiograph.
        fingerprints: Exemplar -> digest of its pixels, taken when it was read.
        fits: How many trainings were finished.
        predicted: Which of them the predictions in the folder were made after; 0 where there are none.
        orient: Whether radiographs that lie otherwise than the exemplar are brought upright first.
        identity: Digest of what the run was made from, which its weights repeat; empty in earlier versions.
        training: How many times exemplars were taught after the first training began.
        teaching: Whether the exemplars of `teaching.csv`, where there is one, are to become those of the run.
        threads: Threads that it computes with on a CPU; 0 where that is unknown.
        angles: Rows of the directions of the corrected radiographs' errors, in degrees.
        doubts: Rows of their expected errors as multiples of the landmarks' usual ones.
        usual: Rows of these usual ones, shares of the mean side.
        parts: In how many parts its batches are computed: as many as processes trained it at first, so that any other
            number of them goes on with the same draws.
        earlier_seconds: Time that the trainings before the present one took.
        swap: Landmarks that change names with each other on mirrored radiographs.
        version: The version of onemark that wrote it.
    """

    recipe: str
    settings: Mapping[str, Scalar]
    seed: int
    device: str
    minutes: float | None
    cohort: str
    spacing_mm: tuple[float, float] | None
    radiographs: tuple[str, ...]
    state: RunState = RunState.RUNNING
    done: Mapping[str, float] = field(default_factory=dict)
    warm: tuple[str, ...] = ()
    ratios: tuple[tuple[Ratio, ...], ...] = ()
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    fits: int = 0
    predicted: int = 0
    orient: bool = False
    identity: str = ""
    training: int = 0
    teaching: bool = False
    threads: int = 0
    angles: tuple[tuple[Ratio, ...], ...] = ()
    doubts: tuple[tuple[Ratio, ...], ...] = ()
    usual: tuple[tuple[Ratio, ...], ...] = ()
    parts: int = 1
    earlier_seconds: float = 0.0
    swap: Pairs = ()
    version: str = onemark.__version__

    @property
    def learned(self) -> tuple[str, ...]:
        """Slots of the stages that can be used."""
        return tuple(dict.fromkeys((*self.done, *self.warm)))

    @property
    def seconds_spent(self) -> float:
        """Time that the finished stages of the present training took."""
        return float(sum(self.done.values()))

    @property
    def total_seconds(self) -> float:
        """Time that the finished stages of all trainings took."""
        return self.earlier_seconds + self.seconds_spent

    def to_json(self) -> dict[str, Any]:
        """The content of `config.json`."""
        values = asdict(self)
        return {"onemark": values.pop("version"), "format": FORMAT, **values}

    @classmethod
    def from_json(cls, content: object, where: object, has_predictions: bool = False) -> RunConfig:
        """Check the content of a `config.json`, of this or an earlier version.

        Args:
            content: The parsed JSON.
            where: The file, for messages.
            has_predictions: Whether the folder holds predictions; asked for only where the version did not note it.

        Raises:
            UserError: it is of a newer version, or something in it is missing, unknown or of the wrong kind.
        """
        if not isinstance(content, dict) or "onemark" not in content:
            raise UserError(f"{where} is not a run of onemark: give the folder that `onemark fit` wrote")
        values = dict(content)
        version, layout = values.pop("onemark"), values.pop("format", 1)
        if type(layout) is int and layout > FORMAT:
            raise UserError(f"{where} was written by a newer onemark ({version}): update onemark to open it")
        if layout == 1:
            values = _from_first_format(values, has_predictions)
        elif layout != FORMAT:
            raise UserError(f"{where} is damaged, its format is {layout!r}: give another run folder")
        return cls(**_checked(values, where), version=str(version))


def _from_first_format(values: dict[str, Any], has_predictions: bool) -> dict[str, Any]:
    """The layout before versions.

    The refiner was the sharpener, the default recipe had no registration, and the life of a run was partly guessed.
    """
    if values.get("recipe") == "onemark":
        values["recipe"] = "match-detect-refine"
    for name in ("settings", "done"):
        if isinstance(values.get(name), dict):
            values[name] = {rename_slot(key): value for key, value in values[name].items()}
    if isinstance(values.get("warm"), list):
        values["warm"] = [rename_slot(slot) for slot in values["warm"]]
    finished = "fingerprints" in values or values.get("state") == RunState.DONE
    values.setdefault("radiographs", [])
    return values | {"fits": int(finished), "predicted": int(finished and has_predictions)}


def record_place(cohort: Cohort) -> dict[str, object]:
    """Where the radiographs of a run are and what spacing was given for them, as values of its configuration."""
    return {"cohort": str(cohort.folder.resolve()), "spacing_mm": cohort.spacing_mm}


def rename_slot(name: object) -> str:
    """A slot, or a setting of a slot, under its present name."""
    slot, dot, rest = str(name).partition(".")
    return ("refine" if slot == "sharpen" else slot) + dot + rest


def _checked(values: dict[str, Any], where: object) -> dict[str, Any]:
    known = {one.name for one in fields(RunConfig)} - {"version"}
    missing = [name for name in CHECKS if name in REQUIRED - values.keys()]
    if missing:
        raise UserError(f"{where} is damaged, {missing[0]!r} is missing: give another run folder")
    unknown = sorted(values.keys() - known)
    if unknown:
        raise UserError(
            f"{where} holds {unknown[0]!r}, which this onemark does not know: update onemark to open it"
        )
    checked = {}
    for name, value in values.items():
        try:
            checked[name] = CHECKS[name](value)
        except (TypeError, ValueError, OverflowError):
            raise UserError(
                f"{where} is damaged, {name!r} has a wrong value: give another run folder"
            ) from None
    return checked


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: object) -> int:
    if type(value) is not int or abs(value) >= 10**18:
        raise TypeError
    return value


def _count(value: object) -> int:
    if _whole(value) < 0:
        raise ValueError
    return _whole(value)


def _positive_count(value: object) -> int:
    if _count(value) < 1:
        raise ValueError
    return _count(value)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _positive(value: object) -> float:
    if _number(value) <= 0:
        raise ValueError
    return _number(value)


def _scalar(value: object) -> Scalar:
    if not isinstance(value, str | int | float | bool):
        raise TypeError
    return value


def _spacing(value: object) -> tuple[float, float] | None:
    if value is None:
        return None
    pair = [value, value] if isinstance(value, int | float) else value
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise TypeError
    return _positive(pair[0]), _positive(pair[1])


def _pair(value: object) -> tuple[str, str]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise TypeError
    return _text(value[0]), _text(value[1])


def _or_none(check: Callable[[object], float]) -> Callable[[object], float | None]:
    return lambda value: None if value is None else check(value)


def _list_of(check: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...]]:
    def check_list(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise TypeError
        return tuple(check(one) for one in value)

    return check_list


def _mapping_of(check: Callable[[object], Any]) -> Callable[[object], dict[str, Any]]:
    def check_mapping(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise TypeError
        return {_text(key): check(one) for key, one in value.items()}

    return check_mapping


CHECKS: Mapping[str, Callable[[object], Any]] = {
    "recipe": _text,
    "settings": _mapping_of(_scalar),
    "seed": _whole,
    "device": _text,
    "minutes": _or_none(_positive),
    "cohort": _text,
    "spacing_mm": _spacing,
    "radiographs": _list_of(_text),
    "state": lambda value: RunState(_text(value)),
    "done": _mapping_of(_number),
    "warm": _list_of(_text),
    "ratios": _list_of(_list_of(_or_none(_number))),
    "angles": _list_of(_list_of(_or_none(_number))),
    "doubts": _list_of(_list_of(_or_none(_number))),
    "usual": _list_of(_list_of(_or_none(_number))),
    "fingerprints": _mapping_of(_text),
    "identity": _text,
    "training": _count,
    "teaching": _truth,
    "threads": _count,
    "parts": _positive_count,
    "earlier_seconds": _number,
    "swap": _list_of(_pair),
    "fits": _count,
    "predicted": _count,
    "orient": _truth,
}
REQUIRED = frozenset(CHECKS) - {
    *("ratios", "angles", "doubts", "usual", "fingerprints", "fits", "predicted", "orient"),
    *("identity", "training", "teaching", "threads", "parts", "earlier_seconds", "swap"),
}
"""What every version has written."""
