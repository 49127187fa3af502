"""Numbers of agreement between readings: intraclass correlation, Dahlberg's error, limits of agreement, tests of bias.

Own code, since the well-kept library (pingouin) is licensed under the GPL and brings four large packages; the tests hold
it to the published example of Shrout and Fleiss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onemark.measurement.formulas.geometry import unwrapped

Floats = NDArray[np.float64]
CHI2_95 = 5.991464547107979
"""95 % point of the chi-squared distribution with two degrees of freedom."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Differences:
    """Differences `b - a` of two observers in one quantity.

    Attributes:
        count: Number of pairs.
        mean: Mean difference, the bias.
        sd: Standard deviation of the differences.
        dahlberg: Dahlberg's error, sqrt(sum d^2 / 2 n).
        low: Lower limit of agreement, mean - 1.96 sd (Bland and Altman 1986).
        high: Upper limit.
        limit_error: Standard error of both limits (Bland and Altman 1999, section 2).
        bias_p: Two-sided p-value of no bias, paired t-test.
        trend_p: p-value of no change of the difference with the size of what is measured.
    """

    count: int
    mean: float
    sd: float
    dahlberg: float
    low: float
    high: float
    limit_error: float
    bias_p: float
    trend_p: float


def intraclass(ratings: Floats, coverage: float = 0.95) -> tuple[Estimate, Estimate]:
    """ICC(2,1), agreement of single readings, and ICC(3,1), their consistency.

    Shrout and Fleiss 1979 (Psychological Bulletin 86:420-428); the interval of ICC(2,1) after McGraw and Wong 1996.

    Args:
        ratings: `[N, O]` of N radiographs by O observers; rows with a NaN are left out.
        coverage: Of the intervals.

    Returns:
        Both with their intervals; NaN with fewer than two radiographs or observers.
    """
    ratings = ratings[np.isfinite(ratings).all(axis=1)]
    n, k = ratings.shape
    nothing = Estimate(math.nan, math.nan, math.nan)
    if n < 2 or k < 2:
        return nothing, nothing
    between, judges, error = _mean_squares(ratings)
    if between + judges + error == 0:
        return nothing, nothing
    return _agreement(between, judges, error, n, k, coverage), _consistency(between, error, n, k, coverage)


def compare(a: Floats, b: Floats, *, is_angle: bool = False) -> Differences:
    """Two observers' readings `[N]` of one quantity; pairs with a NaN are left out.

    Args:
        a: The first one's.
        b: The second one's.
        is_angle: Whether they are degrees, of which 179 and -179 lie 2 apart.
    """
    paired = np.isfinite(a) & np.isfinite(b)
    difference = unwrapped((b - a)[paired], 0.0) if is_angle else (b - a)[paired]
    size = a[paired] + difference / 2
    count = len(difference)
    if not count:
        return Differences(0, *[math.nan] * 8)
    mean = float(difference.mean())
    sd = float(difference.std(ddof=1)) if count > 1 else math.nan
    dahlberg = float(np.sqrt((difference**2).sum() / (2 * count)))
    reach = 1.96 * sd
    limit_error = sd * math.sqrt(1 / count + 1.96**2 / (2 * (count - 1))) if count > 1 else math.nan
    tests = _test(difference, size) if count > 2 and sd > 0 else (math.nan, math.nan)
    return Differences(count, mean, sd, dahlberg, mean - reach, mean + reach, limit_error, *tests)


def _test(difference: Floats, size: Floats) -> tuple[float, float]:
    """p values of a bias, and of a difference that grows with the size."""
    from scipy import stats

    bias = float(stats.ttest_1samp(difference, 0.0).pvalue)
    trend = float(stats.pearsonr(size, difference).pvalue) if size.std() > 0 else math.nan
    return bias, trend


def hotelling(difference: Floats) -> float:
    """p-value of no bias in the plane, from differences `[N, 2]`: Hotelling's T squared of one sample.

    NaN with fewer than four pairs, or when all differences lie on one line.
    """
    from scipy import stats

    n = len(difference)
    if n < 4:
        return math.nan
    covariance = np.cov(difference.T)
    if np.linalg.det(covariance) <= 1e-12 * np.trace(covariance) ** 2:
        return math.nan
    mean = difference.mean(axis=0)
    squared = n * float(mean @ np.linalg.solve(covariance, mean))
    return float(stats.f.sf(squared * (n - 2) / (2 * (n - 1)), 2, n - 2))


def scatter_ellipse(difference: Floats) -> tuple[float, float, float]:
    """The ellipse that holds 95 % of differences `[N, 2]` about their mean, if they are normal.

    Returns:
        Half the major axis, half the minor axis, and the angle of the major axis in degrees from +x towards +y, in
        [0, 180); NaN with fewer than three pairs.
    """
    if len(difference) < 3:
        return math.nan, math.nan, math.nan
    values, vectors = np.linalg.eigh(np.cov(difference.T))
    minor, major = np.sqrt(np.maximum(values, 0) * CHI2_95)
    degrees = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1])) % 180.0
    return float(major), float(minor), degrees


def holm(p_values: Sequence[float]) -> Floats:
    """p-values corrected for their number (Holm 1979); NaN stays NaN and does not count."""
    p = np.asarray(p_values, float)
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known])]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _mean_squares(ratings: Floats) -> tuple[float, float, float]:
    n, k = ratings.shape
    grand = ratings.mean()
    rows, columns = ratings.mean(axis=1), ratings.mean(axis=0)
    between = k * float(((rows - grand) ** 2).sum()) / (n - 1)
    judges = n * float(((columns - grand) ** 2).sum()) / (k - 1)
    rest = ratings - rows[:, None] - columns + grand
    return between, judges, float((rest**2).sum()) / ((n - 1) * (k - 1))


def _agreement(between: float, judges: float, error: float, n: int, k: int, coverage: float) -> Estimate:
    from scipy import stats

    value = (between - error) / (between + (k - 1) * error + k * (judges - error) / n)
    if error == 0:
        return Estimate(value, math.nan, math.nan)
    ratio, rest = judges / error, n * (1 + (k - 1) * value) - k * value
    freedom = (k - 1) * (n - 1) * (k * value * ratio + rest) ** 2
    freedom /= (n - 1) * (k * value * ratio) ** 2 + rest**2
    share = 0.5 + coverage / 2
    down, up = stats.f.ppf(share, n - 1, freedom), stats.f.ppf(share, freedom, n - 1)
    mixed = k * judges + (k * n - k - n) * error
    with np.errstate(invalid="ignore"):  # the degrees of freedom can be so few that there is no interval
        low = n * (between - down * error) / (down * mixed + n * between)
        high = n * (up * between - error) / (mixed + n * up * between)
    return Estimate(value, float(low), float(high))


def _consistency(between: float, error: float, n: int, k: int, coverage: float) -> Estimate:
    from scipy import stats

    if error == 0:
        return Estimate(1.0, math.nan, math.nan)
    share, ratio = 0.5 + coverage / 2, between / error
    low = ratio / stats.f.ppf(share, n - 1, (n - 1) * (k - 1))
    high = ratio * stats.f.ppf(share, (n - 1) * (k - 1), n - 1)
    ends = [float((one - 1) / (one + k - 1)) for one in (low, high)]
    return Estimate((ratio - 1) / (ratio + k - 1), *ends)
