"""A real window with the panel in it, and the hands that use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from napari import Viewer
from qtpy.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QMouseEvent
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QMainWindow, QScrollArea, QStackedWidget, QWidget

from onemark.gui.widget import OnemarkWidget

WINDOW = (1280, 720)


def open_viewer() -> Viewer:
    """Open a window as napari does, without the greeting that it draws first."""
    viewer = Viewer(show=True, show_welcome_screen=False)
    # Nothing here looks at the status bar, whose thread may outlive a window that closes quickly.
    viewer.window._qt_window.status_thread.close_terminate()
    return viewer


def close_viewer(viewer: Viewer) -> None:
    """Close a window, which a test may have done already, and leave the size of the person's own window alone."""
    with suppress(AttributeError), patch.object(viewer.window._qt_window, "_save_current_window_settings"):
        viewer.close()


class Desktop:
    """A real window and the hands that use it."""

    def __init__(self, viewer: Any, backend: Any) -> None:
        self.viewer = viewer
        self.widget = OnemarkWidget(viewer, backend)
        self.dock = viewer.window.add_dock_widget(self.widget, name="onemark", area="right")
        self.window.resize(*WINDOW)
        self.settle()

    @classmethod
    def around(cls, viewer: Any, widget: Any) -> Desktop:
        """The hands for a panel that napari has made."""
        made = cls.__new__(cls)
        made.viewer, made.widget = viewer, widget
        return made

    def remove(self) -> None:
        """Take the panel out of the window and destroy it, with every widget of it."""
        self.widget.shut()
        with suppress(LookupError):  # a test may have removed it
            self.viewer.window.remove_dock_widget(self.widget)
        self.widget.deleteLater()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    @property
    def app(self) -> Any:
        return self.widget.app

    @property
    def session(self) -> Any:
        return self.widget.app.session

    @property
    def layer(self) -> Any:
        return self.app.context.canvas.layer("landmarks")

    @property
    def window(self) -> QMainWindow:
        return self.widget.window()

    @property
    def canvas(self) -> QWidget:
        return self.window.findChild(QOpenGLWidget)

    @property
    def page(self) -> QScrollArea:
        """The page in view, in its scroll area."""
        return self.widget.findChild(QStackedWidget).currentWidget()

    @property
    def said(self) -> str:
        """The message of the banner."""
        return self.widget.banner.text

    def settle(self, rounds: int = 8) -> None:
        for _ in range(rounds):
            QApplication.processEvents()
            time.sleep(0.002)

    def until(self, condition: Callable[[], Any], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"it never happened; the last message is {self.said!r}"
            self.settle(1)

    def until_said(self, words: str) -> None:
        self.until(lambda: words in self.said)

    def until_shown(self, name: str | None) -> None:
        self.until(lambda: self.shown(name))

    def until_idle(self, seconds: float = 20) -> None:
        """Wait until no training and no suggestion is under way."""
        self.until(lambda: self.app.training.running is None, seconds)

    def control(self, name: str) -> Any:
        control = self.widget.findChild(QWidget, f"onemark.{name}")
        assert control is not None, name
        return control

    def push(self, name: str) -> None:
        control = self.control(name)
        assert isinstance(control, QAbstractButton)
        assert control.isVisibleTo(self.widget), name
        assert control.isEnabled(), name
        QTest.mouseClick(control, Qt.MouseButton.LeftButton, pos=QPoint(8, control.height() // 2))
        self.settle(2)

    def answer(self, label: str) -> None:
        """Press a button of the message."""
        self.push(f"message.{label.lower().replace(' ', '-')}")

    def key(self, key: Any, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
        QTest.keyClick(self.canvas, key, modifier)
        self.settle(2)

    def go(self, step: int) -> None:
        self.push(f"step.{('open', 'annotate', 'train', 'review', 'export')[step - 1]}")

    def open(self, folder: Path) -> None:
        self.widget.open(folder)
        self.until(lambda: self.session.cohort is not None and self.session.cohort.folder == folder)
        self.until(lambda: self.shown(self.session.current))

    def show(self, name: str) -> None:
        """Go to a radiograph and wait until it is in view."""
        self.session.show(name)
        self.until_shown(name)

    def drop(self, path: Path) -> None:
        """Drop a file or folder on the panel, as a file manager does."""
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path))])
        copy, left, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QApplication.sendEvent(self.widget, QDragEnterEvent(QPoint(20, 20), copy, mime, left, none))
        QApplication.sendEvent(self.widget, QDropEvent(QPointF(20, 20), copy, mime, left, none))

    def shown(self, name: str | None) -> bool:
        radiograph = self.app.context.canvas.radiograph
        ready = radiograph is not None and radiograph.name == name and self.layer is not None
        return ready and self.app.context.points.drawn_for == name

    def at(self, xy: Any) -> QPoint:
        """Where on the canvas a position of the radiograph is."""
        (sy, sx), camera = self.app.context.canvas.placement["scale"], self.viewer.scene.camera
        cy, cx = camera.center[-2:]
        x = self.canvas.width() / 2 + (xy[0] * sx - cx) * camera.zoom
        y = self.canvas.height() / 2 + (xy[1] * sy - cy) * camera.zoom
        return QPoint(round(x), round(y))

    def click(self, xy: Any) -> None:
        """Click on the radiograph, at a position in its pixels."""
        self.mouse(QEvent.Type.MouseButtonPress, self.at(xy))
        self.mouse(QEvent.Type.MouseButtonRelease, self.at(xy))
        self.settle(2)

    def drag(self, start: Any, end: Any) -> None:
        """Drag from one position of the radiograph to another."""
        self.mouse(QEvent.Type.MouseMove, self.at(start), pressed=False)
        self.mouse(QEvent.Type.MouseButtonPress, self.at(start))
        for share in np.linspace(0, 1, 5):
            where = np.asarray(start) + share * (np.asarray(end) - np.asarray(start))
            time.sleep(0.012)  # vispy drops moves that follow faster
            self.mouse(QEvent.Type.MouseMove, self.at(where))
            self.settle(3)
        self.mouse(QEvent.Type.MouseButtonRelease, self.at(end))
        self.settle(4)

    def annotate(self, landmarks: Any) -> None:
        """Click every landmark in order."""
        for xy in landmarks.xy:
            self.click(xy)

    def train(self) -> None:
        """Go to step 3, train and wait for the end."""
        self.go(3)
        self.until(lambda: self.app.training.recipes)
        self.push("run")
        self.until_idle()

    def mouse(
        self,
        kind: Any,
        where: QPoint,
        *,
        pressed: bool = True,
        which: Qt.MouseButton = Qt.MouseButton.LeftButton,
    ) -> None:
        none = Qt.MouseButton.NoButton
        button = none if kind == QEvent.Type.MouseMove else which
        held = which if pressed and kind != QEvent.Type.MouseButtonRelease else none
        there = QPointF(self.canvas.mapToGlobal(where))
        event = QMouseEvent(kind, QPointF(where), there, button, held, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(self.canvas, event)
