"""No control is ever cut off or covered: at every window size, letter size, step, tab and theme."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, product

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
    QScrollArea,
    QWidget,
)

from onemark.gui.widget import OnemarkWidget

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


def find_covered(panel: QWidget) -> list[str]:
    """Controls of onemark that lie on one another."""
    places: dict[QWidget | None, list[tuple[QWidget, QRect]]] = {}
    for one in panel.findChildren(QWidget):
        if one.isVisible() and one.objectName().startswith("onemark."):
            page = _page(one)
            rect = QRect(one.mapTo(panel if page is None else page, QPoint(0, 0)), one.size())
            places.setdefault(page, []).append((one, rect))
    return [
        f"{a.objectName()} covers {b.objectName()}"
        for controls in places.values()
        for (a, at), (b, on) in combinations(controls, 2)
        if at.intersects(on) and not (a.isAncestorOf(b) or b.isAncestorOf(a))
    ]


def _page(one: QWidget) -> QWidget | None:
    """The page that scrolls with a control."""
    while one is not None and not isinstance(one, OnemarkWidget):
        area = one.parentWidget()
        if isinstance(area, QScrollArea):
            return area.widget()
        one = area
    return None


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
    for theme, percent in product(("dark", "light"), (100, 150, 200)):
        annotated.viewer.theme = theme
        get_settings().appearance.font_size = round(9 * percent / 100)
        annotated.window.resize(*size)
        for width in (400, 10):  # as it opens, and as narrow as the person can make it
            annotated.window.resizeDocks([annotated.dock], [width], Qt.Orientation.Horizontal)
            cut |= {(theme, percent, width, where): found for where, found in _look_at_all(annotated)}
        assert annotated.window.width() <= size[0]
    assert not cut


def _look_at_all(desktop: Desktop) -> Iterator[tuple[str, list[str]]]:
    for step in range(1, 6):
        desktop.go(step)
        for tab in ("radiographs", "measurements"):
            desktop.push(f"tab.{tab}")
            desktop.settle(2)
            found = find_cut(desktop) + find_covered(desktop.widget)
            if found:
                yield f"step {step}, {tab}", found


def test_the_window_never_opens_wider_than_the_screen(desktop: Desktop) -> None:
    screen = desktop.window.screen().availableGeometry()
    desktop.window.resize(screen.width() + 300, screen.height() + 200)
    desktop.widget.hide()
    desktop.widget.show()
    desktop.settle(20)
    assert desktop.window.frameGeometry().width() <= screen.width()
    assert desktop.window.frameGeometry().height() <= screen.height()
