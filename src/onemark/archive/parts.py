"""The parts of a prediction: a hidden folder beside the result, with the plan and what is predicted so far."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from onemark.archive import parquet
from onemark.archive.places import Busy, Target
from onemark.archive.plan import Plan, Shard, identify_plan
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
    """The parts of one result. A part counts once its record is there, which is written last and names its plan.

    Attributes:
        target: The result that they become.
        folder: The hidden folder beside it.
    """

    def __init__(self, target: Target | Path | str) -> None:
        self.target = target if isinstance(target, Target) else Target.of(target)
        self.folder = self.target.parts()
        self.grows = parquet.is_parquet(self.target.local)
        """Whether the parts are the result themselves."""
        self._wrote_plan = False

    def begin(self, plan: Plan, *, discard: bool = False) -> Plan:
        """Keep the plan; where there is one already, go on with it.

        Args:
            plan: What is to be predicted.
            discard: Discard parts of another plan instead of refusing.

        Raises:
            UserError: there are parts of another plan, others are at work on it, or nobody may write there.
        """
        self.folder.make()
        head = json.dumps(plan.to_json(), indent=2).encode() + b"\n"
        with self._held(_PLANNING, _PLANNING_SECONDS):
            kept = self.plan()
            difference = None if kept is None else kept.difference(plan)
            if kept is not None and difference is None:
                # The radiographs may have moved: workers and `merge`, who read the plan, look for them where they are.
                if self.folder.read(_PLAN) != head:
                    self.folder.write(_PLAN, head)
                return plan
            if difference is not None:
                self._check_unused(difference, discard)
            self._clear(keep_result=False)
            self.folder.write(_LIST, "".join(plan.list_lines()).encode())
            self.folder.write(_PLAN, head)
            self._wrote_plan = True
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

    def recorded(self) -> set[int]:
        """The shards that are done, of whatever plan."""
        stems = (name.removesuffix(".json") for name in self.folder.names() if name.endswith(".json"))
        return {int(stem) for stem in stems if stem.isdecimal()}

    def numbers(self, plan: Plan) -> set[int]:
        """The shards of a plan that are done.

        Raises:
            UserError: a record is damaged.
        """
        return {number for number in self.recorded() if self.part(plan, number) is not None}

    def part(self, plan: Plan, number: int) -> Part | None:
        """What is known of a shard of a plan; None when it is not done.

        Raises:
            UserError: the record is damaged.
        """
        data, where = self.folder.read(f"{_stem(number)}.json"), f"{self.folder}/{_stem(number)}.json"
        if data is None:
            return None
        found = parse_json(data, where)
        try:
            # A process that began with another plan may have ended late. Records of earlier versions name no plan; what
            # those hold may be of any, so it is predicted again.
            if found.get("plan") != plan.identity:
                return None
            return Part(
                int(found["number"]),
                int(found["predicted"]),
                tuple(map(str, found["columns"])),
                tuple(map(str, found["skipped"])),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(f"{printable(where)} is damaged; remove it to predict that part again") from None

    def write(self, plan: Plan, shard: Shard, rows: Rows, skipped: Sequence[str]) -> Part:
        """Write a finished shard of a plan: first its rows, then the record that makes it count.

        Raises:
            UserError: it cannot be written, or another plan has taken the place of this one, or none.
        """
        if not self._keeps(plan):
            raise UserError(
                f"{printable(self.folder)} was removed or got another plan while part {shard.number + 1} was predicted, "
                "which is not written: start this process again, or give another --out"
            )
        part, stem = Part(shard.number, rows.images, rows.used, tuple(skipped)), _stem(shard.number)
        if self.grows:
            result = self.target.folder()
            result.make()
            result.write(parquet.part_name(stem), parquet.to_parquet(rows))
        else:
            self.folder.write(f"{stem}.csv", rows.to_csv().encode())
        record = {**asdict(part), "plan": plan.identity}
        self.folder.write(f"{stem}.json", json.dumps(record).encode() + b"\n")
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
        self._wrote_plan = False

    def remove_if_empty(self) -> None:
        """Remove the folder when it keeps no finished part, and neither its plan nor a lock is somebody else's."""
        is_ours = self._wrote_plan or self.folder.read(_PLAN) is None
        if is_ours and not self.recorded() and self._is_idle():
            self.remove(keep_result=True)

    def _check_unused(self, difference: str, discard: bool) -> None:
        """Check that a plan with this difference to the one that is kept may take its place. Raises UserError."""
        if not discard and (count := len(self.recorded())):
            raise UserError(
                f"{printable(self.folder)} keeps {count} parts of an unfinished prediction with {difference}: predict "
                "without --part and with --overwrite to discard them, or give another --out"
            )
        if not self._is_idle((_JOB, _PLANNING)):
            raise UserError(
                f"{self.target} is being predicted by another process with {difference}: wait until that has ended, or "
                "give another --out"
            )

    def _is_idle(self, ours: Container[str] = (_JOB,)) -> bool:
        """Whether nobody holds a lock, apart from `ours`."""
        try:
            # One after the other, since there may be more of them than a process may have files open.
            for name in self.folder.names():
                if name.endswith(".lock") and name not in ours:
                    with self.folder.hold(name, 0.0):
                        pass
        except Busy:
            return False
        return True

    def _keeps(self, plan: Plan) -> bool:
        """Whether the plan that is kept is still this one, wherever its radiographs are."""
        head = self.folder.read(_PLAN)
        found = None if head is None else parse_json(head, f"{self.folder}/{_PLAN}", SMALL)
        return isinstance(found, dict) and identify_plan(found) == plan.identity

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
