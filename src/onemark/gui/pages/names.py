"""The dialog for typing landmark names."""

from __future__ import annotations

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QPlainTextEdit, QWidget

from onemark.data.landmarks.schema import Schema, parse_names
from onemark.gui.widgets.parts import lay_column, make_label, name_control


class NamesDialog(QDialog):
    """One landmark per line."""

    def __init__(self, schema: Schema, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Landmark names")
        self.setObjectName("onemark.names")
        self._text: QPlainTextEdit = name_control(
            QPlainTextEdit(schema.to_text()), "names.text", "One landmark per line: name, label, partner"
        )
        self._text.setPlaceholderText("sella, S\nnasion, N\nmenton, Me")
        self._text.setTabChangesFocus(True)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        box = lay_column(self, margin=12)
        box.addWidget(
            make_label(
                "One landmark per line, in the order of placing. You may add a short label after a comma, and after "
                "another one the landmark whose name it changes with on mirrored radiographs: hip left, HL, hip right."
            )
        )
        box.addWidget(self._text, 1)
        box.addWidget(make_label("A changed name keeps its points; a removed one loses them.", "hint"))
        box.addWidget(buttons)
        self.resize(360, 420)

    def schema(self) -> Schema:
        """The typed schema. Raises UserError if it names no landmark, one twice, or wrong partners."""
        return parse_names(self._text.toPlainText())
