"""Exemplars with a few single answers, among those that show all landmarks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from onemark import Cohort, LandmarkTable
from onemark.nn.training.canvases import CanvasExemplar, ResolutionLevel, resolution_levels
from onemark.nn.training.exemplars import carriers, count_whole, draw_exemplars, pack_rows
from onemark.nn.training.labels import PseudoLabels, draw_labelled
from onemark.progress import silent
from onemark.types import LandmarkSet, Radiograph

Generators = Callable[..., torch.Generator]


def placed(index: int, *shown: int, landmarks: int = 4) -> CanvasExemplar:
    """An exemplar that shows these landmarks and was not asked for others."""
    asked = torch.isin(torch.arange(landmarks), torch.tensor(shown))
    xy = torch.where(asked[:, None], torch.tensor([index, index + 1.0]), torch.nan)
    return CanvasExemplar(index, xy, None if asked.all() else asked)


def test_every_annotated_point_is_drawn_about_as_often(generator: Generators):
    several = [placed(0, 0, 1, 2, 3), placed(1, 2), placed(2, 3)]
    drawn = [one.index for one in draw_exemplars(several, 3000, generator())]
    assert np.bincount(drawn) / 3000 == pytest.approx([4 / 6, 1 / 6, 1 / 6], abs=0.03)
    assert count_whole(several) == 1.5


def test_whole_exemplars_are_registered_and_others_only_where_they_are_needed():
    whole, needless, needed = placed(0, 0, 1, 2), placed(1, 1), placed(2, 3)
    assert carriers([needless, whole, needed]) == [whole, needed]


def test_templates_of_single_answers_share_rows():
    visible = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]], dtype=torch.bool)
    assert pack_rows(visible)[:2].tolist() == [[0, 0, 0], [1, 3, 2]]
    assert len(pack_rows(visible)) == 2
    assert pack_rows(torch.ones(3, 2, dtype=torch.bool)).tolist() == [[0, 0], [1, 1], [2, 2]]


@pytest.fixture
def level(phantoms: Cohort, truth: LandmarkTable) -> ResolutionLevel:
    """The second radiograph has one answer, a point; the third one only what is not visible."""
    first, second, third = truth.sets[:3]
    asked = np.arange(len(first.names)) == 1
    point = replace(second, xy=np.where(asked[:, None], second.xy, np.nan), asked=asked)
    hidden = replace(third, xy=np.full_like(third.xy, np.nan), asked=asked)
    table = LandmarkTable.from_sets([first, point, hidden])
    return resolution_levels(phantoms.subset(phantoms.names[:3]), table, (96, 64), 0, 400, silent)[0]


def test_what_nobody_was_asked_for_keeps_its_pseudo_label_and_is_no_true_label(
    level: ResolutionLevel, generator: Generators
):
    pseudo = torch.full((len(level.exemplars[0].xy), 2), 7.0)
    drawn = draw_labelled(level, 3, 80, lambda store, index: pseudo, generator())
    chosen, xy = drawn.indices, drawn.xy
    assert chosen[:3] == [1, 2, 0] or chosen[:3] == [2, 1, 0]
    assert drawn.annotated == 81  # the whole exemplar among the radiographs, too
    rows = dict(zip(chosen[:3], xy[:3], strict=True))
    point = level.exemplars[1]
    assert torch.equal(rows[0], level.exemplars[0].xy)
    assert torch.equal(rows[1][1], point.xy[1])
    assert (rows[1][2:] == 7).all()
    assert rows[2][1].isnan().all()
    assert (rows[2][2:] == 7).all()
    singles = xy[3:][[index == 1 for index in chosen[3:]]]
    assert len(singles)
    assert 2 not in chosen[3:]
    assert singles[:, 2:].isnan().all()
    assert torch.equal(singles[0, 1], point.xy[1])


def pseudo_labels(truth: LandmarkTable, seconds: float | None = None) -> tuple[PseudoLabels, list[str]]:
    """Pseudo-labels that are 7 everywhere, and the names of the radiographs that were asked for."""
    asked: list[str] = []

    def predict(radiograph: Radiograph) -> LandmarkSet:
        asked.append(radiograph.name)
        return LandmarkSet(radiograph.name, truth.names, np.full((len(truth.names), 2), 7.0))

    return PseudoLabels(predict, seconds), asked


def test_the_shape_is_learned_from_a_persons_points_where_there_are_some(
    level: ResolutionLevel, truth: LandmarkTable
):
    labels, asked = pseudo_labels(truth)
    first, point, _ = labels.shapes(level)
    assert asked == list(level.store.cohort.names[1:])
    np.testing.assert_allclose(first, level.exemplars[0].xy)
    np.testing.assert_allclose(point[1], level.exemplars[1].xy[1])


def test_pseudo_labels_that_have_had_their_time_are_predicted_for_no_further_radiograph(
    level: ResolutionLevel, truth: LandmarkTable, generator: Generators
):
    labels, asked = pseudo_labels(truth, seconds=1e-9)
    pseudo = labels(level.store, 2)
    drawn = draw_labelled(level, 40, 1, labels, generator())
    chosen, xy = drawn.indices, drawn.xy
    assert set(chosen[:40]) == {0, 2}
    assert (xy[:40][torch.tensor(chosen[:40]) == 2][:, 2:] == pseudo[2:]).all()
    assert len(labels.shapes(level)) == 2
    assert asked == [level.store.cohort.names[2]]


def test_noted_labels_are_not_asked_for_again_and_their_time_counts(
    level: ResolutionLevel, truth: LandmarkTable
):
    notes: dict[str, Any] = {}
    names = level.store.cohort.names
    labels, asked = pseudo_labels(truth)
    labels.keep_in(notes, names)
    labels.predict(level.store, [1, 2])
    assert asked == [names[1], names[2]]
    read = json.loads(json.dumps(notes))
    seconds = read["labels"]["seconds"]
    assert seconds > 0
    again, asked_again = pseudo_labels(truth, seconds=5.0)
    again.keep_in(read, (names[2], names[0], names[1]))  # a cohort in another order
    assert again.left == pytest.approx(5.0 - seconds)
    assert sorted(again.known) == [0, 2]
    assert torch.equal(again(level.store, 2), labels(level.store, 2))
    assert asked_again == []
