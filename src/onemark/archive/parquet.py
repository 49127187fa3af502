"""A result in Parquet: a folder of parts, which any reader of Parquet data sets reads while it grows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from onemark.archive.places import Place, Target
from onemark.archive.rows import WORDS, Rows
from onemark.data.atomic import PREFIX, check_writable
from onemark.data.extras import import_extra
from onemark.data.paths import printable
from onemark.types import UserError

SUFFIX = ".parquet"


def is_parquet(target: Path) -> bool:
    """Whether a result is to be a folder of Parquet files."""
    return target.name.lower().endswith(SUFFIX)


def part_name(stem: str) -> str:
    """The file of a part; readers take the parts in the order of these names."""
    return f"part-{stem}{SUFFIX}"


def clear_parquet(folder: Place) -> None:
    """Remove the parts of an earlier result.

    Raises:
        UserError: there is something else in that folder.
    """
    names = folder.names()
    parts = [name for name in names if name.startswith("part-") and name.endswith(SUFFIX)]
    others = [name for name in names if name not in parts and not name.startswith(PREFIX)]
    if others:
        raise UserError(
            f"{printable(folder)} holds {printable(others[0])}, which is no part of a result: choose another folder"
        )
    for name in parts:
        folder.delete(name)


def check_parquet(target: Target) -> None:
    """Check that Parquet can be written to `target`. Raises UserError otherwise."""
    _load_pyarrow()
    if target.is_remote:
        return
    if target.local.exists() and not target.local.is_dir():
        raise UserError(f"{target} is a file, and Parquet becomes a folder: choose another name")
    check_writable(target.local / part_name("0"))


def to_parquet(rows: Rows) -> bytes:
    """A Parquet file of rows: names and units as text, numbers as float64, a missing one as null."""
    pa = _load_pyarrow()
    table: dict[str, Any] = {}
    for index, column in enumerate(rows.columns):
        cells = (row[index] or None for row in rows.cells)
        if column in WORDS:
            table[column] = pa.array(list(cells), pa.string())
        else:
            table[column] = pa.array([cell and float(cell) for cell in cells], pa.float64())
    stream = io.BytesIO()
    _load_pyarrow("pyarrow.parquet").write_table(pa.table(table), stream)
    return stream.getvalue()


def _load_pyarrow(module: str = "pyarrow") -> Any:
    return import_extra(module, "Parquet needs pyarrow", "archive")
