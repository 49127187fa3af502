"""A bad result does not look like a good one in the window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.gui.state import background_run
from onemark.gui.state.activity import describe_speed
from onemark.gui.state.backend import Order
from onemark.gui.state.predictions import Predictions
from onemark.progress import Progress, Sink, silent

from .desktop import Desktop
from .fake_backend import FakeBackend, FakeModel


class FarOff(FakeModel):
    """Expects an error of a third of the image."""

    def predict(self, cohort: Cohort, progress: Sink = silent) -> LandmarkTable:
        table = super().predict(cohort, progress)
        return LandmarkTable.from_sets(
            replace(one, expected_error=one.expected_error + 60.0) for one in table
        )


@pytest.fixture
def far_off(annotated: Desktop, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> Desktop:
    trained = backend.train
    monkeypatch.setattr(backend, "train", lambda order, progress: _spoil(trained(order, progress)))
    annotated.train()
    return annotated


def _spoil(model: FakeModel) -> FarOff:
    return FarOff(LandmarkTable.from_sets(model.truth.values()))


def test_the_headline_says_so_and_offers_to_go_on(far_off: Desktop, backend: FakeBackend) -> None:
    summary = far_off.widget.review._summary.text()
    assert summary.startswith("Not usable yet: the points are probably ")
    assert "radiographs predicted" in summary
    assert "What helps" in far_off.control("review.why").text()
    far_off.push("review.go_on")
    far_off.until_idle()
    assert backend.orders[-1].kind == "retrain"
    assert backend.orders[-1].minutes == 20.0


def test_the_colours_fit_the_errors(far_off: Desktop) -> None:
    assert far_off.app.context.points.limit > 70


def test_it_still_says_so_after_a_restart(far_off: Desktop) -> None:
    folder = far_off.session.cohort.folder
    before = far_off.session.cohort
    far_off.widget.open(folder)
    far_off.until(lambda: far_off.session.cohort is not before and far_off.session.predictions)
    far_off.go(4)
    far_off.until(lambda: far_off.widget.review._summary.text().startswith("Not usable yet"))


def test_a_good_result_looks_good(annotated: Desktop) -> None:
    annotated.train()
    assert annotated.session.verdict is None
    assert not annotated.control("review.go_on").isVisible()


def test_the_window_says_how_fast_it_is_and_who_else_works(
    annotated: Desktop, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = Progress("match", 3, 9, {"loss": 1.0, "images/s": 14.2})
    assert describe_speed(event, 0.1) == "14 images per second."
    assert "Other programs use 62 % of the processor" in describe_speed(event, 0.62)
    backend.seconds = 0.2
    monkeypatch.setattr(background_run.OthersMeter, "share", lambda self: 0.75)
    annotated.go(3)
    annotated.until(lambda: annotated.app.training.recipes)
    annotated.push("run")
    annotated.until(lambda: "75 %" in annotated.control("speed").text())
    annotated.until_idle()


def test_a_note_of_the_pipeline_is_not_counted_as_a_skipped_radiograph(
    annotated: Desktop, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = backend.train

    def train(order: Order, progress: Sink) -> FakeModel:
        progress(Progress("refine", 0, 1, message="the detector has not learned enough yet"))
        return trained(order, progress)

    monkeypatch.setattr(backend, "train", train)
    annotated.train()
    assert annotated.said == "The detector has not learned enough yet."


def test_it_says_how_probably_a_landmark_is_visible(annotated: Desktop, truth: LandmarkTable) -> None:
    probable = np.linspace(0.2, 0.9, len(truth.names))
    known = {"expected_error": np.ones(len(probable)), "unit": "px", "visible_probability": probable}
    other = replace(truth[truth.images[1]], **known)
    annotated.session.set_predictions(Predictions.from_sets([other], annotated.session.cohort))
    annotated.show(other.image)
    annotated.go(4)
    for landmark, hint in ((0, ", if it is visible (20%)."), (len(probable) - 1, "1.0 px. Drag")):
        annotated.session.select(landmark)
        annotated.settle()
        assert hint in annotated.control("review.point").text()
