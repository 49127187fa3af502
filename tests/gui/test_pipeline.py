"""The window with the real pipeline behind it, as small as it goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onemark.data.landmarks.schema import schema_from_names
from onemark.data.landmarks.table import LandmarkTable
from onemark.gui.state.annotation import State
from onemark.gui.state.backend import Pipeline
from onemark.pipeline.runs.folder import RunFolder

from .desktop import Desktop


@pytest.fixture
def backend() -> Pipeline:  # type: ignore[override]
    return Pipeline()


def test_train_review_correct_and_retrain(
    desktop: Desktop, xrays: Path, truth: LandmarkTable, tiny: dict[str, object]
) -> None:
    desktop.open(xrays)
    desktop.session.set_schema(schema_from_names(truth.names, "phantom"))
    first, second = truth.images[:2]
    desktop.annotate(truth[first])
    desktop.go(3)
    desktop.until(lambda: desktop.app.training.recipes, 120)
    assert desktop.control("recipe").currentData() == "onemark"
    assert desktop.app.training.devices["auto"] in desktop.control("device.description").text()
    desktop.app.session_store.preferences.settings = dict(tiny)
    desktop.app.training.ready.emit()
    desktop.control("minutes").setValue(0)
    desktop.push("run")
    desktop.until_idle(120)
    assert desktop.app.step == 3, desktop.said
    assert set(desktop.session.predictions) == set(truth.images)
    assert desktop.widget.train.plot.stages == ["match", "detect", "refine"]

    run = RunFolder.open(desktop.app.session_store.run)
    assert run.config.state == "done"
    assert run.config.settings["match.steps"] == 3
    assert run.landmarks.is_file()

    desktop.show(second)
    desktop.push("evidence.similarity")
    desktop.until(lambda: desktop.app.context.canvas.layer("similarity"), 60)
    assert (
        desktop.app.context.canvas.layer("similarity").data.shape
        == desktop.app.context.canvas.radiograph.size
    )
    assert desktop.widget.review.switches.shown == [
        "similarity",
        "heatmap",
        "warped exemplar",
        "deformation grid",
        "disagreement",
        "refined",
    ]

    for i, xy in enumerate(truth[second].xy):
        desktop.session.place(i, xy)
    desktop.push("confirm")
    assert desktop.session.state(second) is State.CORRECTED
    desktop.control("retrain.minutes").setValue(0.1)
    desktop.push("retrain")
    desktop.until_idle(120)
    assert set(run.exemplars().images) == {first, second}
    np.testing.assert_allclose(desktop.session.predictions[second].xy, truth[second].xy, atol=1e-6)


def test_stop_leaves_a_run_that_goes_on(
    desktop: Desktop, xrays: Path, truth: LandmarkTable, tiny: dict[str, object]
) -> None:
    desktop.open(xrays)
    desktop.session.set_schema(schema_from_names(truth.names, "phantom"))
    desktop.annotate(truth[truth.images[0]])
    desktop.go(3)
    desktop.until(lambda: desktop.app.training.recipes, 120)
    desktop.app.session_store.preferences.settings = {**tiny, "match.steps": 100_000}
    desktop.app.training.ready.emit()
    desktop.control("minutes").setValue(0)
    desktop.push("run")
    desktop.until(lambda: desktop.widget.train.plot.stages, 120)
    desktop.push("stop")
    desktop.until_idle(60)
    run = RunFolder.open(desktop.app.session_store.run)
    assert run.config.state == "stopped"
    assert run.checkpoint.is_file()
    assert desktop.control("resume").isVisibleTo(desktop.widget)
