"""For those who add a method: a conformance suite for stages, and what fits a stage on its own.

Import it in tests only. `check_stage` is to a stage what scikit-learn's `check_estimator` is to an estimator.
"""

from onemark.testing.conformance import check_stage
from onemark.testing.fitting import KnownPoints, fit_stage

__all__ = ["KnownPoints", "check_stage", "fit_stage"]
