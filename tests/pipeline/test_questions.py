"""Which questions are asked: landmarks in turn, doubtful points of typical radiographs first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onemark.nn.weights import write_weights
from onemark.pipeline.questions.answering import FormerAnswers
from onemark.pipeline.questions.choosing import choose_questions, measure_typicality
from onemark.stages.mean_error import MeanError
from onemark.types import UserError


def choose(errors: Any, number: int, typical: Any = None, **changes: Any) -> list[tuple[int, int]]:
    table = np.asarray(errors, float)
    given: dict[str, Any] = {
        "typical": np.ones(len(table)) if typical is None else np.asarray(typical),
        "open_": np.ones(table.shape, bool),
        "answers": np.zeros(table.shape[1], int),
    }
    return choose_questions(table, number=number, **{**given, **changes})


def test_every_landmark_is_asked_for_before_any_is_asked_for_again():
    errors = np.random.default_rng(0).uniform(1, 2, (10, 5)) * [9, 1, 1, 1, 1]
    chosen = choose(errors, 5)
    assert sorted(k for _, k in chosen) == [0, 1, 2, 3, 4]
    assert chosen[0][1] == 0


def test_landmarks_with_a_greater_mean_error_get_more_of_the_rest():
    counts = Counter(k for _, k in choose(np.ones((20, 3)) * [8, 2, 1], 12))
    assert counts[0] > counts[1] > counts[2] >= 1


def test_a_radiograph_is_finished_before_the_next_one_is_begun():
    errors = np.random.default_rng(1).uniform(0.5, 2, (6, 6))
    chosen = choose(errors, 12)
    assert len({i for i, _ in chosen[:6]}) == 1
    assert len({i for i, _ in chosen[6:]}) == 1
    assert chosen[0][0] != chosen[6][0]


def test_a_radiograph_that_has_answers_is_gone_on_with():
    open_ = np.ones((6, 6), bool)
    open_[4, :3] = False
    answers = np.array([1, 1, 1, 0, 0, 0])
    assert sorted(choose(np.ones((6, 6)), 3, open_=open_, answers=answers)) == [(4, 3), (4, 4), (4, 5)]


def test_doubtful_points_of_typical_radiographs_come_first():
    assert choose([[1.0], [3.0], [1.0]], 1) == [(1, 0)]
    assert choose([[1.0], [3.0], [1.0]], 1, typical=[1, 0.2, 0.9]) == [(0, 0)]


def test_nothing_is_asked_twice_and_earlier_answers_count():
    open_ = np.array([[True, False], [False, True]])
    assert sorted(choose(np.ones((2, 2)), 9, open_=open_)) == [(0, 0), (1, 1)]
    assert choose(np.ones((2, 2)), 1, answers=np.array([1, 0]))[0][1] == 1


def test_unknown_expected_errors_are_usual_ones():
    errors = [[1.0], [np.nan], [3.0]]
    assert [image for image, _ in choose(errors, 3)] == [2, 1, 0]


def test_a_radiograph_unlike_the_others_is_less_typical():
    descriptors = np.array([[0.0], [1.0], [-1.0], [0.5], [30.0]])
    typical = measure_typicality(descriptors - 0.0)
    assert typical.argmin() == 4
    assert ((typical > 0) & (typical <= 1)).all()
    assert measure_typicality(np.ones((3, 2))) == pytest.approx(1)


@pytest.mark.parametrize("fault", ["cut off", "another kind", "fewer predictions"])
def test_damaged_measures_of_answers_are_one_sentence(tmp_path: Path, fault: str):
    frame = MeanError(("a", "b"), np.zeros((2, 2)), (), np.empty((0, 2, 2)))
    former, path = FormerAnswers(frame, ("x.png",), np.ones((1, 2, 2))), tmp_path / "answers.safetensors"
    former.save(path)
    assert FormerAnswers.read(path).images == ("x.png",)
    if fault == "cut off":
        path.write_bytes(path.read_bytes()[:-8])
    elif fault == "another kind":
        write_weights(path, {"match": ({"w": torch.ones(1)}, {})})
    else:
        FormerAnswers(frame, ("x.png", "y.png"), np.ones((1, 2, 2))).save(path)
    with pytest.raises(UserError, match="damaged"):
        FormerAnswers.read(path)
