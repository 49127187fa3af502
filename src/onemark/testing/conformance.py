"""The conformance suite of stages."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from onemark.data.cohort import Cohort, open_cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.nn.device import fabric_for
from onemark.nn.training.canvases import CanvasCache
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.weights import read_weights, write_weights
from onemark.phantom import write_phantom_cohort
from onemark.progress import Cancelled, Progress, Sink, silent
from onemark.stages.base import ChosenStage, Locator, Stage
from onemark.stages.config import StageConfig
from onemark.stages.detector import Detector
from onemark.stages.matcher import Matcher
from onemark.stages.refiner import Refiner
from onemark.testing.fitting import KnownPoints, fit_stage
from onemark.types import Evidence, LandmarkSet, Radiograph, UserError

COUNT, SIZE = 9, (160, 128)
BUDGET = 0.5  # seconds
MANY_STEPS = 10**7  # more than any budget holds: only a stage that ignores its budget gets there
OVERRUN = 400  # events after which a stage that should have ended within its budget is said not to honour it


def check_stage(
    stage: type[Stage],
    config: StageConfig | None = None,
    *,
    before: Sequence[Stage] = (),
    device: str = "cpu",
) -> None:
    """Check a matcher, detector or refiner against the contract in `onemark.stages`, on the phantom.

    It is fitted, stopped, resumed, saved, loaded, asked and explained; with a landmark that an exemplar does not show,
    with other landmarks than before, within a time budget and, where it says that it can, without exemplars.

    Args:
        stage: The class.
        config: Options that make it quick: a small `area`, few `steps`. The defaults where left out.
        before: Fitted stages that a detector or refiner needs before it; where there is none, a matcher whose
            answers are about 2 px off.
        device: Where the stage is checked, as for `onemark.fit`.

    Raises:
        AssertionError: it does not keep to the contract; the message names the stage, what was done and what failed.
    """
    with _saying(stage, "the declaration"):
        _check_declaration(stage)
    with tempfile.TemporaryDirectory() as folder:
        suite = _Suite(stage, config or stage.Config(), Path(folder), before, device)
        for name, check in suite.checks():
            with _saying(stage, name):
                check()


@contextlib.contextmanager
def _saying(stage: type[Stage], what: str) -> Iterator[None]:
    """Let every failure name the stage and what was done."""
    try:
        yield
    except Exception as error:  # a stage of somebody else's may raise anything
        raise AssertionError(f"{stage.__name__}, {what}: {type(error).__name__}: {error}") from error


def _check_declaration(stage: type[Stage]) -> None:
    kinds = (Matcher, Detector, Refiner)
    assert issubclass(stage, kinds), "it must derive from Matcher, Detector or Refiner"
    assert dataclasses.is_dataclass(stage.Config), "Config must be a dataclass"
    assert issubclass(stage.Config, StageConfig), "Config must derive from StageConfig"
    bare = [one.name for one in dataclasses.fields(stage.Config) if not one.metadata.get("help")]
    assert not bare, f"make these fields of Config with onemark.options.option: {', '.join(bare)}"


class _Suite:
    """The checks of one stage on one phantom cohort."""

    def __init__(
        self, stage: type[Stage], config: StageConfig, folder: Path, before: Sequence[Stage], device: str
    ) -> None:
        self.stage, self.config, self.place = stage, config, folder
        self.fabric = fabric_for(device)
        self.truth = write_phantom_cohort(folder / "phantoms", COUNT, size=SIZE)
        self.cohort: Cohort = open_cohort(folder / "phantoms")
        self.exemplars = LandmarkTable.from_sets(self.truth.sets[:1])
        self.before = {one.slot: one for one in before} or {"match": KnownPoints(self._coarse)}
        if issubclass(stage, Matcher):
            self.before = {}
        self.fitted: Stage | None = None
        self.again: Stage | None = None

    def checks(self) -> list[tuple[str, Callable[[], None]]]:
        """Names and checks, in order."""
        found: list[tuple[str, Callable[[], None]]] = [
            ("checking its options", self.check_options),
            ("fitting and asking", self.check_answers),
            ("fitting again with the same seed", self.check_repeats),
            ("saving and loading", self.check_restores),
            ("stopping and resuming", self.check_resumes),
            ("a time budget", self.check_budget),
            ("explaining", self.check_explains),
            ("exemplars that do not show all landmarks", self.check_hidden),
            ("going on with other landmarks", self.check_goes_on),
        ]
        if self.fabric.device.type == "cpu":  # a GPU is asked from one thread
            found.insert(3, ("asking from two threads at once", self.check_threads))
        if issubclass(self.stage, Matcher) and self.stage.learns_without_exemplars:
            found.append(("learning without exemplars", self.check_without_exemplars))
        if issubclass(self.stage, Matcher) and self.stage.measures_cycles:
            found.append(("measuring the way back", self.check_cycles))
        return found

    def check_options(self) -> None:
        chosen = {slot: ChosenStage(type(one), one.config) for slot, one in self.before.items()}
        self.stage.check(chosen | {self.stage.slot: ChosenStage(self.stage, self.config)})

    def check_answers(self) -> None:
        self.fitted = self._fit()
        assert self.fitted.names == self.exemplars.names, "names must be those of the exemplars, in order"
        for index in (0, 4):
            self._check_landmarks(self._answer(self.fitted, index), self.cohort[index])

    def check_repeats(self) -> None:
        self.again = self._fit()
        self._check_same(self._whole(), self.again)

    def check_threads(self) -> None:
        stage, wanted = self.again, range(COUNT)
        assert stage is not None
        with ThreadPoolExecutor(2) as pool:
            together = list(pool.map(lambda index: self._answer(stage, index), wanted))
        for index, found in zip(wanted, together, strict=True):
            alone = self._answer(self._whole(), index)
            assert np.allclose(found.xy, alone.xy, atol=1e-3), "places differ"  # threads round otherwise

    def check_restores(self) -> None:
        path = self.place / "weights.safetensors"
        write_weights(path, {self.stage.slot: self._whole().state()})
        again = self.stage.restore(*read_weights(path)[self.stage.slot], self.fabric)
        assert again.names == self.exemplars.names
        self._check_same(self._whole(), again)

    def check_resumes(self) -> None:
        checkpoint = Checkpoint(self.place / "checkpoint.safetensors")
        stop = _Stop(self.stage.slot)
        try:
            self._fit(sink=stop, checkpoint=checkpoint)
        except Cancelled:
            self._check_same(self._whole(), self._fit(checkpoint=checkpoint))
        else:
            assert not stop.raised, "a Cancelled that the sink raises must reach the caller"

    def check_budget(self) -> None:
        config = self.config
        if any(one.name == "steps" for one in dataclasses.fields(config)):
            config = dataclasses.replace(config, **{"steps": MANY_STEPS})  # type: ignore[arg-type]
        self._fit(config=config, seconds=BUDGET, sink=_Overrun(self.stage.slot))

    def check_explains(self) -> None:
        if not self.stage.explains:
            return
        radiograph = self.cohort[4]
        for landmark in (None, self.exemplars.names[1]):
            evidence = self._explain(radiograph, landmark)
            assert evidence.maps, "evidence must hold at least one map"
            for name, shown in evidence.maps.items():
                assert shown.shape == radiograph.size, f"map {name!r} must have the radiograph's size"
        try:
            self._explain(radiograph, "no such landmark")
        except UserError:
            return
        raise AssertionError("a landmark that it does not know must be a UserError")

    def check_hidden(self) -> None:
        first, second, third, fourth = self.truth.sets[:4]
        hidden = second.xy.copy()
        hidden[0] = np.nan
        unknown = np.full_like(hidden, np.nan)
        asked = np.arange(len(first.names)) == 1
        several = [
            first,
            dataclasses.replace(second, xy=hidden),
            dataclasses.replace(third, xy=np.where(asked[:, None], third.xy, np.nan), asked=asked),
            dataclasses.replace(fourth, xy=unknown, asked=asked),
        ]
        fitted = self._fit(exemplars=LandmarkTable.from_sets(several))
        self._check_landmarks(self._answer(fitted, 4), self.cohort[4])

    def check_goes_on(self) -> None:
        fewer = LandmarkTable.from_sets(
            LandmarkSet(one.image, one.names[:-1], one.xy[:-1]) for one in self.exemplars
        )
        former = self._whole()
        same = self._fit(former=former)
        self._check_landmarks(self._answer(same, 4), self.cohort[4])
        if self.stage.bound_to_landmarks:
            return
        before = {slot: _without_last(one, len(fewer.names)) for slot, one in self.before.items()}
        other = self._fit(fewer, before=before, former=former)
        assert other.names == fewer.names, "names must be those of the new exemplars"

    def check_without_exemplars(self) -> None:
        alone = self._fit(exemplars=LandmarkTable((), ()))
        assert isinstance(alone, Matcher)
        canvases = CanvasCache(self.cohort, alone.canvas).read([0, 1])
        maps = alone.embed(canvases)
        assert maps, "embed must give at least one level"
        assert all(len(one) == 2 and one.ndim == 4 for one in maps), "embed must give [B, C, h, w] per level"
        later = self._fit(former=alone)
        self._check_landmarks(self._answer(later, 4), self.cohort[4])

    def check_cycles(self) -> None:
        matcher, exemplar, placed = self._whole(), self.cohort[0], self.truth.sets[0].xy
        assert isinstance(matcher, Matcher)
        hidden = self.truth.sets[4].xy.copy()
        hidden[0] = np.nan
        errors = matcher.cycle_errors(exemplar, placed, [(exemplar, placed), (self.cohort[4], hidden)])
        assert errors.shape == (2, len(placed)), "cycle_errors must give [N, K]"
        assert np.isfinite(errors[0]).all(), "errors of visible landmarks must be finite"
        assert np.isnan(errors[1, 0]), "the error of a landmark that is not visible must be NaN"

    def _whole(self) -> Stage:
        if self.fitted is None:
            self.fitted = self._fit()
        return self.fitted

    def _fit(
        self,
        exemplars: LandmarkTable | None = None,
        config: StageConfig | None = None,
        former: Stage | None = None,
        seconds: float | None = None,
        sink: Sink = silent,
        checkpoint: Checkpoint | None = None,
        before: Mapping[str, Stage] | None = None,
    ) -> Stage:
        return fit_stage(
            self.stage,
            self.cohort,
            self.exemplars if exemplars is None else exemplars,
            config or self.config,
            before=self.before if before is None else before,
            former=former,
            seconds=seconds,
            sink=sink,
            checkpoint=checkpoint,
            fabric=self.fabric,
        )

    def _coarse(self, radiograph: Radiograph) -> LandmarkSet:
        """The truth, about 2 px off, the same every time."""
        one = self.truth[radiograph.name]
        noise = np.random.default_rng(sum(radiograph.name.encode())).normal(0, 2, one.xy.shape)
        known = np.full(len(one.names), 0.5)
        return LandmarkSet(one.image, one.names, one.xy + noise, known, known)

    def _answer(self, stage: Stage, index: int) -> LandmarkSet:
        radiograph = self.cohort[index]
        if isinstance(stage, Locator):
            return stage.locate(radiograph)
        assert isinstance(stage, Refiner)
        return stage.refine(radiograph, self._locate_before(radiograph))

    def _explain(self, radiograph: Radiograph, landmark: str | None) -> Evidence:
        stage = self._whole()
        if isinstance(stage, Locator):
            return stage.explain(radiograph, landmark)
        assert isinstance(stage, Refiner)
        return stage.explain(radiograph, self._locate_before(radiograph), landmark)

    def _locate_before(self, radiograph: Radiograph) -> LandmarkSet:
        *_, last = (one for one in self.before.values() if isinstance(one, Locator))
        return last.locate(radiograph)

    def _check_landmarks(self, found: LandmarkSet, radiograph: Radiograph) -> None:
        height, width = radiograph.size
        assert found.image == radiograph.name, "image must be the radiograph's name"
        assert np.isfinite(found.xy).all(), "every landmark that an exemplar shows needs a finite place"
        inside = (found.xy >= -0.5).all() and (found.xy <= [width - 0.5, height - 0.5]).all()
        assert inside, "places must lie on the radiograph, in original pixels (x, y)"
        for name, values in (("score", found.score), ("expected_error", found.expected_error)):
            assert values.shape == (len(found.names),), f"{name} must have one value for each landmark"
            assert np.isfinite(values).all(), f"{name} must be finite"
            assert (values >= 0).all(), f"{name} must not be negative"
        assert (found.score <= 1).all(), "score must be at most 1"

    def _check_same(self, one: Stage, other: Stage) -> None:
        for index in (0, 4, 7):
            a, b = self._answer(one, index), self._answer(other, index)
            assert np.array_equal(a.xy, b.xy), "places differ"
            assert np.array_equal(a.score, b.score), "scores differ"
            assert np.array_equal(a.expected_error, b.expected_error), "expected errors differ"


class _Stop:
    """Asks to stop once, at the first training step."""

    def __init__(self, slot: str) -> None:
        self.slot, self.raised = slot, False

    def __call__(self, event: Progress) -> None:
        if event.stage == self.slot and event.step and not self.raised:
            self.raised = True
            raise Cancelled


class _Overrun:
    """Fails when training goes on long after its budget."""

    def __init__(self, slot: str) -> None:
        self.slot, self.late = slot, 0

    def __call__(self, event: Progress) -> None:
        self.late += event.stage == self.slot and event.seconds_left == 0.0
        assert self.late < OVERRUN, "training goes on after its time budget"


def _without_last(stage: Stage, count: int) -> Stage:
    """A stand-in whose answers lack the last landmark; other stages are as they are."""
    if not isinstance(stage, KnownPoints):
        return stage

    def labels(radiograph: Radiograph) -> LandmarkSet:
        one = stage.labels(radiograph)
        return LandmarkSet(
            one.image, one.names[:count], one.xy[:count], one.score[:count], one.expected_error[:count]
        )

    return KnownPoints(labels, stage.weights)
