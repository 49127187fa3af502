"""No control is ever cut off: at every window size, letter size, step and theme."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from napari import Viewer
from napari.settings import get_settings
from qtpy.QtCore import QPoint, QRect, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractScrollArea,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QProgressBar,
    QWidget,
)

from .desktop import Desktop
from .fake_backend import FakeBackend

CONTROLS = (QAbstractButton, QAbstractItemView, QAbstractSpinBox, QComboBox, QLabel, QLineEdit, QProgressBar)
LETTERS = get_settings().appearance.font_size


@pytest.fixture
def desktop(make_viewer: Callable[[], Viewer], backend: FakeBackend) -> Iterator[Desktop]:
    """A window of each test's own, because a window remembers how wide its docks were."""
    made = Desktop(make_viewer(), backend)
    yield made
    made.remove()


@pytest.fixture
def letters() -> Iterator[None]:
    yield
    get_settings().appearance.font_size = LETTERS


def find_cut(desktop: Desktop) -> list[str]:
    """What a person cannot see or reach: controls that reach beyond the viewport, or are too narrow for their text."""
    return [
        text
        for kind in CONTROLS
        for one in desktop.widget.findChildren(kind)
        for text in _faults(desktop, one)
    ]


def _faults(desktop: Desktop, one: QWidget) -> Iterator[str]:
    if not one.isVisible() or one.width() == 0:
        return
    viewport, scrolls = _viewport(desktop, one)
    rect = QRect(one.mapTo(viewport, QPoint(0, 0)), one.size())
    inside = viewport.rect()
    if rect.left() < 0 or rect.right() > inside.right():
        yield f"{one.objectName() or type(one).__name__} reaches from {rect.left()} to {rect.right()} of {inside.right()}"
    if not scrolls and (rect.top() < 0 or rect.bottom() > inside.bottom()):
        yield f"{one.objectName() or type(one).__name__} lies from {rect.top()} to {rect.bottom()} of {inside.bottom()}"
    own = isinstance(one, QAbstractButton) and one.objectName().startswith("onemark.")
    if own and one.text() and not one.objectName().startswith("onemark.recent"):  # type: ignore[attr-defined]
        needed = one.minimumSizeHint().width()
        if one.width() < needed:
            yield f"{one.objectName()} is {one.width()} px wide and needs {needed}"


def _viewport(desktop: Desktop, one: QWidget) -> tuple[QWidget, bool]:
    """The nearest viewport around a control, and whether it scrolls up and down."""
    parent = one.parentWidget()
    while parent is not None and parent is not desktop.widget:
        area = parent.parentWidget()
        if isinstance(area, QAbstractScrollArea) and area.viewport() is parent:
            return parent, True
        parent = area
    return desktop.widget, False


@pytest.mark.parametrize("size", [(1280, 720), (1440, 900)])
def test_every_control_lies_in_view(annotated: Desktop, size: tuple[int, int], letters: None) -> None:
    annotated.train()
    annotated.go(3)
    annotated.push("advanced")
    cut = {}
    for theme, percent in (("dark", 100), ("dark", 150), ("dark", 200), ("light", 200)):
        annotated.viewer.theme = theme
        get_settings().appearance.font_size = round(9 * percent / 100)
        annotated.window.resize(*size)
        for width in (400, 10):  # as it opens, and as narrow as the person can make it
            annotated.window.resizeDocks([annotated.dock], [width], Qt.Orientation.Horizontal)
            cut |= {(theme, percent, width, step): found for step, found in _look_at_all(annotated)}
        assert annotated.window.width() <= size[0]
    assert not cut


def _look_at_all(desktop: Desktop) -> Iterator[tuple[int, list[str]]]:
    for step in range(1, 6):
        desktop.widget.app.go(step - 1)
        desktop.push("tab.measurements" if step % 2 else "tab.radiographs")
        desktop.settle(4)
        found = find_cut(desktop)
        if found:
            yield step, found


def test_the_window_never_opens_wider_than_the_screen(desktop: Desktop) -> None:
    screen = desktop.window.screen().availableGeometry()
    desktop.window.resize(screen.width() + 300, screen.height() + 200)
    desktop.widget.hide()
    desktop.widget.show()
    desktop.settle(20)
    assert desktop.window.frameGeometry().width() <= screen.width()
    assert desktop.window.frameGeometry().height() <= screen.height()
