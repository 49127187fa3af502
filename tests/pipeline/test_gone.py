"""The folder changes while a run works in it: nothing learned is lost, and nothing is taken for what it is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_recipe import book, few_radiographs, place

import onemark
from onemark import Cancelled, Cohort, Progress, UserError
from onemark.cli import main
from onemark.nn.training import loop
from onemark.pipeline import recipes
from onemark.pipeline.runs.folder import RunFolder


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cohort:
    monkeypatch.setattr(recipes, "RECIPES", book())
    return few_radiographs(tmp_path / "xrays")


def at(stage: str, step: int, action: Callable[[], object]) -> Callable[[Progress], None]:
    """A sink that does something at a step of a stage."""

    def sink(event: Progress) -> None:
        if (event.stage, event.step) == (stage, step):
            action()

    return sink


@pytest.mark.parametrize(("stage", "step"), [("match", 1), ("match", 3), ("detect", 2), ("error_model", 3)])
@pytest.mark.parametrize("moved", [True, False])
def test_a_run_whose_folder_goes_is_kept_beside_it(
    few: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, step: int, moved: bool
):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    run, kept = tmp_path / "run", tmp_path / "run-kept"
    go = (lambda: run.rename(tmp_path / "away")) if moved else (lambda: shutil.rmtree(run))
    with pytest.raises(UserError, match=r"run was moved or deleted .* is kept in .*run-kept; "):
        onemark.fit(
            few,
            place(few, 0),
            recipe="small",
            out=run,
            device="cpu",
            orient=False,
            progress=at(stage, step, go),
        )
    assert not run.exists()
    status = RunFolder.open(kept).status()
    if not status.is_trained:
        onemark.resume(kept)
    onemark.fit(few, place(few, 0), recipe="small", out=tmp_path / "unbroken", device="cpu", orient=False)
    ours, theirs = (one / "weights.safetensors" for one in (kept, tmp_path / "unbroken"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_folder_that_goes_while_predicting_ends_in_a_sentence(
    few: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run, predict = tmp_path / "run", onemark.Model.predict

    def lose(*given: object, **words: object) -> object:
        shutil.rmtree(run)
        return predict(*given, **words)  # type: ignore[arg-type]

    place(few, 0).to_csv(tmp_path / "exemplar.csv")
    monkeypatch.setattr(onemark.Model, "predict", lose)
    words = ["run", str(few.folder), "--exemplar", str(tmp_path / "exemplar.csv"), "--out", str(run)]
    assert main([*words, "--recipe", "small", "--device", "cpu", "--no-orient"]) == 2
    assert "is kept in" in capsys.readouterr().err
    assert not run.exists()
    kept = tmp_path / "run-kept"
    assert len(onemark.read_landmarks(kept / "landmarks.csv")) == 10
    assert onemark.load(kept).names == ("a", "b")


def replace_picture(cohort: Cohort, name: str) -> None:
    Image.fromarray(np.eye(24, 20, dtype=np.uint8) * 200).save(cohort.folder / name)


def test_a_picture_that_is_replaced_during_the_run_does_not_get_the_points_of_the_former(
    few: Cohort, tmp_path: Path
):
    told: list[str] = []
    act = at("detect", 1, lambda: replace_picture(few, "0.png"))

    def sink(event: Progress) -> None:
        told.append(event.message)
        act(event)

    model = onemark.fit(
        few, place(few, 0), recipe="small", out=tmp_path / "run", device="cpu", orient=False, progress=sink
    )
    assert any("0.png was replaced after it was annotated" in message for message in told)
    assert not np.array_equal(model.locate(few["0.png"]).xy, place(few, 0).sets[0].xy)
    assert not np.array_equal(
        onemark.load(tmp_path / "run").locate(few["0.png"]).xy, place(few, 0).sets[0].xy
    )


def test_a_stopped_run_does_not_go_on_with_another_picture(few: Cohort, tmp_path: Path):
    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        onemark.fit(
            few,
            place(few, 0),
            recipe="small",
            out=tmp_path / "run",
            device="cpu",
            progress=at("detect", 1, stop),
        )
    replace_picture(few, "0.png")
    with pytest.raises(UserError, match=r"0.png is not the picture that was annotated: put that back, or"):
        onemark.resume(tmp_path / "run")


@pytest.mark.parametrize(("stage", "step"), [("detect", 1), ("detect", 2)])
@pytest.mark.parametrize("moved", [True, False])
def test_a_teaching_whose_folder_goes_loses_neither_what_was_learned_nor_the_answers(
    few: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, step: int, moved: bool
):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    run, unbroken, two = tmp_path / "run", tmp_path / "unbroken", place(few, 1).merged(place(few, 2))
    onemark.fit(few, place(few, 0), recipe="small", out=run, device="cpu", orient=False)
    shutil.copytree(run, unbroken)
    go = (lambda: run.rename(tmp_path / "away")) if moved else (lambda: shutil.rmtree(run))
    with pytest.raises(UserError, match=r"is kept in .*run-kept; "):
        onemark.resume(run, exemplars=two, progress=at(stage, step, go))
    assert not run.exists()
    kept = tmp_path / "run-kept"
    assert set(onemark.read_landmarks(kept / "exemplars.csv").images) == {"0.png", "1.png", "2.png"}
    if not RunFolder.open(kept).status().is_trained:
        onemark.resume(kept)
    onemark.resume(unbroken, exemplars=two)
    ours, theirs = (onemark.load(one) for one in (kept, unbroken))
    assert ours.mean_error is not None
    assert theirs.mean_error is not None
    np.testing.assert_array_equal(ours.mean_error.errors, theirs.mean_error.errors)
    found, same = (one.predict_one(few["5.png"]).xy for one in (ours, theirs))
    np.testing.assert_array_equal(found, same)


def test_a_half_taught_run_does_not_move_points_by_the_errors_of_former_networks(few: Cohort, tmp_path: Path):
    def stop() -> None:
        raise Cancelled

    run = tmp_path / "run"
    onemark.fit(few, place(few, 0), recipe="small", out=run, device="cpu", orient=False)
    taught = onemark.resume(run, exemplars=place(few, 1).merged(place(few, 2)))
    assert taught.mean_error is not None
    with pytest.raises(Cancelled):
        onemark.resume(run, exemplars=place(few, 3), progress=at("detect", 1, stop))
    assert onemark.load(run).mean_error is None
    finished = onemark.resume(run)
    assert finished.mean_error is not None
    assert finished.mean_error.images == ("1.png", "2.png", "3.png")
