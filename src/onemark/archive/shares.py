"""Which shards one process of a job array predicts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from onemark.archive.plan import Plan
from onemark.types import UserError

_PART = re.compile(r"(\d{1,9})/(\d{1,9})")


@dataclass(frozen=True)
class Share:
    """The share of one process.

    Attributes:
        index: From 1 to `count`.
        count: Number of processes.
        source: Where that is from, for people.
    """

    index: int
    count: int
    source: str = "--part"

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise UserError(
                f"part {self.index} of {self.count} ({self.source}) does not exist; give --part i/n with i from 1 to n"
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def numbers(self, plan: Plan) -> range:
        """The shards of this process: every `count`-th, so that all get alike many of each folder."""
        return range(self.index - 1, plan.count, self.count)


def parse_share(text: str, environment: Mapping[str, str]) -> Share:
    """The share that `--part` names: `i/n`, or `auto` for what the environment says.

    Raises:
        UserError: it is neither, or the environment tells of no job array.
    """
    if text == "auto":
        share = share_of(environment)
        if share is None:
            raise UserError(
                "--part auto finds no job array (neither SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT nor RANK and "
                "WORLD_SIZE are set); give --part i/n"
            )
        return share
    match = _PART.fullmatch(text)
    if match is None:
        raise UserError(f"--part {text!r} is not understood; write i/n, such as 3/8, or auto")
    return Share(int(match[1]), int(match[2]))


def hint_of(environment: Mapping[str, str]) -> str | None:
    """A sentence for who predicts everything although the environment tells of a job array; None otherwise."""
    try:
        share = share_of(environment)
    except UserError:
        return None
    if share is None or share.count == 1:
        return None
    return f"this is task {share} ({share.source}) and predicts everything; add --part auto to predict its share only"


def share_of(environment: Mapping[str, str]) -> Share | None:
    """The share of this process by the variables of Slurm's job arrays or of torchrun; None where there are none.

    Slurm counts from `SLURM_ARRAY_TASK_MIN` in steps of `SLURM_ARRAY_TASK_STEP`, torchrun from 0.

    Raises:
        UserError: a variable is no number, or the array has gaps.
    """
    if {"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"} <= environment.keys():
        number, count = (_number(environment, f"SLURM_ARRAY_TASK_{key}") for key in ("ID", "COUNT"))
        first = _number(environment, "SLURM_ARRAY_TASK_MIN", 1)
        step = _number(environment, "SLURM_ARRAY_TASK_STEP", 1) or 1
        return Share((number - first) // step + 1, count, f"SLURM_ARRAY_TASK_ID={number}")
    if {"RANK", "WORLD_SIZE"} <= environment.keys():
        rank = _number(environment, "RANK")
        return Share(rank + 1, _number(environment, "WORLD_SIZE"), f"RANK={rank}")
    return None


def _number(environment: Mapping[str, str], name: str, default: int = 0) -> int:
    value = environment.get(name, str(default))
    if not value.isdecimal():
        raise UserError(f"{name} is {value[:20]!r}, which is no number; give --part i/n")
    return int(value)
