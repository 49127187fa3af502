"""Expected errors from what stages say of each other, without a label beside the exemplar's.

What stages say tells two things. Within a landmark, how sure this radiograph's answer is: how wide the peaks of
detector and refiner are, how sure they and the matcher are of the place, how far they disagree, how far the landmark
lies from where the others put it, and how unlike the exemplars' its surroundings look. Each of these signals is
compared with its own mean for that landmark over the cohort. Between landmarks, which ones are hard: the same
signals' means, but for the surroundings'. How large errors are altogether is taken from those signals that are
lengths, as they are on the median radiograph; they are errors of the stages relative to each other, so they grow and
shrink with the true ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.imaging.ellipses import scale_to
from onemark.uncertainty.calibration import Calibration
from onemark.uncertainty.constellation import Constellation, left_out
from onemark.uncertainty.directions import Directions
from onemark.uncertainty.surroundings import Surroundings
from onemark.uncertainty.visibility import Visibility

Table = NDArray[np.float64]

LEAST_RADIOGRAPHS = 3
FLOOR = 0.002  # of the mean side; distances below it say little
SHARES = {"apart": 0.55, "cycle": 0.55, "teacher": 0.6, "matcher_spread": 1.1, "dispute": 1.9}
"""What lengths usually are, as a share of the true error."""
MANY = (
    150  # radiographs from which on a detector's distance counts fully; one that saw few repeats its teacher
)
OTHER_SHARE = 0.6
"""The same for distances to the constellation and widths of peaks, which count where none of those lengths is known."""
WITNESS_FAR = (
    0.03  # of the mean side: a matcher, or a detector, that is usually so far from the other knows nothing
)
ASTRAY = 0.2  # of the mean side: registration whose answers for one place usually lie so far apart has failed
TOO_FAR = {"teacher": WITNESS_FAR, "matcher_spread": ASTRAY, "dispute": ASTRAY}
"""From which mean on a length says nothing of the error: a detector so far from its teacher answers nothing, either."""
FEW_EXEMPLARS = 3  # further exemplars that tell which landmarks are hard as well as signals without labels do
REMEMBERED = 30  # the same for how large errors are: what a network has seen often, it remembers
SLOPE = 0.3  # how much a standard deviation of the signals together changes the logarithm of the error
LEVEL_SLOPE = 0.6  # the same between landmarks, for signals that all say the same

LENGTHS = ("apart", "moved", "shape", "spread", "detector_spread")
UNSURE = ("similar", "sure", "detector_sure")
ROWS = (*LENGTHS, *UNSURE, "unlike")
WEIGHTS = np.array([2.0 if name == "unlike" else 1.0 for name in ROWS])
"""What each signal counts. The surroundings say something of their own; the others have much in common."""
LEAST_UNLIKE = 0.05  # of the channels' squares; differences below it say little
OF_WITNESS = ("apart", "similar")
FORMER_ROWS = {
    len(rows): rows
    for rows in (("apart", "shape", "spread", "similar", "detector_sure"), (*LENGTHS, *UNSURE))
}
"""What error models of earlier versions knew, by how much that is."""


@dataclass(frozen=True)
class Signals:
    """What stages say of one radiograph, all lengths as shares of its mean side; NaN where nobody says it.

    Attributes:
        xy: `[K, 2]` the final answer.
        apart: `[K]` distance between the matcher's and the detector's answers.
        moved: `[K]` distance between the coarse and the refined answer.
        spread: `[K]` expected distance within the last peak.
        detector_spread: `[K]` the same within the detector's peak, where a refiner follows.
        similar: `[K]` score of the matcher.
        sure: `[K]` score of the last peak.
        detector_sure: `[K]` score of the detector, where a refiner follows.
        way: `[K, 2]` from the detector's to the matcher's answer; empty where one of them was not asked.
        peak: `[K, 2, 2]` second moments of the last heatmap, in any unit; empty where there is none.
        unlike: `[K]` how unlike the exemplars the surroundings of the final answer look; empty where nobody compared.
    """

    xy: Table
    apart: Table
    moved: Table
    spread: Table
    detector_spread: Table
    similar: Table
    sure: Table
    detector_sure: Table
    way: Table = field(default_factory=lambda: np.empty((0, 2)))
    peak: Table = field(default_factory=lambda: np.empty((0, 2, 2)))
    unlike: Table = field(default_factory=lambda: np.empty(0))

    def table(self, shape: Table) -> Table:
        """`[9, K]` each signal so that more is worse, distances to the constellation `[K]` among them."""
        lengths = [shape if name == "shape" else getattr(self, name) for name in LENGTHS]
        unlike = np.log(self.unlike + LEAST_UNLIKE) if self.unlike.size else np.full(len(self.xy), np.nan)
        return np.stack([*map(_log, lengths), *(-getattr(self, name) for name in UNSURE), unlike])


@dataclass(frozen=True)
class Labelled:
    """Errors on changed copies of several exemplars.

    Which landmarks are hard, ten exemplars tell as well as can be known (rank correlation of the landmarks' means 0.8).
    How large errors are, they tell the less, the more often a network has seen each of them: copies of ten have 0.7 % of
    the side after 60 views where the true error is 0.9 %, and 0.27 % after 130 where it is 0.71 %; of 150, which are seen
    40 times, 0.41 where it is 0.56 %.

    Attributes:
        ways: `[C, K, 2]` from the true places to the answers on C copies, shares of the mean side; NaN where a landmark
            is not visible.
        exemplars: Of how many radiographs.
    """

    ways: Table
    exemplars: int

    @property
    def errors(self) -> Table:
        """`[C, K]` lengths of the errors."""
        return np.asarray(np.linalg.norm(self.ways, axis=-1))

    @property
    def weight(self) -> float:
        """What the direction of an error counts: copies of one radiograph say the same."""
        return min(1.0, (self.exemplars - 1) / max(len(self.ways), 1))

    def shrink_to(self, level: Table) -> Table:
        """The usual errors `[K]`: these, as far as exemplars are many, and `level`, which knows no label."""
        known, more = np.isfinite(self.errors).any(0), self.exemplars - 1
        if not known.any():
            return level
        seen = np.log(np.maximum(_mean(self.errors, 0), FLOOR / 2))[known]
        free = np.log(level[known])
        hard = _between(free - free.mean(), seen - seen.mean(), more / (more + FEW_EXEMPLARS))
        shrunk = level.copy()
        shrunk[known] = np.exp(hard + _between(free.mean(), seen.mean(), more / (more + REMEMBERED)))
        return shrunk


@dataclass(frozen=True)
class ErrorModel:
    """Expected errors of K landmarks.

    Attributes:
        level: `[K]` the usual error, share of the mean side.
        centre: `[9, K]` mean of each signal over the cohort, in the order of `ROWS`.
        scale: `[9]` its standard deviation within landmarks; infinite where there is no such signal.
        width: Standard deviation of the signals' mean.
        constellation: Where landmarks lie relative to each other, or None.
        calibration: What corrections taught.
        directions: Which way errors lie; None in runs of earlier versions.
        visibility: How probable it is that a landmark is visible; None where exemplars show all, or do not tell.
        surroundings: What exemplars look like around their landmarks; None in runs of earlier versions.
    """

    level: Table
    centre: Table
    scale: Table
    width: float
    constellation: Constellation | None
    calibration: Calibration = field(default_factory=lambda: Calibration(np.empty((0, 0))))
    directions: Directions | None = None
    visibility: Visibility | None = None
    surroundings: Surroundings | None = None

    @classmethod
    def learn(
        cls,
        signals: Sequence[Signals],
        calibration: Calibration,
        lengths: Mapping[str, Table] | None = None,
        labelled: Labelled | None = None,
        ways: Sequence[Table] = (),
        seen: int = MANY,
    ) -> ErrorModel | None:
        """From N radiographs of the cohort.

        Args:
            signals: Of each radiograph.
            calibration: What corrections taught so far.
            lengths: Lengths `[N, K]` that only the cohort's radiographs have, share of the mean side: `cycle`, how far
                from the exemplar's landmarks the way back from the final answers ends; `teacher`, how far the detector's
                answers lie from those that it learned from; `matcher_spread`, how far the matcher's own answers for a
                place lie apart; `dispute`, how far they lay apart before they agreed.
            labelled: What the exemplars tell, where there are several.
            ways: Disagreements `[K, 2]` between detector and registration, where only some radiographs have them.
            seen: How many radiographs the detector learned from.

        Returns:
            None where there are fewer than 3 radiographs.
        """
        if len(signals) < LEAST_RADIOGRAPHS:
            return None
        points = np.stack([one.xy for one in signals])
        shapes = left_out(points)
        table = np.stack([one.table(shape) for one, shape in zip(signals, shapes, strict=True)])
        centre = _mean(table, 0)
        scale = np.sqrt(_mean((table - centre) ** 2, (0, 2)))
        scale = np.where(scale > 1e-9, scale, np.inf)
        apart = np.stack([one.apart for one in signals])
        without = OF_WITNESS if _mean(apart, (0, 1)) > WITNESS_FAR else ()
        scale[[ROWS.index(name) for name in without]] = np.inf
        width = float(np.std(_together(table, centre, scale)))
        known = {
            name: rows
            for name, rows in (lengths or {}).items()
            if _mean(rows, (0, 1)) <= TOO_FAR.get(name, np.inf)
        }
        level = _level(signals, shapes, known, without, seen)
        level = level if labelled is None else labelled.shrink_to(level)
        hints = [*ways, *(one.way for one in signals if one.way.size and not without)]
        directions = Directions.learn(points.shape[1], hints, *_errors_of(labelled))
        shape = Constellation.learn(points)
        return cls(level, centre, scale, max(width, 1e-9), shape, calibration, directions)

    def __call__(self, signals: Signals) -> Table:
        """Expected errors `[K]` of one radiograph, share of its mean side."""
        return np.asarray(self._factors * self.uncalibrated(signals))

    def uncalibrated(self, signals: Signals) -> Table:
        """The same without what corrections taught."""
        return np.asarray(self.level * np.exp(SLOPE * self.doubt(signals)))

    def radii(self, errors: Table, coverage: float) -> Table:
        """Radii `[K]` of discs with a promise (`Calibration.conformal_radii`), share of the mean side.

        Args:
            errors: `[K]` the expected errors of the radiograph.
            coverage: The share of true points that they are to hold.
        """
        doubts = errors / (self._factors * self.level)
        return np.asarray(self.level * self.calibration.conformal_radii(doubts, coverage))

    @property
    def _factors(self) -> Table:
        """`[K]` what corrections multiply expected errors by."""
        return self.calibration.factors if self.calibration.ratios.size else np.ones(len(self.level))

    def doubt(self, signals: Signals) -> Table:
        """How doubtful the answers `[K]` are, in standard deviations of all answers from their landmarks' means."""
        unknown = np.full(len(self.level), np.nan)
        shape = unknown if self.constellation is None else self.constellation.residuals(signals.xy)
        return _together(signals.table(shape), self.centre, self.scale) / self.width

    def ellipses(self, signals: Signals, errors: Table) -> Table:
        """Ellipses `[K, 3]` of one radiograph in its pixels' frame: `onemark.imaging.ellipses` explains them.

        Args:
            signals: Of the radiograph.
            errors: `[K]` the expected errors, which are the mean distances of the ellipses.
        """
        directions = self.directions or Directions.unknown(len(errors))
        directions = directions.add(self.calibration.ways)
        # A matcher that knows nothing disagrees in some direction, too.
        way = signals.way if np.isfinite(self.scale[ROWS.index("apart")]) else np.empty((0, 2))
        return scale_to(directions.covariances(way, signals.peak), errors)

    def state(self) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
        """Tensors and JSON head that `restore` needs."""
        arrays = {"level": self.level, "centre": self.centre, "scale": self.scale}
        arrays |= {"width": np.array([self.width]), "ratios": self.calibration.ratios}
        if self.constellation is not None:
            arrays |= {"mean": self.constellation.mean, "precision": self.constellation.precision}
        arrays |= {"angles": self.calibration.angles, "doubts": self.calibration.doubts}
        if self.directions is not None:
            arrays["directions"] = self.directions.moments
        tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in arrays.items()}
        for part in (self.visibility, self.surroundings):
            tensors |= {} if part is None else part.state()
        return tensors, {}

    @classmethod
    def restore(cls, tensors: Mapping[str, torch.Tensor]) -> ErrorModel:
        """The error model that `state` described."""
        a = {key: value.double().numpy() for key, value in tensors.items()}
        shape = Constellation(a["mean"], a["precision"]) if "mean" in a else None
        centre, scale = a["centre"], a["scale"]
        if len(scale) in FORMER_ROWS:
            rows = [ROWS.index(name) for name in FORMER_ROWS[len(scale)]]
            centre, scale = np.zeros((len(ROWS), len(a["level"]))), np.full(len(ROWS), np.inf)
            centre[rows], scale[rows] = a["centre"], a["scale"]
        directions = Directions(a["directions"]) if "directions" in a else None
        calibration = Calibration(
            a["ratios"], *(a.get(name, np.empty((0, 0))) for name in ("angles", "doubts"))
        )
        width, visibility = float(a["width"][0]), Visibility.restore(a)
        around = Surroundings.restore(a)
        return cls(a["level"], centre, scale, width, shape, calibration, directions, visibility, around)


def _errors_of(labelled: Labelled | None) -> tuple[Table, float]:
    """The labelled errors `[C, K, 2]` and what each counts for the directions."""
    return (np.empty((0, 0, 2)), 0.0) if labelled is None else (labelled.ways, labelled.weight)


def _between(here: Table | float, there: Table | float, share: float) -> Table:
    """The point that `share` of the way from one to the other leads to."""
    return np.asarray(share * there + (1 - share) * here)


def _log(distances: Table) -> Table:
    return np.asarray(np.log(distances + FLOOR))


def _mean(values: Table, axis: int | tuple[int, ...]) -> Table:
    """The mean of what is known; 0 where nothing is."""
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0).sum(axis) / np.maximum(known.sum(axis), 1))


def _together(raw: Table, centre: Table, scale: Table) -> Table:
    """Weighted mean over the signals `[..., 9, K]` that are known, in standard deviations from the landmarks' means."""
    from_mean = (raw - centre) / scale[:, None]
    weights = WEIGHTS[:, None] * np.isfinite(from_mean)
    return np.asarray((weights * np.nan_to_num(from_mean)).sum(-2) / np.maximum(weights.sum(-2), 1))


def _level(
    signals: Sequence[Signals],
    shapes: Table,
    lengths: Mapping[str, Table],
    without: Sequence[str],
    seen: int,
) -> Table:
    """The usual error `[K]` of each landmark.

    Args:
        signals: Of N radiographs.
        shapes: `[N, K]` distances to the constellation.
        lengths: Further lengths `[N, K]`.
        without: Signals that say nothing.
        seen: How many radiographs the detector learned from.
    """
    by_name = {one.name: np.stack([getattr(s, one.name) for s in signals]) for one in fields(Signals)}
    by_name |= {"shape": shapes, **lengths}
    known = {name: by_name[name] for name in (*LENGTHS, *lengths) if name not in without}
    known = {name: rows for name, rows in known.items() if _mean(rows, (0, 1)) > 0}
    shares = {name: share for name, share in SHARES.items() if name in known}
    shares = shares or {name: OTHER_SHARE for name in ("shape", "spread") if name in known}
    if "teacher" in shares:
        shares.pop("apart", None)  # the same distance, which counts once
    overall = [_usual(known[name]) / share for name, share in shares.items()]
    weights = [min(1.0, 2 * seen / (seen + MANY)) if name == "teacher" else 1.0 for name in shares]
    unsure = [-by_name[name] for name in UNSURE if name not in without and np.isfinite(by_name[name]).any()]
    relative = np.exp(LEVEL_SLOPE * _hardness([*map(_log, known.values()), *unsure]))
    usual = np.exp(np.average(np.log(overall), weights=weights)) if overall else FLOOR
    return np.asarray(usual * relative / relative.mean())


def _usual(lengths: Table) -> float:
    """What lengths `[N, K]` are on most radiographs: one on which a stage has failed altogether does not count more."""
    said = lengths[np.isfinite(lengths).any(1)]
    return float(np.median(np.nanmean(said, 1)))


def _hardness(tables: Sequence[Table]) -> Table:
    """How hard each landmark is `[K]`, in standard deviations: the mean of signals `[N, K]`.

    A signal counts as far as its means differ by more than chance.
    """
    total, weights = np.zeros(tables[0].shape[1]), 0.0
    for table in tables:
        means, known = _mean(table, 0), np.isfinite(table).any(0)
        between = float(means[known].var()) if known.any() else 0.0
        chance = float(_mean((table - means) ** 2, (0, 1))) / len(table)
        if between > 1e-12:
            weight = max(0.0, 1 - chance / between)
            total += np.where(known, weight * (means - means[known].mean()) / np.sqrt(between), 0.0)
            weights += weight
    return total / max(weights, 1e-9)
