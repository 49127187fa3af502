"""The stream every decoder reads from: a regular file, and no more reading than an honest file needs."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from onemark.data.paths import regular_handle
from onemark.types import UserError

_TIMES = 4
_SPARE = 1 << 20
_CALLS = 400_000


class BoundedReader(io.BufferedReader):
    """A file that can be read about four times over and no more.

    Decoders follow offsets inside a file. Where these form a ring they would read for ever; here they run out of
    budget. The budget counts bytes and calls, not seconds, so that a slow disk refuses nothing.

    Attributes:
        size: Of the file, in bytes.
        calls: Reads that are left. A reader whose objects are large for their bytes may lower it.
        budget: Bytes that are left. A reader may lower it while it reads what becomes Python objects.
    """

    def __init__(self, raw: io.RawIOBase | io.BytesIO, path: object) -> None:
        super().__init__(raw)
        self._path = str(path)
        self.size = self.seek(0, io.SEEK_END)
        self.seek(0)
        self.calls = _CALLS
        self.budget = _TIMES * self.size + _SPARE

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a regular file.

        Raises:
            UserError: a pipe or a device.
            OSError: as `open`.
        """
        return cls(io.FileIO(regular_handle(path)), path)

    @property
    def name(self) -> str:
        """The file's path."""
        return self._path

    @contextlib.contextmanager
    def as_file(self) -> Iterator[Path]:
        """A file with this content, for a reader in another process: the file itself, or a copy that is removed again.

        Raises:
            OSError: there is no space for a copy, or the stream cannot be read.
        """
        if isinstance(self.raw, io.FileIO):
            yield Path(self._path)
            return
        with tempfile.TemporaryDirectory(prefix="onemark-") as folder:
            path = Path(folder) / f"picture{Path(self._path).suffix}"
            with path.open("wb") as copy:
                while piece := super().read(_SPARE):
                    copy.write(piece)
            self.seek(0)
            yield path

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any stream. Raises UserError, without the file's name, when the budget is spent."""
        if size is not None and min(size, self.size) > self.budget:
            self._spend(size)
        data = super().read(size)
        self._spend(len(data))
        return data

    def readinto(self, buffer: Any, /) -> int:
        """As of any stream. Raises UserError as `read` does."""
        count = super().readinto(buffer)
        self._spend(count)
        return count

    def _spend(self, count: int) -> None:
        self.budget -= count
        self.calls -= 1
        if self.budget < 0 or self.calls < 0:
            raise UserError(
                "makes its reader go in circles or through countless pieces; export it again or remove it"
            )
