"""The plan of a prediction: which radiographs, in which shards, by which run and with which settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import onemark
from onemark.data.cohort import Cohort
from onemark.data.images.spacing import Spacing, given
from onemark.data.json import SMALL, parse_json
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.paths import key_fault, printable
from onemark.data.remote import restore_cohort
from onemark.pipeline.model import Model
from onemark.pipeline.runs.folder import RunFolder
from onemark.types import UserError

SHARD_SIZE = 256
"""Radiographs of a shard: few enough that a death costs little, so many that parts are no burden to a disk."""
FORMAT = 1


@dataclass(frozen=True)
class Shard:
    """Some radiographs of a cohort, which are predicted and written together.

    Attributes:
        number: Its place in the plan, from 0.
        names: Its radiographs, in the cohort's order.
    """

    number: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What is to be predicted. Two processes with the same plan write the same parts.

    Attributes:
        run: Digest of what the run has learned; see `identify_run`.
        folder: The folder or address that `files` are relative to.
        names: All radiographs, in the cohort's order.
        files: Name -> file.
        spacing_mm: `(x, y)` mm per pixel that overrides what the files say, or None.
        mm: Whether the table has the columns `x_mm,y_mm`.
        shard_size: Radiographs of a shard.
        dicom_uid: Whether it has the column `sop_instance_uid`.
        version: The version of onemark that made it.
    """

    run: str
    folder: str
    names: tuple[str, ...]
    files: Mapping[str, str]
    spacing_mm: Spacing | None = None
    mm: bool = False
    shard_size: int = SHARD_SIZE
    dicom_uid: bool = False
    version: str = onemark.__version__

    @classmethod
    def make(
        cls,
        model: Model,
        cohort: Cohort,
        *,
        mm: bool = False,
        shard_size: int = SHARD_SIZE,
        dicom_uid: bool = False,
    ) -> Plan:
        """The plan to predict a whole cohort with a model.

        Raises:
            UserError: a shard is to have no radiograph.
        """
        if shard_size < 1:
            raise UserError(f"a part of {shard_size} radiographs is none; give a number from 1")
        return cls(
            identify_run(model),
            cohort.place,
            cohort.names,
            cohort.files,
            cohort.spacing_mm,
            mm,
            shard_size,
            dicom_uid,
        )

    @property
    def count(self) -> int:
        """Number of shards."""
        return -(-len(self.names) // self.shard_size)

    def shard(self, number: int) -> Shard:
        """One shard."""
        start = number * self.shard_size
        return Shard(number, self.names[start : start + self.shard_size])

    def shards(self, numbers: Iterable[int] | None = None) -> Iterator[Shard]:
        """The shards of these numbers, or all."""
        return map(self.shard, range(self.count) if numbers is None else numbers)

    def cohort(self) -> Cohort:
        """The radiographs, without a look into their folder."""
        return restore_cohort(self.folder, self.files, self.spacing_mm)

    def difference(self, other: Plan) -> str | None:
        """What another plan has otherwise, so that the parts of one are none of the other; None when nothing.

        The folder may have moved, as long as it holds the same radiographs.
        """
        if (self.run, self.version) != (other.run, other.version):
            return "what the run had learned by then"
        if self.list_digest != other.list_digest:
            return "another list of radiographs"
        ours, theirs = ((one.spacing_mm, one.mm, one.dicom_uid) for one in (self, other))
        if ours != theirs:
            return "other settings (--spacing-mm, --mm, --dicom-uid)"
        return None if self.shard_size == other.shard_size else "parts of another size (--shard-size)"

    @cached_property
    def list_digest(self) -> str:
        """Digest of the radiographs and their order."""
        digest = hashlib.blake2b(digest_size=16)
        for line in self.list_lines():
            digest.update(line.encode())
        return digest.hexdigest()

    @cached_property
    def identity(self) -> str:
        """Digest of all that its parts depend on: records of parts name it."""
        return identify_plan(self.to_json())

    @property
    def digest(self) -> str:
        """Digest of all of it."""
        return hashlib.blake2b(json.dumps(self.to_json()).encode(), digest_size=16).hexdigest()

    def list_lines(self) -> Iterator[str]:
        """The list as lines of JSON: the name and, where the disk spells it otherwise, the file."""
        for name in self.names:
            file = self.files[name]
            yield json.dumps([name] if file == name else [name, file]) + "\n"

    def to_json(self) -> dict[str, Any]:
        """All but the list."""
        return {
            "onemark": self.version,
            "format": FORMAT,
            "run": self.run,
            "folder": self.folder,
            "radiographs": len(self.names),
            "list": self.list_digest,
            "spacing_mm": self.spacing_mm,
            "mm": self.mm,
            "shard_size": self.shard_size,
            "dicom_uid": self.dicom_uid,
        }

    @classmethod
    def from_json(cls, head: object, lines: Iterable[str], where: object) -> Plan:
        """The plan from what `to_json` and `list_lines` wrote.

        Raises:
            UserError: it is damaged or of another version of the format.
        """
        damaged = UserError(
            f"{printable(where)} is damaged or of another version of onemark; remove that folder"
        )
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise damaged
        files = dict(_read_line(line, where) for line in lines)
        try:
            plan = cls(
                run=str(head["run"]),
                folder=str(head["folder"]),
                names=tuple(files),
                files=files,
                spacing_mm=given(head["spacing_mm"]),
                mm=bool(head["mm"]),
                shard_size=int(head["shard_size"]),
                dicom_uid=bool(head.get("dicom_uid", False)),
                version=str(head["onemark"]),
            )
        except (KeyError, TypeError, ValueError):
            raise damaged from None
        if plan.list_digest != head.get("list") or plan.shard_size < 1:
            raise damaged
        return plan


def identify_plan(head: Mapping[str, Any]) -> str:
    """A digest of what `Plan.to_json` says but for the folder, which may move."""
    kept = {key: value for key, value in head.items() if key != "folder"}
    return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=16).hexdigest()


def identify_run(model: Model) -> str:
    """A digest of all that the predictions of a run depend on: weights, exemplars, recipe, settings, corrections.

    Raises:
        UserError: the model is in no run folder, or its weights cannot be read.
    """
    if model.folder is None:
        raise UserError("this model is kept in no run folder; train it with out=RUN, then load that")
    return identify_learned(model.folder, model.exemplars)


def identify_learned(folder: RunFolder, exemplars: LandmarkTable) -> str:
    """As `identify_run`, of a model that is not loaded.

    Args:
        folder: Its run folder.
        exemplars: What these show: see `onemark.pipeline.trainer.shown_landmarks`.

    Raises:
        UserError: its weights cannot be read.
    """
    config = folder.config
    points = [[one.image, one.names, one.xy.tolist()] for one in exemplars]
    made_from: Sequence[object] = [
        config.recipe,
        sorted(config.settings.items()),
        config.orient,
        config.ratios,
        sorted(config.fingerprints.items()),
        points,
    ]
    try:
        with folder.weights.open("rb") as stream:
            digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16))
    except OSError as error:
        raise UserError(f"{printable(folder.weights)} cannot be read ({error.strerror})") from None
    digest.update(json.dumps(made_from).encode())
    return digest.hexdigest()


def _read_line(line: str, where: object) -> tuple[str, str]:
    entry = parse_json(line, where, SMALL)
    if not isinstance(entry, list) or len(entry) not in (1, 2) or not all(isinstance(e, str) for e in entry):
        raise UserError(f"{printable(where)} has a damaged list of radiographs; remove that folder")
    name, file = entry[0], entry[-1]
    if fault := key_fault(name):
        raise UserError(f"{printable(where)} names {printable(name)}: {fault}; remove that folder")
    return name, file
