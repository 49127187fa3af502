"""A trained run as one ONNX file."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import torch

import onemark
from onemark.data.atomic import writing
from onemark.data.extras import import_extra
from onemark.data.paths import printable
from onemark.pipeline.export.graph import Pipeline
from onemark.pipeline.model import Model
from onemark.stages.answers import refiner_of
from onemark.stages.base import DETECT
from onemark.stages.detect.tpl.detector import TPL
from onemark.stages.refine.f2.refiner import F2
from onemark.stages.trust import Trust
from onemark.types import UserError

OPSET = 18
INPUT, AXES = "pixels", {0: "height", 1: "width"}


def export_onnx(model: Model, path: Path | str, *, overwrite: bool = False) -> tuple[str, ...]:
    """Write detector, refiner and decoding of a run as one ONNX graph, from pixels to landmarks.

    Input `pixels` `[height, width]`: float32 in [0, 1], any size. Outputs: `xy` `[K, 2]` (x, y) px of that image, `score`
    `[K]`, `spread` `[K]` px. The metadata holds, as JSON, `landmarks`, `canvas`, `fine_canvas`, `recipe`, `onemark` and
    `differs`.

    Args:
        model: A trained run, on the CPU.
        path: The file.
        overwrite: Replace it when it is there.

    Returns:
        Sentences: in what the graph differs from `Model.predict`.

    Raises:
        UserError: a stage of the recipe cannot be exported, the detector does not answer, the extra `onnx` is not
            installed, or the file is there or cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise UserError(f"{printable(path)} exists already; give another name, or --overwrite to replace it")
    onnx, pipeline = import_extra("onnx", "ONNX needs the package onnx", "onnx"), assemble(model)
    differs = describe_differences(model)
    graph = onnx.load_from_string(_trace(pipeline))
    refiner = refiner_of(model.stages)
    for key, value in {
        "landmarks": model.names,
        "canvas": pipeline.canvas,
        "fine_canvas": None if refiner is None else refiner.canvas,
        "recipe": model.recipe,
        "onemark": onemark.__version__,
        "differs": differs,
    }.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    onnx.checker.check_model(graph)
    with writing(path, "wb") as stream:
        stream.write(graph.SerializeToString())
    return differs


def assemble(model: Model) -> Pipeline:
    """The stages of a run that a graph can hold.

    Raises:
        UserError: there is one that it cannot, or the detector does not answer.
    """
    detector, refiner = model.stages.get(DETECT), refiner_of(model.stages)
    begin = f"a run of the recipe {model.recipe} with the stages {', '.join(model.stages)} cannot be exported"
    if not isinstance(detector, TPL) or detector.config.head != "heatmap":
        raise UserError(f"{begin}: it needs a trained detector with heatmaps, as the recipe onemark has")
    if refiner is not None and not (isinstance(refiner, F2) and refiner.known is None):
        raise UserError(
            f"{begin}: its refiner compares with the exemplars; train with refine.learn=labels, or without a refiner"
        )
    trust = model.trust or Trust.full(len(model.names))
    if not trust.needs_detector:
        raise UserError(
            f"{begin}: its detector has not learned enough to answer, and registration, which answers, is not exported; "
            "train with more minutes or radiographs"
        )
    return Pipeline(detector, refiner, trust).eval()


def describe_differences(model: Model) -> tuple[str, ...]:
    """In what the graph of a run differs from `Model.predict`: whole sentences."""
    differs = ["there are no expected errors; spread is the width of the peak"]
    if model.orienter is not None:
        differs.append("radiographs are read as they lie; bring them upright first")
    if model.trust is not None and model.trust.needs_matcher:
        shared = int((model.trust.detector < 1).sum())
        differs.append(
            f"the matcher's part in the answer is left out, which concerns {shared} of {len(model.names)} landmarks"
        )
    if model.mean_error is not None and model.mean_error.offsets.any():
        differs.append("mean errors that answers showed are not taken away")
    return tuple(differs)


def _trace(pipeline: Pipeline) -> bytes:
    """The graph. The size of the example does not matter: it stays open."""
    stream, example = io.BytesIO(), torch.rand(pipeline.canvas)
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter speaks of its own future, and of sizes that are constants on purpose.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            pipeline,
            (example,),
            stream,  # type: ignore[arg-type]
            input_names=[INPUT],
            output_names=list(pipeline.outputs),
            dynamic_axes={INPUT: AXES},
            opset_version=OPSET,
            dynamo=False,  # the other exporter needs a further package
        )
    return stream.getvalue()
