"""What was placed and trained stays: across folders, windows, failures, and runs made elsewhere."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onemark.data.cohort import open_cohort
from onemark.data.images.read import read_header
from onemark.data.landmarks.schema import schema_from_names
from onemark.data.landmarks.table import LandmarkTable
from onemark.gui.controllers.app import EXPORT, REVIEW
from onemark.gui.state import autosave
from onemark.gui.state.backend import Order, Pipeline
from onemark.gui.state.predictions import Predictions
from onemark.gui.state.units import convert_errors
from onemark.pipeline import fit as pipeline
from onemark.pipeline.runs.folder import RunFolder
from onemark.progress import silent
from onemark.types import LandmarkSet, UserError

from .desktop import Desktop
from .fake_backend import FakeBackend, folder_of_phantoms


def kept_marks(folder: Path) -> dict[str, object]:
    """The points in the session file of a folder of radiographs."""
    path = folder.parent / f"{folder.name}-onemark" / "session.json"
    return json.loads(path.read_text())["annotations"]


def type_spacing(desktop: Desktop, text: str) -> None:
    """Type mm per pixel and wait until the folder is open with it."""
    field = desktop.control("spacing")
    field.setText(text)
    field.editingFinished.emit()
    said = (float(text), float(text)) if text else None
    desktop.until(lambda: desktop.session.cohort.spacing_mm == said)


def test_points_outlive_a_visit_to_another_folder(
    annotated: Desktop, xrays: Path, truth: LandmarkTable, tmp_path: Path
) -> None:
    first, others = truth.images[0], tmp_path / "others"
    folder_of_phantoms(others, 2, seed=5)
    annotated.open(others)
    assert not annotated.session.annotations
    assert list(kept_marks(xrays)) == [first]
    annotated.session.place(0, (20, 30))
    annotated.open(xrays)
    np.testing.assert_allclose(annotated.session.annotations[first].xy, truth[first].xy)
    assert len(kept_marks(others)) == 1


def test_points_outlive_the_typing_of_a_pixel_size(
    annotated: Desktop, xrays: Path, truth: LandmarkTable
) -> None:
    type_spacing(annotated, "0.5")
    np.testing.assert_allclose(annotated.session.annotations[truth.images[0]].xy, truth[truth.images[0]].xy)
    annotated.app.session_store.flush()
    assert list(kept_marks(xrays)) == [truth.images[0]]


@pytest.mark.parametrize("kind", ["continue", "retrain", "predict"])
@pytest.mark.parametrize(("device", "said"), [("cpu", "cpu"), ("auto", None)])
def test_the_chosen_device_counts_when_a_run_goes_on(
    xrays: Path, truth: LandmarkTable, monkeypatch: pytest.MonkeyPatch, kind: Any, device: str, said: Any
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(pipeline, "resume", lambda run, *, device=None, **rest: asked.append(device))
    monkeypatch.setattr(pipeline, "load", lambda run, device="auto": asked.append(device))
    Pipeline().train(Order(open_cohort(xrays), truth, xrays, device=device, kind=kind), silent)
    assert asked == [device if kind == "predict" else said]


@pytest.mark.parametrize("kind", ["new", "follow", "retrain"])
@pytest.mark.parametrize("swap", [(), (("hip left", "hip right"),)])
def test_every_training_goes_by_the_pairs_of_the_landmarks(
    xrays: Path, truth: LandmarkTable, monkeypatch: pytest.MonkeyPatch, kind: Any, swap: Any
) -> None:
    """None is an answer too: a pair that the person has taken back does not stay in the run."""
    passed: list[Any] = []
    for name in ("fit", "resume"):
        monkeypatch.setattr(pipeline, name, lambda *_, swap=None, **rest: passed.append(swap))
    monkeypatch.setattr("onemark.pipeline.suggest.adopt", lambda *_, **rest: None)
    Pipeline().train(Order(open_cohort(xrays), truth, xrays, kind=kind, swap=swap), silent)
    assert passed == [swap]


def test_what_another_window_has_written_is_reported_and_found_again(
    annotated: Desktop, xrays: Path, truth: LandmarkTable, tmp_path: Path
) -> None:
    first, second, third = truth.images[:3]
    annotated.app.session_store.flush()
    path = xrays.parent / "xrays-onemark" / "session.json"
    theirs = json.loads(path.read_text())
    theirs["annotations"][second] = theirs["annotations"][first]
    path.write_text(json.dumps(theirs))
    annotated.session.show(third)
    annotated.session.place(0, (20, 30))
    annotated.until_said("session-2.json")
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    annotated.open(tmp_path / "others")
    annotated.open(xrays)
    assert "2 files" in annotated.said
    assert set(annotated.session.annotations) == {first, second, third}
    annotated.app.session_store.flush()
    assert len(list(path.parent.glob("session-set-aside.json"))) == 1
    assert set(autosave.read_all(path.parent, pytest.fail)) == {path.with_name("session-2.json")}


def test_a_session_that_another_program_has_cut_is_set_aside_and_reported(
    desktop: Desktop, xrays: Path
) -> None:
    path = xrays.parent / "xrays-onemark" / "session.json"
    path.parent.mkdir()
    path.write_text('{"version": 1, "saved": 0}')
    desktop.open(xrays)
    assert "lacks 'annotations'" in desktop.said
    desktop.app.session_store.flush()
    assert json.loads(path.read_text())["closed"] is False
    assert path.with_name("session-set-aside.json").is_file()


@pytest.fixture
def full_disk(annotated: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no session can be written."""

    def fail(path: Path, text: str) -> None:
        time.sleep(0.05)  # as a disk does, so that nothing is known yet when the edit ends
        raise UserError("the disk is full; make room")

    annotated.app.session_store.flush()
    monkeypatch.setattr(autosave, "write_text", fail)


@pytest.mark.usefixtures("full_disk")
def test_points_that_cannot_be_saved_are_reported_at_once(annotated: Desktop) -> None:
    annotated.session.place(0, (20, 30))
    annotated.until_said("cannot save your points: the disk is full")


@pytest.mark.usefixtures("full_disk")
def test_points_that_cannot_be_saved_are_not_left_without_asking(
    annotated: Desktop, xrays: Path, tmp_path: Path
) -> None:
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    annotated.drop(tmp_path / "others")
    annotated.until_said("did not open others")
    annotated.settle()
    assert annotated.session.cohort.folder == xrays
    assert annotated.session.annotations
    annotated.answer("Open and lose them")
    annotated.until(lambda: annotated.session.cohort.folder.name == "others")


def kept_run(folder: Path) -> str:
    """The run that the session file of a folder of radiographs names."""
    return json.loads((folder.parent / f"{folder.name}-onemark" / "session.json").read_text())["run"]


@pytest.mark.parametrize("end", ["failed", "stopped"])
def test_a_training_that_learns_nothing_does_not_hide_the_finished_one(
    annotated: Desktop, backend: FakeBackend, xrays: Path, tmp_path: Path, end: str
) -> None:
    annotated.train()
    finished = backend.orders[0].out
    backend.steps, backend.fail_at = 10_000, 1 if end == "failed" else None
    annotated.go(3)
    annotated.push("run")
    if end == "stopped":
        annotated.push("stop")
    annotated.until_idle()
    assert annotated.app.session_store.run == finished
    assert len(annotated.session.predictions) == 6
    annotated.app.session_store.flush()
    assert kept_run(xrays) == str(finished)
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    annotated.open(tmp_path / "others")
    annotated.open(xrays)
    annotated.until(lambda: len(annotated.session.predictions) == 6)


def test_a_window_closed_early_in_a_training_reopens_with_the_finished_one(
    annotated: Desktop, backend: FakeBackend, xrays: Path, tmp_path: Path
) -> None:
    annotated.train()
    backend.steps = 10_000
    annotated.go(3)
    annotated.push("run")
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    annotated.open(tmp_path / "others")
    assert kept_run(xrays) == str(backend.orders[1].out)
    annotated.open(xrays)
    assert annotated.app.session_store.run == backend.orders[0].out
    backend.enough.set()
    annotated.until_idle()
    assert annotated.app.session_store.run == backend.orders[1].out, "it has ended well"


def test_a_retraining_without_memory_is_repeated_and_not_started_over(
    annotated: Desktop, backend: FakeBackend, truth: LandmarkTable
) -> None:
    annotated.train()
    backend.fail_at, backend.error = 2, RuntimeError("CUDA out of memory")
    annotated.session.import_annotations(LandmarkTable.from_sets([truth[truth.images[1]]]))
    annotated.app.training.start("retrain")
    annotated.until_idle()
    assert annotated.widget.banner.choices == ["Train on the CPU"], (
        "a run keeps its settings, so a smaller batch would change nothing"
    )
    backend.fail_at = None
    annotated.answer("Train on the CPU")
    annotated.until_idle()
    assert [order.kind for order in backend.orders] == ["new", "retrain", "retrain"]
    assert backend.orders[2].out == backend.orders[0].out


def assert_scaled(desktop: Desktop, before: dict[str, float], size: float | None) -> None:
    """The expected errors are those from before, made with the pixel size in the files, in the unit size now."""
    assert desktop.session.errors.keys() == before.keys()
    for name, error in desktop.session.errors.items():
        in_file = read_header(desktop.session.cohort.path(name)).spacing
        assert in_file
        scale = 1.0 if size is None else size / np.mean(in_file)
        np.testing.assert_allclose(error, before[name] * scale, rtol=1e-6)


def test_expected_errors_follow_the_typed_pixel_size(annotated: Desktop) -> None:
    annotated.train()
    before = dict(annotated.session.errors)
    for text, size in (("0.5", 0.5), ("0.2", 0.2), ("", None)):
        type_spacing(annotated, text)
        annotated.until(lambda: annotated.session.errors)
        assert_scaled(annotated, before, size)


def test_expected_errors_of_a_training_are_in_the_unit_typed_meanwhile(
    annotated: Desktop, backend: FakeBackend
) -> None:
    annotated.train()
    before = dict(annotated.session.errors)
    backend.steps = 10_000
    annotated.go(3)
    annotated.push("run")
    type_spacing(annotated, "0.5")
    annotated.until(lambda: annotated.session.errors)
    annotated.session.set_predictions(Predictions({}, {}))
    backend.enough.set()
    annotated.until(lambda: annotated.app.training.running is None and annotated.session.errors)
    assert_scaled(annotated, before, 0.5)
    annotated.session.set_predictions(Predictions({}, {}))
    annotated.app.training.open_run()
    annotated.until(lambda: annotated.session.errors)
    assert_scaled(annotated, before, 0.5)


def test_expected_errors_in_px_become_mm(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "plain.png")
    found = LandmarkSet("plain.png", ("a",), np.ones((1, 2)), np.ones(1), np.array([10.0]))
    then, now = open_cohort(tmp_path), open_cohort(tmp_path, spacing_mm=0.25)
    for before, after, error in ((then, now, 2.5), (now, then, 40.0), (now, now, 10.0)):
        (one,) = convert_errors(after, [found], before.spacing_mm)
        assert one.expected_error.tolist() == [error]


def test_a_run_made_elsewhere_opens_with_all_that_was_done(
    desktop: Desktop, backend: FakeBackend, xrays: Path, truth: LandmarkTable, tmp_path: Path
) -> None:
    first, cohort, run = truth.images[0], open_cohort(xrays), tmp_path / "my-run"
    model = backend.train(Order(cohort, LandmarkTable.from_sets([truth[first]]), run), silent)
    model.predict(cohort).to_csv(run / "landmarks.csv")
    pair = truth.names[0], truth.names[1]
    RunFolder.open(run).update(swap=(pair,))
    RunFolder.open(run).note_predicted(cohort)
    desktop.drop(run)
    desktop.until(lambda: desktop.session.predictions)
    assert desktop.session.cohort.folder == xrays
    assert len(desktop.session.predictions) == len(truth)
    assert desktop.session.schema.names == truth.names
    assert desktop.session.schema.swap == (pair,)
    np.testing.assert_allclose(desktop.session.annotations[first].xy, truth[first].xy)
    assert desktop.app.step == REVIEW
    desktop.until(lambda: desktop.app.training.model is not None)
    desktop.app.session_store.flush()
    assert kept_run(xrays) == str(run)


def test_points_placed_here_are_kept_when_a_run_is_dropped(
    annotated: Desktop, backend: FakeBackend, xrays: Path, truth: LandmarkTable, tmp_path: Path
) -> None:
    first, second = truth.images[:2]
    annotated.session.place(0, (20, 30))
    moved = annotated.session.annotations[first].xy.copy()
    run = tmp_path / "my-run"
    exemplars = LandmarkTable.from_sets([truth[first], truth[second]])
    backend.train(Order(open_cohort(xrays), exemplars, run), silent)
    annotated.drop(run)
    annotated.until(lambda: annotated.app.session_store.run == run)
    np.testing.assert_allclose(annotated.session.annotations[first].xy, moved)
    np.testing.assert_allclose(annotated.session.annotations[second].xy, truth[second].xy)


def test_a_drop_that_cannot_be_opened_leaves_everything_where_it_is(
    annotated: Desktop, tmp_path: Path
) -> None:
    annotated.train()
    annotated.go(5)
    annotated.control("export.folder").setText(str(tmp_path / "mine"))
    (tmp_path / "empty").mkdir()
    annotated.drop(tmp_path / "empty")
    annotated.until_said("no radiographs")
    assert annotated.app.step == EXPORT
    assert annotated.control("export.folder").text() == str(tmp_path / "mine")
    assert annotated.control("open.title").text() == "xrays: 6 radiographs", (
        "no longer about to open something"
    )


def test_evidence_of_another_folder_is_not_shown_on_a_radiograph_of_the_same_name(
    annotated: Desktop, tmp_path: Path
) -> None:
    annotated.train()
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    evidence, canvas = annotated.app.evidence, annotated.app.context.canvas
    annotated.session.show("phantom-001.png")
    evidence.switch("similarity", True)
    annotated.until(lambda: canvas.layer("similarity") and canvas.layer("similarity").visible)
    annotated.open(tmp_path / "others")
    evidence.switch("similarity", True)
    assert annotated.session.current == "phantom-001.png"
    layer = canvas.layer("similarity")
    assert layer is None or not layer.visible


def test_the_model_of_a_folder_is_there_while_another_folder_trains(
    annotated: Desktop, backend: FakeBackend, xrays: Path, truth: LandmarkTable, tmp_path: Path
) -> None:
    annotated.train()
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    annotated.open(tmp_path / "others")
    annotated.session.set_schema(schema_from_names(truth.names, "phantom"))
    annotated.session.import_annotations(LandmarkTable.from_sets([truth[truth.images[0]]]))
    backend.steps = 10_000
    annotated.app.training.start()
    annotated.open(xrays)
    annotated.until(lambda: annotated.app.training.model is not None)
    assert annotated.app.training.running is not None
    backend.enough.set()
    annotated.until_idle()


@pytest.mark.usefixtures("full_disk")
def test_points_that_a_second_reading_hides_are_not_left_without_asking(
    annotated: Desktop, tmp_path: Path
) -> None:
    annotated.app.rereading.begin(1, own=True)
    assert not annotated.session.annotations
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    annotated.drop(tmp_path / "others")
    annotated.until_said("did not open others")
