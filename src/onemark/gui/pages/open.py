"""Step 1: from a folder to radiographs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QDoubleValidator
from qtpy.QtWidgets import QFileDialog, QFrame, QLineEdit, QSizePolicy, QVBoxLayout, QWidget

from onemark.gui.controllers.app import App
from onemark.gui.controllers.opening import list_recent
from onemark.gui.widgets.parts import button, column, label, name_control, row, tool


class OpenPage(QWidget):
    """The drop zone, what is open, and the folders opened lately."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self._title = label("Drop a folder of radiographs here", "title")
        self._facts = label("PNG, JPEG, TIFF or DICOM, of any size. Nothing leaves this computer.", "hint")
        self._open = button(
            "open", "Open folder…", "Choose a folder of radiographs (Alt+O)", self.choose, main=True
        )
        self._sample = button(
            "sample",
            "Try the phantom",
            "Open 24 drawn radiographs to try onemark on",
            app.opening.open_phantom,
        )
        self._spacing = self._spacing_field()
        self._recent = QVBoxLayout()
        self._recent.setSpacing(0)
        box = column(self)
        box.addWidget(self._zone())
        box.addLayout(row(label("mm per pixel", wrap=False), self._spacing, 1))
        self._recent_title = label("Opened lately", "hint")
        box.addWidget(self._recent_title)
        box.addLayout(self._recent)
        box.addStretch(1)
        app.opening.opening.connect(lambda name: self._title.setText(f"Opening {name}…"))
        for ended in (app.opening.opened, app.opening.failed):
            ended.connect(self._opened)
        app.viewing.shown.connect(lambda name: self.refresh())
        self.refresh()

    def choose(self) -> None:
        """Ask for a folder."""
        folder = QFileDialog.getExistingDirectory(
            self, "Folder of radiographs", str((list_recent() or [Path.home()])[0])
        )
        if folder:
            self.app.opening.open(folder)

    def refresh(self) -> None:
        """Show what is open."""
        cohort, radiograph = self.app.session.cohort, self.app.context.canvas.radiograph
        if cohort is None:
            self._title.setText("Drop a folder of radiographs here")
        else:
            self._title.setText(f"{cohort.folder.name}: {len(cohort):,} radiographs")
            self._facts.setText(_facts(radiograph) if radiograph else str(cohort.folder))
            self._facts.setToolTip(str(cohort.folder))
            self._open.setText("Open another…")
        self._open.setProperty("role", "main" if cohort is None else "")
        self._open.style().polish(self._open)
        self._show_recent()

    def _opened(self) -> None:
        said = self.app.session_store.preferences.spacing_mm
        self._spacing.setText("" if said is None else f"{said:g}")
        self.refresh()

    def _zone(self) -> QFrame:
        zone = QFrame()
        zone.setObjectName("onemark.drop")
        zone.setToolTip("Drop a folder here, or anywhere on this panel")
        inside = column(zone, margin=14, spacing=8)
        for text in (self._title, self._facts):
            text.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            inside.addWidget(text)
        inside.addLayout(row(1, self._open, self._sample, 1))
        return zone

    def _spacing_field(self) -> QLineEdit:
        field: QLineEdit = name_control(
            QLineEdit(),
            "spacing",
            "Size of a pixel in mm, where the files do not say it (PNG and JPEG seldom do)",
        )
        field.setPlaceholderText("as the files say")
        field.setMaximumWidth(150)
        field.setValidator(QDoubleValidator(0.001, 10.0, 6, field))
        field.editingFinished.connect(self._say_spacing)
        return field

    def _say_spacing(self) -> None:
        text = self._spacing.text().replace(",", ".")
        self.app.opening.set_spacing(float(text) if text else None)

    def _show_recent(self) -> None:
        while self._recent.count():
            self._recent.takeAt(0).widget().deleteLater()
        folders = list_recent() if self.app.session.cohort is None else []
        self._recent_title.setVisible(bool(folders))
        for i, folder in enumerate(folders):
            link = tool(
                f"recent.{i}",
                f"{folder.name}   {folder.parent}",
                f"Open {folder}",
                partial(self.app.opening.open, folder),
            )
            link.setProperty("role", "link")
            link.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            self._recent.addWidget(link)


def _facts(radiograph: object) -> str:
    height, width = radiograph.size  # type: ignore[attr-defined]
    spacing = radiograph.spacing  # type: ignore[attr-defined]
    scale = f"{spacing[0]:.3g} mm per pixel" if spacing else "pixel size unknown: errors are in px"
    return f"In view: {width} × {height} px, {scale}"
