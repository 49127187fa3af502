"""Which single landmarks to ask a person for: what `onemark ask` answers, and the CSV that a person fills in."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onemark.data.atomic import writing
from onemark.data.landmarks.formats.tables.columns import ANSWER, GUESS, LONG, UNIT
from onemark.data.paths import printable
from onemark.types import UserError

if TYPE_CHECKING:
    import pandas

COLUMNS = (*LONG, ANSWER, *GUESS, "expected_error", UNIT)


@dataclass(frozen=True)
class Question:
    """Where is this landmark on this radiograph?

    Attributes:
        image: Name of the radiograph.
        landmark: Name of the landmark.
        x: What the model predicts, px of the original image, to the right.
        y: The same, downwards.
        expected_error: How far off that may be; NaN where it is unknown.
        unit: Of the expected error, `mm` or `px`.
    """

    image: str
    landmark: str
    x: float
    y: float
    expected_error: float
    unit: str


@dataclass(frozen=True)
class Questions:
    """Questions in the order in which they teach most.

    Attributes:
        questions: The questions; the first ones matter most.
        run: The run folder that `resume` teaches with the answers.
    """

    questions: tuple[Question, ...]
    run: Path | None = None

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[Question]:
        return iter(self.questions)

    def to_frame(self) -> pandas.DataFrame:
        """A data frame with a row for each question, and the columns of `to_csv`."""
        import pandas

        return pandas.DataFrame(list(self._rows()), columns=list(COLUMNS))

    def to_csv(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write one row for each question: `image,landmark,x,y,answer,guess_x,guess_y,expected_error,unit`.

        A person fills in `x,y` (px), or `right` or `not visible` as `answer`; `read_landmarks` then reads the answers.

        Raises:
            UserError: it cannot be written, or a file is there, which may hold answers, and is not to be replaced.
        """
        path = Path(path)
        if not overwrite and path.exists():
            raise UserError(
                f"{printable(path)} is there already, and may hold answers: give another name, or overwrite=True"
            )
        with writing(path) as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(COLUMNS)
            rows.writerows(self._rows())

    def _rows(self) -> Iterator[Sequence[str | float]]:
        for one in self.questions:
            image, landmark, x, y, error, unit = astuple(one)
            yield image, landmark, "", "", "", round(x, 2), round(y, 2), round(error, 3), unit
