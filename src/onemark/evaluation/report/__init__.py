"""The results to look at: a self-contained HTML report, and a picture of every radiograph."""

from __future__ import annotations

from onemark.evaluation.report.overlays import write_overlays
from onemark.evaluation.report.page import Addition, write_report

__all__ = ["Addition", "write_overlays", "write_report"]
