"""Synthetic lateral head radiographs with exactly known landmarks, for demo, tests and documents."""

from __future__ import annotations

from onemark.phantom.anatomy import LANDMARKS
from onemark.phantom.cohort import phantom_name, phantom_radiograph, write_phantom_cohort

__all__ = ["LANDMARKS", "phantom_name", "phantom_radiograph", "write_phantom_cohort"]
