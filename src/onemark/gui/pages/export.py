"""Step 5: the landmarks as files."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLineEdit, QWidget

from onemark.gui.controllers.app import App
from onemark.gui.controllers.exporting import FORMATS
from onemark.gui.pages.page import Page
from onemark.gui.state.annotation import State
from onemark.gui.widgets.parts import (
    lay_column,
    lay_flow,
    lay_row,
    make_button,
    make_label,
    make_tool,
    name_control,
)


class ExportPage(Page):
    """Formats, folder, one button."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self._summary = make_label("", "title")
        self._formats = {one.key: self._make_format_box(one.key, one.title) for one in FORMATS}
        self._folder: QLineEdit = name_control(QLineEdit(), "export.folder", "Folder for the files")
        self._browse = make_tool("export.browse", "…", "Choose a folder", self.choose)
        self._export = make_button("export", "Export", "Write the files (Alt+E)", self.export, main=True)
        self._show = make_button("export.show", "Show files", "Open the folder", self.show_files)
        self._show.hide()
        box = lay_column(self)
        box.addWidget(self._summary)
        for check in self._formats.values():
            box.addWidget(check)
        box.addLayout(lay_row(make_label("to", wrap=False), self._folder, self._browse))
        box.addLayout(lay_flow(self._export, self._show))
        box.addWidget(
            make_label("napari's own File > Save writes the points in view in the same formats.", "hint")
        )
        box.addStretch(1)
        session = app.session
        session.annotations_changed.connect(self.note_change)
        session.predictions_changed.connect(self.note_change)
        app.opening.opened.connect(self._on_opened)
        app.exporting.working.connect(lambda on: self._export.setEnabled(not on))
        app.exporting.wrote.connect(lambda files: self._show.show())
        self.refresh()

    def export(self) -> None:
        """Write the selected formats."""
        keys = [key for key, check in self._formats.items() if check.isChecked()]
        self.app.session_store.preferences.formats = keys
        self.app.session_store.save()
        folder = Path(self._folder.text()).expanduser()
        self.app.context.try_to("exporting", lambda: self.app.exporting.export(folder, keys))

    def choose(self) -> None:
        """Ask for the folder."""
        folder = QFileDialog.getExistingDirectory(self, "Folder for the files", self._folder.text())
        if folder:
            self._folder.setText(folder)

    def show_files(self) -> None:
        """Open the folder in the file manager."""
        folder = self.app.exporting.folder
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder) if folder else self._folder.text()))

    def refresh(self) -> None:
        """Show what the export would write."""
        states = [self.app.session.state(one.image) for one in self.app.session.collect_results()]
        parts = [(State.EXEMPLAR, "exemplar"), (State.CORRECTED, "corrected"), (State.PREDICTED, "predicted")]
        counts = [f"{states.count(state)} {word}" for state, word in parts if states.count(state)]
        begun = states.count(State.ANNOTATING) + states.count(State.CORRECTING)
        if begun:
            counts.append(f"{begun} unfinished, written as predicted")
        self._summary.setText(
            f"{len(states)} radiographs: {', '.join(counts)}" if states else "Nothing to export yet"
        )
        self._export.setEnabled(bool(states))

    def _make_format_box(self, key: str, title: str) -> QCheckBox:
        check: QCheckBox = name_control(QCheckBox(title), f"export.{key}", f"Write {title}")
        check.setChecked(key in self.app.session_store.preferences.formats)
        return check

    def _on_opened(self) -> None:
        if self.app.session_store.work is not None:
            self._folder.setText(str(self.app.session_store.work / "export"))
        for key, check in self._formats.items():
            check.setChecked(key in self.app.session_store.preferences.formats)
        self.refresh()
