"""The window with the real pipeline behind it, as small as it goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from desktop import Desktop

from onemark.data.landmarks.table import LandmarkTable
from onemark.gui.state.annotation import State
from onemark.gui.state.backend import Pipeline
from onemark.gui.state.schema import schema_from_names
from onemark.pipeline.runs import RunFolder

TINY = {
    "match.steps": 3,
    "match.area": 4096,
    "match.batch": 2,
    "match.anchors": 16,
    "detect.steps": 3,
    "detect.area": 4096,
    "detect.batch": 2,
    "refine.steps": 3,
    "refine.area": 4096,
    "refine.batch": 2,
    "refine.crop": 32,
}


@pytest.fixture
def backend() -> Pipeline:  # type: ignore[override]
    return Pipeline()


def test_train_review_correct_and_retrain(desktop: Desktop, xrays: Path, truth: LandmarkTable) -> None:
    desktop.open(xrays)
    desktop.session.set_schema(schema_from_names(truth.names, "phantom"))
    first, second = truth.images[:2]
    desktop.mark(truth[first])
    desktop.go(3)
    desktop.until(lambda: desktop.app.training.recipes, 120)
    assert desktop.control("recipe").currentData() == "onemark"
    assert desktop.app.training.devices["auto"] in desktop.widget.train._device_says.text()
    desktop.app.session_store.preferences.settings = dict(TINY)
    desktop.app.training.ready.emit()
    desktop.control("minutes").setValue(0)
    desktop.push("run")
    desktop.until(lambda: desktop.app.training.running is None, 120)
    assert desktop.app.step == 3, desktop.widget.banner.text
    assert set(desktop.session.predictions) == set(truth.images)
    assert desktop.widget.train.plot.stages == ["match", "detect", "refine"]

    run = RunFolder.open(desktop.app.session_store.run)
    assert run.config.state == "done"
    assert run.config.settings["match.steps"] == 3
    assert run.landmarks.is_file()

    desktop.session.show(second)
    desktop.until(lambda: desktop.shown(second))
    desktop.push("evidence.similarity")
    desktop.until(lambda: desktop.app.context.canvas.layer("similarity"), 60)
    assert (
        desktop.app.context.canvas.layer("similarity").data.shape
        == desktop.app.context.canvas.radiograph.size
    )
    assert desktop.widget.review.switches.shown == ["similarity", "heatmap", "refined"]

    for i, xy in enumerate(truth[second].xy):
        desktop.session.place(i, xy)
    desktop.push("confirm")
    assert desktop.session.state(second) is State.CORRECTED
    desktop.control("retrain.minutes").setValue(0.1)
    desktop.push("retrain")
    desktop.until(lambda: desktop.app.training.running is None, 120)
    assert set(run.exemplars().images) == {first, second}
    np.testing.assert_allclose(desktop.session.predictions[second].xy, truth[second].xy, atol=1e-6)


def test_stop_leaves_a_run_that_goes_on(desktop: Desktop, xrays: Path, truth: LandmarkTable) -> None:
    desktop.open(xrays)
    desktop.session.set_schema(schema_from_names(truth.names, "phantom"))
    desktop.mark(truth[truth.images[0]])
    desktop.go(3)
    desktop.until(lambda: desktop.app.training.recipes, 120)
    desktop.app.session_store.preferences.settings = {**TINY, "match.steps": 100_000}
    desktop.app.training.ready.emit()
    desktop.control("minutes").setValue(0)
    desktop.push("run")
    desktop.until(lambda: desktop.widget.train.plot.stages, 120)
    desktop.push("stop")
    desktop.until(lambda: desktop.app.training.running is None, 60)
    run = RunFolder.open(desktop.app.session_store.run)
    assert run.config.state == "stopped"
    assert run.checkpoint.is_file()
    assert desktop.control("resume").isVisibleTo(desktop.widget)
