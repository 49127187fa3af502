"""How wrong each landmark may be: expected errors, learned without labels and recalibrated with every correction."""

from onemark.expect.calibration import Calibration
from onemark.expect.expectation import Expectation, Signals

__all__ = ["Calibration", "Expectation", "Signals"]
