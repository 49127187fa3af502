"""Which radiographs to annotate first: what `onemark suggest` answers, and the table that keeps it in a run folder."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from onemark.data.atomic import reading_errors, writing
from onemark.data.paths import read_regular
from onemark.types import UserError

SUGGESTION = "suggestion.csv"
"""Name of the table in a run folder."""
_MOST_BYTES = 1 << 26
COLUMNS = ("image", "similarity", "chosen")


@dataclass(frozen=True)
class Suggestion:
    """Which radiographs to annotate (Quan et al., CVPR 2022).

    Attributes:
        chosen: The radiographs to annotate, the most useful first.
        score: R of these together, 0...1: the similarity of the key points of all radiographs to the most similar place
            in the chosen ones, on average; NaN where it is unknown, as after `read_csv`.
        ranking: `(name, R)` of every radiograph compared, as if it were the only one annotated; the best first.
        run: The run folder that `resume` continues with the first exemplar; None where none was asked for.
    """

    chosen: tuple[str, ...]
    score: float
    ranking: tuple[tuple[str, float], ...]
    run: Path | None = None

    @cached_property
    def similarity(self) -> Mapping[str, float]:
        """Radiograph -> its R, in the order of the ranking."""
        return dict(self.ranking)

    def within(self, is_known: Callable[[str], bool]) -> Suggestion:
        """The part about the radiographs for which `is_known` is true."""
        ranking = tuple((name, value) for name, value in self.ranking if is_known(name))
        return replace(self, chosen=tuple(name for name in self.chosen if is_known(name)), ranking=ranking)

    def place(self, name: str) -> int | None:
        """1 for the radiograph to annotate first, and so on; None for those that are not chosen."""
        return self.chosen.index(name) + 1 if name in self.chosen else None

    def rank(self, name: str) -> float:
        """A sort key: chosen radiographs in their order below 0, the others by similarity in 0...1, unknown ones 1."""
        place = self.place(name)
        if place is not None:
            return place - len(self.chosen) - 1.0
        similarity = self.similarity.get(name, math.nan)
        return 1.0 if math.isnan(similarity) else (1 - similarity) / 2

    def to_csv(self, path: Path | str) -> None:
        """Write one row per radiograph: `image`, its R as `similarity`, its place among the `chosen` or empty."""
        with writing(Path(path)) as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(COLUMNS)
            place = {name: n for n, name in enumerate(self.chosen, 1)}
            rows.writerows([name, f"{value:.6f}", place.get(name, "")] for name, value in self.ranking)

    @classmethod
    def read_csv(cls, path: Path | str) -> Suggestion:
        """Read what `to_csv` wrote; the table holds neither `score` nor `run`.

        Raises:
            UserError: the file cannot be read, or is not such a table.
        """
        try:
            with reading_errors(path):
                text = read_regular(path, _MOST_BYTES).decode("utf-8")
            rows = list(csv.DictReader(io.StringIO(text, newline="")))
            places = {int(row["chosen"]): row["image"] for row in rows if row["chosen"]}
            ranking = tuple((row["image"], float(row["similarity"])) for row in rows)
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}): make the suggestion again") from None
        return cls(tuple(places[place] for place in sorted(places)), math.nan, ranking)
