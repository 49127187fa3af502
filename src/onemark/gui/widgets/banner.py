"""The banner: a message about what happened, with buttons that say what to do next."""

from __future__ import annotations

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QApplication,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from onemark.gui.controllers.context import Message
from onemark.gui.widgets.flow import Flow
from onemark.gui.widgets.theme import Theme

# Warnings and failures are missing here, so they stay until the person acts.
STAY_MS = {"info": 6000, "good": 10_000}


class Banner(QFrame):
    """Shows one message at a time; a warning or failure stays until the person dismisses it or presses a button."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("onemark.message")
        self.theme, self.kind = theme, "info"
        self._shown: Message | None = None
        self._waiting: Message | None = None
        self._text = QLabel(self)
        self._text.setObjectName("onemark.message.text")
        self._text.setWordWrap(True)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self._close = QToolButton(self)
        self._close.setText("✕")
        self._close.setObjectName("onemark.message.close")
        self._close.setToolTip("Dismiss this message")
        self._close.setProperty("role", "link")
        self._close.clicked.connect(self._dismiss)
        self._buttons = Flow()
        top = QHBoxLayout()
        top.addWidget(self._text, 1)
        top.addWidget(self._close, 0, Qt.AlignmentFlag.AlignTop)
        box = QVBoxLayout(self)
        box.setContentsMargins(10, 6, 4, 6)
        box.setSpacing(6)
        box.addLayout(top)
        box.addLayout(self._buttons)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._dismiss)
        self.hide()

    @property
    def text(self) -> str:
        """The message in view; empty when there is none."""
        return self._text.text() if not self.isHidden() else ""

    @property
    def choices(self) -> list[str]:
        """Labels of the buttons of the message in view."""
        return [label for label, _ in self._shown.choices] if self._shown and not self.isHidden() else []

    def say(self, message: Message) -> None:
        """Show a message; a message with buttons comes back after one that disappears by itself."""
        if message.kind not in STAY_MS:
            self._waiting = None
        elif self._shown is not None and self._shown.choices and not self.isHidden():
            self._waiting = self._shown
        self._shown = message
        self.kind = message.kind
        self._text.setText(message.text)
        self._offer(message)
        self.set_theme(self.theme)
        self.show()
        self._timer.stop()
        if message.kind in STAY_MS and not message.choices:
            self._timer.start(STAY_MS[message.kind])

    def drop_choices(self) -> None:
        """Drop messages with buttons, because these would act on the folder that is opened now."""
        self._waiting = None
        if self._shown is not None and self._shown.choices:
            self.hide()

    def set_theme(self, theme: Theme) -> None:
        """Follow the theme."""
        self.theme = theme
        colour = {"info": theme.accent, "good": theme.good, "warn": theme.warn, "bad": theme.bad}[self.kind]
        self.setStyleSheet(
            f"#onemark\\.message {{ background: {theme.tint(colour)}; border: 0; border-left: 3px solid {colour};"
            f" border-radius: 3px; }}"
        )

    def _offer(self, message: Message) -> None:
        while self._buttons.count():
            item = self._buttons.takeAt(0)
            if item is not None and item.widget() is not None:
                item.widget().deleteLater()
        choices = list(message.choices)
        if message.details:
            choices.append(("Copy details", lambda: QApplication.clipboard().setText(message.details)))
        for label, act in choices:
            button = QPushButton(label, self)
            button.setObjectName(f"onemark.message.{label.lower().replace(' ', '-')}")
            button.setToolTip(label)
            button.clicked.connect(lambda checked=False, act=act: self._choose(act))
            self._buttons.addWidget(button)

    def _dismiss(self) -> None:
        self.hide()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.say(waiting)

    def _choose(self, act: object) -> None:
        self.hide()
        assert callable(act)
        act()
