"""The dock widget: five numbered steps above the list of radiographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.settings import get_settings
from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QHideEvent, QKeyEvent, QShowEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QFrame,
    QLineEdit,
    QScrollArea,
    QSplitter,
    QStackedWidget,
    QWidget,
)

from onemark.gui.controllers.actions import bind, make_actions, unbind
from onemark.gui.controllers.app import REVIEW, TRAIN, App
from onemark.gui.pages.annotate import AnnotatePage
from onemark.gui.pages.export import ExportPage
from onemark.gui.pages.measure import MeasurePage
from onemark.gui.pages.open import OpenPage
from onemark.gui.pages.page import Page
from onemark.gui.pages.reading import ReadingBar
from onemark.gui.pages.review import ReviewPage
from onemark.gui.pages.train import TrainPage
from onemark.gui.widgets.banner import Banner
from onemark.gui.widgets.keys import KeyFilter
from onemark.gui.widgets.keys_dialog import KeysDialog
from onemark.gui.widgets.lens import Lens
from onemark.gui.widgets.parts import lay_column, lay_flow, make_tool
from onemark.gui.widgets.radiographs.panel import RadiographPanel
from onemark.gui.widgets.stepper import Stepper
from onemark.gui.widgets.tabs import Tabs
from onemark.gui.widgets.theme import Theme

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from onemark.gui.state.backend import Backend

MARGIN = 8
BORDER = 6  # what napari's style sheet adds to a scroll bar and its area, which their size hints leave out
WIDTH = 400  # leaves the canvas two thirds of a window of 1280 px


class OnemarkWidget(QWidget):
    """The panel of `Plugins > onemark`.

    Args:
        napari_viewer: The viewer that it belongs to.
        backend: What does the heavy work; the pipeline by default.
    """

    def __init__(self, napari_viewer: Viewer, backend: Backend | None = None) -> None:
        super().__init__()
        self.setObjectName("onemark")
        self.setAcceptDrops(True)
        self._closed = self._closing = False
        # napari sizes its window only after the panel is in it.
        self._fit, self._widen = QTimer(self, singleShot=True), QTimer(self, singleShot=True)
        self._fit.timeout.connect(self._fit_screen)
        self._widen.timeout.connect(self._follow_width)
        self.viewer = napari_viewer
        self.theme = Theme.from_napari(napari_viewer.theme)
        self.app = App(napari_viewer, backend, self)
        self.stepper = Stepper(self.theme)
        self.banner = Banner(self.theme)
        self.train = TrainPage(self.app, self.theme)
        self.review = ReviewPage(self.app)
        self.pages: list[QWidget] = [
            OpenPage(self.app),
            AnnotatePage(self.app),
            self.train,
            self.review,
            ExportPage(self.app),
        ]
        self.panel = RadiographPanel(self.app)
        self.measure = MeasurePage(self.app)
        self.lens = Lens(self.app, self)
        self.key_actions = make_actions(self.app, self.press, self.show_keys)
        self._stack = self._make_stack()
        self._lay_out()
        self._listen()
        bind(napari_viewer, self.key_actions)
        self._keys: KeysDialog | None = None
        self._go(0)
        self._follow_theme()
        QApplication.instance().aboutToQuit.connect(self.shut)
        self.app.training.discover()

    def sizeHint(self) -> QSize:
        """A size that fits beside the canvas in a window of 1280 x 720."""
        return QSize(max(WIDTH, self.minimumSizeHint().width()), 620)

    def minimumSizeHint(self) -> QSize:
        """Wide enough for the widest control of every page, whatever the size of the letters."""
        areas = self._stack.findChildren(QScrollArea, options=Qt.FindChildOption.FindDirectChildrenOnly)
        bar = max(area.verticalScrollBar().sizeHint().width() for area in areas) + BORDER
        pages = max(page.minimumSizeHint().width() for page in self.pages)
        return QSize(max(pages + bar + 2 * MARGIN, super().minimumSizeHint().width()), 420)

    def open(self, path: str | Path) -> None:
        """Open a folder of radiographs, as if the person had dropped it."""
        self.app.opening.open(path)

    def press(self, name: str) -> None:
        """Press the control of this name, if the person could press it."""
        toggles = {"evidence": self.review.switches.toggle, "lens": self.lens.toggle}
        if name in toggles:
            toggles[name]()
            return
        # Pages out of sight refresh late, so their buttons may not show yet whether they can be pressed.
        for page in self.pages:
            if isinstance(page, Page):
                page.refresh()
        control = self.findChild(QAbstractButton, f"onemark.{name}")
        if control is not None and control.isEnabled():
            control.click()

    def show_keys(self) -> None:
        """Show the list of keys."""
        if self._keys is None:
            self._keys = KeysDialog(self.key_actions, self)
        self._keys.show()
        self._keys.raise_()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keep what the person types into a field, Enter included; pass all other keys on to the viewer."""
        typing = isinstance(self.focusWidget(), (QLineEdit, QAbstractSpinBox))
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier)
        event.setAccepted(typing and plain and bool(event.text()))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept files and folders."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open what was dropped, without asking which plugin should read it."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        event.acceptProposedAction()
        if paths:
            self.open(paths[0])

    def showEvent(self, event: QShowEvent) -> None:
        """Watch the window, to notice when it closes."""
        if self.window() is not self:
            self.window().installEventFilter(self)
            self._fit.start(0)
        super().showEvent(event)

    def _fit_screen(self) -> None:
        """Shrink a window that napari has opened wider or higher than the screen."""
        window, screen = self.window(), self.screen()
        if screen is None or window.isMaximized() or window.isFullScreen():
            return
        free, frame = screen.availableGeometry(), window.frameGeometry()
        edge = frame.size() - window.size()
        window.resize(window.size().boundedTo(free.size() - edge))
        frame = window.frameGeometry()
        x = max(free.left(), min(frame.left(), free.right() + 1 - frame.width()))
        y = max(free.top(), min(frame.top(), free.bottom() + 1 - frame.height()))
        if (x, y) != (frame.left(), frame.top()):
            window.move(x, y)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Notice that the window was asked to close, which it may still refuse, and that a page needs more width."""
        if watched in self.pages:
            if event.type() == QEvent.Type.LayoutRequest:
                self._widen.start(0)
        elif event.type() == QEvent.Type.Close:
            self._closing = True
        return False

    def _follow_width(self) -> None:
        # A scroll area hides from the dock how wide its page has to be.
        self.setMinimumWidth(self.minimumSizeHint().width())

    def hideEvent(self, event: QHideEvent) -> None:
        """Shut down when the window is gone, but not when the panel is merely hidden."""
        if self._closing and self.window().isHidden():
            self.shut()
        super().hideEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        """Shut down when napari has removed the panel from its window."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.shut()
        super().changeEvent(event)

    def shut(self) -> None:
        """Stop the training, save the session and release the keys. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        unbind(self.viewer, self.key_actions)
        self.viewer.events.theme.disconnect(self._follow_theme)
        get_settings().appearance.events.font_size.disconnect(self._follow_theme)
        QApplication.instance().aboutToQuit.disconnect(self.shut)
        self.lens.shut()
        self.app.close()

    def _make_stack(self) -> QStackedWidget:
        stack = QStackedWidget()
        for page in self.pages:
            area = QScrollArea()
            area.setFrameShape(QFrame.Shape.NoFrame)
            area.setWidgetResizable(True)
            area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            area.setWidget(page)
            page.installEventFilter(self)
            area.installEventFilter(KeyFilter(area))
            stack.addWidget(area)
        return stack

    def _lay_out(self) -> None:
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self._stack)
        split.addWidget(
            Tabs(
                [
                    ("tab.radiographs", "Radiographs", "The list of radiographs", self.panel),
                    ("tab.measurements", "Measurements", "Angles, distances and ratios", self.measure),
                ]
            )
        )
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 2)
        split.setChildrenCollapsible(False)
        box = lay_column(self, margin=MARGIN, spacing=8)
        box.addWidget(self.stepper)
        box.addWidget(self.banner)
        box.addWidget(ReadingBar(self.app))
        box.addWidget(split, 1)
        keys = make_tool("keys", "Keys (F1)", "List all keys of onemark (F1)", self.show_keys)
        keys.setProperty("role", "link")
        self._status = make_tool("status", "", "State of the training. Click to see it", self._show_training)
        self._status.setProperty("role", "link")
        self._status.hide()
        box.addLayout(lay_flow(self._status, keys))

    def _listen(self) -> None:
        app = self.app
        self.stepper.chosen.connect(app.go)
        app.step_changed.connect(self._go)
        app.context.said.connect(self.banner.say)
        self.viewer.events.theme.connect(self._follow_theme)
        get_settings().appearance.events.font_size.connect(self._follow_theme)
        session = app.session
        session.cohort_changed.connect(self.banner.drop_choices)
        for signal in (session.cohort_changed, session.predictions_changed, session.schema_changed):
            signal.connect(self._update_ticks)
        session.cohort_changed.connect(lambda: self._status.setVisible(app.training.running is not None))
        session.annotations_changed.connect(lambda image: self._update_ticks())
        app.training.began.connect(self._on_began)
        app.training.ended.connect(self._on_ended)
        self.train.said.connect(self._show_status)
        app.exporting.wrote.connect(lambda files: self._update_ticks(exported=True))

    def _go(self, step: int) -> None:
        self.stepper.go(step)
        self._stack.setCurrentIndex(step)
        self._widen.start(0)
        if step == REVIEW and self.app.training.running is None:
            self._status.hide()

    def _update_ticks(self, exported: bool = False) -> None:
        session = self.app.session
        self.stepper.set_done(
            [
                session.cohort is not None,
                any(session.list_finished()),
                bool(session.predictions),
                any(
                    annotation.corrects and annotation.confirmed
                    for annotation in session.annotations.values()
                ),
                exported,
            ]
        )

    def _show_status(self, text: str) -> None:
        self._status.setText(f"● {text}")
        self._status.setVisible(True)

    def _show_training(self) -> None:
        self.app.go(TRAIN if self.app.training.running is not None else REVIEW)

    def _on_began(self) -> None:
        running = self.app.training.running
        suggests = running is not None and running.order.kind == "suggest"
        self._show_status("Comparing the radiographs…" if suggests else "Training…")

    def _on_ended(self, outcome: str) -> None:
        if outcome == "done" and self.app.step not in (TRAIN, REVIEW):
            bad = self.app.session.verdict is not None
            self._show_status("Not usable yet: see why" if bad else "Done: review the predictions")
        else:
            self._status.hide()

    def _follow_theme(self, event: Any = None) -> None:
        self.theme = Theme.from_napari(self.viewer.theme)
        self.setStyleSheet(self.theme.sheet())
        self.stepper.set_theme(self.theme)
        self.banner.set_theme(self.theme)
        self.train.set_theme(self.theme)
        self._widen.start(0)
