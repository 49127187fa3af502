"""Mean errors from answers: found where there are some, left alone where there is only noise."""

from __future__ import annotations

import numpy as np
import pytest

from onemark import LandmarkSet
from onemark.stages.mean_error import MeanError, estimate_offsets

NAMES = ("a", "b", "c", "d")
SQUARE = np.array([[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]])
SIZE = (100, 100)


def drawn(means: list[float], answers: int, noise: float, seed: int = 0) -> np.ndarray:
    """Errors of landmarks whose mean errors in x are these."""
    errors = np.random.default_rng(seed).normal(0, noise, (answers, len(means), 2))
    errors[..., 0] += means
    return errors


def test_mean_errors_are_found_and_shrunk():
    offsets = estimate_offsets(drawn([0.05, -0.05, 0.04, 0.0], 6, 0.01))
    assert offsets[:3, 0] == pytest.approx([0.05, -0.05, 0.04], abs=0.01)
    assert np.abs(offsets[3]).max() < 0.01


def test_noise_alone_moves_little():
    trials = [drawn([0.0] * 12, 4, 0.05, seed) for seed in range(20)]
    moved = np.mean([np.linalg.norm(estimate_offsets(errors), axis=1) for errors in trials])
    means = np.mean([np.linalg.norm(errors.mean(0), axis=1) for errors in trials])
    assert moved < 0.25 * means


def test_one_answer_moves_nothing_and_contrary_ones_neither():
    assert not estimate_offsets(drawn([0.1, 0.1], 1, 0.001)).any()
    errors = np.full((2, 9, 2), 0.1)
    errors[1, 0] = -0.1
    offsets = estimate_offsets(errors)
    assert not offsets[0].any()
    assert (offsets[1:] > 0.05).all()
    assert not estimate_offsets(np.full((3, 2, 2), np.nan)).any()
    assert not estimate_offsets(np.empty((0, 2, 2))).any()


@pytest.fixture
def begun() -> MeanError:
    return MeanError.begin(LandmarkSet("e.png", NAMES, SQUARE * 100), SIZE)


def turned(angle: float, scale: float, shift: float) -> np.ndarray:
    """The square on a radiograph that is turned and scaled."""
    z = (SQUARE @ [1, 1j]) * 100 * scale * np.exp(1j * np.radians(angle)) + shift
    return np.stack([z.real, z.imag], -1)


def test_errors_are_carried_by_the_frame_of_the_landmarks(begun: MeanError):
    predictions = [turned(0, 1, 0), turned(90, 2, 300), turned(180, 0.5, 500)]
    ways = [np.array([1.0, 0.0]), np.array([0.0, 2.0]), np.array([-0.5, 0.0])]
    unknown = np.full((4, 2), np.nan)
    rows = []
    for xy, way in zip(predictions, ways, strict=True):
        only = unknown.copy()
        only[0] = way
        rows.append(begun.measure(only, xy, (900, 900)))
    known = begun.with_errors(["p", "q", "r"], np.stack(rows))
    np.testing.assert_allclose(known.errors[:, 0], [[0.01, 0]] * 3, atol=1e-12)
    moved = known.correct(LandmarkSet("s", NAMES, turned(90, 2, 300)), (900, 900)).xy - turned(90, 2, 300)
    np.testing.assert_allclose(moved, [[0, 2], [0, 0], [0, 0], [0, 0]], atol=1e-9)
    assert "1 landmark is moved" in known.describe()
    assert "3 answers" in known.describe()


def test_what_the_model_has_learned_since_is_taken_off(begun: MeanError):
    known = begun.with_errors(["p", "q"], np.full((2, 4, 2), 0.03))
    assert known.after(np.full((4, 2), 0.03)).describe() == ""
    assert known.after(np.full((4, 2), 0.01)).offsets == pytest.approx(0.02, rel=0.2)


def test_a_newer_answer_replaces_the_former_one(begun: MeanError):
    first = np.full((1, 4, 2), 0.01)
    second = np.full((1, 4, 2), np.nan)
    second[0, 2] = 0.02
    errors = begun.with_errors(["p"], first).with_errors(["p"], second).errors
    assert np.isfinite(errors[0]).all(1).tolist() == [True, True, False, True]


def test_it_is_saved_and_follows_other_landmarks(begun: MeanError):
    known = begun.with_errors(["p", "q"], np.full((2, 4, 2), 0.03))
    again = MeanError.restore(*known.state())
    np.testing.assert_array_equal(again.errors, known.errors)
    assert (again.names, again.images) == (known.names, known.images)
    other = again.align(("b", "new"))
    assert other.errors.shape == (2, 2, 2)
    assert np.isnan(other.errors[:, 1]).all()
    with pytest.raises(ValueError, match="do not fit"):
        MeanError.restore(known.state()[0], {"names": ["a"], "images": []})
