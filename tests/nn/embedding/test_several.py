"""One answer out of those of several exemplars."""

from __future__ import annotations

import pytest
import torch

from onemark.nn.embedding.several import Several, combine
from onemark.nn.heatmaps.decode import Peaks

ALL = torch.ones(2, 3, dtype=torch.bool)


def answers() -> Peaks:
    """Two landmarks, three exemplars: they agree on the first landmark, and the third one errs grossly on the second."""
    xy = torch.tensor([[[10.0, 20], [11, 20], [12, 20]], [[50, 50], [51, 50], [90, 10]]])
    score = torch.tensor([[0.8, 0.8, 0.8], [0.8, 0.8, 0.7]])
    return Peaks(xy, score, torch.full((2, 3), 1.5))


def test_answers_that_agree_are_averaged_and_one_far_off_hardly_counts():
    found = combine(answers(), ALL, "mean", 10.0)
    torch.testing.assert_close(found.xy[0], torch.tensor([11.0, 20]))
    assert (found.xy[1] - torch.tensor([50.5, 50])).norm() < 3
    torch.testing.assert_close(found.spread, torch.full((2,), 1.5))


def test_likeness_weighs():
    one = answers()
    one.score[0] = torch.tensor([0.2, 0.2, 0.9])
    assert combine(one, ALL, "mean", 10.0).xy[0, 0] > 11.9
    assert combine(one, ALL, "mean", 0.0).xy[0, 0] == pytest.approx(11)


def test_the_most_similar_alone():
    one = answers()
    one.score[:, 1] = 0.9
    found = combine(one, ALL, "best", 10.0)
    torch.testing.assert_close(found.xy, one.xy[:, 1])
    torch.testing.assert_close(found.score, one.score[:, 1])


@pytest.mark.parametrize("several", ["mean", "best"])
def test_an_exemplar_that_hides_a_landmark_is_not_asked_for_it(several: Several):
    one, visible = answers(), ALL.clone()
    one.xy[0, :2], visible[0, :2] = torch.nan, False
    found = combine(one, visible, several, 10.0)
    torch.testing.assert_close(found.xy[0], one.xy[0, 2])
    assert found.score[0] == one.score[0, 2]


@pytest.mark.parametrize("several", ["mean", "best"])
def test_one_exemplar_is_its_own_answer(several: Several):
    one = answers()
    alone = Peaks(one.xy[:, :1], one.score[:, :1], one.spread[:, :1])
    torch.testing.assert_close(combine(alone, ALL[:, :1], several, 10.0).xy, one.xy[:, 0], rtol=0, atol=0)
