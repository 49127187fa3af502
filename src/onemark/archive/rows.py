"""The rows of one part of a landmark table, with every column that the whole table may have."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import IO

import numpy as np

from onemark.data.landmarks.entries import make_set
from onemark.data.landmarks.formats.tables.columns import EXTRAS, LONG, MM, UID, UNIT
from onemark.data.landmarks.table import LandmarkTable, Spacings, show_name, show_number
from onemark.data.paths import printable
from onemark.types import LandmarkSet, UserError

WORDS = (*LONG[:2], UNIT, UID)
"""Columns that hold text."""


@dataclass(frozen=True)
class Rows:
    """Rows of the long table as cells of text; an empty cell is a missing number.

    Attributes:
        columns: What the cells are: all that the table may have, in its order.
        cells: `[rows][columns]`.
    """

    columns: tuple[str, ...]
    cells: Sequence[Sequence[str]]

    @classmethod
    def of(
        cls, table: LandmarkTable, spacing: Spacings | None, uids: Mapping[str, str] | None = None
    ) -> Rows:
        """The rows of a table.

        Args:
            table: The table.
            spacing: As for `LandmarkTable.to_frame`.
            uids: Image -> SOPInstanceUID, for a column of them; None for none.
        """
        columns = (*LONG, *EXTRAS, UNIT, *(MM if spacing is not None else ()))
        cells = [
            [cell if isinstance(cell, str) else show_number(cell) for cell in row]
            for row in table.rows(columns, spacing)
        ]
        if uids is None:
            return cls(columns, cells)
        return cls((*columns, UID), [[*row, uids[row[0]]] for row in cells])

    @classmethod
    def from_csv(cls, stream: Iterable[str], where: object) -> Rows:
        """The rows that `to_csv` wrote. Raises UserError when they are damaged."""
        reader = csv.reader(stream)
        try:
            columns, cells = tuple(next(reader, ())), list(reader)
        except csv.Error:
            columns, cells = (), []
        if columns[: len(LONG)] != LONG or any(len(row) != len(columns) for row in cells):
            raise UserError(
                f"{printable(where)} is damaged; remove it and its .json to predict that part again"
            )
        return cls(columns, cells)

    @property
    def used(self) -> tuple[str, ...]:
        """The columns in which any row has a value."""
        return tuple(c for i, c in enumerate(self.columns) if any(row[i] for row in self.cells))

    @property
    def images(self) -> int:
        """Number of radiographs."""
        return sum(1 for _ in groupby(self.cells, lambda row: row[0]))

    def to_csv(self) -> str:
        """The rows as a CSV with a header."""
        stream = io.StringIO(newline="")
        self.write(stream, self.columns)
        return stream.getvalue()

    def write(
        self, stream: IO[str], columns: Sequence[str], *, header: bool = True, safe: bool = False
    ) -> None:
        """Write some of the columns into an open text stream; `safe` as for `LandmarkTable.to_csv`."""
        writer = csv.writer(stream, lineterminator="\n")
        if header:
            writer.writerow(columns)
        at = [
            (self.columns.index(column) if column in self.columns else None, safe and column in WORDS)
            for column in columns
        ]
        writer.writerows(
            ["" if i is None else show_name(row[i], is_safe) for i, is_safe in at] for row in self.cells
        )

    def sets(self) -> Iterator[LandmarkSet]:
        """The landmarks of each radiograph, in px."""
        place = {column: index for index, column in enumerate(self.columns)}
        for image, group in groupby(self.cells, lambda row: row[0]):
            rows = list(group)
            numbers = {
                column: np.array([float(row[place[column]] or "nan") for row in rows])
                for column in ("x", "y", *EXTRAS)
                if column in place  # parts of earlier versions lack some
            }
            unit = next((row[place[UNIT]] for row in rows if row[place[UNIT]]), "")
            yield make_set(image, tuple(row[1] for row in rows), numbers, unit)
