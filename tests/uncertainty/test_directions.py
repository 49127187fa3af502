"""Which way errors lie: from disagreement, from labelled errors, and from the heatmap of one radiograph."""

from __future__ import annotations

import numpy as np
import pytest

from onemark.imaging.ellipses import to_ellipse
from onemark.uncertainty.directions import Directions, from_angles, to_angles

NOWHERE, NO_PEAK = np.empty((0, 2)), np.empty((0, 2, 2))
NONE = np.empty((0, 2, 2))
ALONG = from_angles(np.array([30.0, -60.0]))


def flatness(found: np.ndarray) -> np.ndarray:
    return to_ellipse(found)[:, 0] / to_ellipse(found)[:, 1]


def look(known: Directions, way: np.ndarray = NOWHERE, peak: np.ndarray = NO_PEAK) -> np.ndarray:
    return known.covariances(way, peak)


def test_nothing_known_is_a_circle():
    np.testing.assert_allclose(flatness(look(Directions.unknown(2))), 1)


def test_disagreement_on_the_cohort_gives_the_direction_whatever_its_sign_and_length():
    ways = [sign * length * ALONG for sign, length in ((1, 0.01), (-1, 0.02), (1, 3.0), (-1, 0.01))]
    found = look(Directions.learn(2, ways, NONE, 0.0))
    np.testing.assert_allclose(to_ellipse(found)[:, 2], [30, -60])
    assert (flatness(found) > 1.05).all()


def test_disagreement_is_a_hint_however_many_radiographs_there_are():
    few, many = (flatness(look(Directions.learn(2, [ALONG] * n, NONE, 0.0))) for n in (16, 400))
    np.testing.assert_allclose(few, many)
    assert (many < 1.5).all()


def test_labelled_errors_overrule_it_the_more_there_are():
    across = from_angles(np.array([120.0, 30.0]))
    angles, known = [], Directions.learn(2, [ALONG] * 16, NONE, 0.0)
    for count in (2, 12, 40):
        found = look(known.add(np.stack([across] * count)))
        angles.append(to_ellipse(found)[0, 2])
        last = flatness(found)
    assert angles == pytest.approx([30, -60, -60])
    assert (last > 1.7).all()


def test_labelled_errors_of_copies_count_by_their_weight():
    copies = np.stack([ALONG] * 24)
    light, full = (flatness(look(Directions.learn(2, [], copies, weight))) for weight in (0.1, 1.0))
    assert (light > 1).all()
    assert (light < full).all()


def test_the_radiograph_itself_turns_the_ellipse():
    known = Directions.unknown(2)
    found = look(known, way=np.stack([from_angles(np.array(10.0)), np.full(2, np.nan)]))
    assert to_ellipse(found)[0, 2] == pytest.approx(10)
    assert flatness(found)[1] == pytest.approx(1)
    thin = np.stack([np.diag([9.0, 1.0]), np.full((2, 2), np.nan)])
    wide, round_ = flatness(look(known, peak=thin))
    assert wide > 1.1
    assert round_ == pytest.approx(1)
    np.testing.assert_allclose(look(known, peak=thin), look(known, peak=100 * thin))


def test_angles_and_vectors_belong_together():
    np.testing.assert_allclose(to_angles(3 * ALONG), [30, -60])
    assert np.isnan(to_angles(np.zeros((1, 2)))).all()
    assert np.isnan(from_angles(np.array([np.nan]))).all()
