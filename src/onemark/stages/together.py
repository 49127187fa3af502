"""Two matchers together: pseudo-labels of stages that make different mistakes.

A trained matcher and registration err in different places, so what lies between their answers is nearer to the truth than
either, as long as both know something. How far the matcher is followed is decided without labels. What two answers do not
have in common makes their distance: its square is the sum of the squares of their own errors, so that the best weight of
the matcher is

    w = s r^2 / D^2,   at most 1/2,

with `r` the usual error of registration, which its own answers' disagreement tells; `s` the part of its square that the
matcher does not share, as it does what the exemplar shows otherwise than most radiographs do; and `D` the usual distance
between the two. Both lengths are means over a few radiographs, for each landmark. A matcher that has learned nothing is
far away, and hardly counts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onemark.data.choice import pick_evenly
from onemark.data.cohort import Cohort
from onemark.stages.base import Locator, StageContext
from onemark.types import LandmarkSet, Radiograph

ASKED = 12  # radiographs, evenly spread
WEIGHING = 1 / 12  # of a time budget, after which fewer must do: a quarter of what pseudo-labels may take
SPREAD = 1.1  # how far registration's answers for a place lie apart, as a multiple of its error
OWN = (
    1 / 3
)  # of registration's squared error; with all of it, matchers of 43 steps made labels of cephalograms worse
MOST = 0.5  # of the trained matcher: nothing tells that it is the better one


class Together:
    """The answers of two matchers together, `matcher` drawn towards by `w` from `registration`.

    Args:
        matcher: Trained on the cohort.
        registration: Whose expected errors are how far its own answers for a place lie apart.
        cohort: Radiographs to weigh them on, when the first one is located.
        seconds: After which no further one of them is asked for; None for no limit.
    """

    def __init__(
        self, matcher: Locator, registration: Locator, cohort: Cohort, seconds: float | None = None
    ) -> None:
        self.matcher, self.registration, self.cohort = matcher, registration, cohort
        self.seconds = math.inf if seconds is None else seconds
        self._weight: NDArray[np.float64] | None = None

    @property
    def weight(self) -> NDArray[np.float64]:
        """`[K]` how far each landmark is drawn towards the trained matcher's answer, 0...1/2."""
        if self._weight is None:
            self._weight = self._weigh()
        return self._weight

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels; all but the places are registration's."""
        here, there = self.registration.locate(radiograph), self.matcher.locate(radiograph)
        return replace(here, xy=here.xy + self.weight[:, None] * (there.xy - here.xy))

    def _weigh(self) -> NDArray[np.float64]:
        started = time.monotonic()
        errors, distances = [], []
        for one in self.cohort.readable(pick_evenly(self.cohort.names, ASKED)):
            here, there = self.registration.locate(one), self.matcher.locate(one)
            errors.append(here.expected_error / one.pixel_length / one.side)
            distances.append(np.linalg.norm(there.xy - here.xy, axis=1) / one.side)
            if time.monotonic() - started >= self.seconds:
                break
        if not errors:  # none of these can be read
            return np.zeros(1)
        error, distance = np.mean(errors, 0) / SPREAD, np.mean(distances, 0)
        return np.asarray(np.minimum(MOST, OWN * (error / np.maximum(distance, 1e-9)) ** 2))


def labeller(context: StageContext) -> Callable[[Radiograph], LandmarkSet]:
    """What a detector learns from: the stage before it or, where there are two matchers, both together."""
    matchers = [stage for stage in context.before.values() if isinstance(stage, Locator)]
    if len(matchers) < 2:
        return context.locate
    seconds = None if context.seconds is None else WEIGHING * context.seconds
    return Together(matchers[0], matchers[-1], context.cohort, seconds).locate
