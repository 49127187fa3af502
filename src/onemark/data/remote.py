"""The radiographs behind an address, read when they are asked for."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onemark.data.cohort import Cohort, sort_names
from onemark.data.images.kinds import is_image_name
from onemark.data.images.spacing import Spacing
from onemark.data.images.stream import BoundedReader
from onemark.data.keys import image_key
from onemark.data.paths import key_fault, printable
from onemark.data.urls import is_url, join_url, open_filesystem, read_url, url_errors
from onemark.progress import SKIPPED
from onemark.types import UserError

_MOST = 512 << 20
_KEPT = 2
"""Files that are kept as they came, since a file is opened several times for one radiograph: while the UID of one is
read, the next is being decoded already."""


@dataclass(frozen=True)
class RemoteCohort(Cohort):
    """A cohort whose files are no files of this machine. It predicts; training needs a folder.

    Attributes:
        url: The address that `files` are relative to.
    """

    url: str = ""
    _last: deque[tuple[str, bytes]] = field(
        default_factory=lambda: deque(maxlen=_KEPT), init=False, repr=False, compare=False
    )

    @classmethod
    def at(
        cls,
        url: str,
        files: Mapping[str, str],
        spacing_mm: Spacing | None = None,
        left_out: tuple[str, ...] = (),
    ) -> RemoteCohort:
        """The radiographs `files`, name -> file below `url`, in this order."""
        return cls(Path(url), tuple(files), files, spacing_mm, left_out=left_out, url=url)

    @property
    def place(self) -> str:
        """Where it is: its address."""
        return self.url

    def path(self, name: str) -> Path:
        """There is none. Raises UserError."""
        raise UserError(
            f"{printable(self.address(name))} is no file of this machine, which this needs; copy the radiographs "
            "into a folder first"
        )

    def address(self, name: str) -> str:
        """The address of a radiograph. Raises UserError when there is no such name."""
        return join_url(self.url, self.files[self.resolve(name)])

    def open(self, name: str) -> BoundedReader:
        """The file of a radiograph, as it came. Raises UserError when it cannot be fetched."""
        address = self.address(name)
        data = dict(self._last).get(address)
        if data is None:
            data = read_url(address, _MOST)
            self._last.append((address, data))
        return BoundedReader(io.BytesIO(data), address)


def open_remote(url: str, spacing_mm: Spacing | None) -> RemoteCohort:
    """List the radiographs below an address by their suffixes; nothing is fetched.

    Raises:
        UserError: the address cannot be reached, or there is no radiograph.
    """
    filesystem, root = open_filesystem(url)
    with url_errors(url):
        found: list[str] = filesystem.find(root, detail=False)
    start = root.strip("/")
    relative = [path.strip("/").removeprefix(start).lstrip("/") for path in found]
    images = [file for file in relative if is_image_name(file) and not _is_hidden(file)]
    faults, files = [], dict[str, str]()
    for file in images:
        if fault := key_fault(image_key(file)):
            faults.append(
                f"{SKIPPED}{printable(file)} in {printable(url)} is left out: {fault}; rename the file"
            )
        elif image_key(file) in files:
            raise UserError(
                f"{printable(url)} holds two files that read {image_key(file)!r}; rename one of them"
            )
        else:
            files[image_key(file)] = file
    if not files:
        raise UserError(f"no radiographs below {printable(url)}; check the address")
    others = sum(not is_image_name(file) and not _is_hidden(file) for file in relative)
    notes = [f"{others} files below {printable(url)} have no suffix of a radiograph"] if others else []
    names = {name: files[name] for name in sort_names(files)}
    return RemoteCohort.at(url, names, spacing_mm, (*faults, *notes))


def restore_cohort(place: str, files: Mapping[str, str], spacing_mm: Spacing | None) -> Cohort:
    """The cohort that `Cohort.place` and `Cohort.files` tell of, without a look whether it is there."""
    if is_url(place):
        return RemoteCohort.at(place, files, spacing_mm)
    return Cohort(Path(place), tuple(files), files, spacing_mm)


def _is_hidden(file: str) -> bool:
    return file.startswith(".") or "/." in file
