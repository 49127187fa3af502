"""What a review of the predictions would leave of their errors, as a chart of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from onemark.evaluation.metrics import Scores
from onemark.evaluation.report.charts import draw_line_chart
from onemark.evaluation.review import Errors, measure_left, plan_review
from onemark.types import LandmarkSet

TENTH = 0.1
"""Share of the landmarks whose review the caption speaks of."""


@dataclass(frozen=True)
class Review:
    """The error left against landmarks reviewed.

    Attributes:
        chart: The curve of the order that pays most.
        said: What the first tenth of the review leaves, and what other orders would.
    """

    chart: Markup
    said: str


def draw_review(predictions: Sequence[LandmarkSet], scores: Scores | None) -> Review | None:
    """The curve of these predictions: true where the truth is known, else estimated from the expected errors.

    Args:
        predictions: Sets of the same landmarks with expected errors in one unit.
        scores: Their true errors.

    Returns:
        None where there are no expected errors.
    """
    known = [one for one in predictions if one.expected_error.size]
    if not known:
        return None
    expected = np.stack([np.where(one.visible, one.expected_error, np.nan) for one in known])
    true = expected if scores is None else _read_errors(known, scores)
    # Landmarks without a truth can be no part of a curve of true errors.
    expected = np.where(np.isfinite(true), expected, np.nan)
    curve = measure_left(plan_review(expected), true)
    if len(curve) < 2:
        return None
    what = "error" if scores is not None else "expected error"
    chart = draw_line_chart(curve[:, [0, 2]] * (1, 100), "landmarks reviewed", f"{what} left, %", top=100.0)
    at = max(1, round(TENTH * (len(curve) - 1)))
    count, left = len(curve) - 1, 100 * curve[at, 2]
    said = (
        f"Reviewing the first {at} landmarks in the order that pays most leaves {left:.0f} % of the {what} and takes "
        f"about {curve[at, 1]:.0f} minutes; as many random ones leave {100 - 100 * at / count:.0f} %"
    )
    if scores is not None:
        best = measure_left(plan_review(true), true)
        said += f", and the best order {100 * best[at, 2]:.0f} %"
    return Review(chart, said + ".")


def _read_errors(sets: Sequence[LandmarkSet], scores: Scores) -> Errors:
    """True errors `[N, K]`; NaN where the truth is unknown."""
    errors: Mapping[tuple[str, str], float] = {
        (str(image), str(name)): error
        for image, name, error in zip(scores.image, scores.landmark, scores.error.tolist(), strict=True)
    }
    return np.array([[errors.get((one.image, name), np.nan) for name in one.names] for one in sets])
