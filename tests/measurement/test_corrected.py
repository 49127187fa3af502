"""Intervals that corrected radiographs promise."""

from __future__ import annotations

import numpy as np
import pytest

from onemark.measurement.table import measure
from onemark.types import LandmarkSet, UserError

from .faces import FACE, face

NAMES = [f"{k}.png" for k in range(12)]
SHIFTS = np.arange(12.0)


def predictions() -> list[LandmarkSet]:
    return [face(name, error=1.0) for name in NAMES]


def corrections(count: int) -> list[LandmarkSet]:
    """Sella lies further back on every radiograph, by 0, 1, 2 ... mm."""
    moved = [FACE - np.eye(len(FACE))[0][:, None] * (shift, 0) for shift in SHIFTS[:count]]
    return [face(name, xy) for name, xy in zip(NAMES, moved, strict=False)]


def test_the_half_width_is_the_error_of_that_rank() -> None:
    before = measure(predictions(), coverage=0.8, spacing_mm=1.0)
    found = measure(predictions(), coverage=0.8, spacing_mm=1.0, corrected=corrections(10))
    true = measure(corrections(10), spacing_mm=1.0)
    for name in ("S-N", "SNA"):
        of_all, of_true = (f[f["measurement"] == name].set_index("image") for f in (found, true))
        errors = (of_all["value"] - of_true["value"]).abs().dropna().sort_values()
        half = (of_all["high"] - of_all["low"]) / 2
        # Of 10 errors the 9th in size is ceil(11 x 0.8).
        assert half.to_numpy() == pytest.approx(np.full(12, errors.iloc[8]))
        assert set(of_all["interval"]) == {"corrected"}
    assert found["value"].equals(before["value"])
    assert found["standard_error"].equals(before["standard_error"])


def test_too_few_corrections_are_named_with_the_way_out() -> None:
    with pytest.raises(UserError, match=r"0.95 takes 19 corrected radiographs .* there are 10; correct more"):
        measure(predictions(), spacing_mm=1.0, corrected=corrections(10))
    for coverage, enough in ((0.8, 4), (0.9, 9)):
        measure(predictions(), coverage=coverage, spacing_mm=1.0, corrected=corrections(enough))
        with pytest.raises(UserError, match=f"takes {enough} "):
            measure(predictions(), coverage=coverage, spacing_mm=1.0, corrected=corrections(enough - 1))


def test_predictions_and_other_radiographs_are_no_corrections() -> None:
    before = measure(predictions(), spacing_mm=1.0)
    others = [*predictions(), face("elsewhere.png")]
    assert measure(predictions(), spacing_mm=1.0, corrected=others).equals(before)


def test_images_are_matched_by_the_rule_for_names() -> None:
    elsewhere = [LandmarkSet(f"x/{one.image}", one.names, one.xy) for one in corrections(10)]
    first, second = (
        measure(predictions(), coverage=0.8, spacing_mm=1.0, corrected=c)
        for c in (corrections(10), elsewhere)
    )
    assert first.equals(second)


def test_a_measurement_that_was_corrected_too_seldom_keeps_its_interval() -> None:
    hidden = [
        LandmarkSet(one.image, one.names, np.where(np.arange(len(FACE))[:, None] == 4, np.nan, one.xy))
        for one in corrections(10)
    ]
    found = measure(predictions(), coverage=0.8, spacing_mm=1.0, corrected=hidden).groupby("measurement")
    assert set(found.get_group("SNA")["interval"]) == {"first order"}
    assert set(found.get_group("SNB")["interval"]) == {"corrected"}
