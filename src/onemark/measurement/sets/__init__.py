"""Sets of measurements: those that come with onemark, and the reader of TOML files."""

from __future__ import annotations

from onemark.measurement.sets.reading import SHIPPED, load_set
from onemark.measurement.sets.schema import Class, Measurement, MeasurementSet, Norm

__all__ = ["SHIPPED", "Class", "Measurement", "MeasurementSet", "Norm", "load_set"]
