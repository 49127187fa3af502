"""The radiographs of one folder, read lazily."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from natsort import natsort_keygen

from onemark.data.atomic import reading_errors
from onemark.data.images import spacing as spacings
from onemark.data.images.header import Header
from onemark.data.images.read import SUFFIXES, is_dicom, is_image_name, read_header, read_radiograph
from onemark.data.keys import image_key
from onemark.data.paths import key_fault, printable
from onemark.imaging.orientation import UPRIGHT, Orientation
from onemark.progress import SKIPPED, Progress, Sink, silent
from onemark.types import Radiograph, UserError

_natural = natsort_keygen()


@dataclass(frozen=True)
class Cohort:
    """The radiographs of one folder: names now, pixels when asked for.

    Attributes:
        folder: The folder.
        names: Relative file names with `/` as separator, NFC, in natural order. The keys of everything.
        files: Name -> path as the disk spells it, relative to `folder`.
        spacing_mm: `(x, y)` mm per pixel that overrides the files', or None.
        orientations: Name -> how a radiograph is brought upright when it is read; the others are read as they lie.
    """

    folder: Path
    names: tuple[str, ...]
    files: Mapping[str, str]
    spacing_mm: spacings.Spacing | None = None
    orientations: Mapping[str, Orientation] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and image_key(name) in self.files

    def __iter__(self) -> Iterator[Radiograph]:
        return (self[name] for name in self.names)

    def __getitem__(self, which: str | int) -> Radiograph:
        """Decode one radiograph, by name or position.

        Raises:
            UserError: no such name, or the file cannot be read; it says why and how to mend it.
            IndexError: no such position.
        """
        name = self.names[which] if isinstance(which, int) else self.resolve(which)
        return self.orientation(name).turn(read_radiograph(self.path(name), name, self.spacing_mm))

    def path(self, name: str) -> Path:
        """The file of a radiograph. Raises UserError when there is no such name, or it leads out of a folder."""
        key = self.resolve(name)
        # Names become names of overlays and exports, and a stranger's archive may hold one that leads elsewhere.
        fault = key_fault(key)
        if fault is not None:
            raise UserError(f"{printable(key)} in {self.folder} cannot be used: {fault}; rename the file")
        return self.folder / self.files[key]

    def header(self, name: str) -> Header:
        """Size `(H, W)` in px and spacing `(x, y)` in mm or None, without decoding.

        Raises:
            UserError: no such name, or the file cannot be read.
        """
        found = read_header(self.path(name))
        spacing, orientation = self.spacing_mm or found.spacing, self.orientation(name)
        return Header(orientation.turn_size(found.size), orientation.turn_spacing(spacing))

    def orientation(self, name: str) -> Orientation:
        """How a radiograph is brought upright when it is read."""
        return self.orientations.get(name, UPRIGHT) if self.orientations else UPRIGHT

    def turned(self, orientations: Mapping[str, Orientation]) -> Cohort:
        """The same radiographs, brought upright when they are read. The names stay."""
        return replace(self, orientations=dict(orientations))

    def readable(self, names: Iterable[str] | None = None, sink: Sink = silent) -> Iterator[Radiograph]:
        """Decode one radiograph after the other and pass over the bad ones.

        Args:
            names: Which, in this order; all when left out.
            sink: Gets one `Progress("read", ...)` with a message for each file that was passed over.
        """
        wanted = self.names if names is None else tuple(names)
        for step, name in enumerate(wanted, 1):
            try:
                radiograph = self[name]
            except UserError as error:
                sink(Progress("read", step, len(wanted), message=f"{SKIPPED}{error}"))
                continue
            yield radiograph

    def subset(self, names: Iterable[str]) -> Cohort:
        """The cohort of these radiographs, in this order. Raises UserError when one is not in the folder."""
        kept = tuple(dict.fromkeys(self.resolve(name) for name in names))
        return replace(self, names=kept, files={name: self.files[name] for name in kept})

    def resolve(self, name: str) -> str:
        """The cohort's own spelling of a name given as NFC or NFD, with `\\` or `/`.

        A name without its suffix is completed when only one radiograph has that stem.

        Raises:
            UserError: no radiograph of that name, or several with that stem.
        """
        key = image_key(name)
        return key if key in self.files else completed(name, self.names, self._stems, str(self.folder))

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        return by_stem(self.names)


def by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Stem -> the names that have it, of those with a suffix of images."""
    stems: dict[str, list[str]] = {}
    for name in names:
        if is_image_name(name):
            stems.setdefault(str(PurePosixPath(name).with_suffix("")), []).append(name)
    return stems


def completed(name: str, names: Sequence[str], stems: Mapping[str, Sequence[str]], where: str) -> str:
    """The one of `names`, with these stems, that a person means who leaves out its suffix.

    Raises:
        UserError: none has that stem, or several; it says `where` was looked.
    """
    key = image_key(name)
    same = stems.get(key, [])
    if len(same) == 1:
        return same[0]
    if same:
        found = ", ".join(same)
        raise UserError(f"{name!r} may be any of {found} in {where}; give the name with its suffix")
    close = difflib.get_close_matches(key, names, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there is, for one, {next(iter(names), 'nothing')!r}"
    raise UserError(f"no radiograph {name!r} in {where}; {hint}")


def open_cohort(folder: Path | str, *, spacing_mm: float | Sequence[float] | None = None) -> Cohort:
    """Open a folder of radiographs; nothing is decoded.

    Sub-folders are included. Left out are hidden files and folders, run folders (a sub-folder with a
    `config.json` that onemark wrote) and, when `folder` itself is a run folder, its `overlays`.

    Args:
        folder: The folder.
        spacing_mm: mm per pixel of all radiographs, one number or `(x, y)`; overrides what the files say.

    Raises:
        UserError: no such folder, a file instead, not allowed, or no radiograph in it.
    """
    folder = Path(folder)
    spacing = spacings.given(spacing_mm)
    with reading_errors(folder):
        if not folder.exists():
            raise UserError(f"{folder} does not exist; check the path")
        if not folder.is_dir():
            raise UserError(f"{folder} is a file; give the folder it lies in")
    files: dict[str, str] = {}
    for file in _images(folder):
        key = image_key(file)
        if key in files:
            raise UserError(f"{folder} holds two files that read {key!r}; rename one of them")
        files[key] = file
    if not files:
        kinds = " ".join(suffix for suffix in SUFFIXES if len(suffix) < 5)
        raise UserError(f"no radiographs in {folder}; put images there ({kinds}) or give another folder")
    names = tuple(sorted(files, key=lambda name: [_natural(part) for part in name.split("/")]))
    return Cohort(folder, names, files, spacing)


def is_run_folder(folder: Path | str) -> bool:
    """Whether onemark wrote a run here: there is a `config.json` with the key `onemark`."""
    try:
        config = json.loads((Path(folder) / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "onemark" in config


def _images(folder: Path) -> Iterator[str]:
    """Relative paths of the images under `folder`, as the disk spells them but with `/`."""
    skipped = {"overlays"} if is_run_folder(folder) else set()
    open_folders, seen = [""], {os.path.realpath(folder)}
    while open_folders:
        inside = open_folders.pop()
        for entry in _entries(folder / inside):
            relative = f"{inside}/{entry.name}" if inside else entry.name
            if entry.name.startswith(".") or relative in skipped:
                continue
            if _whether(entry.is_dir):
                real = os.path.realpath(entry.path)
                if real not in seen and not is_run_folder(entry.path):
                    seen.add(real)
                    open_folders.append(relative)
            elif is_image_name(entry.name) or _is_bare_dicom(entry):
                yield relative


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with reading_errors(folder), os.scandir(folder) as entries:
        return list(entries)


def _whether(asked: Callable[[], bool]) -> bool:
    """The answer about an entry of a folder; no about a link in a loop, or to where nobody may look."""
    try:
        return asked()
    except OSError:
        return False


def _is_bare_dicom(entry: os.DirEntry[str]) -> bool:
    # DICOM files are often named by their UID alone, whose last number looks like a suffix.
    suffix = Path(entry.name).suffix.lstrip(".")
    bare = not suffix or suffix.isdigit()
    return bare and entry.name != "DICOMDIR" and _whether(entry.is_file) and is_dicom(entry.path)
