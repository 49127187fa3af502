"""No control is cut off or covered: at both sizes of a small screen, in both themes, at letters of 100 and 200 %."""

from __future__ import annotations

from itertools import combinations

import pytest
from qtpy.QtCore import QPoint, QRect
from qtpy.QtWidgets import QScrollArea, QWidget

from .desktop import Desktop

SIZES = ((1280, 720), (1440, 900))


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_no_control_is_cut_off_or_covered(annotated: Desktop, theme: str) -> None:
    annotated.train()
    annotated.viewer.theme = theme
    font = annotated.widget.font()
    for scale in (1.0, 2.0):
        larger = annotated.widget.font()
        larger.setPointSizeF(font.pointSizeF() * scale)
        annotated.widget.setFont(larger)
        for size in SIZES:
            annotated.window.resize(*size)
            for step in range(1, 6):
                annotated.go(step)
                for tab in ("radiographs", "measurements"):
                    annotated.push(f"tab.{tab}")
                    annotated.settle(4)
                    where = f"{theme}, {scale:.0%}, {size}, step {step}, {tab}"
                    assert find_faults(annotated.widget) == [], where


def find_faults(panel: QWidget) -> list[str]:
    """The names of controls that reach out of what holds them, and of pairs that cover each other."""
    places: dict[QWidget, list[tuple[QWidget, QRect]]] = {}
    faults = []
    for control in panel.findChildren(QWidget):
        if not control.isVisible() or not control.objectName().startswith("onemark."):
            continue
        area = find_area(control, panel)
        holder = panel if area is None else area.widget()
        rect = QRect(control.mapTo(holder, QPoint(0, 0)), control.size())
        room = holder.rect() if area is None else QRect(0, 0, area.viewport().width(), holder.height())
        if not room.contains(rect):
            faults.append(f"{control.objectName()} at {rect.getRect()} reaches out of {room.getRect()}")
        places.setdefault(holder, []).append((control, rect))
    for controls in places.values():
        faults += [
            f"{a.objectName()} covers {b.objectName()}"
            for (a, at), (b, on) in combinations(controls, 2)
            if at.intersects(on) and not (a.isAncestorOf(b) or b.isAncestorOf(a))
        ]
    return faults


def find_area(control: QWidget, panel: QWidget) -> QScrollArea | None:
    """The page that scrolls with the control; the lists and the plot scroll by themselves."""
    parent = control.parentWidget()
    while parent is not None and parent is not panel:
        if isinstance(parent, QScrollArea):
            return parent
        parent = parent.parentWidget()
    return None
