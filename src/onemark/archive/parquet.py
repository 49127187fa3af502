"""A result in Parquet: a folder of parts, which any reader of Parquet data sets reads while it grows."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import IO, Any

from onemark.archive.rows import WORDS, Rows
from onemark.data.paths import printable
from onemark.types import UserError

SUFFIX = ".parquet"


def is_parquet(target: Path) -> bool:
    """Whether a result is to be a folder of Parquet files."""
    return target.name.lower().endswith(SUFFIX)


def part_file(target: Path, stem: str) -> Path:
    """The file of a part; readers take the parts in the order of these names."""
    return target / f"part-{stem}{SUFFIX}"


def clear_parquet(target: Path) -> None:
    """Remove the parts of an earlier result.

    Raises:
        UserError: there is something else in that folder.
    """
    if not target.is_dir():
        return
    parts = set(target.glob(f"part-*{SUFFIX}"))
    others = [
        path for path in target.iterdir() if path not in parts and not path.name.startswith(".onemark-")
    ]
    if others:
        raise UserError(
            f"{printable(target)} holds {printable(others[0].name)}, which is no part of a result: "
            "choose another folder"
        )
    for path in parts:
        path.unlink(missing_ok=True)


def check_parquet(target: Path) -> None:
    """Check that Parquet can be written to `target`. Raises UserError otherwise."""
    load_pyarrow()
    if target.exists() and not target.is_dir():
        raise UserError(f"{printable(target)} is a file, and Parquet becomes a folder: choose another name")


def write_parquet(rows: Rows, stream: IO[bytes]) -> None:
    """Write rows: names and units as text, numbers as float64, a missing one as null."""
    pa = load_pyarrow()
    table: dict[str, Any] = {}
    for index, column in enumerate(rows.columns):
        cells = (row[index] or None for row in rows.cells)
        if column in WORDS:
            table[column] = pa.array(list(cells), pa.string())
        else:
            table[column] = pa.array([cell and float(cell) for cell in cells], pa.float64())
    import_module("pyarrow.parquet").write_table(pa.table(table), stream)


def load_pyarrow() -> Any:
    """The module. Raises UserError where it is not installed."""
    try:
        return import_module("pyarrow")
    except ImportError:
        raise UserError("Parquet needs pyarrow: pip install 'onemark[archive]'") from None
