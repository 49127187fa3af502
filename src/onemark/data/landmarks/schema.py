"""Landmark schemas: which landmarks to place, in which order, their short labels, and which are left-right pairs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from pathlib import Path

from onemark.data.keys import canonical
from onemark.data.paths import read_regular
from onemark.imaging.orientation import Pairs
from onemark.types import UserError

SHIPPED = {
    "isbi19": "ISBI-19 cephalometric",
    "hand37": "37-point hand",
    "lung6": "6-point lung",
}
"""Key of a shipped schema -> its title."""


_HEAD = 50
MOST_BYTES = 1 << 22
"""Largest file of landmark names."""


@dataclass(frozen=True)
class Schema:
    """Named, ordered landmarks.

    Attributes:
        title: Its name for the person.
        names: K landmark names, unique, in the order of placing.
        labels: K short labels, unique.
        swap: Pairs of names that tell left from right, and change places on mirrored radiographs.
    """

    title: str
    names: tuple[str, ...]
    labels: tuple[str, ...]
    swap: Pairs = ()

    def __len__(self) -> int:
        return len(self.names)

    def to_text(self) -> str:
        """One `name, label`, or `name, label, partner`, per line: what `parse_names` reads."""
        partners = dict(self.swap)
        rows = zip(self.names, self.labels, strict=True)
        lines = [[name, label, *([partners[name]] if name in partners else [])] for name, label in rows]
        return "\n".join(", ".join(map(_quote, cells)) for cells in lines)


EMPTY = Schema("none", (), ())


def make(title: str, pairs: Iterable[tuple[str, str]], partners: Mapping[str, str] | None = None) -> Schema:
    """Make a schema from (name, label) pairs; an empty label is derived from its name.

    Args:
        title: Its name for the person.
        pairs: Names and labels.
        partners: Name -> the landmark that it changes names with on mirrored radiographs; one of two may name the other.

    Raises:
        UserError: no landmark at all, a name that occurs twice, or partners that do not agree.
    """
    rows = [(canonical(name), label.strip()) for name, label in pairs if name.strip()]
    if not rows:
        raise UserError(f"{title}: there are no landmark names; give one name per line")
    names = tuple(name for name, _ in rows)
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{title}: the landmark {name!r} occurs twice; give every landmark its own name")
    labels = _make_unique([label or abbreviate(name) for name, label in rows])
    return Schema(title, names, labels, _pair_up(title, names, partners or {}))


def _pair_up(title: str, names: tuple[str, ...], partners: Mapping[str, str]) -> Pairs:
    """Pairs in the order of their first names."""
    found: dict[str, str] = {}
    for name, partner in partners.items():
        if not name:
            raise UserError(f"{title}: a line without a name swaps with {partner!r}; give that line a name")
        if partner not in names:
            raise UserError(
                f"{title}: {name!r} swaps with {partner!r}, which is no landmark; give the name of one"
            )
        if name == partner or found.get(name, partner) != partner or found.get(partner, name) != name:
            raise UserError(f"{title}: {name!r} cannot swap with {partner!r}; give each landmark one partner")
        found[name], found[partner] = partner, name
    return tuple(
        (name, found[name])
        for name in names
        if name in found and names.index(name) < names.index(found[name])
    )


def load_shipped(key: str) -> Schema:
    """Load a schema that comes with onemark: `isbi19`, `hand37` or `lung6`."""
    text = (resources.files("onemark.data.landmarks") / "schemas" / f"{key}.csv").read_text(encoding="utf-8")
    return _make_of_rows(SHIPPED[key], text)


def parse_names(text: str, title: str = "my landmarks") -> Schema:
    """Parse one landmark per line, `name`, `name, label` or `name, label, partner`; a header `landmark,...` is skipped.

    Raises:
        UserError: no landmark at all, a name that occurs twice, or partners that do not agree.
    """
    return _make_of_rows(title, text)


def read_schema(path: str | Path) -> Schema:
    """Read the landmark names of a file: a list of names, or any landmark file that onemark reads.

    Args:
        path: A text or CSV file of names, one per line, or landmarks as CSV, `.mrk.json`, `.tps` or COCO.

    Raises:
        UserError: the file cannot be read or names no landmark.
    """
    path = Path(path)
    if path.suffix.lower() in {".csv", ".txt"}:
        try:
            text = read_regular(path, MOST_BYTES).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path.name} cannot be read ({error}); choose a text file of names") from error
        if not _is_table(path, text):
            return _make_of_rows(path.stem, text)
    from onemark.data.landmarks.table import read_landmarks

    return schema_from_names(read_landmarks(path).names, path.stem)


def schema_from_names(names: Iterable[str], title: str) -> Schema:
    """Make a schema of these names, with the labels of a shipped schema if that knows all of them."""
    names = tuple(names)
    for key in SHIPPED:
        known = load_shipped(key)
        if set(names) <= set(known.names):
            labels = dict(zip(known.names, known.labels, strict=True))
            title = known.title if names == known.names else title
            return make(title, [(name, labels[name]) for name in names])
    return make(title, [(name, "") for name in names])


def rename_pairs(pairs: Pairs, names: Mapping[str, str]) -> Pairs:
    """Left-right pairs under other names; `names` maps old to new ones, and what it lacks keeps its name."""
    return tuple((names.get(left, left), names.get(right, right)) for left, right in pairs)


def abbreviate(name: str) -> str:
    """Abbreviate a name to at most four characters: the initials of several words, or the start of one."""
    words = name.replace("_", " ").replace("-", " ").split()
    if len(name) <= 4 or not words:
        return name
    return "".join(word[0] for word in words[:4]).upper() if len(words) > 1 else name[:3].capitalize()


def match_names(old: tuple[str, ...], new: tuple[str, ...], *, renaming: bool = True) -> list[int | None]:
    """Match each new name with the old row it continues: that of the same name or, when `renaming`, at its position."""
    index = {name: i for i, name in enumerate(old)}
    rows: list[int | None] = [index.get(name) for name in new]
    if not renaming:
        return rows
    known = list(rows)
    for start, end in _find_gaps(known):
        before = known[start - 1] if start else -1
        after = known[end] if end < len(new) else len(old)
        assert before is not None
        assert after is not None
        # As many missing names between the same neighbours, or a missing name in the same line, are the same landmarks.
        as_many = after - before == end - start + 1
        for i in range(start, end):
            for place in (before + 1 + i - start, i) if as_many else (i,):
                if rows[i] is None and place < len(old) and old[place] not in new and place not in rows:
                    rows[i] = place
    return rows


def _find_gaps(rows: list[int | None]) -> Iterator[tuple[int, int]]:
    """Runs of None, as start and end."""
    start = 0
    for is_gap, run in groupby(rows, lambda row: row is None):
        end = start + len(list(run))
        if is_gap:
            yield start, end
        start = end


def _make_unique(labels: list[str]) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    for i, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] > 1:
            labels[i] = f"{label}{seen[label]}"
    return tuple(labels)


def _is_table(path: Path, text: str) -> bool:
    """Whether a text has the columns of a landmark table or starts with points, and so is no list of names."""
    from onemark.data.landmarks.formats.tables.cells import split
    from onemark.data.landmarks.formats.tables.columns import find_column, find_pairs

    head = "".join(text.splitlines(keepends=True)[:_HEAD])
    try:
        rows = [cells for _, cells in split(path, head).rows[:2]]
    except UserError:  # it is empty, or has quotes that stand only in a list of names
        return False
    header = rows[0]
    return (
        "image" in map(str.lower, header)
        or all(find_column(header, axis) is not None for axis in "xy")
        or bool(find_pairs(header)[0])
        or all(map(_is_point, rows))
    )


def _is_point(cells: Sequence[str]) -> bool:
    """Whether a row is a point, maybe with a name before it, or a longer row of numbers as in YOLO-pose."""
    from onemark.data.landmarks.formats.tables.cells import is_number

    cells = cells if len(cells) > 1 else cells[0].split()
    numbers = cells[1:] if len(cells) == 3 and not is_number(cells[0]) else cells
    return len(numbers) > 1 and all(map(is_number, numbers))


def _quote(cell: str) -> str:
    if not any(c in cell for c in ',"'):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def _make_of_rows(title: str, text: str) -> Schema:
    cells = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)  # lines may end in \r alone
    try:
        rows = [row for row in cells if row and not row[0].lstrip().startswith("#")]
    except csv.Error as error:
        raise UserError(
            f"{title}, line {cells.line_num}: no list of names ({error}); fix that line"
        ) from None
    if rows and rows[0][0].strip().lower() in {"landmark", "name"}:
        rows = rows[1:]
    partners = {canonical(row[0]): canonical(row[2]) for row in rows if len(row) > 2 and row[2].strip()}
    return make(title, [(row[0], row[1] if len(row) > 1 else "") for row in rows], partners)
