"""A session file of any shape: it is whole or it is set aside, and what is placed afterwards is saved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onemark import LandmarkTable
from onemark.data.landmarks.schema import Schema
from onemark.gui.controllers.preferences import Preferences
from onemark.gui.state import autosave
from onemark.gui.state.annotation import Annotation
from onemark.gui.state.second_reading import read_first
from onemark.types import UserError

from .desktop import Desktop

POINTS = {"xy": [[1.0, 2.5], None], "hidden": [1], "corrects": False, "confirmed": True}
FIRST = {"image": "a.png", "names": ["a", "b"], "xy": [[1.0, 2.5], None], "score": [0.5, None]}
FIRST |= {"expected_error": [], "unit": "mm"}
LOOK = {
    "contrast": [0.1, 0.9],
    "inverted": True,
    "measurements": "isbi19",
    "column": "SNA",
    "suggest_number": 2,
}
WHOLE: dict[str, Any] = {
    "version": 1,
    "saved": 5.0,
    "closed": True,
    "cohort": "/x",
    "current": "a.png",
    "schema": {"title": "t", "names": ["a", "b"], "labels": ["A", "B"], "swap": [["a", "b"]]},
    "preferences": {
        "recipe": "onemark",
        "minutes": 3,
        "settings": {"match.steps": 2},
        "spacing_mm": None,
        **LOOK,
    },
    "run": None,
    "former": None,
    "suggested": None,
    "aliases": {"/runs/1": {"a": "b"}},
    "reading": {"first": [FIRST], "annotations": {"a.png": POINTS}},
    "annotations": {"a.png": POINTS},
}
ODD = st.sampled_from([None, True, -1, 7, 10**40, 1e308, "", "x", "\0", [], [[]], [None], {}, {"xy": 1}])


def paths_of(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys that lead to every value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, one in inner for path in [(*before, key), *paths_of(one, (*before, key))]]


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The session with another value there."""
    session = json.loads(json.dumps(WHOLE))
    inner = session
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return session


def lacking(*path: str) -> dict[str, Any]:
    """The session without a value."""
    session = changed(path, None)
    inner = session
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return session


def test_a_whole_session_is_read(tmp_path: Path):
    (tmp_path / "session.json").write_text(json.dumps(WHOLE))
    (read,) = autosave.read_all(tmp_path, pytest.fail).values()
    assert read == WHOLE


@settings(
    max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(st.sampled_from(paths_of(WHOLE)), ODD)
def test_what_is_read_can_be_used(tmp_path: Path, path: tuple[Any, ...], value: Any):
    (tmp_path / "session.json").write_text(json.dumps(changed(path, value)))
    told: list[UserError] = []
    for session in autosave.read_all(tmp_path, lambda _, error: told.append(error)).values():
        schema = session["schema"]
        pairs = tuple((left, right) for left, right in schema.get("swap", ()))
        Schema(schema["title"], tuple(schema["names"]), tuple(schema["labels"]), pairs).to_text()
        for one in session["annotations"].values():
            assert Annotation.from_json(one).to_json() == one
        if session["reading"] is not None:
            assert all(len(one.names) == len(one.xy) for one in read_first(session["reading"]))
            for one in session["reading"]["annotations"].values():
                assert Annotation.from_json(one).to_json() == one
        assert all(name for names in session["aliases"].values() for name in names.items())
        preferences = Preferences()
        preferences.update(session["preferences"])
        assert preferences.contrast is None or preferences.contrast[0] < preferences.contrast[1]
        assert type(preferences.inverted) is bool
        assert 0 <= preferences.suggest_number < 2**31
        autosave.merge([session, session])
    assert all("onemark keeps the file" in str(error) for error in told)


BAD = {
    "an annotation without confirmed": lacking("annotations", "a.png", "confirmed"),
    "annotations as a list": changed(("annotations",), []),
    "names as a text": changed(("schema", "names"), "ab"),
    "a pair of one": changed(("schema", "swap"), [["a"]]),
    "a pair with a stranger": changed(("schema", "swap"), [["a", "c"]]),
    "a hidden point that is no index": changed(("annotations", "a.png", "hidden"), [9]),
    "names that are too few": changed(("annotations", "a.png", "names"), ["a"]),
    "preferences as a number": changed(("preferences",), 1),
    "no labels": lacking("schema", "labels"),
    "a second reading as a list": changed(("reading",), []),
    "a first reading of a score too few": changed(("reading", "first", 0, "score"), [0.5]),
    "aliases as a number": changed(("aliases",), 5),
    "a contrast as a text": changed(("preferences", "contrast"), "all"),
    "a number of suggestions that no box holds": changed(("preferences", "suggest_number"), 10**40),
    "a time that is a text": changed(("saved",), "now"),
}


@pytest.mark.parametrize("session", BAD.values(), ids=BAD.keys())
def test_points_placed_after_a_bad_session_was_set_aside_are_saved(
    desktop: Desktop, xrays: Path, truth: LandmarkTable, session: dict[str, Any]
):
    work = xrays.parent / "xrays-onemark"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / "session.json").write_text(json.dumps(session))
    desktop.open(xrays)
    assert "onemark keeps the file" in desktop.said
    truth.to_csv(xrays.parent / "exemplar.csv")
    desktop.widget.pages[1].import_points(str(xrays.parent / "exemplar.csv"))
    assert desktop.app.session_store.try_save()
    saved = json.loads((work / "session.json").read_text())
    first = truth.images[0]
    np.testing.assert_allclose(saved["annotations"][first]["xy"], truth[first].xy)
    assert json.loads((work / "session-set-aside.json").read_text()) == session
    desktop.app.session_store.end()
    assert not desktop.app.session_store.try_save(), "nothing is saved any more, and it says so"
