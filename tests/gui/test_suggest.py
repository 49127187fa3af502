"""Suggest: which radiograph to annotate first, by clicks and keys, and the training that goes on from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari import Viewer
from qtpy.QtCore import Qt

from onemark.data.landmarks.schema import schema_from_names
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.suggestion import Suggestion
from onemark.gui.state.annotation import State
from onemark.gui.state.backend import Pipeline
from onemark.gui.widgets.radiographs.table import NAME, STATE, format_ordinal
from onemark.nn.weights import read_weights
from onemark.pipeline.runs.folder import RunFolder
from onemark.types import UserError

from .desktop import Desktop
from .fake_backend import FakeBackend, folder_of_phantoms

ALT = Qt.KeyboardModifier.AltModifier


@pytest.fixture
def opened(desktop: Desktop, xrays: Path, truth: LandmarkTable) -> Desktop:
    """Nothing is annotated yet, and step 2 is in view."""
    desktop.open(xrays)
    desktop.session.set_schema(schema_from_names(truth.names, "phantom"))
    desktop.until(lambda: desktop.app.training.recipes)
    return desktop


def suggest(desktop: Desktop, number: int = 1) -> None:
    desktop.control("suggest_number").setValue(number)
    desktop.push("suggest")
    ended(desktop)


def ended(desktop: Desktop) -> None:
    desktop.until_idle(120)
    desktop.settle()


def states(desktop: Desktop) -> dict[str, str]:
    model = desktop.widget.panel.model
    return {name: model.data(model.index(row, STATE)) for row, name in enumerate(model.order)}


def test_from_the_button_to_a_training_without_learning_twice(
    opened: Desktop, backend: FakeBackend, truth: LandmarkTable
) -> None:
    best = backend.ranking
    suggest(opened, 2)
    order = backend.orders[0]
    assert (order.kind, order.number, len(order.exemplars)) == ("suggest", 2, 0)
    assert opened.widget.panel.model.order == best
    assert list(states(opened).values())[:3] == ["annotate 1st", "annotate 2nd", ""]
    assert opened.session.current == best[0]
    assert opened.app.step == 1
    assert "2 radiographs at the top of the list" in opened.said

    opened.until_shown(best[0])
    opened.annotate(truth[best[0]])
    assert states(opened)[best[0]] == "exemplar"
    opened.key(Qt.Key.Key_N)
    assert opened.session.current == best[1], "the next one to annotate is the next of the list"
    opened.train()
    assert [order.kind for order in backend.orders] == ["suggest", "follow"]
    assert backend.orders[1].out == order.out
    assert backend.orders[1].exemplars.images == (best[0],)
    assert opened.app.session_store.run == order.out
    assert set(opened.session.predictions) == set(truth.images)
    assert set(states(opened).values()) == {"exemplar", "predicted"}, "the suggestion has served"


def test_by_keys_while_the_window_is_used(opened: Desktop, backend: FakeBackend) -> None:
    backend.steps = 10_000
    opened.key(Qt.Key.Key_S, ALT)
    running = opened.app.training.running
    assert running is not None
    assert running.order.kind == "suggest"
    bar = opened.control("suggest.progress")
    opened.until(lambda: bar.maximum() == 10_000 and bar.value() > 0)
    assert bar.isVisibleTo(opened.widget)
    assert not opened.control("suggest").isVisibleTo(opened.widget)
    assert "Training the matcher" in opened.control("status").text()
    opened.key(Qt.Key.Key_N)
    second = opened.session.cohort.names[1]
    opened.until_shown(second)
    opened.click((60, 60))
    opened.go(3)
    assert "Suggests which radiographs to annotate first" in opened.control("inputs").text()
    opened.key(Qt.Key.Key_S, ALT)
    assert opened.app.training.running is running, "one thing at a time"
    opened.go(2)
    backend.enough.set()
    ended(opened)
    assert opened.session.current == second, "who is placing points is not taken away from them"
    assert backend.ranking[0] in opened.said
    opened.answer("Show it")
    opened.until_shown(backend.ranking[0])
    assert opened.session.state(second) is State.ANNOTATING


def test_stop_leaves_a_run_that_suggest_goes_on_from(opened: Desktop, backend: FakeBackend) -> None:
    backend.steps = 10_000
    opened.push("suggest")
    opened.until(lambda: opened.app.training.running is None or backend.watched)
    opened.push("suggest.stop")
    ended(opened)
    assert opened.session.suggestion is None
    assert "Press Suggest again" in opened.said
    assert not opened.control("resume").isVisibleTo(opened.widget.train), "there is no training to go on with"
    backend.enough.set()
    opened.push("suggest")
    ended(opened)
    assert backend.orders[0].out == backend.orders[1].out
    assert opened.session.suggestion is not None


def test_another_number_is_answered_by_the_same_matcher(opened: Desktop, backend: FakeBackend) -> None:
    suggest(opened)
    assert list(states(opened).values()).count("annotate 1st") == 1
    backend.fail_at = 1
    suggest(opened, 3)
    assert backend.orders[0].out == backend.orders[1].out
    assert list(states(opened).values())[:4] == ["annotate 1st", "annotate 2nd", "annotate 3rd", ""]
    assert opened.control("suggest_number").maximum() == len(backend.ranking)


def test_other_options_train_again_and_say_so(
    opened: Desktop, backend: FakeBackend, truth: LandmarkTable
) -> None:
    suggest(opened)
    opened.until_shown(backend.ranking[0])
    opened.annotate(truth[backend.ranking[0]])
    opened.go(3)
    opened.push("advanced")
    opened.control("settings.match.steps").setValue(33)
    backend.steps = 10_000
    opened.push("run")
    assert "so the matcher is trained again" in opened.said
    backend.enough.set()
    ended(opened)
    assert backend.orders[1].kind == "new"
    assert backend.orders[1].out != backend.orders[0].out


def test_a_recipe_that_needs_an_exemplar_is_reported_and_keeps_the_former_suggestion(
    opened: Desktop, backend: FakeBackend
) -> None:
    suggest(opened)
    kept = opened.app.session_store.suggestion_run
    backend.needs_exemplar = True
    box = opened.control("recipe")
    box.setCurrentIndex(1)
    box.activated.emit(1)
    suggest(opened)
    assert "learns nothing before a radiograph is annotated" in opened.said
    assert opened.app.session_store.suggestion_run == kept
    assert "annotate 1st" in states(opened).values()


def test_no_memory_has_the_same_ways_out(opened: Desktop, backend: FakeBackend) -> None:
    backend.fail_at, backend.error = 2, RuntimeError("CUDA out of memory")
    suggest(opened)
    assert "ran out of memory during the suggestion" in opened.said
    backend.fail_at = None
    opened.answer("Use batch = 4")
    ended(opened)
    assert [(order.kind, order.settings) for order in backend.orders] == [
        ("suggest", {}),
        ("suggest", {"match.batch": 4}),
    ]
    assert opened.session.suggestion is not None


def test_the_suggestion_comes_back_with_its_folder(
    make_viewer: Callable[[], Viewer], xrays: Path, truth: LandmarkTable, backend: FakeBackend
) -> None:
    first = Desktop(make_viewer(), backend)
    first.open(xrays)
    first.until(lambda: first.app.training.recipes)
    suggest(first, 3)
    first.widget.shut()
    first.viewer.close()

    second = Desktop(make_viewer(), backend)
    second.open(xrays)
    second.until(lambda: second.session.suggestion is not None)
    assert second.widget.panel.model.order == backend.ranking
    assert list(states(second).values())[:3] == ["annotate 1st", "annotate 2nd", "annotate 3rd"]
    assert second.control("suggest_number").value() == 3
    second.session.set_schema(schema_from_names(truth.names, "phantom"))
    second.session.import_annotations(LandmarkTable.from_sets([truth[backend.ranking[0]]]))
    second.train()
    assert backend.orders[1].kind == "follow"
    assert backend.orders[1].out == backend.orders[0].out
    second.widget.shut()


def test_a_suggestion_for_another_folder_stays_there(
    opened: Desktop, backend: FakeBackend, tmp_path: Path
) -> None:
    backend.steps = 10_000
    opened.push("suggest")
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    opened.open(tmp_path / "others")
    backend.enough.set()
    ended(opened)
    assert opened.session.suggestion is None
    assert opened.app.session_store.suggestion_run is None
    assert "suggestion for xrays is ready" in opened.said


def test_the_list_can_be_sorted_and_searched_by_the_suggestion(opened: Desktop, backend: FakeBackend) -> None:
    suggest(opened, 2)
    panel = opened.widget.panel
    panel.view.sortByColumn(NAME, Qt.SortOrder.AscendingOrder)
    assert panel.model.order == sorted(backend.ranking)
    panel.view.sortByColumn(STATE, Qt.SortOrder.AscendingOrder)
    assert panel.model.order == backend.ranking
    opened.control("filter").setText("annotate 2")
    assert panel.model.order == backend.ranking[1:2]


def test_nothing_is_left_to_suggest_when_all_are_annotated(opened: Desktop, truth: LandmarkTable) -> None:
    assert opened.control("suggest").isEnabled()
    opened.session.import_annotations(truth)
    opened.settle()
    assert not opened.control("suggest").isEnabled()


def test_ordinals() -> None:
    assert [format_ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 22)] == [
        *("1st", "2nd", "3rd", "4th", "11th", "12th", "13th"),
        *("21st", "22nd"),
    ]


def test_a_suggestion_comes_back_from_its_table(tmp_path: Path) -> None:
    ranking = (("b.png", 0.75), ("c, d.png", 0.5), ("a.png", float("nan")))
    Suggestion(("c, d.png", "b.png"), 0.8, ranking, tmp_path).to_csv(tmp_path / "suggestion.csv")
    assert (tmp_path / "suggestion.csv").read_text() == (
        'image,similarity,chosen\nb.png,0.750000,2\n"c, d.png",0.500000,1\na.png,nan,\n'
    )
    read = Suggestion.read_csv(tmp_path / "suggestion.csv")
    assert read.chosen == ("c, d.png", "b.png")
    assert read.ranking[:2] == ranking[:2]
    assert np.isnan(read.ranking[2][1])
    assert np.isnan(read.score)
    assert read.run is None


def test_a_suggestion_ranks_what_is_chosen_then_what_is_similar() -> None:
    names = ("a.png", "b.png", "c.png", "d.png")
    made = Suggestion(("d.png", "b.png"), 0.9, (("d.png", 0.9), ("c.png", 0.7), ("b.png", 0.6)))
    assert sorted(names, key=made.rank) == ["d.png", "b.png", "c.png", "a.png"]
    part = made.within({"a.png", "b.png", "c.png"}.__contains__)
    assert [part.place(name) for name in names] == [None, 1, None, None]
    assert [name for name, _ in part.ranking] == ["c.png", "b.png"]
    assert part.score == 0.9


def test_a_damaged_suggestion_is_reported(tmp_path: Path) -> None:
    (tmp_path / "suggestion.csv").write_text("image,similarity\na.png,x\n")
    with pytest.raises(UserError, match=r"suggestion\.csv cannot be read"):
        Suggestion.read_csv(tmp_path / "suggestion.csv")


class TestPipeline:
    """The real thing, as small as it goes."""

    @pytest.fixture
    def backend(self) -> Pipeline:
        return Pipeline()

    def test_the_matcher_learns_once(
        self, desktop: Desktop, xrays: Path, truth: LandmarkTable, tiny: dict[str, object]
    ) -> None:
        desktop.open(xrays)
        desktop.session.set_schema(schema_from_names(truth.names, "phantom"))
        desktop.until(lambda: desktop.app.training.recipes, 120)
        desktop.app.session_store.preferences.settings = dict(tiny)
        desktop.app.training.ready.emit()
        desktop.control("minutes").setValue(0)
        suggest(desktop)
        assert desktop.session.suggestion, desktop.said
        chosen = desktop.session.suggestion.chosen
        assert desktop.session.current == chosen[0] == desktop.widget.panel.model.order[0]
        run = RunFolder.open(desktop.app.session_store.suggestion_run)
        before = read_weights(run.weights)["match"][0]

        desktop.until_shown(chosen[0])
        desktop.annotate(truth[chosen[0]])
        desktop.app.session_store.preferences.settings = {**tiny, "detect.steps": 2}
        desktop.app.training.ready.emit()
        desktop.train()
        assert desktop.app.step == 3, desktop.said
        assert desktop.app.session_store.run == run.path
        after = read_weights(run.weights)["match"][0]
        assert all((before[key] == after[key]).all() for key in before if key.startswith("network."))
        steps = [(entry["stage"], entry["step"]) for entry in run.log()]
        assert steps.count(("match", 1)) == 1
        assert [step for stage, step in steps if stage == "detect"] == [1, 2], "as chosen since"
        assert set(desktop.session.predictions) == set(truth.images)

    def test_a_registration_cannot_suggest(self, desktop: Desktop, xrays: Path) -> None:
        desktop.open(xrays)
        desktop.until(lambda: desktop.app.training.recipes, 120)
        desktop.app.session_store.preferences.recipe = "edgetrans-match-only"
        suggest(desktop)
        assert "learns nothing before a radiograph is annotated" in desktop.said
        assert desktop.app.session_store.suggestion_run is None
