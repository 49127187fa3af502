"""Step 1: from a folder to radiographs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from qtpy.QtCore import QRegularExpression, Qt
from qtpy.QtGui import QRegularExpressionValidator
from qtpy.QtWidgets import QFileDialog, QFrame, QLineEdit, QSizePolicy, QVBoxLayout, QWidget

from onemark.gui.controllers.app import App
from onemark.gui.controllers.opening import list_recent
from onemark.gui.widgets.parts import lay_column, lay_flow, make_button, make_label, make_tool, name_control
from onemark.types import Radiograph

SPACING = r"(\d{1,2}([.,]\d{0,6})?|[.,]\d{1,6})?"
LEAST, MOST = 0.001, 10.0  # mm per pixel


class OpenPage(QWidget):
    """The drop zone, what is open, and the recent folders."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self._title = make_label("Drop a folder of radiographs here", "title", name="open.title")
        self._facts = make_label(
            "PNG, JPEG, TIFF or DICOM, of any size. Nothing leaves this computer.", "hint"
        )
        self._open = make_button(
            "open", "Open folder…", "Choose a folder of radiographs (Alt+O)", self.choose, main=True
        )
        self._sample = make_button(
            "sample",
            "Try the phantom",
            "Open 24 synthetic radiographs to try onemark on",
            app.opening.open_phantom,
        )
        self._spacing = self._make_spacing_field()
        self._recent = QVBoxLayout()
        self._recent.setSpacing(0)
        box = lay_column(self)
        box.addWidget(self._make_zone())
        box.addLayout(lay_flow(make_label("mm per pixel", wrap=False), self._spacing))
        self._recent_title = make_label("Recent folders", "hint")
        box.addWidget(self._recent_title)
        box.addLayout(self._recent)
        box.addStretch(1)
        app.opening.opening.connect(lambda name: self._title.setText(f"Opening {name}…"))
        for ended in (app.opening.opened, app.opening.failed):
            ended.connect(self._on_opened)
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
            self._facts.setText(_describe(radiograph) if radiograph else str(cohort.folder))
            self._facts.setToolTip(str(cohort.folder))
            self._open.setText("Open another…")
        self._open.setProperty("role", "main" if cohort is None else "")
        self._open.style().polish(self._open)
        self._show_recent()

    def _on_opened(self) -> None:
        typed = self.app.session_store.preferences.spacing_mm
        numbers = typed if isinstance(typed, Sequence) else () if typed is None else (typed,)
        self._spacing.setText(" × ".join(f"{one:g}" for one in numbers))
        self.refresh()

    def _make_zone(self) -> QFrame:
        zone = QFrame()
        zone.setObjectName("onemark.drop")
        zone.setToolTip("Drop a folder here, or anywhere on this panel")
        inside = lay_column(zone, margin=14, spacing=8)
        for text in (self._title, self._facts):
            text.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            inside.addWidget(text)
        inside.addLayout(lay_flow(self._open, self._sample))
        return zone

    def _make_spacing_field(self) -> QLineEdit:
        field: QLineEdit = name_control(
            QLineEdit(),
            "spacing",
            "Size of a pixel in mm, where the files do not hold it (PNG and JPEG seldom do)",
        )
        field.setPlaceholderText("from the files")
        field.setMaximumWidth(150)
        # Either sign of the decimals, whatever the system's language: Qt's own validator would pass over the other.
        field.setValidator(QRegularExpressionValidator(QRegularExpression(SPACING), field))
        field.editingFinished.connect(self._set_spacing)
        return field

    def _set_spacing(self) -> None:
        text = self._spacing.text().replace(",", ".")
        value = float(text) if text else None
        if value is not None and not LEAST <= value <= MOST:
            self.app.context.tell(
                f"{value:g} mm per pixel cannot be: give a size from {LEAST:g} to {MOST:g}.", "bad"
            )
            return
        self.app.opening.set_spacing(value)

    def _show_recent(self) -> None:
        while self._recent.count():
            self._recent.takeAt(0).widget().deleteLater()
        folders = list_recent() if self.app.session.cohort is None else []
        self._recent_title.setVisible(bool(folders))
        for i, folder in enumerate(folders):
            link = make_tool(
                f"recent.{i}",
                f"{folder.name}   {folder.parent}",
                f"Open {folder}",
                partial(self.app.opening.open, folder),
            )
            link.setProperty("role", "link")
            link.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            self._recent.addWidget(link)


def _describe(radiograph: Radiograph) -> str:
    height, width = radiograph.size
    spacing = radiograph.spacing
    sides = dict.fromkeys(f"{one:.3g}" for one in spacing or ())
    scale = f"{' × '.join(sides)} mm per pixel" if sides else "pixel size unknown, errors are in px"
    return f"In view: {width} × {height} px, {scale}"
