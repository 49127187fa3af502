"""Points of a radiograph that is gone wait for it, under the landmarks that they were placed for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onemark.data.landmarks.schema import schema_from_names
from onemark.data.landmarks.table import LandmarkTable
from onemark.gui.state import autosave

from .desktop import Desktop


def reopen(desktop: Desktop) -> None:
    """Open the folder again."""
    before = desktop.session.cohort
    desktop.widget.open(before.folder)
    desktop.until(lambda: desktop.session.cohort is not before)
    desktop.until(lambda: desktop.shown(desktop.session.current))


@pytest.fixture
def gone(annotated: Desktop, xrays: Path, truth: LandmarkTable, tmp_path: Path) -> Desktop:
    """The annotated radiograph is elsewhere."""
    (xrays / truth.images[0]).rename(tmp_path / truth.images[0])
    reopen(annotated)
    assert not annotated.session.annotations
    return annotated


def come_back(desktop: Desktop, truth: LandmarkTable) -> None:
    """Put the radiograph back, and open the folder again."""
    folder = desktop.session.cohort.folder
    (folder.parent / truth.images[0]).rename(folder / truth.images[0])
    reopen(desktop)


def test_they_follow_renamed_and_reordered_landmarks(gone: Desktop, truth: LandmarkTable) -> None:
    gone.session.set_schema(schema_from_names(("turcica", *truth.names[1:]), "phantom"))
    gone.session.set_schema(schema_from_names((*truth.names[:0:-1], "turcica"), "phantom"))
    come_back(gone, truth)
    first = truth.images[0]
    np.testing.assert_allclose(gone.session.annotations[first].xy, truth[first].xy[::-1])


def test_they_are_no_points_of_another_set_and_outlive_it(gone: Desktop, truth: LandmarkTable) -> None:
    first, others = truth.images[0], [f"{name} of others" for name in truth.names]
    gone.session.set_schema(schema_from_names(others, "others"), renaming=False)
    come_back(gone, truth)
    assert not gone.session.annotations
    gone.session.set_schema(schema_from_names(truth.names, "phantom"), renaming=False)
    reopen(gone)
    np.testing.assert_allclose(gone.session.annotations[first].xy, truth[first].xy)


def test_they_stay_as_they_are_where_two_windows_are_put_together() -> None:
    def session(names: list[str], **annotations: Any) -> dict[str, Any]:
        return {
            "schema": {"title": "", "names": names, "labels": names},
            "annotations": annotations,
            "run": None,
        }

    waiting = {"xy": [[1.0, 1.0]], "hidden": [], "corrects": False, "confirmed": False, "names": ["b"]}
    whole = autosave.merge([session(["a"]), session(["b"], gone=waiting)])
    assert whole["annotations"] == {"gone": waiting}
