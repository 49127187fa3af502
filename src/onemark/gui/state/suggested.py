"""Which radiographs to mark first, as the window shows it."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from onemark.types import UserError

SUGGESTION = "suggestion.csv"


@dataclass(frozen=True)
class Suggested:
    """A suggestion.

    Attributes:
        chosen: The radiographs to mark, the most useful first.
        similarity: Radiograph -> how much of all the others is found in it, 0...1; the best first.
    """

    chosen: tuple[str, ...]
    similarity: Mapping[str, float]

    @classmethod
    def read(cls, run: Path) -> Suggested | None:
        """The suggestion of a run folder; None where none was made.

        Raises:
            UserError: the file is there but cannot be understood.
        """
        try:
            with (run / SUGGESTION).open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            places = {int(row["chosen"]): row["image"] for row in rows if row["chosen"]}
            similarity = {row["image"]: float(row["similarity"]) for row in rows}
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{run / SUGGESTION} cannot be read ({error}): press Suggest again") from None
        return cls(tuple(places[place] for place in sorted(places)), similarity)

    def within(self, known: Callable[[str], bool]) -> Suggested:
        """Only what it says of radiographs that are known."""
        kept = {name: value for name, value in self.similarity.items() if known(name)}
        return Suggested(tuple(name for name in self.chosen if known(name)), kept)

    def place(self, name: str) -> int | None:
        """1 for the first to mark, and so on; None for those not chosen."""
        return self.chosen.index(name) + 1 if name in self.chosen else None

    def rank(self, name: str) -> float:
        """For sorting: the chosen ones in their order below 0, all others by similarity in 0...1, unknown ones last."""
        place = self.place(name)
        if place is not None:
            return place - len(self.chosen) - 1.0
        similarity = self.similarity.get(name, math.nan)
        return 1.0 if math.isnan(similarity) else (1 - similarity) / 2


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th and so on."""
    last = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{last}"
