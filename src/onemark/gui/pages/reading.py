"""The second, blind reading: the controls that begin it, and the bar that is in view while it lasts."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QFrame, QSpinBox, QWidget

from onemark.gui.controllers.app import ANNOTATE, App
from onemark.gui.widgets.parts import ElidedBox, lay_column, lay_flow, make_button, make_label, name_control


class BeginReading(QWidget):
    """How many radiographs to read again, which ones, and the button."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self._button = make_button(
            "reading.begin",
            "Read again, blind",
            "Place the points of a random subset once more, without seeing the first ones, to measure how well you "
            "agree with yourself or with the model",
            self.begin,
        )
        self._count: QSpinBox = name_control(
            QSpinBox(), "reading.count", "How many radiographs to read again"
        )
        self._count.setRange(1, 999)
        self._count.setValue(10)
        self._of: QComboBox = name_control(ElidedBox(), "reading.of", "Which radiographs to draw from")
        self._of.addItem("of my own", True)
        self._of.addItem("of all", False)
        lay_column(self).addLayout(lay_flow(self._button, self._count, self._of))
        app.rereading.changed.connect(self.refresh)
        # Shown here, before it has a parent, it would open as a window of its own.
        if app.session.reading is not None:
            self.hide()

    def begin(self) -> None:
        """Begin, and go to the step where points are placed."""
        own = bool(self._of.currentData())
        self.app.context.try_to(
            "the second reading", lambda: self.app.rereading.begin(self._count.value(), own=own)
        )
        if self.app.session.reading is not None:
            self.app.go(ANNOTATE)

    def refresh(self) -> None:
        """Offer it only while none is under way."""
        self.setVisible(self.app.session.reading is None)


class ReadingBar(QFrame):
    """Says that a second reading is under way, how far it is, and how it ends."""

    def __init__(self, app: App, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.app = app
        self.setObjectName("onemark.reading")
        self._says = make_label("", name="reading.says")
        self._finish = make_button(
            "reading.finish",
            "Finish",
            "Save both readings as files, and bring the first points back",
            lambda: app.context.try_to("the second reading", app.rereading.finish),
            main=True,
        )
        self._discard = make_button(
            "reading.discard",
            "Discard",
            "Forget this reading, and bring the first points back",
            app.rereading.discard,
        )
        box = lay_column(self, margin=6, spacing=4)
        box.addWidget(self._says)
        box.addLayout(lay_flow(self._finish, self._discard))
        app.rereading.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show how far it is."""
        done, total = self.app.rereading.counts
        self.setVisible(self.app.session.reading is not None)
        self._says.setText(f"Second reading: {done} of {total} done. The first points are hidden.")
        self._finish.setEnabled(done > 0)
