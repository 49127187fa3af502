"""Measurements in the HTML report of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from onemark.data.cohort import open_cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.evaluation.report import write_report
from onemark.measurement.report import add_measurements
from onemark.phantom import write_phantom_cohort
from onemark.types import LandmarkSet


def test_the_report_shows_what_the_landmarks_allow(tmp_path: Path):
    truth = write_phantom_cohort(tmp_path / "xrays", 3)
    cohort = open_cohort(tmp_path / "xrays")
    predictions = LandmarkTable.from_sets(
        replace(one, score=np.ones(len(one.names)), expected_error=np.full(len(one.names), 1.5))
        for one in truth
    )
    placed = LandmarkTable.from_sets([truth[truth.images[0]]])
    addition = add_measurements(cohort, predictions, placed)
    assert addition is not None
    write_report(tmp_path / "report.html", cohort, predictions, exemplars=placed, addition=addition)
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "S-N" in html
    assert "SNA" not in html  # the phantom has no point A
    assert html.count("<summary>measurements</summary>") == 3
    assert html.count("z-bar") > 3


def test_landmarks_of_another_kind_add_nothing(tmp_path: Path):
    write_phantom_cohort(tmp_path / "xrays", 2)
    cohort = open_cohort(tmp_path / "xrays")
    table = LandmarkTable.from_sets(
        [LandmarkSet(cohort.names[0], ("hip", "knee"), np.array([[9.0, 9], [20, 30]]))]
    )
    assert add_measurements(cohort, table) is None
