"""The parts of a prediction: a hidden folder beside the result, with the plan and what is predicted so far."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from onemark.archive.parquet import clear_parquet, is_parquet, part_file, write_parquet
from onemark.archive.plan import Plan, Shard
from onemark.archive.rows import Rows
from onemark.data.atomic import reading_errors, sweep_leftovers, user_errors, writing
from onemark.data.json import LIMITS, SMALL, parse_json
from onemark.data.paths import printable, read_regular
from onemark.types import UserError

_PLAN, _LIST, _JOB, _PLANNING = "plan.json", "radiographs.jsonl", "job.lock", "plan.lock"
_PLANNING_SECONDS = 600.0
_LONGEST_LIST = 1 << 30


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
    """The folder of the parts of one result. A part counts once its record is there, which is written last.

    Attributes:
        target: The result that they become.
        folder: The hidden folder beside it.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = target.absolute().with_name(f".{target.name}.parts")

    def begin(self, plan: Plan, *, discard: bool = False) -> Plan:
        """Keep the plan; where there is one already, go on with it.

        Args:
            plan: What is to be predicted.
            discard: Discard parts of another plan instead of refusing.

        Raises:
            UserError: there are parts of another plan, or nobody may write there.
        """
        with user_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with self._held(_PLANNING, _PLANNING_SECONDS):
            kept = self.plan()
            difference = None if kept is None else kept.difference(plan)
            if kept is not None and difference is None:
                return kept
            if difference is not None and not discard and self.numbers():
                raise UserError(
                    f"{printable(self.folder)} keeps {len(self.numbers())} parts of an unfinished prediction with "
                    f"{difference}: add --overwrite to discard them, or give another --out"
                )
            self._clear()
            self._write_text(_LIST, "".join(plan.list_lines()))
            self._write_text(_PLAN, json.dumps(plan.to_json(), indent=2) + "\n")
        return plan

    def plan(self) -> Plan | None:
        """The plan that is kept, or None.

        Raises:
            UserError: it is damaged.
        """
        place = self.folder / _PLAN
        if not place.is_file():
            return None
        with reading_errors(place):
            head = parse_json(read_regular(place, SMALL.size), place, SMALL)
            lines = read_regular(self.folder / _LIST, _LONGEST_LIST).decode("ascii", "replace").splitlines()
        return Plan.from_json(head, lines, self.folder)

    def numbers(self) -> set[int]:
        """The shards that are done."""
        if not self.folder.is_dir():
            return set()
        with reading_errors(self.folder):
            return {int(p.stem) for p in self.folder.glob("*.json") if p.stem.isdecimal()}

    def part(self, number: int) -> Part | None:
        """What is known of a shard; None when it is not done.

        Raises:
            UserError: the record is damaged.
        """
        place = self._record(number)
        with reading_errors(place):
            if not place.is_file():
                return None
            found = parse_json(read_regular(place, LIMITS.size), place)
        try:
            return Part(
                int(found["number"]),
                int(found["predicted"]),
                tuple(map(str, found["columns"])),
                tuple(map(str, found["skipped"])),
            )
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{printable(place)} is damaged; remove it to predict that part again") from None

    def write(self, shard: Shard, rows: Rows, skipped: Sequence[str]) -> Part:
        """Write a finished shard: first its rows, then the record that makes it count.

        Raises:
            UserError: it cannot be written, or the folder was removed.
        """
        part = Part(shard.number, rows.images, rows.used, tuple(skipped))
        if is_parquet(self.target):
            with writing(part_file(self.target, _stem(shard.number)), "wb") as stream:
                write_parquet(rows, stream)
        else:
            self._write_text(self._data(shard.number).name, rows.to_csv())
        self._write_text(self._record(shard.number).name, json.dumps(asdict(part)) + "\n")
        return part

    def read(self, number: int) -> Rows:
        """The rows of a finished shard.

        Raises:
            UserError: they are gone or damaged.
        """
        place = self._data(number)
        with reading_errors(place):
            text = read_regular(place, _LONGEST_LIST).decode("utf-8")
        return Rows.from_csv(io.StringIO(text, newline=""), place)

    def held_shard(self, number: int) -> contextlib.AbstractContextManager[None]:
        """Hold one shard. Raises UserError when another process predicts it."""
        return self._held(f"{_stem(number)}.lock", 0.0, f"part {number + 1} of {self.target.name}")

    def held_job(self) -> contextlib.AbstractContextManager[None]:
        """Hold all of the result. Raises UserError when another process predicts or merges it."""
        with user_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        return self._held(_JOB, 0.0, str(self.target))

    def remove(self, *, keep_result: bool = False) -> None:
        """Remove the folder, with everything in it; `keep_result` leaves parts that are the result themselves."""
        self._clear(keep_result=keep_result)
        if is_parquet(self.target):
            sweep_leftovers(self.target)
            with contextlib.suppress(OSError):
                self.target.rmdir()  # unless it holds parts
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_if_empty(self) -> None:
        """Remove the folder when it keeps no finished part."""
        if self.folder.is_dir() and not self.numbers():
            self.remove(keep_result=True)

    def _clear(self, *, keep_result: bool = False) -> None:
        # The plan goes first: what is left after a death then belongs to no plan and counts no more.
        for name in (_PLAN, _LIST):
            (self.folder / name).unlink(missing_ok=True)
        if is_parquet(self.target) and not keep_result:
            clear_parquet(self.target)
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.suffix != ".lock":
                with contextlib.suppress(OSError):
                    path.unlink()

    def _record(self, number: int) -> Path:
        return self.folder / f"{_stem(number)}.json"

    def _data(self, number: int) -> Path:
        return self.folder / f"{_stem(number)}.csv"

    def _write_text(self, name: str, text: str) -> None:
        with writing(self.folder / name, make_folder=False) as stream:
            stream.write(text)

    @contextlib.contextmanager
    def _held(self, name: str, seconds: float, what: str = "") -> Iterator[None]:
        lock = FileLock(self.folder / name, timeout=seconds)
        with user_errors(self.folder):
            try:
                lock.acquire()
            except Timeout:
                raise UserError(
                    f"{printable(what or self.target)} is being predicted by another process: wait until that has "
                    "ended, or give another --out"
                ) from None
        try:
            yield
        finally:
            lock.release()


def _stem(number: int) -> str:
    return f"{number:06d}"
