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
from onemark.gui.widgets.parts import button, column, label, name_control, row, tool


class ExportPage(Page):
    """Formats, folder, one button."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self._summary = label("", "title")
        self._formats = {one.key: self._format_box(one.key, one.title) for one in FORMATS}
        self._folder: QLineEdit = name_control(
            QLineEdit(), "export.folder", "Folder the files are written to"
        )
        self._browse = tool("export.browse", "…", "Choose the folder", self.choose)
        self._export = button("export", "Export", "Write the files (Alt+E)", self.export, main=True)
        self._show = button("export.show", "Show files", "Open the folder", self.show_files)
        self._show.hide()
        box = column(self)
        box.addWidget(self._summary)
        for check in self._formats.values():
            box.addWidget(check)
        box.addLayout(row(label("to", wrap=False), self._folder, self._browse))
        box.addLayout(row(self._export, self._show, 1))
        box.addWidget(
            label("napari's own File > Save writes the points in view in the same formats.", "hint")
        )
        box.addStretch(1)
        session = app.session
        session.annotations_changed.connect(self.changed)
        session.predictions_changed.connect(self.changed)
        app.opening.opened.connect(self._opened)
        app.exporting.working.connect(lambda on: self._export.setEnabled(not on))
        app.exporting.wrote.connect(lambda files: self._show.show())
        self.refresh()

    def export(self) -> None:
        """Write the chosen formats."""
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
        QDesktopServices.openUrl(QUrl.fromLocalFile(self._folder.text()))

    def refresh(self) -> None:
        """Show what would be written."""
        states = [self.app.session.state(one.image) for one in self.app.session.collect_results()]
        parts = [(State.EXEMPLAR, "exemplar"), (State.CORRECTED, "corrected"), (State.PREDICTED, "predicted")]
        counts = [f"{states.count(state)} {word}" for state, word in parts if states.count(state)]
        self._summary.setText(
            f"{len(states)} radiographs: {', '.join(counts)}" if states else "Nothing to export yet"
        )
        self._export.setEnabled(bool(states))

    def _format_box(self, key: str, title: str) -> QCheckBox:
        check: QCheckBox = name_control(QCheckBox(title), f"export.{key}", f"Write {title}")
        check.setChecked(key in self.app.session_store.preferences.formats)
        return check

    def _opened(self) -> None:
        if self.app.session_store.work is not None:
            self._folder.setText(str(self.app.session_store.work / "export"))
        for key, check in self._formats.items():
            check.setChecked(key in self.app.session_store.preferences.formats)
        self.refresh()
