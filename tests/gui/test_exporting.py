"""Where an export goes, what counts as being there already, and which folder is shown afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices

from onemark.gui.controllers.exporting import FORMATS

from .desktop import Desktop


def export_to(desktop: Desktop, folder: Path, *formats: str) -> None:
    desktop.control("export.folder").setText(str(folder))
    for one in FORMATS:
        desktop.control(f"export.{one.key}").setChecked(one.key in formats)
    desktop.push("export")


def test_only_files_that_would_be_replaced_are_asked_about(annotated: Desktop, tmp_path: Path) -> None:
    annotated.go(5)
    folder = tmp_path / "out"
    (folder / "landmarks").mkdir(parents=True)  # as several radiographs' markups are written
    export_to(annotated, folder, "coco")
    annotated.until_said("Exported landmarks.json")
    export_to(annotated, folder, "slicer")
    assert "already holds landmarks.mrk.json" in annotated.said


def test_the_folder_that_was_written_to_is_shown(
    annotated: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(
        QDesktopServices, "openUrl", lambda url: shown.append(QUrl(url).toLocalFile()) is None
    )
    annotated.go(5)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "landmarks.csv").write_text("mine", "utf-8")
    export_to(annotated, folder, "csv")
    annotated.answer("Write to out-2")
    annotated.until_said("Exported landmarks.csv")
    annotated.push("export.show")
    assert shown == [str(tmp_path / "out-2")]
    assert (folder / "landmarks.csv").read_text("utf-8") == "mine"
