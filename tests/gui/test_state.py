"""The state behind the window: schemas, points, session, autosave, job. No window is opened."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from onemark.data.cohort import open_cohort
from onemark.data.landmarks.schema import parse_names
from onemark.data.landmarks.table import LandmarkTable
from onemark.gui.canvas.palette import error_colours, landmark_colours
from onemark.gui.state import autosave
from onemark.gui.state.annotation import Annotation, State
from onemark.gui.state.backend import Order, RecipeInfo
from onemark.gui.state.background_run import BackgroundRun
from onemark.gui.state.failures import explain
from onemark.gui.state.predictions import Predictions
from onemark.gui.state.session import Session, match_names
from onemark.gui.widgets.radiographs.table import ERROR, Radiographs
from onemark.types import LandmarkSet, UserError

from .fake_backend import FakeBackend


@pytest.fixture
def session(xrays: Path) -> Session:
    made = Session()
    made.open(open_cohort(xrays))
    made.set_schema(parse_names("a\nb\nc"))
    made.show("phantom-001.png")
    return made


def test_a_changed_schema_keeps_points_by_name_and_renamed_ones_by_place(session: Session) -> None:
    assert match_names(("a", "b", "c"), ("c", "a", "x")) == [2, 0, None]
    assert match_names(("a", "b", "c"), ("a", "B", "c")) == [0, 1, 2]
    for i in range(3):
        session.place(i, (i, i))
    assert session.find_lost(parse_names("a\nb")) == ["c"]
    session.set_schema(parse_names("c\na\nb\nd"))
    assert session.annotations["phantom-001.png"].xy[:3, 0].tolist() == [2, 0, 1]
    assert session.state("phantom-001.png") is State.ANNOTATING


def test_states_follow_the_points(session: Session) -> None:
    name = "phantom-001.png"
    assert session.state(name) is State.NONE
    session.place(0, (1, 1))
    assert session.state(name) is State.ANNOTATING
    assert session.landmark == 1
    session.place(2, (3, 3))
    assert session.landmark == 1, "jumps back to the one that is open"
    session.hide(1)
    assert session.state(name) is State.EXEMPLAR
    assert np.isnan(session.exemplar_sets()[0].xy[1]).all()
    while session.undo():
        pass
    assert session.state(name) is State.NONE
    assert name not in session.annotations


def test_a_prediction_becomes_an_exemplar_only_when_confirmed(session: Session) -> None:
    found = LandmarkSet(
        "phantom-002.png", ("a", "b", "c"), np.arange(6.0).reshape(3, 2), np.ones(3), np.full(3, 2.0)
    )
    session.set_predictions(Predictions.from_sets([found], session.cohort))
    session.show("phantom-002.png")
    assert session.state("phantom-002.png") is State.PREDICTED
    session.place(1, (9, 9))
    assert session.list_unfinished() == ["phantom-002.png"]
    assert session.collect_results()[0].xy[1].tolist() == [2, 3], "an unconfirmed correction is not exported"
    session.confirm()
    assert session.exemplar_sets()[0].xy.tolist() == [[0, 1], [9, 9], [4, 5]]
    session.place(0, (5, 5))
    assert session.state("phantom-002.png") is State.CORRECTING, "a new edit must be confirmed anew"
    session.undo()
    session.undo()
    session.undo()
    assert session.state("phantom-002.png") is State.PREDICTED


def test_new_predictions_do_not_touch_the_persons_points(session: Session) -> None:
    session.place(0, (1, 1))
    session.set_predictions(
        Predictions.from_sets([LandmarkSet("phantom-001.png", ("a",), np.full((1, 2), 50.0))], session.cohort)
    )
    assert session.shown_annotation.xy[0].tolist() == [1, 1]


def test_radiographs_of_mixed_units_rank_in_px(tmp_path: Path, qapp: QApplication) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "plain.png")
    Image.new("L", (64, 64)).save(tmp_path / "sized.png", dpi=(254, 254))  # 0.1 mm a pixel
    session = Session()
    session.open(open_cohort(tmp_path))
    session.set_schema(parse_names("a"))
    sets = [
        LandmarkSet(name, ("a",), np.ones((1, 2)), np.ones(1), np.array([error]), unit)
        for name, error, unit in (("plain.png", 5.0, "px"), ("sized.png", 2.0, "mm"))
    ]
    session.set_predictions(Predictions.from_sets(sets, session.cohort))
    assert session.error_unit == "px"
    assert session.errors == pytest.approx({"plain.png": 5.0, "sized.png": 20.0}, rel=1e-3)
    shown = Radiographs(session)
    shown.sort(ERROR, Qt.SortOrder.DescendingOrder)
    assert shown.order == ["sized.png", "plain.png"]
    assert "(px)" in shown.headerData(ERROR, Qt.Orientation.Horizontal)
    worst = shown.data(shown.index(0, 0), Qt.ItemDataRole.ToolTipRole)
    assert "2.0 mm" in worst, "a single radiograph keeps its own unit"
    session.set_predictions(Predictions.from_sets(sets[1:], session.cohort))
    assert session.error_unit == "mm"


def test_confirming_needs_every_landmark(session: Session) -> None:
    session.place(0, (1, 1))
    with pytest.raises(UserError, match="b is not placed"):
        session.confirm()


def test_confirming_again_is_nothing_to_undo(session: Session) -> None:
    found = LandmarkSet("phantom-002.png", ("a", "b", "c"), np.arange(6.0).reshape(3, 2))
    session.set_predictions(Predictions.from_sets([found], session.cohort))
    for i in range(3):
        session.place(i, (i, i))
    session.confirm()
    session.undo()
    assert session.shown_annotation.done.tolist() == [True, True, False], "an exemplar needs no confirmation"
    session.show("phantom-002.png")
    for _ in range(3):
        session.confirm()
    session.undo()
    assert session.state("phantom-002.png") is State.PREDICTED


def test_imported_points_do_not_replace_placed_ones(session: Session, truth: LandmarkTable) -> None:
    session.place(0, (1, 1))
    sets = [LandmarkSet(name, ("b", "a"), np.array([[1.0, 2], [3, 4]])) for name in truth.images[:2]]
    elsewhere = LandmarkSet("elsewhere.png", ("a",), np.zeros((1, 2)))
    taken, kept = session.import_annotations(LandmarkTable.from_sets([*sets, elsewhere]))
    assert (taken, kept) == (1, ["phantom-001.png"])
    assert session.annotations["phantom-001.png"].xy[0].tolist() == [1, 1]
    assert session.annotations["phantom-002.png"].xy[0].tolist() == [3, 4]
    assert not session.annotations["phantom-002.png"].hidden.any(), "nobody said that c is not visible"


def test_marks_survive_json() -> None:
    annotation = Annotation.blank(3).place(0, (1.25, 2)).hide(2)
    again = Annotation.from_json(json.loads(json.dumps(annotation.to_json())))
    np.testing.assert_array_equal(again.xy, annotation.xy)
    assert again.hidden.tolist() == [False, False, True]
    assert again.state is State.ANNOTATING


def test_autosave_writes_the_newest_and_never_over_another_program(tmp_path: Path) -> None:
    saver = autosave.Autosave(tmp_path / "session.json")
    for number in range(50):
        saver.save(partial(dict, number=number))
    saver.flush()
    found = autosave.read(tmp_path / "session.json")
    assert found is not None
    assert found["number"] == 49
    time.sleep(0.01)
    (tmp_path / "session.json").write_text('{"version": 1, "number": "theirs"}')
    saver.save(lambda: {"number": "ours"})
    saver.close()
    assert json.loads((tmp_path / "session.json").read_text())["number"] == "theirs"
    assert json.loads((tmp_path / "session-2.json").read_text())["number"] == "ours"


def test_a_damaged_autosave_is_reported_and_kept(tmp_path: Path) -> None:
    (tmp_path / "session.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        autosave.read(tmp_path / "session.json")
    kept = autosave.set_aside(tmp_path / "session.json")
    assert kept.read_text() == "{"
    assert autosave.read(tmp_path / "session.json") is None


def test_a_session_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    former = {"version": 1, "marks": {"a.png": {}}, "wishes": {"minutes": 3.5}}
    (tmp_path / "session.json").write_text(json.dumps(former))
    read = autosave.read(tmp_path / "session.json")
    assert read == {"version": 1, "annotations": {"a.png": {}}, "preferences": {"minutes": 3.5}}


def test_a_recipe_of_another_package_says_where_it_comes_from() -> None:
    assert RecipeInfo("ncc", "correlation", origin="onemark-ncc").label == "ncc (from onemark-ncc)"
    assert RecipeInfo("cc2d", "cascade").label == "cc2d"


def test_runs_are_kept_beside_the_cohort_and_never_in_it(tmp_path: Path) -> None:
    (tmp_path / "xrays").mkdir()
    assert autosave.work_folder(tmp_path / "xrays") == tmp_path / "xrays-onemark"


def test_the_job_gives_back_everything_that_escapes(
    xrays: Path, truth: LandmarkTable, tmp_path: Path
) -> None:
    order = Order(open_cohort(xrays), LandmarkTable.from_sets([truth[truth.images[0]]]), tmp_path / "run")
    backend = FakeBackend(truth, fail_at=4, seconds=0, error=SystemExit(3))
    running = BackgroundRun(backend, order)
    running.start()
    assert running.wait(10)
    assert running.outcome == "failed"
    assert isinstance(running.error, SystemExit)
    news = running.collect_news()
    assert [round(loss[2], 3) for loss in news.losses] == pytest.approx([1.658, 1.313, 1.045], abs=1e-3)
    assert not running.collect_news().events


@pytest.mark.parametrize(
    ("error", "words", "choices"),
    [
        (UserError("no folder; give one"), "no folder; give one", ()),
        (RuntimeError("CUDA out of memory"), "ran out of memory", ("cpu", "smaller", "details")),
        (OSError("[WinError 126] Error loading c10.dll"), "cannot load PyTorch", ("details",)),
        (KeyError("x"), "unexpected error: KeyError", ("details",)),
    ],
)
def test_errors_become_words(error: Exception, words: str, choices: tuple[str, ...]) -> None:
    failure = explain(error, "training")
    assert words in failure.text
    assert failure.remedies == choices
    assert "Traceback" not in failure.text


def test_colours_differ_and_warn() -> None:
    colours = landmark_colours(37)
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + 10 * np.eye(37)
    assert distance.min() > 0.05
    sure, unsure = error_colours(np.array([0.0, 9.0]), 4.0)
    assert sure[2] > sure[0]
    assert unsure[0] > unsure[2]


def test_every_option_of_every_recipe_has_a_default_for_the_form() -> None:
    from onemark.gui.state.backend import Pipeline

    recipes = Pipeline().list_recipes()
    assert recipes[0].name == "onemark"
    for info in recipes:
        assert any(name.startswith("match.") for name in info.defaults())
