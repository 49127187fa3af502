"""What corrections teach about expected errors: a factor for each landmark, and conformal regions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from onemark.uncertainty.directions import from_angles

Table = NDArray[np.float64]
Rows = Sequence[Sequence[float | None]]
"""Rows of one number for each landmark, one row for each radiograph; None where a landmark is not visible."""

DOUBT = 5.0
"""Imagined errors that are just as expected, against which all real ones together are weighed."""
LANDMARK_DOUBT = 3.0
"""Imagined errors of a landmark that are as the others', against which its real ones are weighed."""
DISCS_FOLLOW = 0.5
"""Power of a radiograph's doubt that the radius of a disc with a promise follows.

Ranking wants all of it, but then a few large discs cost more than the small ones save: their mean area is a half larger
than with this power (docs/benchmarks/expected-error.md).
"""


@dataclass(frozen=True)
class Corrections:
    """What corrections showed, as the run keeps it.

    Attributes:
        ratios: Rows of actual to expected error, one for each corrected radiograph.
        angles: Rows of the errors' directions on upright radiographs, degrees from +x (right) towards +y (down).
        doubts: Rows of the expected errors as multiples of the landmarks' usual ones.
        usual: Rows of these usual ones, shares of the mean side.
    """

    ratios: tuple[tuple[float | None, ...], ...] = ()
    angles: tuple[tuple[float | None, ...], ...] = ()
    doubts: tuple[tuple[float | None, ...], ...] = ()
    usual: tuple[tuple[float | None, ...], ...] = ()

    def relative_to(self, level: Table) -> Calibration:
        """The errors in relation to what another error model expects.

        A model that has learned from corrections expects other errors than the one that was corrected. It is judged by
        the same errors, which are known, and not by the same ratios; what it has become better by is not counted.

        Args:
            level: `[K]` the usual errors of that model, shares of the mean side.
        """
        found = Calibration.of(self.ratios, len(level), self.angles, self.doubts)
        usual = _to_table(self.usual, len(level))
        if not len(usual):
            return found
        ratios = found.ratios.copy()
        ratios[-len(usual) :] *= usual / level
        return replace(found, ratios=ratios)


def to_row(values: Table) -> tuple[float | None, ...]:
    """Numbers `[K]` as JSON holds them, None where one is unknown."""
    return tuple(float(value) if math.isfinite(value) else None for value in values)


@dataclass(frozen=True)
class Calibration:
    """Ratios of actual to expected error on radiographs that a person corrected, before the model learned from them.

    Attributes:
        ratios: `[N, K]`, N corrected radiographs; NaN where a landmark was not visible.
        angles: `[M, K]` directions of the errors on upright radiographs, in degrees from +x (right) towards +y (down);
            earlier versions did not note them, so M may be less than N.
        doubts: `[L, K]` the expected errors of the last L of them as multiples of the landmarks' usual ones; earlier
            versions did not note them, either.
    """

    ratios: Table
    angles: Table = field(default_factory=lambda: np.empty((0, 0)))
    doubts: Table = field(default_factory=lambda: np.empty((0, 0)))

    @classmethod
    def of(cls, ratios: Rows, landmarks: int, angles: Rows = (), doubts: Rows = ()) -> Calibration:
        """From rows as JSON holds them. Rows of another number of landmarks are of no use; none is no correction."""
        return cls(*(_to_table(rows, landmarks) for rows in (ratios, angles, doubts)))

    @property
    def ways(self) -> Table:
        """`[M, K, 2]` unit vectors of the errors."""
        return from_angles(self.angles)

    @property
    def factors(self) -> NDArray[np.float64]:
        """`[K]` what to multiply expected errors by: a landmark's mean ratio, shrunk to all landmarks' and that to 1."""
        return _factors(self.ratios)

    def conformal_factor(self, coverage: float = 0.9) -> float | None:
        """The multiple of the expected error within which a share `coverage` of true points lies (split conformal).

        Each radiograph is judged with the factors that the other ones give (cross-conformal). Exact for radiographs
        that are drawn at random; those a person picks as the worst make it larger. Landmarks of one radiograph are
        counted as if they were independent.

        Returns:
            The multiple, or None while there are too few corrections for such a coverage.

        Raises:
            ValueError: a coverage outside 0...1.
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage must lie between 0 and 1, not {coverage}")
        rest = [self.ratios[n] / _factors(np.delete(self.ratios, n, 0)) for n in range(len(self.ratios))]
        found = _conformal_quantile(np.concatenate([np.empty(0), *rest]), coverage)
        return found if math.isfinite(found) else None

    def conformal_radii(self, doubts: Table, coverage: float = 0.9) -> Table:
        """Radii of discs that hold a share of true points with a promise (Mondrian split conformal prediction).

        Each landmark is a group of its own. If the corrected radiographs and a new one are exchangeable, such as a random
        choice of the cohort, its true place lies in its disc with a probability of at least `coverage`, and, corrected on
        n radiographs, of at most `coverage + 1 / (n + 1)`.

        The promise is for the model that was corrected, and on average over the choice of the corrected radiographs: for
        one choice, the coverage of a landmark's disc has a Beta(k, n + 1 - k) distribution, k = ceil((n + 1) coverage).

        Args:
            doubts: `[..., K]` the expected errors of new radiographs as multiples of the landmarks' usual ones.
            coverage: The share, between 0 and 1.

        Returns:
            `[..., K]` radii as multiples of the landmarks' usual expected errors; infinite where there are fewer
            corrections than `least_corrections` says: then nothing is promised.

        Raises:
            ValueError: a coverage outside 0...1.
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage must lie between 0 and 1, not {coverage}")
        known = len(self.doubts)
        if not known:
            return np.full(doubts.shape, math.inf)
        scores = self.ratios[-known:] * self.doubts ** (1 - DISCS_FOLLOW)
        reach = np.array([_conformal_quantile(one, coverage) for one in scores.T])
        # An exemplar has no doubt, and infinity times nothing is no number.
        return np.where(np.isinf(reach), math.inf, np.where(np.isinf(reach), 0, reach) * doubts**DISCS_FOLLOW)


def least_corrections(coverage: float) -> int:
    """How many corrected radiographs it takes to promise anything: 4 for 80 %, 9 for 90 %, 19 for 95 %."""
    return math.ceil(round(coverage / (1 - coverage), 9))


def _conformal_quantile(scores: Table, coverage: float) -> float:
    """The value that a further score exceeds with a probability of at most `1 - coverage`; scores `[N]`, NaN unknown."""
    known = np.sort(scores[np.isfinite(scores)])
    rank = math.ceil(round((len(known) + 1) * coverage, 9))
    return float(known[rank - 1]) if rank <= len(known) else math.inf


def _to_table(rows: Rows, landmarks: int) -> Table:
    fitting = [row for row in rows if len(row) == landmarks]
    table = [[math.nan if value is None else value for value in row] for row in fitting]
    return np.array(table, np.float64).reshape(len(table), landmarks)


def _factors(ratios: Table) -> NDArray[np.float64]:
    known = np.isfinite(ratios)
    total, count = np.where(known, ratios, 0).sum(0), known.sum(0)
    overall = (total.sum() + DOUBT) / (count.sum() + DOUBT)
    return np.asarray((total + LANDMARK_DOUBT * overall) / (count + LANDMARK_DOUBT))
