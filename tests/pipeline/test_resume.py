"""Stopped, killed, resumed and taught more: a run ends as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import onemark
from onemark import Cancelled, Cohort, LandmarkSet, LandmarkTable, Model, Progress, UserError
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.weights import read_weights
from onemark.pipeline import trainer
from onemark.pipeline.runs.folder import RunFolder
from onemark.stages.detector import Detector

Settings = dict[str, object]


def same(first: Path, second: Path) -> bool:
    """Whether two runs hold the same weights, to the last bit."""
    ours, theirs = (read_weights(run / "weights.safetensors") for run in (first, second))
    return ours.keys() == theirs.keys() and all(
        ours[slot][0].keys() == theirs[slot][0].keys()
        and all(
            torch.allclose(value.double(), theirs[slot][0][name].double(), rtol=0, atol=0, equal_nan=True)
            for name, value in ours[slot][0].items()
        )
        for slot in ours
    )


def stop_at(stage: str, step: int, error: BaseException | None = None) -> Callable[[Progress], None]:
    """A sink that stops the work at a step of a stage."""

    def sink(event: Progress) -> None:
        if (event.stage, event.step) == (stage, step):
            raise error or Cancelled

    return sink


def steps_of(model: Model) -> list[tuple[Any, Any]]:
    return [(entry["stage"], entry["step"]) for entry in model.log]


def state_of(run: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((run / "config.json").read_text("utf-8"))
    return config


# --- the same again --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unbroken(phantoms: Cohort, exemplars: LandmarkTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six tiny steps per stage that nothing disturbed, with its landmarks."""
    run = tmp_path_factory.mktemp("unbroken") / "run"
    model = onemark.fit(phantoms, exemplars, settings=six_steps(), out=run, seed=3)
    model.predict(phantoms).to_csv(run / "landmarks.csv")
    return run


STAGES = ("match", "detect", "refine")


def six_steps() -> Settings:
    tiny: Settings = {"area": 4096, "batch": 2, "steps": 6}
    settings = {f"{stage}.{key}": value for stage in STAGES for key, value in tiny.items()}
    quick = {
        "register.area": 4096,
        "register.references": 2,
        "register.affine_steps": 2,
        "register.field_steps": 2,
    }
    return settings | {"match.grow": 0.4, "detect.grow": 0.4, "refine.crop": 32} | quick


def test_the_same_seed_gives_the_same_run(
    unbroken: Path, phantoms: Cohort, exemplars: LandmarkTable, tmp_path: Path
):
    torch.manual_seed(99)  # nothing may depend on what ran before
    again = tmp_path / "run"
    model = onemark.fit(phantoms, exemplars, settings=six_steps(), out=again, seed=3)
    model.predict(phantoms).to_csv(again / "landmarks.csv")
    assert same(again, unbroken)
    assert (again / "landmarks.csv").read_bytes() == (unbroken / "landmarks.csv").read_bytes()


def test_another_seed_gives_another_run(
    unbroken: Path, phantoms: Cohort, exemplars: LandmarkTable, tmp_path: Path
):
    onemark.fit(phantoms, exemplars, settings=six_steps(), out=tmp_path / "run", seed=4)
    assert not same(tmp_path / "run", unbroken)
    # After six steps registration, which draws nothing at random, may answer alone.
    runs = [onemark.load(run).stages["detect"] for run in (tmp_path / "run", unbroken)]
    found, other = (stage.locate(phantoms[1]).xy for stage in runs if isinstance(stage, Detector))
    assert not np.allclose(found, other)


def test_a_run_stopped_again_and_again_ends_with_the_same_weights(
    unbroken: Path, phantoms: Cohort, exemplars: LandmarkTable, tmp_path: Path
):
    run, done = tmp_path / "run", []

    def stop(event: Progress, at: tuple[str, int]) -> None:
        if event.stage in STAGES:
            done.append((event.stage, event.step))
        if (event.stage, event.step) == at:
            raise Cancelled

    first, *others = (("match", 1), ("match", 6), ("detect", 1), ("detect", 4), ("detect", 6), ("refine", 1))
    with pytest.raises(Cancelled):
        onemark.fit(
            phantoms, exemplars, settings=six_steps(), out=run, seed=3, progress=partial(stop, at=first)
        )
    for at in [*others, ("refine", 5)]:
        assert state_of(run)["state"] == "stopped"
        with pytest.raises(Cancelled):
            onemark.resume(run, progress=partial(stop, at=at))
    model = onemark.resume(run, progress=partial(stop, at=("", 0)))
    assert done == steps_of(model) == [(stage, n) for stage in STAGES for n in range(1, 7)]
    assert state_of(run)["state"] == "done"
    assert not (run / "checkpoint.safetensors").exists()
    assert same(run, unbroken)
    model.predict(phantoms).to_csv(run / "landmarks.csv")
    assert (run / "landmarks.csv").read_bytes() == (unbroken / "landmarks.csv").read_bytes()


class Crash(BaseException):
    """Nobody catches it: the process might as well have been killed."""


def test_a_crash_after_a_stage_goes_on_with_the_next_though_an_old_checkpoint_lies_there(
    unbroken: Path, phantoms: Cohort, exemplars: LandmarkTable, tmp_path: Path
):
    run = tmp_path / "run"
    with pytest.raises(Cancelled):
        onemark.fit(phantoms, exemplars, settings=six_steps(), out=run, seed=3, progress=stop_at("match", 5))
    with pytest.raises(Crash):
        onemark.resume(run, progress=stop_at("detect", 1, Crash()))
    assert Checkpoint(run / "checkpoint.safetensors").head()["stage"] == "match"
    assert state_of(run)["state"] == "running"
    assert list(onemark.load(run).stages) == ["match", "register"]
    model = onemark.resume(run)
    assert steps_of(model) == [(s, n) for s in STAGES for n in range(1, 7)]
    assert same(run, unbroken)


def test_a_run_can_be_stopped_before_its_first_step(
    unbroken: Path,
    phantoms: Cohort,
    exemplars: LandmarkTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    run = tmp_path / "run"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("onemark.stages.match.cc2d.matcher.train", interrupt)
        with pytest.raises(KeyboardInterrupt):
            onemark.fit(phantoms, exemplars, settings=six_steps(), out=run, seed=3)
    assert state_of(run)["state"] == "stopped"
    with pytest.raises(UserError, match="stopped before its first stage was done; resume it"):
        onemark.load(run)
    onemark.resume(run)
    assert same(run, unbroken)


# --- budgets ---------------------------------------------------------------------------------------------


# One of the twelve radiographs is annotated, which leaves the matchers eleven twelfths of their shares.
MATCH_SHARE = 0.35 * 11 / 12 / (0.64 * 11 / 12 + 0.36)


def seconds_asked(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Collects the time budget of every training."""
    asked: list[float | None] = []
    for module in ("stages.match.cc2d.matcher", "stages.detector", "stages.refine.f2.refiner"):
        monkeypatch.setattr(
            f"onemark.{module}.train", lambda task, plan, job, preview: asked.append(plan.seconds)
        )
    return asked


def test_minutes_are_shared_among_the_stages(
    phantoms: Cohort, exemplars: LandmarkTable, tiny: Settings, monkeypatch: pytest.MonkeyPatch
):
    asked = seconds_asked(monkeypatch)
    onemark.fit(phantoms, exemplars, settings=tiny, minutes=10)
    onemark.fit(phantoms, exemplars, settings=tiny)
    match, detect, refine, *none = asked
    assert match == pytest.approx(MATCH_SHARE * 600, rel=0.1)
    assert detect == pytest.approx(
        0.8 * (600 - 8), abs=20
    )  # the matchers took no time: their shares are divided
    assert refine == pytest.approx(600 - 8, abs=20)
    assert none == [None, None, None]


def test_time_spent_before_a_stop_counts(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    tiny: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    run = tmp_path / "run"
    with pytest.raises(Cancelled):
        onemark.fit(phantoms, exemplars, settings=tiny, minutes=10, out=run, progress=stop_at("match", 1))
    checkpoint = Checkpoint(run / "checkpoint.safetensors")
    head = checkpoint.head()
    monkeypatch.setattr(Checkpoint, "head", lambda self: head | {"spent": 200.0})
    asked = seconds_asked(monkeypatch)
    onemark.resume(run)
    assert state_of(run)["done"]["match"] == pytest.approx(200, abs=20)
    rest = 592 - 200
    assert asked == [
        pytest.approx(MATCH_SHARE * 592, abs=2),
        pytest.approx(0.8 * rest, abs=20),
        pytest.approx(rest, abs=20),
    ]


def test_new_minutes_are_for_what_is_left(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    tiny: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    run = tmp_path / "run"
    with pytest.raises(Crash):
        onemark.fit(phantoms, exemplars, settings=tiny, out=run, progress=stop_at("detect", 1, Crash()))
    config = state_of(run) | {"done": {"match": 500.0}, "minutes": 9.0}
    (run / "config.json").write_text(json.dumps(config))
    asked = seconds_asked(monkeypatch)
    onemark.resume(run, minutes=2)
    # Registration, which has no state yet, comes first and takes what it takes.
    assert asked == [pytest.approx(0.8 * (120 - 8), abs=20), pytest.approx(120 - 8, abs=20)]


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_minutes_are_above_zero(
    phantoms: Cohort, exemplars: LandmarkTable, unbroken: Path, tmp_path: Path, minutes: float
):
    with pytest.raises(UserError, match="minutes must be a number above 0"):
        onemark.fit(phantoms, exemplars, minutes=minutes, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="minutes must be a number above 0"):
        onemark.resume(unbroken, exemplars=exemplars, minutes=minutes)


# --- teaching a finished run more ------------------------------------------------------------------------


@pytest.fixture
def finished(unbroken: Path, tmp_path: Path) -> Path:
    """A copy of the unbroken run, to be changed."""
    shutil.copytree(unbroken, tmp_path / "finished")
    return tmp_path / "finished"


def test_a_finished_run_has_nothing_to_resume(finished: Path):
    before = (finished / "config.json").read_bytes()
    with pytest.raises(UserError, match="is finished: teach it more with --exemplar"):
        onemark.resume(finished)
    assert (finished / "config.json").read_bytes() == before


def test_more_exemplars_keep_the_matchers_network_and_move_the_detectors(
    finished: Path,
    unbroken: Path,
    truth: LandmarkTable,
    phantoms: Cohort,
    monkeypatch: pytest.MonkeyPatch,
):
    # On a busy computer seconds may teach so little that the former detector stays.
    monkeypatch.setattr(trainer, "choose_better", lambda fitted, *_: fitted)
    more, before = LandmarkTable.from_sets([truth[phantoms.names[7]]]), RunFolder.open(unbroken).config
    model = onemark.resume(finished, exemplars=more, minutes=0.06)
    after = RunFolder.open(finished).config
    assert after.total_seconds == pytest.approx(before.seconds_spent + after.seconds_spent)
    assert model.exemplars.images == (phantoms.names[0], phantoms.names[7])
    assert onemark.read_landmarks(finished / "exemplars.csv").images == model.exemplars.images
    np.testing.assert_array_equal(model.locate(phantoms[7]).xy, truth[phantoms.names[7]].xy)
    old, new = (read_weights(run / "weights.safetensors") for run in (unbroken, finished))
    network = [name for name in old["match"][0] if name.startswith("network.")]
    assert all(torch.equal(old["match"][0][name], new["match"][0][name]) for name in network)
    assert new["match"][0]["visible"].shape[0] == 2
    assert any(not torch.equal(value, new["detect"][0][name]) for name, value in old["detect"][0].items())
    assert len(model.log) > 12
    assert [entry for entry in model.log if entry["stage"] == "match"] == model.log[:6]


def test_corrected_exemplars_replace_the_former(finished: Path, exemplars: LandmarkTable, phantoms: Cohort):
    corrected = LandmarkTable.from_sets([dataclasses.replace(exemplars.sets[0], xy=exemplars.sets[0].xy + 1)])
    model = onemark.resume(finished, exemplars=corrected, minutes=0.06)
    assert len(model.exemplars) == 1
    np.testing.assert_array_equal(model.locate(phantoms[0]).xy, exemplars.sets[0].xy + 1)


def test_a_new_landmark_may_be_taught(finished: Path, exemplars: LandmarkTable, phantoms: Cohort):
    one = exemplars.sets[0]
    more = LandmarkSet(one.image, (*one.names, "new"), np.vstack([one.xy, [[40.0, 50.0]]]))
    model = onemark.resume(finished, exemplars=LandmarkTable.from_sets([more]), minutes=0.06)
    assert model.names[-1] == "new"
    assert np.isfinite(model.locate(phantoms[4]).xy).all()


def test_teaching_that_is_killed_loses_nothing_and_can_be_resumed(
    finished: Path, unbroken: Path, truth: LandmarkTable, phantoms: Cohort
):
    more = LandmarkTable.from_sets([truth[phantoms.names[7]]])
    with pytest.raises(Crash):
        onemark.resume(finished, exemplars=more, minutes=1, progress=stop_at("detect", 2, Crash()))
    detector = read_weights(unbroken / "weights.safetensors")["detect"][0]
    kept = read_weights(finished / "weights.safetensors")["detect"][0]
    assert all(torch.equal(value, kept[name]) for name, value in detector.items())
    assert tuple(onemark.load(finished).stages) == ("match", "register", "detect", "refine")
    model = onemark.resume(finished, minutes=0.06)
    assert model.exemplars.images == (phantoms.names[0], phantoms.names[7])
    assert state_of(finished)["state"] == "done"


# --- moved folders, other devices ------------------------------------------------------------------------


def test_a_run_goes_on_where_its_radiographs_are_now(
    xrays: Path, exemplars: LandmarkTable, tiny: Settings, tmp_path: Path
):
    shutil.copytree(xrays, tmp_path / "here")
    run, cohort = tmp_path / "run", onemark.open_cohort(tmp_path / "here")
    with pytest.raises(Cancelled):
        onemark.fit(cohort, exemplars, settings=tiny, out=run, progress=stop_at("match", 1))
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(UserError, match="does not exist"):
        onemark.resume(run)
    moved = onemark.open_cohort(tmp_path / "there")
    with pytest.raises(Cancelled):
        onemark.resume(run, cohort=moved, progress=stop_at("detect", 1))
    onemark.resume(run)  # it knows by now
    assert state_of(run)["cohort"] == str((tmp_path / "there").resolve())


def test_a_run_of_a_gpu_goes_on_elsewhere_only_when_told(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    tiny: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    run = tmp_path / "run"
    with pytest.raises(Cancelled):
        onemark.fit(phantoms, exemplars, settings=tiny, out=run, device="cpu", progress=stop_at("match", 1))
    (run / "config.json").write_text(json.dumps(state_of(run) | {"device": "cuda"}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"device cuda is not available here .* --device auto or cpu"):
        onemark.resume(run)
    onemark.resume(run, device="cpu")
    assert state_of(run)["device"] == "cpu"
