"""Which radiographs to annotate first."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from onemark.data.atomic import writing


@dataclass(frozen=True)
class Suggestion:
    """Which radiographs to annotate.

    Attributes:
        chosen: The radiographs to annotate, the most useful first.
        score: R of these together, 0...1: how similar the key points of all radiographs are to the most similar place
            in them, on average.
        ranking: `(name, R)` of every radiograph compared, annotated alone; the best first.
        run: The run folder to go on from with the first exemplar, by `resume`; None where none was asked for.
    """

    chosen: tuple[str, ...]
    score: float
    ranking: tuple[tuple[str, float], ...]
    run: Path | None = None

    def to_csv(self, path: Path | str) -> None:
        """Write a row per radiograph: image, R when annotated alone, place among the chosen ones or empty."""
        with writing(Path(path)) as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["image", "similarity", "chosen"])
            place = {name: n for n, name in enumerate(self.chosen, 1)}
            rows.writerows([name, f"{value:.6f}", place.get(name, "")] for name, value in self.ranking)
