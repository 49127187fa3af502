"""What a run that is gone on with keeps, and what it refuses before anything in its folder changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import onemark
from onemark import Cancelled, Cohort, LandmarkSet, LandmarkTable, Progress, UserError
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.weights import read_weights
from onemark.pipeline.resuming import align_rows
from onemark.pipeline.runs.folder import RunFolder
from onemark.pipeline.runs.locks import LOCK
from onemark.pipeline.trainer import Trainer

Settings = dict[str, object]


def stop_at(stage: str, step: int) -> Callable[[Progress], None]:
    """A sink that stops the work at a step of a stage."""

    def sink(event: Progress) -> None:
        if (event.stage, event.step) == (stage, step):
            raise Cancelled

    return sink


def state_of(run: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((run / "config.json").read_text("utf-8"))
    return config


def files_of(run: Path) -> dict[str, bytes]:
    """Every file of a run, to see that none has changed."""
    return {file.name: file.read_bytes() for file in run.iterdir() if file.is_file() and file.name != LOCK}


def of_slots(settings: Settings, *slots: str) -> Settings:
    return {name: value for name, value in settings.items() if name.partition(".")[0] in slots}


@pytest.fixture(scope="module")
def once(
    phantoms: Cohort,
    exemplars: LandmarkTable,
    tiny: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A finished run; read only."""
    run = tmp_path_factory.mktemp("once") / "run"
    onemark.fit(phantoms, exemplars, settings=tiny, out=run)
    return run


@pytest.fixture
def finished(once: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be changed."""
    shutil.copytree(once, tmp_path / "finished")
    return tmp_path / "finished"


@pytest.fixture
def stopped(phantoms: Cohort, exemplars: LandmarkTable, tiny: Settings, tmp_path: Path) -> Path:
    """A run of an hour that was stopped in its first stage."""
    run = tmp_path / "stopped"
    with pytest.raises(Cancelled):
        onemark.fit(phantoms, exemplars, settings=tiny, minutes=60, out=run, progress=stop_at("match", 1))
    return run


@pytest.fixture
def elsewhere(xrays: Path, truth: LandmarkTable, tmp_path: Path) -> Path:
    """A folder of other radiographs."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(xrays / truth.images[4], folder / "other.png")
    return folder


# --- nothing changes before all is known to be right --------------------------------------------------------


def test_an_exemplar_from_another_folder_changes_nothing(
    finished: Path, elsewhere: Path, truth: LandmarkTable
):
    before = files_of(finished)
    other = LandmarkTable.from_sets([replace(truth.sets[4], image="other.png")])
    with pytest.raises(
        UserError, match=r"elsewhere lacks '.*', from which .*finished learns: put back .* or give"
    ):
        onemark.resume(finished, cohort=onemark.open_cohort(elsewhere), exemplars=other)
    assert files_of(finished) == before


def test_a_mistyped_folder_changes_nothing(stopped: Path, elsewhere: Path):
    before = files_of(stopped)
    with pytest.raises(UserError, match=r"from which .* learns"):
        onemark.resume(stopped, cohort=onemark.open_cohort(elsewhere))
    assert files_of(stopped) == before


def test_a_size_of_a_pixel_that_is_told_later_counts_from_then_on(stopped: Path, xrays: Path):
    with pytest.raises(Cancelled):
        onemark.resume(
            stopped, cohort=onemark.open_cohort(xrays, spacing_mm=0.5), progress=stop_at("match", 2)
        )
    assert state_of(stopped)["spacing_mm"] == [0.5, 0.5]


def test_landmarks_that_a_matcher_has_no_decoders_of_change_nothing(
    phantoms: Cohort, truth: LandmarkTable, tmp_path: Path
):
    run, two = tmp_path / "run", truth.sets[0].names[:2]
    settings = {"match.area": 4096, "match.batch": 2, "match.steps": 2}
    first = LandmarkTable.from_sets([LandmarkSet(truth.images[0], two, truth.sets[0].xy[:2])])
    onemark.fit(phantoms, first, recipe="sla-compact", settings=settings, out=run)
    before = files_of(run)
    with pytest.raises(UserError, match=r"this matcher has learned .* give exemplars of the same landmarks"):
        onemark.resume(run, exemplars=LandmarkTable.from_sets([truth.sets[1]]))
    assert files_of(run) == before


# --- an unfinished run keeps what it has ----------------------------------------------------------------------


def test_an_unfinished_run_is_not_taught_more(stopped: Path, truth: LandmarkTable):
    before = files_of(stopped)
    with pytest.raises(UserError, match=r"is not finished, .*: finish it with `onemark resume .*` first"):
        onemark.resume(stopped, exemplars=LandmarkTable.from_sets([truth.sets[1]]))
    assert files_of(stopped) == before
    assert Checkpoint(stopped / "checkpoint.safetensors").head()["stage"] == "match"
    assert state_of(stopped)["minutes"] == 60


def test_a_teaching_that_was_stopped_takes_a_further_exemplar_and_keeps_its_time(
    finished: Path, truth: LandmarkTable
):
    for stop in (1, 2):
        with pytest.raises(Cancelled):
            onemark.resume(
                finished,
                exemplars=LandmarkTable.from_sets([truth.sets[stop]]),
                minutes=None if stop == 2 else 30,
                progress=stop_at("detect", 1),
            )
    assert state_of(finished)["minutes"] == 30
    assert onemark.read_landmarks(finished / "exemplars.csv").images == truth.images[:3]
    assert tuple(onemark.load(finished).stages) == ("match", "register", "detect", "refine")


def test_a_stopped_teaching_leaves_a_whole_model(finished: Path, truth: LandmarkTable):
    before = onemark.load(finished)
    assert before.trust is not None
    assert before.error_model is not None
    with pytest.raises(Cancelled):
        onemark.resume(
            finished, exemplars=LandmarkTable.from_sets([truth.sets[1]]), progress=stop_at("detect", 1)
        )
    after = onemark.load(finished)
    assert after.trust is not None
    assert after.trust.detector.tolist() == before.trust.detector.tolist()
    assert after.error_model is not None
    assert np.array_equal(after.error_model.level, before.error_model.level)


def test_a_teaching_that_is_refused_leaves_the_answers_of_a_stopped_one(
    finished: Path, truth: LandmarkTable, monkeypatch: pytest.MonkeyPatch
):
    def stop_early(event: Progress) -> None:
        if event.stage == "orientation":
            raise Cancelled

    with pytest.raises(Cancelled):
        onemark.resume(finished, exemplars=LandmarkTable.from_sets([truth.sets[1]]), progress=stop_early)
    answers = RunFolder.open(finished).answers.read_bytes()

    def refuse(trainer: Trainer) -> None:
        raise UserError("too little memory")

    monkeypatch.setattr(Trainer, "finish", refuse)
    with pytest.raises(UserError, match="too little memory"):
        onemark.resume(finished, exemplars=LandmarkTable.from_sets([truth.sets[2]]))
    assert RunFolder.open(finished).answers.read_bytes() == answers


# --- landmarks are known by name ------------------------------------------------------------------------------


def turned(one: LandmarkSet) -> LandmarkSet:
    """The same landmarks with the rows in another order."""
    return LandmarkSet(one.image, one.names[::-1], one.xy[::-1])


def test_landmarks_stay_in_the_order_in_which_they_were_learned(
    finished: Path, once: Path, truth: LandmarkTable, monkeypatch: pytest.MonkeyPatch
):
    for module in ("stages.detector", "stages.refine.f2.refiner"):
        monkeypatch.setattr(f"onemark.{module}.train", lambda *_: None)
    corrected = turned(truth.sets[0])
    further = LandmarkSet(corrected.image, ("new", *corrected.names), np.vstack([[[40, 50]], corrected.xy]))
    model = onemark.resume(finished, exemplars=LandmarkTable.from_sets([corrected]))
    assert model.names == truth.names
    np.testing.assert_array_equal(model.exemplars.sets[0].xy, truth.sets[0].xy)
    old, new = (read_weights(run / "weights.safetensors")["detect"] for run in (once, finished))
    assert old[1]["names"] == new[1]["names"]
    assert torch.equal(old[0]["network.head.weight"], new[0]["network.head.weight"])
    assert onemark.resume(finished, exemplars=LandmarkTable.from_sets([further])).names == (
        *truth.names,
        "new",
    )


def test_as_many_other_landmarks_begin_with_other_heads(
    finished: Path, once: Path, truth: LandmarkTable, monkeypatch: pytest.MonkeyPatch
):
    for module in ("stages.detector", "stages.refine.f2.refiner"):
        monkeypatch.setattr(f"onemark.{module}.train", lambda *_: None)
    one = truth.sets[0]
    other = LandmarkSet(one.image, ("new", *one.names[1:]), one.xy)
    model = onemark.resume(finished, exemplars=LandmarkTable.from_sets([other]))
    assert model.names == (*one.names[1:], "new")
    old, new = (read_weights(run / "weights.safetensors")["detect"][0] for run in (once, finished))
    assert not torch.equal(old["network.head.weight"], new["network.head.weight"])


def test_what_corrections_showed_follows_its_landmarks():
    assert align_rows(((1.0, 2.0), (None, 3.0), (4.0,)), ("a", "b"), ("b", "c", "a")) == (
        (2.0, None, 1.0),
        (3.0, None, None),
    )


# --- a run goes on with the radiographs that it began with -------------------------------------------------------

SLA = {"match.area": 4096, "match.batch": 2, "match.steps": 3}


@pytest.fixture
def begun(xrays: Path, exemplars: LandmarkTable, tmp_path: Path) -> Path:
    """A run that was stopped in a matcher which keeps a pseudo-label for each radiograph, beside a folder `here`."""
    shutil.copytree(xrays, tmp_path / "here")
    cohort = onemark.open_cohort(tmp_path / "here")
    part = cohort.subset(cohort.names[:8])
    with pytest.raises(Cancelled):
        onemark.fit(
            part,
            exemplars,
            recipe="sla-compact",
            settings=SLA,
            out=tmp_path / "run",
            progress=stop_at("match", 2),
        )
    return tmp_path / "run"


@pytest.mark.parametrize("given", [True, False])
def test_a_run_of_a_part_goes_on_with_that_part(begun: Path, given: bool):
    cohort = onemark.open_cohort(begun.parent / "here")
    model = onemark.resume(begun, cohort=cohort if given else None)
    assert model.cohort is not None
    assert list(model.cohort.names) == state_of(begun)["radiographs"] == list(cohort.names[:8])


def test_a_radiograph_that_is_gone_is_told(begun: Path, truth: LandmarkTable):
    here = begun.parent / "here"
    (here / truth.images[3]).rename(here / "renamed.png")
    before = files_of(begun)
    with pytest.raises(UserError, match=rf"here lacks '{truth.images[3]}', from which .* learns: put back"):
        onemark.resume(begun, cohort=onemark.open_cohort(here))
    assert files_of(begun) == before


def test_teaching_takes_a_further_radiograph_to_the_part(
    phantoms: Cohort, exemplars: LandmarkTable, truth: LandmarkTable, tiny: Settings, tmp_path: Path
):
    run = tmp_path / "run"
    settings = of_slots(tiny, "match")
    onemark.fit(
        phantoms.subset(phantoms.names[:4]), exemplars, recipe="match-only", settings=settings, out=run
    )
    model = onemark.resume(run, exemplars=LandmarkTable.from_sets([truth.sets[9]]))
    assert model.cohort is not None
    assert model.cohort.names == (*phantoms.names[:4], phantoms.names[9])
    assert state_of(run)["radiographs"] == list(model.cohort.names)


# --- a run that cannot begin leaves nothing behind ----------------------------------------------------------------


def test_a_setting_that_a_stage_refuses_leaves_no_run(
    phantoms: Cohort, exemplars: LandmarkTable, tiny: Settings, tmp_path: Path
):
    out = tmp_path / "deep" / "run"
    wrong = {**of_slots(tiny, "match"), "match.extractors": "two"}
    for begin in (
        lambda: onemark.fit(phantoms, exemplars, recipe="match-only", settings=wrong, out=out),
        lambda: onemark.suggest(phantoms, recipe="match-only", settings=wrong, out=out),
    ):
        with pytest.raises(UserError, match=r"match\.extractors=two needs match\.task=patch"):
            begin()
        assert not out.parent.exists()
    out.mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"match\.extractors=two"):
        onemark.fit(phantoms, exemplars, recipe="match-only", settings=wrong, out=out)
    assert [file.name for file in out.iterdir()] == ["notes.txt"]


def test_what_was_learned_before_an_error_is_kept(
    phantoms: Cohort, exemplars: LandmarkTable, tiny: Settings, tmp_path: Path
):
    def sink(event: Progress) -> None:
        if event.stage == "detect":
            raise UserError("the disk is full")

    run = tmp_path / "run"
    with pytest.raises(UserError, match="disk is full"):
        onemark.fit(phantoms, exemplars, settings=tiny, out=run, progress=sink)
    assert tuple(onemark.load(run).stages) == ("match", "register")


def test_a_damaged_exemplar_is_told_before_anything_is_written(
    finished: Path, xrays: Path, truth: LandmarkTable, tiny: Settings, tmp_path: Path
):
    shutil.copytree(xrays, tmp_path / "damaged")
    damaged = tmp_path / "damaged" / truth.images[2]
    damaged.write_bytes(damaged.read_bytes()[:3000])
    cohort, before = onemark.open_cohort(tmp_path / "damaged"), files_of(finished)
    assert cohort.header(truth.images[2]).size == (160, 128)  # its header is whole
    with pytest.raises(UserError, match=truth.images[2]):
        onemark.fit(cohort, LandmarkTable.from_sets([truth.sets[2]]), settings=tiny, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=truth.images[2]):
        onemark.resume(finished, cohort=cohort, exemplars=LandmarkTable.from_sets([truth.sets[2]]))
    assert files_of(finished) == before
