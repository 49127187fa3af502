"""A backend without torch: deterministic, slow on demand, and able to fail in every way that the window must survive."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from onemark.data.atomic import write_text
from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.questions import Question, Questions
from onemark.gui.state.backend import Order, RecipeInfo
from onemark.options import option
from onemark.pipeline.runs.config import RunConfig, RunState
from onemark.pipeline.runs.folder import RunFolder
from onemark.progress import Progress, Sink, silent
from onemark.types import Evidence, LandmarkSet, Radiograph, UserError


@dataclass(frozen=True)
class MatchConfig:
    steps: int = option(20, "How many steps to train", unit="steps", low=1, high=100_000)
    batch: int = option(8, "Radiographs per step", low=1, high=256)
    learning_rate: float = option(3e-4, "Step length of the optimiser", low=0.0, high=1.0)
    augment: bool = option(True, "Turn and bend the radiographs while training")
    weights: Literal["none", "imagenet"] = option("none", "What the encoder starts from")


class FakeModel:
    """Predicts the truth plus a known error that differs between radiographs."""

    pause = 0.0

    def __init__(self, truth: LandmarkTable, offset: float = 3.0) -> None:
        self.truth, self.offset = {one.image: one for one in truth}, offset
        self.asked: list[tuple[str, str | None]] = []

    def locate(self, image: str) -> LandmarkSet:
        one = self.truth[image]
        rng = np.random.default_rng(sum(map(ord, image)))
        error = rng.uniform(0.2, 1.8, len(one.names)) * rng.uniform(0.3, 2.0)
        angle = rng.uniform(0, 2 * np.pi, len(one.names))
        shift = self.offset * error[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        ellipse = np.stack([2 * error, 0.8 * error, np.degrees(angle)], 1)
        return LandmarkSet(image, one.names, one.xy + shift, 1 / (1 + error), 2 * error, ellipse=ellipse)

    def predict(self, cohort: Cohort, progress: Sink = silent) -> LandmarkTable:
        names = [name for name in cohort.names if name in self.truth]
        for step, name in enumerate(names, 1):
            progress(Progress("predict", step, len(names), preview=[self.locate(name)]))
            time.sleep(self.pause)
        return LandmarkTable.from_sets(self.locate(name) for name in names)

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        self.asked.append((radiograph.name, landmark))
        height, width = radiograph.size
        y, x = np.mgrid[:height, :width].astype(np.float32)
        one = self.locate(radiograph.name)
        cx, cy = one.xy[one.names.index(landmark or one.names[0])]
        spread = (x - cx) ** 2 + (y - cy) ** 2
        maps = {f"similarity s{s}": np.exp(-spread / (2 * (6 * s) ** 2)) for s in (2, 4, 8)}
        maps["similarity product"] = np.exp(-spread / 200)
        maps["heatmap"] = np.exp(-spread / 120)
        maps["warped exemplar"] = radiograph.pixels[::1, ::-1].copy()
        field_ = np.stack([6 * np.sin(y / 40), 6 * np.cos(x / 40)], axis=-1)
        return Evidence(radiograph.name, landmark, maps, field_.astype(np.float32))


@dataclass
class FakeBackend:
    """What to do at a step of the training, how long a step takes, how many steps, when to end early."""

    truth: LandmarkTable
    steps: int = 12
    seconds: float = 0.02
    fail_at: int | None = None
    needs_exemplar: bool = False
    model: type[FakeModel] = FakeModel
    error: BaseException = field(default_factory=lambda: RuntimeError("boom"))
    orders: list[Order] = field(default_factory=list)
    watched: list[str] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)

    def list_recipes(self) -> list[RecipeInfo]:
        return [
            RecipeInfo("onemark", "quick and good on most radiographs", {"match": MatchConfig()}),
            RecipeInfo("cc2d", "cascade of comparisons"),
        ]

    def list_problems(self) -> list[str]:
        return []

    def list_devices(self) -> dict[str, str]:
        return {"auto": "CPU, 2 threads (no NVIDIA GPU or driver found)", "cpu": "CPU, 2 threads (asked for)"}

    def train(self, order: Order, progress: Sink) -> FakeModel:
        self.orders.append(order)
        if order.kind == "predict":
            return FakeModel(self.truth)
        if order.kind != "new":
            run = RunFolder.open(order.out)
            run.update(state=RunState.RUNNING, done={}, warm=run.config.learned)
            if order.kind != "continue":
                run.teach(order.exemplars)
        else:
            run = RunFolder.create(order.out, self._about(order, RunState.RUNNING), order.exemplars)
        try:
            for step in range(1, self.steps + 1):
                self._step(step, order, progress)
                if self.enough.is_set():
                    break
        except BaseException:
            run.update(state=RunState.STOPPED)
            raise
        write_text(order.out / "weights.safetensors", "")
        fits = run.config.fits + 1
        run.update(state=RunState.DONE, done={"match": 1.0, "detect": 1.0}, fits=fits)
        return FakeModel(self.truth)

    def has_same_matcher(self, run: Path, order: Order) -> bool:
        there = RunFolder.open(run).config
        return (there.recipe, there.settings) == (order.recipe, _of_match(order))

    def suggest(self, order: Order, progress: Sink) -> None:
        self.orders.append(order)
        if self.needs_exemplar:
            raise UserError(
                f"the matcher of recipe {order.recipe} learns nothing before a radiograph is annotated"
            )
        there = (order.out / "config.json").exists()
        run = (
            RunFolder.open(order.out)
            if there
            else RunFolder.create(order.out, self._about(order, RunState.SUGGESTED))
        )
        if not run.config.learned:
            for step in range(1, self.steps + 1):
                self._step(step, order, progress)
                if self.enough.is_set():
                    break
            write_text(run.weights, "")
            run.update(done={"match": 1.0})
        names = self.ranking
        rows = [f"{n},{0.9 - 0.1 * i},{i + 1 if i < order.number else ''}" for i, n in enumerate(names)]
        write_text(order.out / "suggestion.csv", "\n".join(["image,similarity,chosen", *rows, ""]))

    @property
    def ranking(self) -> list[str]:
        """The radiographs as it suggests them: an order that is neither that of the names nor its reverse."""
        names = list(self.truth.images)
        return [*names[3:], *names[:3]]

    def _about(self, order: Order, state: RunState) -> RunConfig:
        cohort = order.cohort
        return RunConfig(
            order.recipe, _of_match(order), 0, "cpu", None, str(cohort.folder), None, cohort.names, state
        )

    def ask(self, run: Path, cohort: Cohort, number: int) -> Questions:
        names = list(self.truth.images)[1:]
        guesses = [self.model(self.truth).locate(name) for name in names]
        rows = [
            Question(one.image, one.names[k], *map(float, one.xy[k]), 2.0, "px")
            for k, one in enumerate(guesses)
        ]
        return Questions(tuple(rows[:number]), run)

    def load(self, run: Path) -> FakeModel:
        return self.model(self.truth)

    def _step(self, step: int, order: Order, progress: Sink) -> None:
        if step == self.fail_at:
            raise self.error
        time.sleep(self.seconds)
        model = FakeModel(self.truth, 30.0 * (1 - step / self.steps) + 3.0)
        names = [*order.cohort.names[:2], *([order.watched()] if order.watched() else [])]
        preview = [model.locate(name) for name in dict.fromkeys(names) if name in model.truth]
        self.watched += [one.image for one in preview]
        stage = "match" if step <= self.steps // 2 else "detect"
        loss = 2.0 * np.exp(-3 * step / self.steps) + 0.1
        left = (self.steps - step) * self.seconds
        progress(Progress(stage, step, self.steps, {"loss": loss}, left, preview))


def _of_match(order: Order) -> dict[str, object]:
    return {name: value for name, value in order.settings.items() if name.startswith("match.")}


def folder_of_phantoms(folder: Path, count: int = 6, **options: Any) -> LandmarkTable:
    from onemark.phantom import write_phantom_cohort

    return write_phantom_cohort(folder, count, **options)
