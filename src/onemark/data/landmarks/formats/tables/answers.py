"""The column `answer` of a table: what a person said of a landmark, or that nobody was asked."""

from __future__ import annotations

import math

from onemark.data.landmarks.entries import NOWHERE
from onemark.data.landmarks.formats.tables.columns import ANSWER, GUESS, Answer
from onemark.types import UserError

Point = tuple[float, float]
_WORDS = ", ".join(f"`{word}`" for word in Answer)


def read_answer(where: str, cell: str, xy: Point, guess: Point) -> tuple[bool, Point]:
    """Whether the landmark of a row was asked for, and where it is.

    Args:
        where: File and line, for messages.
        cell: The answer; empty with a place counts as clicked, empty without one as not asked.
        xy: The place in px; NaN where the row has none.
        guess: What the model predicted in px; NaN where the row does not say.

    Returns:
        The place is NaN where the landmark is not visible or was not asked for.

    Raises:
        UserError: an unknown word, or an answer that does not fit the place.
    """
    word, placed = " ".join(cell.lower().replace("_", " ").split()), not math.isnan(xy[0])
    if not word:
        return placed, xy
    if word not in set(Answer):
        raise UserError(
            f"{where}: the {ANSWER} {cell[:20]!r} is none of {_WORDS}; correct it, leave it empty where nobody was "
            "asked, or rename the column"
        )
    if word == Answer.NOT_VISIBLE:
        if placed:
            raise UserError(f"{where}: not visible, but with a place; empty its x and y, or its {ANSWER}")
        return True, NOWHERE
    place = xy if placed or word == Answer.CLICKED else guess
    if math.isnan(place[0]):
        more = "" if word == Answer.CLICKED else f" or {', '.join(GUESS)}"
        raise UserError(f"{where}: {word}, but without a place; give x, y{more}")
    return True, place
