"""A run as an ONNX file, asked by ONNX Runtime, answers as the run does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import made_up_model

import onemark
from onemark import Cohort, LandmarkTable, Model, UserError
from onemark.cli import main
from onemark.nn.heatmaps.shape import Shape
from onemark.pipeline.export.onnx import describe_differences, export_onnx
from onemark.stages.detect.tpl.detector import TPL
from onemark.stages.trust import Trust

onnxruntime = pytest.importorskip("onnxruntime", reason="extra `onnx`")


@pytest.fixture(scope="module")
def model(exemplars: LandmarkTable) -> Model:
    """Detector with a constellation, and a refiner that is believed in part."""
    made = made_up_model(exemplars)
    detector, count = made.stages["detect"], len(made.names)
    assert isinstance(detector, TPL)
    detector.shape = Shape(exemplars.sets[0].xy * 0.5, np.linspace(1, 4, count))
    return replace(made, trust=Trust(np.ones(count), np.linspace(0, 1, count)))


@pytest.fixture(scope="module")
def session(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(model, path)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    "crop", [(slice(None), slice(None)), (slice(10, 137), slice(8, 100)), (slice(0, 60), slice(None))]
)
def test_it_answers_as_the_run_does_for_any_size(
    model: Model, session: Any, phantoms: Cohort, crop: tuple[slice, slice]
):
    for index in (1, 5):
        whole = phantoms[index]
        radiograph = replace(whole, pixels=np.ascontiguousarray(whole.pixels[crop]))
        expected = model.predict_one(radiograph)
        xy, score, spread = session.run(None, {"pixels": radiograph.pixels})
        np.testing.assert_allclose(xy, expected.xy, atol=1e-3)
        np.testing.assert_allclose(score, expected.score, atol=1e-4)
        np.testing.assert_allclose(spread, expected.expected_error, atol=1e-3)


def test_its_metadata_name_the_landmarks_and_the_canvases(model: Model, session: Any):
    held = session.get_modelmeta().custom_metadata_map
    assert json.loads(held["landmarks"]) == list(model.names)
    assert json.loads(held["canvas"]) == [96, 64]
    assert json.loads(held["fine_canvas"]) == [160, 128]
    assert json.loads(held["differs"])


def test_what_the_matcher_would_add_is_said(model: Model):
    share = np.ones(len(model.names))
    share[:2] = 0.7
    differs = describe_differences(replace(model, trust=Trust(share, share)))
    assert any(f"2 of {len(share)} landmarks" in one for one in differs)


@pytest.mark.parametrize("lacking", ["detector", "trust"])
def test_a_run_that_cannot_be_exported_says_why_and_leaves_no_file(
    model: Model, tmp_path: Path, lacking: str
):
    if lacking == "detector":
        poor = replace(model, stages={"register": model.stages["register"]})
    else:
        poor = replace(model, trust=Trust(np.zeros(len(model.names)), np.ones(len(model.names))))
    with pytest.raises(UserError, match="cannot be exported"):
        export_onnx(poor, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_file_and_replaces_it_only_when_told(
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fails: Callable[..., str],
):
    monkeypatch.setattr(onemark, "load", lambda *_: model)
    out = tmp_path / "model.onnx"
    assert main(["export", "run", str(out)]) == 0
    assert "expected errors" in capsys.readouterr().out
    assert out.stat().st_size
    assert "exists already" in fails("export", "run", out)
