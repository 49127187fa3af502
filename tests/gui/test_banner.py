"""The buttons of a message act on the folder that the message speaks of, or they are gone."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from onemark.gui.state.backend import Order
from onemark.progress import Sink

from .desktop import Desktop
from .fake_backend import FakeBackend, folder_of_phantoms


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Another folder of radiographs."""
    folder_of_phantoms(tmp_path / "others", 2, seed=5)
    return tmp_path / "others"


@pytest.mark.parametrize("behind", [False, True])
def test_a_question_ends_with_its_folder(annotated: Desktop, others: Path, behind: bool) -> None:
    tell = annotated.app.context.tell
    tell("Drop these points?", "warn", [("Change anyway", lambda: pytest.fail("in another folder"))])
    if behind:
        tell("Exported all.", "good")
    annotated.open(others)
    if behind:
        annotated.push("message.close")
    assert annotated.widget.banner.choices == []
    assert annotated.said == ""


def test_a_warning_without_buttons_stays(annotated: Desktop, others: Path) -> None:
    annotated.app.context.tell("The recipes of a package were skipped.", "warn")
    annotated.open(others)
    assert annotated.said == "The recipes of a package were skipped."


def test_a_training_that_fails_elsewhere_offers_no_remedy_here(
    annotated: Desktop, backend: FakeBackend, others: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()

    def fail(step: int, order: Order, progress: Sink) -> None:
        opened.wait(20)
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(backend, "_step", fail)
    annotated.go(3)
    annotated.until(lambda: annotated.app.training.recipes)
    annotated.push("run")
    annotated.open(others)
    opened.set()
    annotated.until_idle()
    assert "ran out of memory" in annotated.said
    assert annotated.widget.banner.choices == []
