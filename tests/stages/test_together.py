"""Two matchers together: how far the trained one is followed, and that its places count for nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onemark import Cohort, LandmarkSet, LandmarkTable, Radiograph
from onemark.nn.device import fabric_for
from onemark.stages.base import REGISTER, StageContext
from onemark.stages.together import SPREAD, Together, labeller
from onemark.testing import KnownPoints


def matcher(truth: LandmarkTable, away: tuple[float, float], error: float = float("nan")) -> KnownPoints:
    """One whose answers lie `away` from the truth, and which expects errors of `error`, px."""

    def locate(one: Radiograph) -> LandmarkSet:
        known = truth[one.name]
        expected = np.full(len(known.names), error)
        return replace(known, xy=known.xy + np.array(away), expected_error=expected, unit="px")

    return KnownPoints(locate)


@pytest.mark.parametrize(
    ("apart", "error", "weight"),
    [
        (4.0, 5.0, 0.5),  # it is nearer to registration than that is to the truth: half at most
        (4.0, 2.0, 1 / 12),  # a third of (2 / 4)^2
        (40.0, 2.0, 1 / 1200),  # it has learned nothing
    ],
)
def test_the_farther_the_matcher_is_the_less_it_counts(
    phantoms: Cohort, truth: LandmarkTable, apart: float, error: float, weight: float
):
    registration = matcher(truth, (1.0, 0.0), SPREAD * error)
    both = Together(matcher(truth, (1.0, apart)), registration, phantoms)
    np.testing.assert_allclose(both.weight, weight)
    found, alone = both.locate(phantoms[2]), registration.locate(phantoms[2])
    np.testing.assert_allclose(found.xy, alone.xy + np.array([0, weight * apart]))
    np.testing.assert_array_equal(found.expected_error, alone.expected_error)


def test_each_landmark_has_a_weight_of_its_own(phantoms: Cohort, truth: LandmarkTable):
    registration = matcher(truth, (0.0, 0.0), SPREAD * 2.0)
    far = np.where(np.arange(len(truth.names)) == 3, 8.0, 4.0)

    def locate(one: Radiograph) -> LandmarkSet:
        known = truth[one.name]
        return replace(known, xy=known.xy + far[:, None] * [1, 0])

    np.testing.assert_allclose(
        Together(KnownPoints(locate), registration, phantoms).weight, (2 / far) ** 2 / 3
    )


def test_a_detector_learns_from_both_where_there_are_two(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable
):
    first, second = matcher(truth, (0.0, 2.0)), matcher(truth, (0.0, 0.0), SPREAD * 3.0)
    context = StageContext(
        fabric_for("cpu"), cohort=phantoms, exemplars=exemplars, config=first.config, before={"match": first}
    )
    one = phantoms[1]
    np.testing.assert_allclose(labeller(context)(one).xy, truth[one.name].xy + np.array([0, 2]))
    both = replace(context, before={"match": first, REGISTER: second})
    np.testing.assert_allclose(labeller(both)(one).xy, truth[one.name].xy + np.array([0, 1]))


def test_a_cohort_that_cannot_be_read_leaves_registration_alone(phantoms: Cohort, truth: LandmarkTable):
    registration = matcher(truth, (0.0, 0.0), 2.0)
    nothing = phantoms.subset([])
    both = Together(matcher(truth, (5.0, 0.0)), registration, nothing)
    np.testing.assert_array_equal(both.locate(phantoms[0]).xy, truth[phantoms.names[0]].xy)


@pytest.mark.parametrize(("seconds", "asked"), [(None, 12), (3600.0, 12), (0.0, 1)])
def test_weighing_leaves_the_time_for_labels(
    phantoms: Cohort, truth: LandmarkTable, seconds: float | None, asked: int
):
    seen: list[str] = []

    def locate(one: Radiograph) -> LandmarkSet:
        seen.append(one.name)
        return truth[one.name]

    registration = matcher(truth, (0.0, 4.0), SPREAD * 2.0)
    weight = Together(KnownPoints(locate), registration, phantoms, seconds).weight
    assert len(seen) == asked
    np.testing.assert_allclose(weight, 1 / 12)
