"""How probable it is that a landmark is visible on a radiograph, from exemplars that have it and exemplars that lack it.

Stages always give a point. Where the landmark is not there, they are less sure of it and disagree more, so the error
model's doubt t, in standard deviations, is larger. With normal distributions of the same width s around the mean m of the
cohort, most of which is visible, and the mean n of landmarks that are not,

    log P / (1 - P) = log p / (1 - p) + ((t - n)^2 - (t - m)^2) / (2 s^2),

where p is the share of exemplars that show the landmark (linear discriminant analysis). Shares are shrunk towards that of
all landmarks, and n towards m + 1.5 s, where there are few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

Table = NDArray[np.float64]

POOLED = 3.0
"""Imagined exemplars of a landmark that show as many of it as of all landmarks."""
USUAL, IMAGINED = 1.5, 2.0
"""How many standard deviations more doubtful landmarks are that are not visible, as so many imagined ones say."""
CYCLE = 0.5
"""What a failed cycle counts: the landmark may be there, and only the way back be wrong."""
FAILED, FAR = 4.0, 0.06
"""A cycle has failed beyond so many times its landmark's median, and beyond this share of the side."""


@dataclass(frozen=True)
class Visibility:
    """What exemplars show about which landmarks are visible.

    Attributes:
        share: `[K]` of exemplars that show each landmark, shrunk.
        seen: Mean doubt of the cohort (m).
        unseen: Mean doubt of landmarks that are not visible (n), greater than `seen`.
        width: Standard deviation within both (s).
    """

    share: Table
    seen: float
    unseen: float
    width: float

    @classmethod
    def learn(
        cls, shown: Table, unseen: Table, cohort: Table, cycles: Table | None = None
    ) -> Visibility | None:
        """From exemplars and cohort.

        Args:
            shown: `[E, K]` 1 where an exemplar shows the landmark, 0 where it is not visible, NaN where nobody was asked.
            unseen: Doubts of the landmarks that are not visible on exemplars.
            cohort: `[N, K]` doubts on the cohort's radiographs.
            cycles: `[N, K]` their cycle errors, shares of the side, where they are known.

        Returns:
            None where exemplars do not lack any landmark: nothing is then known.
        """
        if not len(unseen) or not (shown == 0).any():
            return None
        middle, width = float(np.nanmean(cohort)), max(float(np.nanstd(cohort)), 1e-6)
        values, weights = [unseen], [np.ones(len(unseen))]
        if cycles is not None:
            failed = cohort[cycles > np.maximum(FAILED * np.nanmedian(cycles, 0), FAR)]
            values, weights = [*values, failed], [*weights, np.full(len(failed), CYCLE)]
        doubts, counts = np.concatenate(values), np.concatenate(weights)
        total = float((doubts * counts).sum()) + IMAGINED * (middle + USUAL * width)
        away = total / (float(counts.sum()) + IMAGINED)
        return cls(_estimate_shares(shown), middle, max(away, middle + 0.1 * width), width)

    def __call__(self, doubts: Table) -> Table:
        """Probabilities `[K]` that landmarks are visible, from their doubts on one radiograph."""
        odds = ((doubts - self.unseen) ** 2 - (doubts - self.seen) ** 2) / (2 * self.width**2)
        return np.asarray(expit(logit(self.share) + odds))

    def state(self) -> Mapping[str, torch.Tensor]:
        """Tensors that `restore` needs."""
        numbers = np.array([self.seen, self.unseen, self.width])
        return {"visible_share": torch.from_numpy(self.share), "visible_numbers": torch.from_numpy(numbers)}

    @classmethod
    def restore(cls, arrays: Mapping[str, Table]) -> Visibility | None:
        """What `state` described; None where there is nothing of it."""
        if "visible_share" not in arrays:
            return None
        return cls(arrays["visible_share"], *map(float, arrays["visible_numbers"]))


def _estimate_shares(shown: Table) -> Table:
    known = np.isfinite(shown)
    total = np.where(known, shown, 0)
    # One imagined exemplar that shows everything, and half a landmark that is not visible: no share is 0 or 1.
    overall = (total.sum() + 1) / (known.sum() + 1.5)
    return np.asarray((total.sum(0) + POOLED * overall) / (known.sum(0) + POOLED))
