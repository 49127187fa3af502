"""Intervals of measurements from corrected radiographs, which ask nothing of how the errors of landmarks hang together.

The errors of neighbouring landmarks go together, and the mean error of a landmark is not 0. So intervals from the points'
covariances are too wide for some angles and too narrow for others. Where a person corrected n radiographs, the errors of
the measurement itself are known. Of their ratios |predicted - corrected| / standard error, the one of rank
ceil((n + 1) coverage), times the standard error, is the half width (split conformal prediction, Papadopoulos et al., ECML
2002; Lei et al., JASA 2018). If the corrected radiographs are a random choice, such intervals hold at least this share
of further true values, whatever the errors' distribution, and at most 1 / (n + 1) more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onemark.evaluation.matching import match_images
from onemark.measurement.formulas.duals import Floats
from onemark.types import LandmarkSet, UserError

if TYPE_CHECKING:
    import pandas

CORRECTED = "corrected"
_TURN = 360.0


def find_placed(
    predictions: Iterable[LandmarkSet], corrected: Iterable[LandmarkSet]
) -> tuple[LandmarkSet, ...]:
    """The sets that a person placed, under the names that the predictions give their images.

    Sets with expected errors are a model's, so they do not count; nor do images without predictions.
    """
    ours = {one.image: one for one in predictions}
    theirs = {one.image: one for one in corrected if not np.isfinite(one.expected_error).any()}
    pairs = match_images(ours, theirs).pairs
    return tuple(replace(theirs[image], image=pairs[image]) for image in theirs if image in pairs)


def least_corrections(coverage: float) -> int:
    """How many corrected radiographs an interval of this coverage takes."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def fit_to_corrections(
    frame: pandas.DataFrame, corrected: pandas.DataFrame, coverage: float
) -> pandas.DataFrame:
    """The measurements of predictions, with intervals as the corrected radiographs among them say.

    Args:
        frame: As `onemark.measurement.table.measure` returns it, of predictions.
        corrected: The same of corrected radiographs.
        coverage: Share that the intervals hold.

    Returns:
        A frame in which `interval` is `corrected` wherever `low` and `high` come from corrections. A measurement that
        too few of them have keeps its interval.

    Raises:
        UserError: no measurement has enough corrections for this coverage.
    """
    reach = frame["measurement"].map(_find_factors(frame, corrected, coverage)).astype(float)
    reach *= frame["standard_error"]
    known, found = np.isfinite(reach), frame.copy()
    found.loc[known, "low"] = (frame["value"] - reach)[known]
    found.loc[known, "high"] = (frame["value"] + reach)[known]
    found.loc[known, "interval"] = CORRECTED
    return found


def _find_factors(frame: pandas.DataFrame, corrected: pandas.DataFrame, coverage: float) -> dict[str, float]:
    """Measurement -> standard errors in half an interval; infinite where too few radiographs were corrected."""
    keys = ["image", "measurement"]
    both = frame.merge(corrected[[*keys, "value"]], on=keys, suffixes=("", "_true"))
    off = (both["value"] - both["value_true"]).abs()
    off = off.where(both["unit"] != "deg", np.minimum(off, (_TURN - off).abs()))
    ratios = (off / both["standard_error"]).groupby(both["measurement"])
    factors = {str(name): _rank(some.dropna().to_numpy(float), coverage) for name, some in ratios}
    if np.isfinite(list(factors.values())).any():
        return factors
    raise UserError(
        f"an interval of {coverage:g} takes {least_corrections(coverage)} corrected radiographs with expected errors, "
        f"and there are {both['image'].nunique()}; correct more of them, or ask for a smaller coverage"
    )


def _rank(ratios: Floats, coverage: float) -> float:
    rank = math.ceil((len(ratios) + 1) * coverage - 1e-9)
    return float(np.sort(ratios)[rank - 1]) if rank <= len(ratios) else math.inf
