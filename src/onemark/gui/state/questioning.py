"""A round of questions, and all answers that a person has given to questions."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onemark.data.questions import Question
from onemark.types import LandmarkSet

Place = tuple[float, float]
HIDDEN = None
"""The answer "not visible"."""
NOWHERE = (np.nan, np.nan)


@dataclass
class Round:
    """Questions that are answered one after the other.

    Attributes:
        questions: The questions, the most useful first.
        at: Position of the one in view; their number when all are done.
        answers: Position -> place in px, or `HIDDEN`; skipped ones are missing.
    """

    questions: Sequence[Question]
    at: int = 0
    answers: dict[int, Place | None] = field(default_factory=dict)

    @property
    def current(self) -> Question | None:
        """The question in view; None when all are done."""
        return self.questions[self.at] if self.at < len(self.questions) else None

    @property
    def place(self) -> Place:
        """Where the point of the question in view is: the former answer, else the guess."""
        question = self.questions[self.at]
        return self.answers.get(self.at) or (question.x, question.y)

    def answer(self, place: Place | None) -> None:
        """Take a place, or `HIDDEN`, and go to the next question."""
        self.answers[self.at] = place
        self.at += 1

    def skip(self) -> None:
        """Take the answer back, if there is one, and go to the next question."""
        self.answers.pop(self.at, None)
        self.at += 1

    def back(self) -> None:
        """Return to the question before."""
        self.at = max(0, self.at - 1)


class AnswerBook:
    """Answers by radiograph and landmark, in the names of the window.

    Attributes:
        answers: Radiograph -> landmark -> place in px, or `HIDDEN`.
    """

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Place | None]] = {}

    def put(self, image: str, landmark: str, place: Place | None) -> None:
        """Keep an answer."""
        self.answers.setdefault(image, {})[landmark] = place

    def add(self, sets: Iterable[LandmarkSet], *, newer: bool = False) -> None:
        """Keep what was asked for in these sets; answers that are there already stay, unless these are newer."""
        for one in sets:
            known = self.answers.get(one.image, {})
            rows = zip(one.names, one.xy.tolist(), one.answered, one.visible, strict=True)
            found = {name: (x, y) if seen else HIDDEN for name, (x, y), asked, seen in rows if asked}
            if found:
                self.answers[one.image] = known | found if newer else found | known

    def drop(self, image: str, landmark: str) -> None:
        """Take an answer back."""
        self.answers.get(image, {}).pop(landmark, None)

    def rename(self, renamed: Mapping[str, str]) -> None:
        """Follow new names of landmarks; answers for one that had such a name before, and no other now, are dropped."""
        for image, known in self.answers.items():
            self.answers[image] = {
                renamed.get(name, name): place
                for name, place in known.items()
                if name in renamed or name not in renamed.values()
            }

    def laid_over(self, one: LandmarkSet) -> LandmarkSet:
        """A prediction with the person's answers in the place of its own."""
        return one.with_answers(self._set(one.image, one.names)) if self.answers.get(one.image) else one

    def sets(self, names: tuple[str, ...], cohort: Container[str]) -> list[LandmarkSet]:
        """The answers as landmarks of each radiograph of the cohort; nobody was asked for the others."""
        found = (self._set(image, names) for image in self.answers if image in cohort)
        return [one for one in found if one.answered.any()]

    def _set(self, image: str, names: tuple[str, ...]) -> LandmarkSet:
        known = self.answers[image]
        places = np.array([known.get(name) or NOWHERE for name in names], float).reshape(-1, 2)
        return LandmarkSet(image, names, places, asked=np.array([name in known for name in names], np.bool_))

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values for the autosave."""
        return {
            image: {name: place and list(place) for name, place in known.items()}
            for image, known in self.answers.items()
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take what `to_json` returned in the place of the present answers."""
        self.answers = {
            image: {name: place and (place[0], place[1]) for name, place in known.items()}
            for image, known in saved.items()
        }
