"""The parts of a prediction: a hidden folder beside the result, with the plan and what is predicted so far."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from onemark.archive import parquet
from onemark.archive.places import Busy, Target
from onemark.archive.plan import Plan, Shard
from onemark.archive.rows import Rows
from onemark.data.json import SMALL, parse_json
from onemark.data.paths import printable
from onemark.types import UserError

_PLAN, _LIST, _JOB, _PLANNING = "plan.json", "radiographs.jsonl", "job.lock", "plan.lock"
_PLANNING_SECONDS = 600.0


@dataclass(frozen=True)
class Part:
    """What is known of a finished shard.

    Attributes:
        number: Of the shard.
        predicted: Radiographs with predictions.
        columns: Columns of the table in which any of them has a value.
        skipped: Sentences about the others, as they were said.
    """

    number: int
    predicted: int
    columns: tuple[str, ...]
    skipped: tuple[str, ...] = ()


class Parts:
    """The parts of one result. A part counts once its record is there, which is written last.

    Attributes:
        target: The result that they become.
        folder: The hidden folder beside it.
    """

    def __init__(self, target: Target | Path | str) -> None:
        self.target = target if isinstance(target, Target) else Target.of(target)
        self.folder = self.target.parts()
        self.grows = parquet.is_parquet(self.target.local)
        """Whether the parts are the result themselves."""

    def begin(self, plan: Plan, *, discard: bool = False) -> Plan:
        """Keep the plan; where there is one already, go on with it.

        Args:
            plan: What is to be predicted.
            discard: Discard parts of another plan instead of refusing.

        Raises:
            UserError: there are parts of another plan, or nobody may write there.
        """
        self.folder.make()
        with self._held(_PLANNING, _PLANNING_SECONDS):
            kept = self.plan()
            difference = None if kept is None else kept.difference(plan)
            if kept is not None and difference is None:
                return kept
            if difference is not None and not discard and self.numbers():
                raise UserError(
                    f"{printable(self.folder)} keeps {len(self.numbers())} parts of an unfinished prediction with "
                    f"{difference}: predict without --part and with --overwrite to discard them, or give another --out"
                )
            self._clear(keep_result=False)
            self.folder.write(_LIST, "".join(plan.list_lines()).encode())
            self.folder.write(_PLAN, json.dumps(plan.to_json(), indent=2).encode() + b"\n")
        return plan

    def plan(self) -> Plan | None:
        """The plan that is kept, or None.

        Raises:
            UserError: it is damaged.
        """
        head = self.folder.read(_PLAN)
        if head is None:
            return None
        lines = (self.folder.read(_LIST) or b"").decode("ascii", "replace").splitlines()
        return Plan.from_json(parse_json(head, f"{self.folder}/{_PLAN}", SMALL), lines, self.folder)

    def numbers(self) -> set[int]:
        """The shards that are done."""
        stems = (name.removesuffix(".json") for name in self.folder.names() if name.endswith(".json"))
        return {int(stem) for stem in stems if stem.isdecimal()}

    def part(self, number: int) -> Part | None:
        """What is known of a shard; None when it is not done.

        Raises:
            UserError: the record is damaged.
        """
        data, where = self.folder.read(f"{_stem(number)}.json"), f"{self.folder}/{_stem(number)}.json"
        if data is None:
            return None
        found = parse_json(data, where)
        try:
            return Part(
                int(found["number"]),
                int(found["predicted"]),
                tuple(map(str, found["columns"])),
                tuple(map(str, found["skipped"])),
            )
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{printable(where)} is damaged; remove it to predict that part again") from None

    def write(self, shard: Shard, rows: Rows, skipped: Sequence[str]) -> Part:
        """Write a finished shard: first its rows, then the record that makes it count.

        Raises:
            UserError: it cannot be written, or the folder was removed.
        """
        part, stem = Part(shard.number, rows.images, rows.used, tuple(skipped)), _stem(shard.number)
        if self.grows:
            result = self.target.folder()
            result.make()
            result.write(parquet.part_name(stem), parquet.to_parquet(rows))
        else:
            self.folder.write(f"{stem}.csv", rows.to_csv().encode())
        self.folder.write(f"{stem}.json", json.dumps(asdict(part)).encode() + b"\n")
        return part

    def read(self, number: int) -> Rows:
        """The rows of a finished shard.

        Raises:
            UserError: they are gone or damaged.
        """
        data, where = self.folder.read(f"{_stem(number)}.csv"), f"{self.folder}/{_stem(number)}.csv"
        if data is None:
            raise UserError(
                f"{printable(where)} is gone; remove the .json of that name to predict that part again"
            )
        return Rows.from_csv(io.StringIO(data.decode("utf-8", "replace"), newline=""), where)

    def held_shard(self, number: int, seconds: float = 0.0) -> contextlib.AbstractContextManager[None]:
        """Hold one shard. Raises UserError when another process predicts it, and does not end within so long."""
        return self._held(f"{_stem(number)}.lock", seconds, f"part {number + 1} of {self.target.name}")

    def held_job(self) -> contextlib.AbstractContextManager[None]:
        """Hold all of the result. Raises UserError when another process predicts or merges it."""
        self.folder.make()
        return self._held(_JOB, 0.0)

    def remove(self, *, keep_result: bool = False) -> None:
        """Remove the folder, with everything in it; `keep_result` leaves parts that are the result themselves."""
        self._clear(keep_result=keep_result)
        if self.grows:
            self.target.folder().remove()  # unless it holds the result
        self.folder.remove()

    def remove_if_empty(self) -> None:
        """Remove the folder when it keeps no finished part."""
        if not self.numbers():
            self.remove(keep_result=True)

    def _clear(self, *, keep_result: bool) -> None:
        # The plan goes first: what is left after a death then belongs to no plan and counts no more.
        self.folder.delete(_PLAN)
        if self.grows and not keep_result:
            parquet.clear_parquet(self.target.folder())
        for name in self.folder.names():
            if not name.endswith(".lock"):
                self.folder.delete(name)

    @contextlib.contextmanager
    def _held(self, name: str, seconds: float, what: str = "") -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self.folder.hold(name, seconds))
            except Busy:
                raise UserError(
                    f"{printable(what or self.target)} is being predicted by another process: wait until that has "
                    "ended, or give another --out"
                ) from None
            yield


def _stem(number: int) -> str:
    return f"{number:06d}"
