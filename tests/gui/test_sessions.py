"""Sessions on disk: where they lie, what they keep, and how those of two windows are put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onemark
from onemark.data.cohort import open_cohort
from onemark.gui.state import autosave

from .desktop import Desktop


def test_sessions_of_two_windows_are_put_together_by_the_names_of_the_landmarks() -> None:
    def session(names: list[str], run: str | None = None, **annotation: list[Any]) -> dict[str, Any]:
        plain = {
            image: {"xy": xy, "hidden": [], "corrects": False, "confirmed": False}
            for image, xy in annotation.items()
        }
        return {"schema": {"title": "", "names": names, "labels": names}, "annotations": plain, "run": run}

    newest = session(["a", "b"], both=[[1, 1], [2, 2]])
    older = session(["b", "c", "a"], "run-1", both=[[9, 9], None, None], old=[[5, 5], [6, 6], [7, 7]])
    whole = autosave.merge([newest, older])
    assert whole["annotations"]["both"]["xy"] == [[1, 1], [2, 2]]
    assert whole["annotations"]["old"]["xy"] == [[7, 7], [5, 5]]
    assert whole["run"] == "run-1"


def test_answers_of_two_windows_are_put_together_landmark_by_landmark() -> None:
    def session(names: list[str], saved: dict[str, Any], **aliases: dict[str, str]) -> dict[str, Any]:
        schema = {"title": "", "names": names, "labels": names}
        return {"schema": schema, "annotations": {}, "run": None, "answers": saved, "aliases": aliases}

    newest = session(["a", "b"], {"p.png": {"a": [1, 1]}}, new={"own": "a"})
    older = session(["a", "former b"], {"p.png": {"a": [9, 9], "former b": [2, 2]}}, old={"own": "former b"})
    whole = autosave.merge([newest, older])
    assert whole["answers"] == {"p.png": {"a": [1, 1], "b": [2, 2]}}
    assert whole["aliases"] == {"new": {"own": "a"}, "old": {"own": "b"}}


def test_a_pixel_that_is_no_square_stays_so(desktop: Desktop, xrays: Path, tiny: dict[str, object]) -> None:
    settings = {name: value for name, value in tiny.items() if name.startswith("match")}
    onemark.suggest(open_cohort(xrays, spacing_mm=(0.1, 0.2)), out=xrays.parent / "run", settings=settings)
    for path in (xrays.parent / "run", xrays, xrays.parent / "run"):
        before = desktop.session.cohort
        desktop.widget.open(path)
        desktop.until(lambda before=before: desktop.session.cohort is not before)
        assert desktop.session.cohort.spacing_mm == (0.1, 0.2)
        assert desktop.control("spacing").text() == "0.1 × 0.2"
        desktop.app.session_store.flush()


def test_the_root_of_a_drive_has_a_session_elsewhere() -> None:
    found = autosave.work_folder(Path("/"))
    assert found.parent == autosave.user_data_path("onemark")
    assert found.name.startswith("drive-")
