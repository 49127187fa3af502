"""The radiographs of one folder, read lazily."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from natsort import natsort_keygen

from onemark.data.ahead import call_ahead
from onemark.data.atomic import reading_errors
from onemark.data.images import spacing as spacings
from onemark.data.images.dicom.identity import read_sop_instance_uid
from onemark.data.images.header import Header
from onemark.data.images.kinds import SUFFIXES, is_image_name, kind_of_file
from onemark.data.images.read import decode_header, decode_radiograph
from onemark.data.images.stream import BoundedReader
from onemark.data.json import SMALL, read_json
from onemark.data.keys import image_key
from onemark.data.names import NameIndex
from onemark.data.paths import key_fault, printable
from onemark.data.urls import parse_place
from onemark.imaging.orientation import UPRIGHT, Orientation
from onemark.progress import SKIPPED, Progress, Sink, silent
from onemark.types import Radiograph, UserError

_natural = natsort_keygen()
_SHOWN = 5
# What lies beside radiographs and is meant to; nobody needs to hear that these are none.
_BESIDE = (
    ".csv .tsv .txt .tps .pts .fcsv .json .jsonl .xml .md .html .htm .xls .xlsx .ods .log .ini .db .py .yaml .yml"
    " .safetensors .lock"
)
_COMPANIONS = tuple(_BESIDE.split())
_INDEXES = ("DICOMDIR",)


@dataclass(frozen=True)
class Cohort:
    """The radiographs of one folder: names now, pixels when asked for.

    Attributes:
        folder: The folder.
        names: Relative file names with `/` as separator, NFC, in natural order. The keys of everything.
        files: Name -> path as the disk spells it, relative to `folder`.
        spacing_mm: `(x, y)` mm per pixel that overrides the files', or None.
        orientations: Name -> how a radiograph is brought upright when it is read; the others are read as they lie.
        left_out: What of the folder is no part of the cohort and why; whole sentences. Those that begin with
            `onemark.progress.SKIPPED` tell of a radiograph.
    """

    folder: Path
    names: tuple[str, ...]
    files: Mapping[str, str]
    spacing_mm: spacings.Spacing | None = None
    orientations: Mapping[str, Orientation] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and image_key(name) in self.files

    def __iter__(self) -> Iterator[Radiograph]:
        return (self[name] for name in self.names)

    def __getitem__(self, which: str | int) -> Radiograph:
        """Decode one radiograph, by name or position.

        Raises:
            UserError: no such name, or the file cannot be read; it says why and the way out.
            IndexError: no such position.
        """
        name = self.names[which] if isinstance(which, int) else self.resolve(which)
        found = decode_radiograph(lambda: self.open(name), self.address(name), name, self.spacing_mm)
        return self.orientation(name).turn(found)

    def path(self, name: str) -> Path:
        """The file of a radiograph. Raises UserError when there is no such name, or it leads out of a folder."""
        key = self.resolve(name)
        # `open_cohort` leaves such names out; a cohort may also be built by hand.
        if fault := key_fault(key):
            raise UserError(
                f"{printable(key)} in {printable(self.folder)} cannot be used: {fault}; rename the file"
            )
        return self.folder / self.files[key]

    @property
    def place(self) -> str:
        """Where it is: the folder, as an absolute path."""
        return str(self.folder.resolve())

    def address(self, name: str) -> str:
        """Where a radiograph is, for messages. Raises UserError as `path` does."""
        return str(self.path(name))

    def open(self, name: str) -> BoundedReader:
        """The file of a radiograph, open for its decoder. Raises UserError as `path` does, OSError as `open`."""
        return BoundedReader.open(self.path(name))

    def header(self, name: str) -> Header:
        """Size `(H, W)` in px and spacing `(x, y)` in mm or None, without decoding.

        Raises:
            UserError: no such name, or the file cannot be read.
        """
        found = decode_header(lambda: self.open(name), self.address(name))
        spacing, orientation = self.spacing_mm or found.spacing, self.orientation(name)
        return Header(orientation.turn_size(found.size), orientation.turn_spacing(spacing))

    def spacing(self, name: str) -> spacings.Spacing | None:
        """The spacing of a radiograph; None where it is unknown, there is no such radiograph, or it cannot be read."""
        try:
            return self.header(name).spacing
        except UserError:
            return None

    def sop_instance_uid(self, name: str) -> str:
        """The SOPInstanceUID of a DICOM file; empty for others. Raises UserError as `header` does."""
        return read_sop_instance_uid(lambda: self.open(name), self.address(name))

    def orientation(self, name: str) -> Orientation:
        """How a radiograph is brought upright when it is read."""
        return self.orientations.get(name, UPRIGHT) if self.orientations else UPRIGHT

    def turned(self, orientations: Mapping[str, Orientation]) -> Cohort:
        """The same radiographs, brought upright when they are read. The names stay."""
        return replace(self, orientations=dict(orientations))

    def readable(
        self,
        names: Iterable[str] | None = None,
        sink: Sink = silent,
        noted: dict[str, int] | None = None,
        *,
        ahead: bool = False,
    ) -> Iterator[Radiograph]:
        """Decode one radiograph after the other and pass over the bad ones.

        Args:
            names: Which, in this order; all when left out, and then the sink also gets what is `left_out`.
            sink: Gets one `Progress("read", ...)` with a message for each file that was passed over, and
                one for each kind of note of the readers.
            noted: Note -> how often it came so far, for a caller that reads a cohort in several calls and says with
                `say_repeated` at the end how often each came.
            ahead: Decode the next one in a thread while the caller works on the last, so two are in memory.
        """
        wanted = self.names if names is None else tuple(names)
        is_whole, noted = noted is None, {} if noted is None else noted
        for message in self.left_out if names is None else ():
            sink(Progress("read", 0, len(wanted), message=message))
        for step, (name, decode) in enumerate(call_ahead(self.__getitem__, wanted, ahead), 1):
            try:
                radiograph = decode()
            except UserError as error:
                sink(Progress("read", step, len(wanted), message=f"{SKIPPED}{error}"))
                continue
            for note in radiograph.notes:
                noted[note] = noted.get(note, 0) + 1
                if noted[note] == 1:
                    message = f"{printable(self.address(name))} {note}"
                    sink(Progress("read", step, len(wanted), message=message))
            yield radiograph
        if is_whole:
            say_repeated(noted, len(wanted), sink)

    def subset(self, names: Iterable[str]) -> Cohort:
        """The cohort of these radiographs, in this order. Raises UserError when one is not in the folder."""
        kept = tuple(dict.fromkeys(self.resolve(name) for name in names))
        return replace(self, names=kept, files={name: self.files[name] for name in kept}, left_out=())

    def resolve(self, name: str) -> str:
        """The cohort's own spelling of a name given as NFC or NFD, with `\\` or `/`.

        A name that lacks its suffix or has another folder or case counts where only one radiograph fits.

        Raises:
            UserError: no radiograph of that name, or several that it may mean.
        """
        key = image_key(name)
        return key if key in self.files else self._index.resolve(name)

    @cached_property
    def _index(self) -> NameIndex:
        return NameIndex(self.names, printable(self.folder))


def open_cohort(
    folder: Path | str,
    *,
    spacing_mm: float | Sequence[float] | None = None,
    follow_links: bool = True,
) -> Cohort:
    """Open radiographs; nothing is decoded.

    Sub-folders are included. The suffix decides, and where it is none of a picture's, the content. Left out are
    hidden files and folders, run folders (a sub-folder with a `config.json` that onemark wrote) and, when
    `folder` itself is a run folder, its `overlays`. Names that could lead out of an output folder, pipes, devices
    and files of other kinds are left out and named in `Cohort.left_out`.

    Args:
        folder: The folder; or a list of files (see `onemark.data.manifest`); or an address such as `s3://bucket/xrays`,
            whose files count by their suffix.
        spacing_mm: mm per pixel of all radiographs, one number or `(x, y)`; overrides what the files say.
        follow_links: Take in what symbolic links lead to, also outside the folder.

    Raises:
        UserError: no such folder, a file instead, not allowed, or no radiograph in it.
    """
    folder, spacing = parse_place(folder), spacings.given(spacing_mm)
    if isinstance(folder, str):
        from onemark.data.remote import open_remote

        return open_remote(folder, spacing)
    with reading_errors(folder):
        if not folder.exists():
            raise UserError(f"{printable(folder)} does not exist; check the path")
        if not folder.is_dir():
            from onemark.data.manifest import is_manifest, open_manifest

            if is_manifest(folder):
                return open_manifest(folder, spacing)
            raise UserError(f"{printable(folder)} is a file; give the folder it lies in")
    found = _Scan(folder, follow_links).run()
    files: dict[str, str] = {}
    for key, file in found.images:
        if key in files:
            raise UserError(f"{printable(folder)} holds two files that read {key!r}; rename one of them")
        files[key] = file
    if not files:
        raise _nothing_in(folder, found)
    return Cohort(folder, sort_names(files), files, spacing, left_out=found.left_out())


def sort_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names in natural order, folder by folder."""
    folders: dict[str, list[Any]] = {"": []}

    def order(name: str) -> list[Any]:
        folder, _, file = name.rpartition("/")
        if folder not in folders:
            folders[folder] = [_natural(part) for part in folder.split("/")]
        return [*folders[folder], _natural(file)]

    return tuple(sorted(names, key=order))


def say_repeated(noted: Mapping[str, int], total: int, sink: Sink) -> None:
    """Say of how many more radiographs each note of the readers holds; see `Cohort.readable`."""
    for note, count in noted.items():
        if count > 1:
            message = f"the same holds of {count - 1} more: each {note}"
            sink(Progress("read", total, total, message=message))


def _nothing_in(folder: Path, found: _Scan) -> UserError:
    kinds = " ".join(suffix for suffix in SUFFIXES if len(suffix) == 4)
    why = "".join(f" ({one.removeprefix(SKIPPED)})" for one in found.left_out()[:1])
    return UserError(
        f"no radiographs in {printable(folder)}{why}; put images there ({kinds}) or give another folder"
    )


def is_run_folder(folder: Path | str) -> bool:
    """Whether onemark wrote a run here: there is a `config.json` with the key `onemark`."""
    try:
        config = read_json(Path(folder) / "config.json", SMALL)
    except (OSError, UserError):
        return False
    return isinstance(config, dict) and "onemark" in config


@dataclass
class _Scan:
    """One walk through a folder.

    Attributes:
        images: Names of the radiographs, and their relative paths, as the disk spells them but with `/`.
        faults: Sentences about files that are no radiographs of the cohort although they look so.
        others: Relative paths of files of other kinds.
        links: Relative paths of links that were not followed.
    """

    folder: Path
    follow_links: bool
    images: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def run(self) -> _Scan:
        """Walk."""
        skipped = {"overlays"} if is_run_folder(self.folder) else set()
        open_folders, seen = [""], {os.path.realpath(self.folder)}
        while open_folders:
            inside = open_folders.pop()
            for entry in _entries(self.folder / inside):
                relative = f"{inside}/{entry.name}" if inside else entry.name
                if entry.name.startswith(".") or relative in skipped:
                    continue
                if not self.follow_links and entry.is_symlink():
                    self.links.append(relative)
                elif not _whether(entry.is_dir):
                    self._take(entry, relative)
                elif (real := os.path.realpath(entry.path)) not in seen and not is_run_folder(entry.path):
                    seen.add(real)
                    open_folders.append(relative)
        return self

    def left_out(self) -> tuple[str, ...]:
        """Sentences about everything that is no part of the cohort."""
        where = printable(self.folder)
        notes = [
            (self.others, "are no radiographs onemark reads"),
            (self.links, "are links, which are not followed"),
        ]
        return (
            *self.faults,
            *(f"{len(files)} files in {where} {why}: {_some(files)}" for files, why in notes if files),
        )

    def _take(self, entry: os.DirEntry[str], relative: str) -> None:
        named = is_image_name(entry.name)
        if not named and entry.name.lower().endswith(_COMPANIONS):
            return
        if not _whether(entry.is_file) and not _is_broken_link(entry):
            if named:
                self._fault(entry, "it is a pipe or a device, not a file; remove it")
        elif not named and (entry.name in _INDEXES or not kind_of_file(entry.path)):
            self.others.append(relative)
        elif fault := key_fault(key := image_key(relative)):
            self._fault(entry, f"{fault}; rename the file")
        else:
            self.images.append((key, relative))

    def _fault(self, entry: os.DirEntry[str], why: str) -> None:
        self.faults.append(f"{SKIPPED}{printable(entry.path)} is left out: {why}")


def _some(files: Sequence[str]) -> str:
    shown = ", ".join(printable(file) for file in sorted(files)[:_SHOWN])
    return shown if len(files) <= _SHOWN else f"{shown} and {len(files) - _SHOWN} more"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with reading_errors(folder), os.scandir(folder) as entries:
        return list(entries)


def _whether(asked: Callable[[], bool]) -> bool:
    """The answer about an entry of a folder; no about a link in a loop, or to where nobody may look."""
    try:
        return asked()
    except OSError:
        return False


def _is_broken_link(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110
