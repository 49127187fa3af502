"""Step 2: place every landmark once, on one radiograph or more."""

from __future__ import annotations

from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHeaderView,
    QTableView,
    QWidget,
)

from onemark.data.landmarks.schema import SHIPPED, Schema, load_shipped, read_schema
from onemark.gui.canvas.palette import landmark_colours, to_hex
from onemark.gui.controllers.app import TRAIN, App
from onemark.gui.pages.names import NamesDialog
from onemark.gui.pages.page import Page
from onemark.gui.pages.suggest import SuggestLine
from onemark.gui.widgets.flow import Flow
from onemark.gui.widgets.keys import KeyedTable
from onemark.gui.widgets.landmark_list import LABEL, NAME, STATUS, LandmarkList
from onemark.gui.widgets.parts import (
    ElidedBox,
    group,
    lay_column,
    lay_flow,
    make_button,
    make_label,
    make_tool,
    name_control,
)
from onemark.types import UserError

TYPED, FILE = "typed", "file"


class AnnotatePage(Page):
    """The schema, the landmark to place next, and the list of all."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self._schema = self._make_schema_box()
        self._edit = make_tool("schema.edit", "Edit…", "Type or change the landmark names", self.edit_names)
        self._load = make_tool(
            "points.load",
            "Load points…",
            "Import points from a CSV, .mrk.json, .tps or COCO file",
            self.load_points,
        )
        self._suggest = SuggestLine(app)
        self._ask = make_label("", "ask")
        self._count = make_label("", "hint")
        self._table = self._make_table()
        self._next = make_button(
            "annotate.done", "Train  →", "Go on to step 3 (Alt+3)", lambda: app.go(TRAIN), main=True
        )
        box = lay_column(self)
        box.addLayout(lay_flow(self._schema, self._edit, self._load))
        box.addWidget(self._suggest)
        box.addWidget(self._ask)
        box.addLayout(self._make_tools())
        box.addWidget(self._table, 1)
        box.addWidget(self._count)
        box.addLayout(lay_flow(self._next))
        session = app.session
        for signal in (
            session.schema_changed,
            session.current_changed,
            session.landmark_changed,
            session.cohort_changed,
            app.training.began,
            app.training.ended,
        ):
            signal.connect(self.note_change)
        session.annotations_changed.connect(self.note_change)
        self.refresh()

    def refresh(self) -> None:
        """Show the landmark to place next, and how many are placed."""
        session = self.app.session
        self._suggest.refresh()
        self._show_schema()
        annotation, count = session.shown_annotation, len(session.schema)
        self._next.setEnabled(any(session.list_finished()))
        if not count:
            self._ask.setText("Which landmarks do you want to place?")
            self._count.setText("Choose a set above, type your own names, or load a file.")
            return
        at = session.landmark
        self._ask.setText(self._compose_question(session.schema, at, annotation.complete))
        self._count.setText(
            f"{int(annotation.done.sum())} of {count} on {session.current or 'no radiograph'}"
        )
        self._table.setCurrentIndex(self._table.model().index(at, NAME))

    def edit_names(self) -> None:
        """Let the person type the names."""
        dialog = NamesDialog(self.app.session.schema, self)
        if dialog.exec():
            self.app.context.try_to(
                "reading the names", lambda: self.use_schema(dialog.schema(), renaming=True)
            )

    def load_points(self) -> None:
        """Let the person choose a landmark file, and import its points."""
        from onemark.data.landmarks.reading import PATTERNS

        path, _ = QFileDialog.getOpenFileName(self, "Landmark file", "", f"Landmarks ({PATTERNS})")
        if path:
            self.app.context.try_to("reading the points", lambda: self.import_points(path))

    def import_points(self, path: str) -> None:
        """Import the points of a file as exemplars; radiographs that have points keep them.

        Raises:
            UserError: no folder is open, the file cannot be read, or its landmarks are not in the schema.
        """
        from onemark.data.landmarks.schema import schema_from_names
        from onemark.data.landmarks.table import read_table

        session = self.app.session
        if session.cohort is None:
            raise UserError("no radiographs are open; open a folder in step 1 first")
        table = read_table(path, session.cohort)
        if not len(session.schema):
            session.set_schema(schema_from_names(table.names, "from the file"))
        if not set(table.names) & set(session.schema.names):
            raise UserError(
                f"{table.names[0]!r} and the other landmarks of {table.source} are not in the chosen set; choose their "
                "set, or load the names from the same file"
            )
        taken, kept = session.import_annotations(table)
        also = f" {len(kept)} kept the points that they had." if kept else ""
        unknown = [name for name in session.schema.names if name not in table.names]
        if taken and unknown:
            also += f" The file lacks {_name_few(unknown)}. Place these where they are visible."
        also += "".join(f" {note.removeprefix(table.source + ': ')}." for note in table.notes)
        self.app.context.tell(
            f"Imported the points of {taken} radiograph{'s' if taken != 1 else ''}.{also}",
            "good" if taken else "warn",
        )

    def use_schema(self, schema: Schema, *, renaming: bool = False) -> None:
        """Change the schema; ask first if that would drop placed points.

        Args:
            schema: The new landmarks.
            renaming: Whether the person has edited the names, so that a changed name keeps its points.
        """
        session = self.app.session
        lost = session.find_lost(schema, renaming=renaming)
        if not lost:
            session.set_schema(schema, renaming=renaming)
            return
        self._show_schema()
        self.app.context.tell(
            f"This change would drop the points of {_name_few(lost)}.",
            "warn",
            [
                ("Change anyway", lambda: session.set_schema(schema, renaming=renaming)),
                ("Keep", lambda: None),
            ],
        )

    def _compose_question(self, schema: Schema, at: int, complete: bool) -> str:
        if complete:
            return "All landmarks are placed. Drag a point to adjust it."
        colour = to_hex(landmark_colours(len(schema))[at])
        spot = f'<span style="color: {colour}">●</span>'
        return f"{spot} Click on <b>{schema.names[at]}</b> ({schema.labels[at]})"

    def _make_schema_box(self) -> QComboBox:
        box: QComboBox = name_control(ElidedBox(), "schema", "The set of landmarks to place")
        box.setMinimumContentsLength(12)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        for key, title in SHIPPED.items():
            box.addItem(title, key)
        box.addItem("Type names…", TYPED)
        box.addItem("Load names…", FILE)
        box.setPlaceholderText("Choose landmarks")
        box.setCurrentIndex(-1)
        box.activated.connect(self._on_schema_chosen)
        return box

    def _on_schema_chosen(self, index: int) -> None:
        key = self._schema.itemData(index)
        if key == TYPED:
            self.edit_names()
        elif key == FILE:
            path, _ = QFileDialog.getOpenFileName(
                self, "Landmark names", "", "Names or landmarks (*.csv *.txt *.json *.tps)"
            )
            if path:
                self.app.context.try_to("reading the names", lambda: self.use_schema(read_schema(path)))
        elif key is not None:
            self.use_schema(load_shipped(key))
        self._show_schema()

    def _show_schema(self) -> None:
        title = self.app.session.schema.title
        if self._schema.findData("own") >= 0:
            self._schema.removeItem(self._schema.findData("own"))
        if len(self.app.session.schema) and title not in SHIPPED.values():
            self._schema.insertItem(0, title, "own")
        self._schema.setCurrentIndex(self._schema.findText(title) if len(self.app.session.schema) else -1)

    def _make_tools(self) -> Flow:
        session = self.app.session
        return lay_flow(
            group(
                make_tool(
                    "landmark.previous",
                    "◀",
                    "Previous landmark (Q)",
                    lambda: session.select(session.landmark - 1),
                ),
                make_tool(
                    "landmark.next", "▶", "Next landmark (E)", lambda: session.select(session.landmark + 1)
                ),
            ),
            make_tool(
                "landmark.skip",
                "Not visible",
                "Declare this landmark not visible (W)",
                self.app.hide_landmark,
            ),
            group(
                make_tool("undo", "Undo", "Undo the last edit of this radiograph (Ctrl+Z)", self.app.undo),
                make_tool("redo", "Redo", "Redo the last undone edit (Ctrl+Shift+Z)", self.app.redo),
            ),
        )

    def _make_table(self) -> QTableView:
        table: QTableView = name_control(
            KeyedTable(), "points", "The landmarks. Click one to place or move it next"
        )
        table.setModel(LandmarkList(self.app.session, table))
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 7)
        table.horizontalHeader().hide()
        table.horizontalHeader().setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column in (LABEL, STATUS):
            table.horizontalHeader().setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        table.setShowGrid(False)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setMinimumHeight(96)
        table.selectionModel().currentRowChanged.connect(self._on_row_changed)
        return table

    def _on_row_changed(self, now: QModelIndex, before: QModelIndex) -> None:
        if now.isValid() and now.row() != self.app.session.landmark:
            self.app.session.select(now.row())


def _name_few(names: list[str]) -> str:
    return f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''}"
