"""A second, blind reading: hidden points, another order, files of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onemark import cli
from onemark.data.landmarks.schema import schema_from_names
from onemark.data.landmarks.table import LandmarkTable, read_landmarks
from onemark.gui.state import autosave
from onemark.gui.state.second_reading import rename_saved, split_saved

from .desktop import Desktop
from .fake_backend import FakeBackend


@pytest.fixture
def read_once(desktop: Desktop, xrays: Path, truth: LandmarkTable) -> Desktop:
    """Five radiographs are annotated."""
    desktop.open(xrays)
    desktop.session.set_schema(schema_from_names(truth.names, "phantom"))
    desktop.session.import_annotations(LandmarkTable.from_sets([truth[i] for i in truth.images[:5]]))
    desktop.app.rereading.rng = np.random.default_rng(4)
    desktop.settle()
    return desktop


def _begin(desktop: Desktop, count: int) -> tuple[str, ...]:
    desktop.push("tab.measurements")
    desktop.control("reading.count").setValue(count)
    desktop.push("reading.begin")
    desktop.push("tab.radiographs")
    names: tuple[str, ...] = desktop.session.reading.names
    desktop.until_shown(names[0])
    return names


def _reopen(desktop: Desktop) -> None:
    before = desktop.session.cohort
    desktop.widget.open(before.folder)
    desktop.until(lambda: desktop.session.cohort is not before)
    desktop.settle(20)


def _finish_without_the_first(desktop: Desktop, truth: LandmarkTable, elsewhere: Path) -> tuple[str, ...]:
    """Read two radiographs again, and finish while the first is elsewhere."""
    names = _begin(desktop, 2)
    for name in names:
        desktop.show(name)
        for xy in truth[name].xy:
            desktop.click(xy)
    (desktop.session.cohort.folder / names[0]).rename(elsewhere / names[0])
    _reopen(desktop)
    desktop.push("reading.finish")
    return names


def test_it_lists_a_random_subset_with_its_points_hidden(read_once: Desktop, truth: LandmarkTable) -> None:
    first = truth.images[:5]
    names = _begin(read_once, 4)
    assert len(names) == 4
    assert set(names) < set(first)
    assert list(names) != sorted(names)
    assert read_once.widget.panel.model.order == list(names)
    assert len(read_once.layer.data) == 0
    assert read_once.layer.mode == "add"
    assert "0 of 4" in read_once.control("reading.says").text()


def test_both_readings_become_files_that_agree_reads(
    read_once: Desktop, truth: LandmarkTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = _begin(read_once, 3)
    before = dict(read_once.session.own_annotations)
    for name in names[:2]:
        read_once.show(name)
        for xy in truth[name].xy:
            read_once.click(xy + 1.0)
    read_once.push("reading.finish")
    assert "onemark agree" in read_once.said
    assert "1 unfinished" in read_once.said
    assert dict(read_once.session.annotations) == before
    first, second = sorted(read_once.app.session_store.work.glob("readings/*.csv"))
    once, again = read_landmarks(first), read_landmarks(second)
    assert set(once.images) == set(again.images) == set(names[:2])
    moved = np.concatenate([again[i].xy - once[i].xy for i in once.images])
    assert 0.3 < np.linalg.norm(moved, axis=1).mean() < 3
    cli.main(["agree", str(first), str(second), "--out", str(tmp_path / "agreement")])
    assert "2 radiographs" in capsys.readouterr().out


def test_nothing_can_mix_the_two_readings(read_once: Desktop, truth: LandmarkTable) -> None:
    _begin(read_once, 3)
    for act in ("suggest",):
        read_once.widget.press(act)
        assert "second reading" in read_once.said
    read_once.app.context.try_to("training", read_once.app.training.start)
    assert "finish or discard it first" in read_once.said
    read_once.app.context.try_to("importing", lambda: read_once.session.import_annotations(truth))
    assert len(read_once.session.annotations) == 0


def test_a_training_that_ends_meanwhile_stays_hidden(read_once: Desktop, backend: FakeBackend) -> None:
    backend.seconds = 0.1
    read_once.go(3)
    read_once.until(lambda: read_once.app.training.recipes)
    read_once.push("run")
    names = _begin(read_once, 3)
    read_once.until_idle()
    read_once.settle(40)
    assert read_once.session.predictions == {}
    assert len(read_once.layer.data) == 0
    assert read_once.session.current == names[0]
    read_once.push("reading.discard")
    assert len(read_once.session.predictions) > 0


def test_it_goes_on_after_a_restart(read_once: Desktop, truth: LandmarkTable, xrays: Path) -> None:
    names = _begin(read_once, 3)
    for xy in truth[names[0]].xy:
        read_once.click(xy)
    read_once.app.session_store.end()
    read_once.open(xrays)
    read_once.settle(20)
    assert read_once.session.reading is not None
    assert read_once.session.reading.names == names
    assert "1 of 3" in read_once.control("reading.says").text()
    read_once.push("reading.discard")
    assert len(read_once.session.annotations) == 5


def test_predictions_can_be_the_first_reading(annotated: Desktop) -> None:
    annotated.train()
    annotated.push("tab.measurements")
    of = annotated.control("reading.of")
    of.setCurrentIndex(of.findData(False))
    annotated.control("reading.count").setValue(100)
    annotated.push("reading.begin")
    assert len(annotated.session.reading.names) == len(annotated.session.cohort)
    assert annotated.session.reading.known.predictions


def test_radiographs_of_it_that_are_gone_wait_and_come_back(
    read_once: Desktop, truth: LandmarkTable, xrays: Path, tmp_path: Path
) -> None:
    names = _begin(read_once, 3)
    for xy in truth[names[0]].xy:
        read_once.click(xy)
    placed = read_once.session.annotations[names[0]].xy.copy()
    for away in (names[:1], names):
        for name in away:
            (xrays / name).rename(tmp_path / name)
        _reopen(read_once)
        reading = read_once.session.reading
        assert (() if reading is None else reading.names) == tuple(n for n in names if n not in away)
        read_once.app.session_store.flush()
        for name in away:
            (tmp_path / name).rename(xrays / name)
    _reopen(read_once)
    assert set(read_once.session.reading.names) == set(names)
    np.testing.assert_allclose(read_once.session.annotations[names[0]].xy, placed)


def test_those_of_two_windows_are_put_together() -> None:
    def reading(image: str, x: float) -> dict[str, Any]:
        first = {
            "image": image,
            "names": ["a"],
            "unit": "",
            "xy": [[0, 0]],
            "score": [],
            "expected_error": [],
        }
        again = {"xy": [[x, x]], "hidden": [], "corrects": False, "confirmed": False}
        return {"first": [first], "annotations": {image: again}}

    def session(read: dict[str, Any] | None) -> dict[str, Any]:
        schema = {"title": "", "names": ["a"], "labels": ["a"]}
        return {"schema": schema, "annotations": {}, "run": None, "reading": read}

    whole = autosave.merge([session(None), session(reading("p.png", 1)), session(reading("q.png", 2))])
    assert [one["image"] for one in whole["reading"]["first"]] == ["p.png", "q.png"]
    assert autosave.merge([session(reading("p.png", 1)), session(reading("p.png", 9))])["reading"][
        "annotations"
    ]["p.png"]["xy"] == [[1, 1]]
    here, waiting = split_saved(whole["reading"], {"p.png"}, ("a",))
    assert list(here["annotations"]) == ["p.png"]
    assert list(waiting["annotations"]) == ["q.png"]
    assert not split_saved(whole["reading"], {"p.png", "q.png"}, ("b",))[0]["first"]


def test_finishing_what_is_there_keeps_what_waits(
    read_once: Desktop, truth: LandmarkTable, xrays: Path, tmp_path: Path
) -> None:
    names = _finish_without_the_first(read_once, truth, tmp_path)
    read_once.app.session_store.flush()
    (tmp_path / names[0]).rename(xrays / names[0])
    _reopen(read_once)
    assert read_once.session.reading.names == names[:1]
    read_once.push("reading.finish")
    seconds = read_once.app.session_store.work.glob("readings/*-second*.csv")
    assert sorted(image for file in seconds for image in read_landmarks(file).images) == sorted(names)


def test_what_waits_can_be_forgotten(
    read_once: Desktop, truth: LandmarkTable, xrays: Path, tmp_path: Path
) -> None:
    names = _begin(read_once, 1)
    (xrays / names[0]).rename(tmp_path / names[0])
    _reopen(read_once)
    assert read_once.app.session_store.waiting_reading is not None
    read_once.answer("Forget them")
    assert read_once.app.session_store.waiting_reading is None
    (tmp_path / names[0]).rename(xrays / names[0])
    _reopen(read_once)
    assert read_once.session.reading is None


def test_predictions_of_fewer_landmarks_go_on_as_the_first_reading(annotated: Desktop) -> None:
    annotated.train()
    names = annotated.session.schema.names
    annotated.session.set_schema(schema_from_names((*names[::-1], "one more"), "phantom"))
    annotated.app.rereading.begin(2, own=False)
    annotated.session.place(0, (20.0, 30.0))
    read = annotated.session.reading.names
    _reopen(annotated)
    assert annotated.session.reading.names == read
    assert annotated.session.annotations


def test_what_waits_follows_renamed_landmarks() -> None:
    first = {"image": "p.png", "names": ["a", "b"], "unit": "", "xy": [[0, 0], [1, 1]]}
    saved = {"first": [first], "annotations": {"p.png": {"xy": [[0, 0], None], "names": ["a", "b"]}}}
    renamed = rename_saved(saved, {"a": "alpha"})
    assert renamed["first"][0]["names"] == renamed["annotations"]["p.png"]["names"] == ["alpha", "b"]


def test_discarding_a_reading_keeps_what_waits_of_a_former_one(
    read_once: Desktop, truth: LandmarkTable, tmp_path: Path
) -> None:
    names = _finish_without_the_first(read_once, truth, tmp_path)
    assert "1 more wait" in read_once.said
    read_once.app.rereading.begin(1, own=True)
    read_once.push("reading.discard")
    waiting = read_once.app.session_store.waiting_reading
    assert waiting is not None
    assert list(waiting["annotations"]) == [names[0]]


def test_what_was_read_of_other_landmarks_waits_though_no_point_is_placed() -> None:
    first = {"image": "p.png", "names": ["a"], "unit": "", "xy": [[0, 0]]}
    saved = {"first": [first], "annotations": {}}
    assert split_saved(saved, {"p.png"}, ("b",))[1]["first"] == [first]
    assert split_saved(saved, {"p.png"}, ("a", "b"))[0]["first"] == [first]


def test_starting_without_what_was_recovered_leaves_nothing_waiting(
    read_once: Desktop, xrays: Path, tmp_path: Path
) -> None:
    names = _begin(read_once, 1)
    (xrays / names[0]).rename(tmp_path / names[0])
    _reopen(read_once)
    store = read_once.app.session_store
    assert store.waiting_reading is not None
    store._start_over()
    assert store.waiting_reading is None
