"""Fitting a stage on its own, without a recipe or a run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.nn.device import fabric_for
from onemark.nn.fabric import Fabric
from onemark.nn.training.canvases import CanvasCache, CanvasExemplar
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.weights import Tensors
from onemark.progress import Sink, silent
from onemark.stages.base import MATCH, Stage, StageContext
from onemark.stages.config import StageConfig
from onemark.stages.matcher import Matcher
from onemark.types import LandmarkSet, Radiograph

S = TypeVar("S", bound=Stage)
Labels = Callable[[Radiograph], LandmarkSet]


class KnownPoints(Matcher):
    """A matcher that is told its answers: what a detector or refiner learns from in tests.

    Args:
        labels: Gives the landmarks of a radiograph.
        weights: What later stages start from.
    """

    Config = StageConfig

    def __init__(self, labels: Labels, weights: Tensors | None = None) -> None:
        super().__init__(StageConfig(), (), (0, 0), fabric_for("cpu"))
        self.labels, self.weights = labels, dict(weights or {})

    def remember(self, store: CanvasCache, exemplars: list[CanvasExemplar]) -> None:
        """Nothing to remember."""

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """The answer it was given."""
        return self.labels(radiograph)

    def starting_weights(self) -> Tensors:
        """The weights it was given."""
        return self.weights


def fit_stage(
    stage: type[S],
    cohort: Cohort,
    exemplars: LandmarkTable,
    config: StageConfig | None = None,
    *,
    labels: Labels | None = None,
    weights: Tensors | None = None,
    before: Mapping[str, Stage] | None = None,
    former: Stage | None = None,
    seconds: float | None = None,
    seed: int = 0,
    sink: Sink = silent,
    checkpoint: Checkpoint | None = None,
    log: list[dict[str, Any]] | None = None,
    fabric: Fabric | None = None,
) -> S:
    """Fit one stage on the CPU.

    Args:
        stage: The class.
        cohort: The radiographs to learn from.
        exemplars: Landmarks of radiographs of the cohort.
        config: Options; the defaults where left out.
        labels: The answers of the stages before it; a `KnownPoints` stands in for them.
        weights: What that stand-in gives to start from.
        before: Fitted stages that come before it, beside or instead of the stand-in.
        former: The same stage, fitted before, to go on from.
        seconds: Time budget.
        seed: Seed.
        sink: Takes the progress.
        checkpoint: Where to save a state to resume from.
        log: Collects one dict for each training step.
        fabric: Device and precision; the CPU where left out.

    Raises:
        UserError: as the stage's `fit`.
        Cancelled: the sink asked to stop.
    """
    stand_in = {MATCH: KnownPoints(labels, weights)} if labels is not None else {}
    context = StageContext(
        fabric or fabric_for("cpu"),
        seed,
        sink,
        checkpoint,
        [] if log is None else log,
        stage=stage.slot,
        stream=stage.stream,
        cohort=cohort,
        exemplars=exemplars,
        config=stage.Config() if config is None else config,
        seconds=seconds,
        former=former,
        before={**stand_in, **(before or {})},
    )
    return stage.fit(context)
