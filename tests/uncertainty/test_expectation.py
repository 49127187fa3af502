"""Expected errors: the level of a landmark, what signals add to it, and what corrections change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from onemark.imaging.ellipses import mean_distance
from onemark.uncertainty.calibration import Calibration
from onemark.uncertainty.error_model import LEAST_UNLIKE, ROWS, ErrorModel, Labelled, Signals

MEAN = np.random.default_rng(9).random((6, 2))
HARD = np.array([1, 1, 1, 1, 3, 1]) * 0.01


def signals(seed: int) -> Signals:
    draw = np.random.default_rng(seed)
    xy = MEAN + draw.normal(size=MEAN.shape) * 0.005
    return Signals(
        xy,
        apart=HARD * draw.rayleigh(size=6),
        moved=HARD / 3 * draw.rayleigh(size=6),
        spread=0.01 + 0.002 * draw.random(6),
        detector_spread=0.02 + 0.004 * draw.random(6),
        similar=0.8 + 0.1 * draw.random(6),
        sure=0.7 + 0.1 * draw.random(6),
        detector_sure=0.6 + 0.1 * draw.random(6),
    )


COHORT = [signals(n) for n in range(24)]
BACK = np.stack([HARD * np.random.default_rng(100 + n).rayleigh(size=6) for n in range(24)])
UNTAUGHT = Calibration.of([], 6)


def learned(calibration: Calibration = UNTAUGHT, back: np.ndarray | None = BACK) -> ErrorModel:
    found = ErrorModel.learn(COHORT, calibration, {} if back is None else {"cycle": back})
    assert found is not None
    return found


def test_landmarks_on_which_stages_disagree_are_expected_to_be_worse():
    found = np.stack([learned()(one) for one in COHORT]).mean(0)
    assert found.argmax() == 4
    assert found[4] > 1.5 * np.delete(found, 4).max()


def test_every_signal_raises_the_expected_error_where_it_is_bad():
    expect, one = learned(), COHORT[3]
    usual = expect(one)
    lengths = ("apart", "moved", "spread", "detector_spread")
    for name in (*lengths, "similar", "sure", "detector_sure", "xy"):
        value = getattr(one, name).copy()
        value[2] = 3 * value[2] + 0.01 if name in lengths else value[2] + (0.2 if name == "xy" else -0.3)
        worse = expect(replace(one, **{name: value}))
        assert worse[2] > 1.05 * usual[2], name
        if name != "xy":  # a moved landmark makes its neighbours doubtful too
            np.testing.assert_allclose(np.delete(worse, 2), np.delete(usual, 2))


def test_expected_errors_grow_with_the_distances_between_the_stages():
    longer = ErrorModel.learn(
        [replace(one, apart=1.5 * one.apart) for one in COHORT], UNTAUGHT, {"cycle": 1.5 * BACK}
    )
    assert longer is not None
    assert longer.level.mean() == pytest.approx(1.5 * learned().level.mean())


def test_the_way_back_is_part_of_the_level_where_it_is_known():
    longer, unknown = learned(back=2 * BACK), learned(back=None)
    assert (longer.level > learned().level).all()
    assert np.isfinite(unknown.level).all()
    assert unknown.level.argmax() == 4


def test_a_matcher_alone_has_expected_errors_too():
    unknown = np.full(6, np.nan)
    missing = dict.fromkeys(("apart", "moved", "detector_spread", "detector_sure"), unknown)
    expect = ErrorModel.learn([replace(one, **missing) for one in COHORT], UNTAUGHT, {"cycle": BACK})
    assert expect is not None
    found = expect(replace(COHORT[0], **missing))
    assert np.isfinite(found).all()
    assert found.argmax() == 4


def taught_by(ways: np.ndarray, exemplars: int) -> np.ndarray:
    taught = ErrorModel.learn(COHORT, UNTAUGHT, {"cycle": BACK}, Labelled(ways, exemplars))
    assert taught is not None
    return taught.level


def test_the_more_exemplars_the_more_their_own_errors_count():
    hard = np.array([0.01, 0.01, 0.06, 0.01, 0.01, np.nan])
    ways = np.stack([np.stack([hard, np.zeros(6)], -1)] * 8)
    free, levels = learned().level, [taught_by(ways, exemplars) for exemplars in (2, 10, 100, 10_000)]
    apart = [level[2] / level[0] for level in (free, *levels)]
    assert apart == sorted(apart)
    assert apart[0] < apart[1]
    np.testing.assert_allclose(levels[-1][:5], hard[:5], rtol=0.01)
    assert levels[-1][5] == free[5]  # on no copy


def test_exemplars_tell_which_landmarks_are_hard_sooner_than_how_large_errors_are():
    free = learned().level
    hard = np.array([1, 1, 4, 1, 1, 1]) * free / 5  # of copies of radiographs that a network remembers
    ways = np.stack([np.stack([hard, np.zeros(6)], -1)] * 8)
    level = np.log(taught_by(ways, 10) / free)
    size = np.log(hard / free).mean()
    assert level.mean() == pytest.approx(9 / 39 * size)
    assert level[2] - level[0] == pytest.approx(9 / 12 * np.log(4))
    unknown = np.full_like(ways, np.nan)
    np.testing.assert_array_equal(taught_by(unknown, 10), free)


def test_corrections_scale_it():
    taught = learned(Calibration(np.full((50, 6), 2.0)))
    np.testing.assert_allclose(taught(COHORT[0]), 2 * learned()(COHORT[0]), rtol=0.05)
    np.testing.assert_allclose(taught.uncalibrated(COHORT[0]), learned()(COHORT[0]))


def test_ellipses_lie_along_the_corrected_errors_and_keep_the_expected_error():
    corrected = Calibration(np.ones((12, 6)), np.tile([40.0, 40, 40, -50, -50, np.nan], (12, 1)))
    expect, one = learned(corrected), replace(COHORT[0], way=MEAN[::-1] - MEAN)
    errors = expect(one)
    found = expect.ellipses(replace(one, way=np.empty((0, 2))), errors)
    np.testing.assert_allclose(mean_distance(found), errors)
    np.testing.assert_allclose(found[:5, 2], [40, 40, 40, -50, -50])
    assert found[5, 0] == pytest.approx(found[5, 1])
    assert not np.allclose(expect.ellipses(one, errors), found)  # the radiograph's own disagreement


def test_a_matcher_that_knows_nothing_gives_no_direction():
    lost = [replace(one, apart=one.apart + 0.5, way=MEAN) for one in COHORT]
    found = ErrorModel.learn(lost, UNTAUGHT)
    assert found is not None
    ellipses = found.ellipses(lost[0], found(lost[0]))
    np.testing.assert_allclose(ellipses[:, 0], ellipses[:, 1])


def test_small_cohorts_teach_nothing():
    assert ErrorModel.learn(COHORT[:2], UNTAUGHT) is None


def test_few_landmarks_do_without_a_constellation():
    few = [Signals(**{name: value[:3] for name, value in vars(one).items()}) for one in COHORT]
    expect = ErrorModel.learn(few, Calibration.of([], 3), {"cycle": BACK[:, :3]})
    assert expect is not None
    assert expect.constellation is None
    assert np.isfinite(expect(few[0])).all()


def test_it_comes_back_from_its_state():
    row = [1.0, 2.0, None, 4.0, 5.0, 6.0]
    corrected = Calibration.of([row], 6, [[10.0, 20.0, None, 40.0, 50.0, 60.0]], [row])
    for expect in (learned(), learned(corrected)):
        tensors, head = expect.state()
        assert head == {}
        again = ErrorModel.restore(tensors)
        np.testing.assert_array_equal(again(COHORT[5]), expect(COHORT[5]))
        errors = expect(COHORT[5])
        np.testing.assert_array_equal(again.ellipses(COHORT[5], errors), expect.ellipses(COHORT[5], errors))
        assert again.calibration.conformal_factor(0.5) == expect.calibration.conformal_factor(0.5)
        np.testing.assert_array_equal(again.radii(errors, 0.5), expect.radii(errors, 0.5))


def look_around() -> ErrorModel:
    """An error model that knows how radiographs look around their landmarks."""
    draw = np.random.default_rng(3)
    found = ErrorModel.learn([replace(one, unlike=0.5 + draw.random(6)) for one in COHORT], UNTAUGHT)
    assert found is not None
    return found


def test_surroundings_count_twice():
    expect, one = look_around(), replace(COHORT[2], unlike=np.ones(6))
    row = ROWS.index("unlike")
    strange = replace(one, unlike=(1 + LEAST_UNLIKE) * np.exp(expect.scale[row]) - LEAST_UNLIKE * np.ones(6))
    unsure = replace(one, sure=one.sure - expect.scale[ROWS.index("sure")])
    gains = [np.log(expect(worse) / expect(one)) for worse in (strange, unsure)]
    np.testing.assert_allclose(gains[0], 2 * gains[1])
    assert (gains[1] > 0).all()


def test_without_surroundings_the_others_tell():
    expect, one = look_around(), replace(COHORT[2], unlike=np.empty(0))
    assert (expect(replace(one, moved=one.moved + 1)) > expect(one)).all()


def test_one_without_surroundings_comes_back():
    tensors = look_around().state()[0]
    former = {**tensors, "centre": tensors["centre"][:8], "scale": tensors["scale"][:8]}
    expect, one = ErrorModel.restore(former), replace(COHORT[2], unlike=np.ones(6))
    np.testing.assert_allclose(expect(replace(one, unlike=5 * one.unlike)), expect(one))
    assert (expect(replace(one, moved=one.moved + 1)) > expect(one)).all()


def test_one_of_no_version_keeps_its_rows():
    tensors = look_around().state()[0]
    damaged = {**tensors, "centre": tensors["centre"][:3], "scale": tensors["scale"][:3]}
    assert ErrorModel.restore(damaged).centre.shape == (3, 6)  # which the run then calls damaged


def test_one_of_the_first_version_comes_back_without_the_signals_that_it_did_not_know():
    first = {name: torch.rand(5, 6).double() for name in ("centre",)} | {"scale": torch.ones(5).double()}
    first |= {"level": torch.full((6,), 0.01).double(), "width": torch.ones(1).double()}
    expect = ErrorModel.restore(first | {"ratios": torch.zeros(0, 6).double()})
    one = COHORT[2]
    np.testing.assert_array_equal(expect(replace(one, moved=one.moved + 1, sure=one.sure - 1)), expect(one))
    assert (expect(replace(one, apart=one.apart + 1)) > expect(one)).all()
    assert (expect(replace(one, detector_sure=one.detector_sure - 1)) > expect(one)).all()


def test_a_matcher_that_has_learned_nothing_does_not_inflate_expected_errors():
    lost = [replace(one, apart=one.apart + 0.5, similar=one.similar[::-1]) for one in COHORT]
    teacher = np.stack([one.apart for one in COHORT])
    found = ErrorModel.learn(lost, UNTAUGHT, {"teacher": teacher})
    near = ErrorModel.learn(COHORT, UNTAUGHT)
    assert found is not None
    assert near is not None
    assert found.level.mean() < 1.5 * near.level.mean()
    one = lost[3]
    further = replace(one, apart=3 * one.apart, similar=one.similar - 0.5)
    np.testing.assert_allclose(found(further), found(one))


@pytest.mark.parametrize(
    ("length", "away", "as_near"),
    [
        ("teacher", 0.5, True),
        ("teacher", 0.02, False),
        ("matcher_spread", 0.5, True),
        ("matcher_spread", 0.1, False),
        ("dispute", 0.5, True),
        ("dispute", 0.1, False),
        ("dispute", np.nan, True),
    ],
)
def test_a_stage_that_has_failed_does_not_inflate_expected_errors(length: str, away: float, as_near: bool):
    near = learned(back=None)
    far = ErrorModel.learn(COHORT, UNTAUGHT, {length: np.full_like(BACK, away)})
    assert far is not None
    assert np.array_equal(far.level, near.level) is as_near


def test_one_radiograph_on_which_registration_failed_does_not_make_all_the_others_errors_larger():
    failed = BACK.copy()
    failed[1] = 0.3
    all_well, one_failed = (
        ErrorModel.learn(COHORT, UNTAUGHT, {"matcher_spread": rows}) for rows in (BACK, failed)
    )
    assert all_well is not None
    assert one_failed is not None
    assert 0.9 < one_failed.level.mean() / all_well.level.mean() < 1.1


def test_a_detector_that_saw_few_radiographs_repeats_its_teacher_and_does_not_lower_expected_errors():
    lengths = {"matcher_spread": BACK, "teacher": 0.1 * BACK}
    few, many = (ErrorModel.learn(COHORT, UNTAUGHT, lengths, seen=seen) for seen in (10, 400))
    assert few is not None
    assert many is not None
    assert many.level.mean() < 0.6 * few.level.mean()
    # `apart` is the same distance as `teacher`, and no longer counts beside it.
    without = ErrorModel.learn(
        [replace(one, apart=9 * one.apart) for one in COHORT], UNTAUGHT, lengths, seen=10
    )
    assert without is not None
    assert without.level.mean() == pytest.approx(few.level.mean())


def test_the_further_answers_lay_apart_before_they_agreed_the_larger_errors_are_expected():
    usual, disputed = (
        ErrorModel.learn(COHORT, UNTAUGHT, {"matcher_spread": BACK, "dispute": times * BACK})
        for times in (1, 4)
    )
    assert usual is not None
    assert disputed is not None
    assert 1.4 < disputed.level.mean() / usual.level.mean() < 2


def test_a_landmark_of_which_a_length_is_unknown_is_not_the_hardest_for_that():
    unknown = BACK.copy()
    unknown[:, 2] = np.nan
    known, lacking = (
        ErrorModel.learn(COHORT, UNTAUGHT, {"matcher_spread": BACK, "dispute": rows})
        for rows in (BACK, unknown)
    )
    assert known is not None
    assert lacking is not None
    np.testing.assert_allclose(lacking.level, known.level, rtol=0.15)
