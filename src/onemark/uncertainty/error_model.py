"""Expected errors from what stages say of each other, without a label beside the exemplar's.

Five signals tell how sure a prediction is: how far matcher and detector disagree, how far the landmark lies from where
the others put it, how wide the final answer's peak is, how similar the matcher finds the place and how sure the detector
is of it. What each of them is worth differs from landmark to landmark, so each is compared with its own mean over the
cohort. The error that is usual
for a landmark is taken from three distances that are errors themselves: matcher to detector, exemplar to radiograph and
back to the exemplar, and landmark to the rest of the constellation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.uncertainty.calibration import Calibration
from onemark.uncertainty.constellation import Constellation, left_out

Table = NDArray[np.float64]

LEAST_RADIOGRAPHS = 8
FLOOR = 0.002  # of the mean side; distances below it say little
DISTANCE_SHARE = 0.75  # of the matcher's distance and of the way back that are the final answer's own error
SHAPE_SHARE = 0.375  # of the distance to the constellation; the rest is anatomy
WITHOUT_SHAPE = 4 / 3  # what the other two distances stand for where there is no constellation
WITNESS_FAR = 0.03  # of the mean side: a matcher that is usually so far from the final answer knows nothing
OF_WITNESS = (0, 3)  # the signals that come from it: apart and similar
SLOPE = 0.15  # how much a standard deviation of the signals together changes the logarithm of the error


@dataclass(frozen=True)
class Signals:
    """What stages say of one radiograph, all lengths as shares of its mean side.

    Attributes:
        xy: `[K, 2]` the final answer.
        apart: `[K]` distance between the matcher's and the detector's answers; NaN where there is no detector.
        spread: `[K]` expected distance within the final answer's own peak.
        similar: `[K]` score of the matcher.
        sure: `[K]` score of the detector; NaN where there is none.
    """

    xy: Table
    apart: Table
    spread: Table
    similar: Table
    sure: Table


@dataclass(frozen=True)
class ErrorModel:
    """Expected errors of K landmarks.

    Attributes:
        level: `[K]` the usual error, share of the mean side.
        centre: `[5, K]` mean of each signal over the cohort: apart, shape, spread, similar, sure.
        scale: `[5]` its standard deviation within landmarks; infinite where there is no such signal.
        width: Standard deviation of the signals' mean.
        constellation: Where landmarks lie relative to each other, or None.
        calibration: What corrections taught.
    """

    level: Table
    centre: Table
    scale: Table
    width: float
    constellation: Constellation | None
    calibration: Calibration = field(default_factory=lambda: Calibration(np.empty((0, 0))))

    @classmethod
    def learn(
        cls,
        signals: Sequence[Signals],
        cycle_error: Table | None,
        calibration: Calibration,
        teacher: Table | None = None,
    ) -> ErrorModel | None:
        """From N radiographs of the cohort.

        Args:
            signals: Of each radiograph.
            cycle_error: `[N, K]` how far from the exemplar's landmarks the way back from the final answers ends, share of
                the exemplar's mean side; None where the matcher cannot tell.
            calibration: What corrections taught so far.
            teacher: `[N, K]` how far the final answers lie from those that the detector learned from, where these are
                not the ones in `signals`; share of the mean side, NaN where they are the same.

        Returns:
            None where there are fewer than 8 radiographs.
        """
        if len(signals) < LEAST_RADIOGRAPHS:
            return None
        points = np.stack([one.xy for one in signals])
        apart = np.stack([one.apart for one in signals])
        shape = left_out(points)
        spread = np.stack([one.spread for one in signals])
        back = np.full_like(apart, np.nan) if cycle_error is None else cycle_error
        similar, sure = (np.stack(rows) for rows in zip(*((s.similar, s.sure) for s in signals), strict=True))
        table = np.stack([_log(apart), _log(shape), _log(spread), -similar, -sure], 1)
        centre = _mean(table, 0)
        scale = np.sqrt(_mean((table - centre) ** 2, (0, 2)))
        scale = np.where(scale > 1e-9, scale, np.inf)
        if _mean(apart, (0, 1)) > WITNESS_FAR:
            scale[list(OF_WITNESS)] = np.inf
        width = float(np.std(_together(table, centre, scale)))
        level = _level(
            _mean(apart if teacher is None else teacher, 0), _mean(back, 0), _mean(shape, 0), _mean(spread, 0)
        )
        return cls(level, centre, scale, max(width, 1e-9), Constellation.learn(points), calibration)

    def __call__(self, signals: Signals) -> Table:
        """Expected errors `[K]` of one radiograph, share of its mean side."""
        factors = self.calibration.factors if self.calibration.ratios.size else 1.0
        return np.asarray(factors * self.uncalibrated(signals))

    def uncalibrated(self, signals: Signals) -> Table:
        """The same without what corrections taught."""
        unknown = np.full(len(self.level), np.nan)
        shape = unknown if self.constellation is None else self.constellation.residuals(signals.xy)
        apart, spread = _log(signals.apart), _log(signals.spread)
        raw = np.stack([apart, _log(shape), spread, -signals.similar, -signals.sure])
        total = _together(raw, self.centre, self.scale) / self.width
        return np.asarray(self.level * np.exp(SLOPE * total))

    def state(self) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
        """Tensors and JSON head that `restore` needs."""
        arrays = {"level": self.level, "centre": self.centre, "scale": self.scale}
        arrays |= {"width": np.array([self.width]), "ratios": self.calibration.ratios}
        if self.constellation is not None:
            arrays |= {"mean": self.constellation.mean, "precision": self.constellation.precision}
        return {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in arrays.items()}, {}

    @classmethod
    def restore(cls, tensors: Mapping[str, torch.Tensor]) -> ErrorModel:
        """The expectation that `state` described."""
        a = {key: value.double().numpy() for key, value in tensors.items()}
        shape = Constellation(a["mean"], a["precision"]) if "mean" in a else None
        return cls(a["level"], a["centre"], a["scale"], float(a["width"][0]), shape, Calibration(a["ratios"]))


def _log(distances: Table) -> Table:
    return np.asarray(np.log(distances + FLOOR))


def _mean(values: Table, axis: int | tuple[int, ...]) -> Table:
    """The mean of what is known; 0 where nothing is."""
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0).sum(axis) / np.maximum(known.sum(axis), 1))


def _together(raw: Table, centre: Table, scale: Table) -> Table:
    """Mean over the signals `[..., 5, K]` that are known, each in standard deviations from its landmark's mean."""
    return _mean((raw - centre) / scale[:, None], -2)


def _level(apart: Table, back: Table, shape: Table, spread: Table) -> Table:
    """The usual error of each landmark, from those distances that are known (not 0 throughout)."""
    known = np.stack([apart, back])
    count = (known > 0).sum(0)
    both = 2 * DISTANCE_SHARE * np.where(count > 0, known.sum(0) / np.maximum(count, 1), spread)
    return np.asarray(both + SHAPE_SHARE * shape if shape.any() else both * WITHOUT_SHAPE)
