"""In which order to review predictions, so that most error is removed in a minute, and how much error is then left.

A person opens a radiograph and looks at some of its landmarks. A visit to a radiograph that looks at the set S of its
landmarks removes their errors e, as far as one can expect, and takes `OPENING + |S| LOOKING` seconds. Its gain is

    sum over S of e_k / (OPENING + |S| LOOKING),

and the best S are the worst landmarks of the radiograph, as many as make the gain largest; what is left makes further
visits. The visits in order of their gains leave the least error at every moment that ends one (Smith's rule).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Errors = NDArray[np.float64]

OPENING = 5.0
"""Seconds to open a radiograph and find one's way on it."""
LOOKING = 2.0
"""Seconds to look at a landmark, and to move it where it is wrong."""


@dataclass(frozen=True)
class Visit:
    """A look at some landmarks of one radiograph.

    Attributes:
        radiograph: Its position.
        landmarks: Positions of the landmarks, the worst first.
        gain: Error that it is expected to remove in a second.
    """

    radiograph: int
    landmarks: tuple[int, ...]
    gain: float

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return OPENING + LOOKING * len(self.landmarks)


def plan_review(errors: Errors) -> list[Visit]:
    """The visits to N radiographs in the order that pays most.

    Args:
        errors: `[N, K]` expected errors in one unit; NaN where there is no prediction to review.
    """
    visits = [visit for n, row in enumerate(errors) for visit in _split_visits(n, row)]
    return sorted(visits, key=lambda visit: -visit.gain)


def rank_radiographs(errors: Errors) -> NDArray[np.float64]:
    """`[N]` error that the best visit to each radiograph removes in a second; NaN where there is nothing to review."""
    return np.array([next((v.gain for v in _split_visits(n, row)), np.nan) for n, row in enumerate(errors)])


def measure_left(visits: Sequence[Visit], errors: Errors) -> Errors:
    """Share of all error that is left after each landmark of a review: `[L + 1, 3]` landmarks, minutes, share.

    Args:
        visits: In the order of the review.
        errors: `[N, K]` the true errors, or the expected ones for an estimate.
    """
    rows, seconds, removed = [(0.0, 0.0)], 0.0, [0.0]
    for visit in visits:
        seconds += OPENING
        for k in visit.landmarks:
            seconds += LOOKING
            rows.append((float(len(rows)), seconds / 60))
            removed.append(float(np.nan_to_num(errors[visit.radiograph, k])))
    total = float(np.nansum(errors)) or 1.0
    return np.column_stack([rows, 1 - np.cumsum(removed) / total])


def area_left(curve: Errors) -> float:
    """Mean share of error left over the minutes of a curve of `measure_left`: 1 where a review removes nothing."""
    _, minutes, share = curve.T
    steps = np.diff(minutes)
    return float((steps * share[:-1]).sum() / max(steps.sum(), 1e-12))


def _split_visits(radiograph: int, errors: Errors) -> Iterator[Visit]:
    order = [int(k) for k in np.argsort(-errors, kind="stable") if np.isfinite(errors[k])]
    while order:
        counts = np.arange(1, len(order) + 1)
        gains = np.cumsum(errors[order]) / (OPENING + LOOKING * counts)
        best = int(gains.argmax()) + 1
        yield Visit(radiograph, tuple(order[:best]), float(gains[best - 1]))
        order = order[best:]
