"""What a retraining learns, what it keeps, and what a stop leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onemark.data.landmarks.schema import schema_from_names
from onemark.data.landmarks.table import LandmarkTable
from onemark.evaluation.verdict import Verdict
from onemark.gui.state.predictions import Predictions
from onemark.gui.state.run_status import are_same_points

from .desktop import Desktop
from .fake_backend import FakeBackend, FakeModel


@pytest.fixture
def trained(annotated: Desktop) -> Desktop:
    """The predictions are there, and step 4 is in view."""
    annotated.train()
    annotated.go(4)
    return annotated


def test_a_new_exemplar_can_be_taught(trained: Desktop, truth: LandmarkTable, backend: FakeBackend) -> None:
    assert not trained.control("retrain").isEnabled()
    trained.session.import_annotations(LandmarkTable.from_sets([truth[truth.images[1]]]))
    trained.settle()
    trained.push("retrain")
    trained.until_idle()
    assert backend.orders[-1].exemplars.images == truth.images[:2]
    trained.go(4)
    assert not trained.control("retrain").isEnabled(), "the run knows it by now"


def test_it_says_which_exemplars_stay_as_they_were_taught(trained: Desktop, truth: LandmarkTable) -> None:
    kept = trained.control("review.kept")
    assert not kept.isVisibleTo(trained.widget)
    trained.show(truth.images[0])
    trained.session.edit(lambda annotation: annotation.clear(0))
    trained.settle()
    assert kept.isVisibleTo(trained.widget)
    assert "keeps 1 exemplar as taught" in kept.text()
    trained.session.undo()
    trained.settle()
    assert not kept.isVisibleTo(trained.widget)


def test_a_stop_while_predicting_again_keeps_what_is_not_predicted_yet(
    trained: Desktop, truth: LandmarkTable, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, names = trained.session, trained.session.cohort.names
    verdict = Verdict("the points are far off", (), 10.0, ("another recipe",))
    former = Predictions(dict(session.predictions), dict(session.errors), verdict, session.error_unit)
    session.set_predictions(former)
    again, train = FakeModel(truth, 9.0), backend.train
    monkeypatch.setattr(backend, "train", lambda order, progress: train(order, progress) and again)
    monkeypatch.setattr(FakeModel, "pause", 0.5)
    trained.app.training.start("retrain")
    trained.until(lambda: "Predicting every" in trained.control("activity").text())
    trained.app.training.stop()
    trained.until_idle()
    assert set(session.predictions) == set(names)
    new = again.locate(names[0]).xy
    trained.until(lambda: np.allclose(session.predictions[names[0]].xy, new))
    np.testing.assert_allclose(session.predictions[names[-1]].xy, FakeModel(truth).locate(names[-1]).xy)
    assert set(session.errors) == set(names)
    assert session.verdict is verdict


def test_going_on_after_a_landmark_was_added_asks_first(
    annotated: Desktop, truth: LandmarkTable, backend: FakeBackend
) -> None:
    backend.steps = 10_000
    annotated.go(3)
    annotated.until(lambda: annotated.app.training.recipes)
    annotated.push("run")
    annotated.push("stop")
    annotated.until_idle()
    annotated.session.set_schema(schema_from_names((*truth.names, "tragus"), "phantom"))
    annotated.session.place(len(truth.names), (60, 60))
    annotated.push("resume")
    assert "You have changed points" in annotated.said
    assert len(backend.orders) == 1


def test_points_are_the_same_in_whatever_order(truth: LandmarkTable) -> None:
    first, second = (truth[image] for image in truth.images[:2])
    order = list(range(len(truth.names)))[::-1]
    both = LandmarkTable.from_sets([first, second])
    assert are_same_points(both, LandmarkTable.from_sets([second.take(order), first.take(order)]))
    assert not are_same_points(both, LandmarkTable.from_sets([first]))
    fewer = LandmarkTable.from_sets([first.take(order[1:]), second.take(order[1:])])
    assert not are_same_points(both, fewer)
    hidden, asked = replace(first, xy=first.xy.copy()), np.ones(len(truth.names), bool)
    hidden.xy[0], asked[0] = np.nan, False
    unknown = LandmarkTable.from_sets([replace(hidden, asked=asked)])
    assert not are_same_points(LandmarkTable.from_sets([hidden]), unknown), "nobody was asked"
