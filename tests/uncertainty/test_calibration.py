"""Factors and margins from corrections."""

from __future__ import annotations

import numpy as np
import pytest

from onemark.uncertainty.calibration import Calibration, Corrections, least_corrections


def test_without_corrections_nothing_changes():
    none = Calibration.of([], 4)
    np.testing.assert_array_equal(none.factors, np.ones(4))
    assert none.conformal_factor() is None


def test_factors_follow_the_corrections_as_far_as_these_are_many():
    few = Calibration.of([[2.0, 2.0, 2.0, 2.0]], 4).factors
    many = Calibration(np.full((200, 4), 2.0)).factors
    assert (few > 1.3).all()
    assert (few < 1.7).all()
    np.testing.assert_allclose(many, 2, atol=0.05)


def test_a_landmark_that_is_worse_than_the_others_gets_its_own_factor():
    factors = Calibration(np.tile([0.5, 0.5, 0.5, 3.0], (12, 1))).factors
    assert factors[3] > 2.4
    np.testing.assert_allclose(factors[:3], factors[0])
    assert factors[0] < 0.7


def test_what_was_not_visible_does_not_count():
    known = Calibration.of([[2.0, None], [2.0, None]], 2)
    assert known.factors[0] > known.factors[1] > 1
    np.testing.assert_allclose(known.factors, Calibration.of([[2.0, float("nan")]] * 2, 2).factors)


def test_errors_stay_when_another_model_expects_others():
    shown = Corrections(ratios=((9.0, 9.0), (2.0, 0.5)), doubts=((1.0, 2.0),), usual=((0.01, 0.02),))
    found = shown.relative_to(np.array([0.02, 0.01]))
    # The first correction is of a version that did not note what it expected.
    np.testing.assert_allclose(found.ratios, [[9, 9], [1, 1]])
    np.testing.assert_array_equal(found.doubts, [[1, 2]])
    np.testing.assert_array_equal(shown.relative_to(np.ones(3)).ratios, np.empty((0, 3)))


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_margins_cover_what_they_say(coverage: float):
    draw = np.random.default_rng(0)
    held = []
    for _ in range(60):
        ratios = draw.rayleigh(size=(41, 10)) * np.linspace(0.5, 2, 10)
        taught = Calibration(ratios[:8])
        margin = taught.conformal_factor(coverage)
        assert margin is not None
        held.append((ratios[8:] <= margin * taught.factors).mean())
    assert np.mean(held) == pytest.approx(coverage, abs=0.03)


def test_too_few_corrections_promise_nothing():
    one = Calibration.of([[1.0, 2.0, 3.0]], 3)
    assert one.conformal_factor(0.9) is None
    assert one.conformal_factor(0.5) is not None
    for coverage in (0.0, 1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            one.conformal_factor(coverage)


def promised(ratios: np.ndarray, doubts: np.ndarray, coverage: float, new: np.ndarray) -> np.ndarray:
    """Radii for new doubts."""
    return Calibration(ratios, doubts=doubts).conformal_radii(new, coverage)


@pytest.mark.parametrize(("coverage", "least"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19)])
def test_a_promise_takes_so_many_corrections(coverage: float, least: int):
    assert least_corrections(coverage) == least
    ratios, sure, new = np.random.default_rng(0).rayleigh(size=(least, 3)), np.ones((least, 3)), np.ones(3)
    assert np.isfinite(promised(ratios, sure, coverage, new)).all()
    assert np.isinf(promised(ratios[1:], sure[1:], coverage, new)).all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        promised(ratios, sure, 1.0, new)


def test_without_doubt_it_is_the_usual_quantile():
    ratios = np.arange(1.0, 61)[:, None]
    assert promised(ratios, np.ones((60, 1)), 0.9, np.ones(1)) == pytest.approx([55])  # ceil(61 * 0.9)


def test_discs_follow_the_root_of_a_doubt():
    ratios = np.arange(1.0, 61)[:, None]
    radii = promised(ratios, np.ones((60, 1)), 0.9, np.array([[1.0], [4.0]]))
    assert radii == pytest.approx(np.array([[55], [110]]))
    # An error of twice what was expected, where four times the usual was expected, counts as four times the usual.
    assert promised(np.full((9, 1), 2.0), np.full((9, 1), 4.0), 0.9, np.ones(1)) == pytest.approx([4])


def test_the_promise_holds_where_the_errors_of_a_radiograph_go_together():
    draw, coverage, held = np.random.default_rng(1), 0.8, []
    hard = np.linspace(0.5, 2, 12)
    for _ in range(300):
        bad = draw.exponential(size=(9, 1))  # all landmarks of a radiograph are bad, or none
        errors = bad * draw.uniform(0.8, 1.2, size=(9, 12)) * hard
        doubts = bad**0.3 * draw.uniform(0.5, 2, size=(9, 12))  # they tell a part of it
        radii = promised((errors / doubts)[:8], doubts[:8], coverage, doubts[8])
        held.append(errors[8] <= radii)
    # Of each landmark 8 / 9 are expected; standard error of the mean over 300 radiographs: 0.018.
    assert np.mean(held, 0).min() > 0.8
    assert np.mean(held, 0).max() < 0.8 + 1 / 9 + 0.05


def test_every_landmark_has_its_own_disc():
    ratios = np.random.default_rng(2).rayleigh(size=(400, 2)) * [1, 4]
    radii = promised(ratios, np.ones((400, 2)), 0.9, np.ones(2))
    np.testing.assert_allclose(radii, np.sqrt(-2 * np.log(0.1)) * np.array([1, 4]), rtol=0.1)


def test_landmarks_that_were_never_visible_have_no_promise():
    ratios, doubts = np.random.default_rng(3).rayleigh(size=(60, 2)), np.ones((60, 2))
    ratios[:, 1] = doubts[:, 1] = np.nan
    assert np.isfinite(promised(ratios, doubts, 0.9, np.ones(2))).tolist() == [True, False]


def test_corrections_of_which_no_doubt_is_known_promise_nothing():
    ratios = np.random.default_rng(4).rayleigh(size=(30, 2))
    assert np.isinf(promised(ratios, np.empty((0, 0)), 0.8, np.ones(2))).all()
    # An earlier version noted the first twenty, this one the last ten.
    later = promised(ratios, np.ones((10, 2)), 0.8, np.ones(2))
    np.testing.assert_array_equal(later, promised(ratios[20:], np.ones((10, 2)), 0.8, np.ones(2)))


def test_an_exemplar_has_a_disc_of_no_size_or_no_promise():
    ratios, doubts = np.ones((9, 1)), np.ones((9, 1))
    assert promised(ratios, doubts, 0.9, np.zeros(1)).tolist() == [0.0]
    assert promised(ratios, doubts, 0.95, np.zeros(1)).tolist() == [np.inf]
