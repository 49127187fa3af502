"""The measurements of the radiograph in view as a table: name, value with its interval, z-score or class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt

from onemark.gui.canvas.palette import landmark_colours, to_hex
from onemark.gui.widgets.parts import draw_dot

if TYPE_CHECKING:
    from onemark.measurement.live import Reading
    from onemark.measurement.sets.schema import Measurement

NAME, VALUE, JUDGED = range(3)
HEADERS = ("Measurement", "Value", "z, class")
_Role = Qt.ItemDataRole


class Readings(QAbstractTableModel):
    """One row per measurement of the set; values are empty until the radiograph in view has the landmarks."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.measurements: Sequence[Measurement] = ()
        self._readings: dict[str, Reading] = {}
        self._colours: list[str] = []

    def show_set(self, measurements: Sequence[Measurement]) -> None:
        """Show the rows of another set, without values."""
        self.beginResetModel()
        self.measurements, self._readings = measurements, {}
        self._colours = [to_hex(colour) for colour in landmark_colours(len(measurements))]
        self.endResetModel()

    def show_readings(self, readings: Sequence[Reading]) -> None:
        """Show other values in the same rows."""
        self._readings = {one.name: one for one in readings}
        if self.measurements:
            self.dataChanged.emit(self.index(0, VALUE), self.index(len(self.measurements) - 1, JUDGED))

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Number of measurements."""
        return 0 if parent is not None and parent.isValid() else len(self.measurements)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Name, value, judgement."""
        return 0 if parent is not None and parent.isValid() else len(HEADERS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _Role.DisplayRole) -> Any:
        """Column titles."""
        if role == _Role.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return HEADERS[section]
        return None

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> Any:
        """One cell."""
        one, column = self.measurements[index.row()], index.column()
        reading = self._readings.get(one.name)
        if role == _Role.DisplayRole:
            return one.name if column == NAME else _write(reading, column)
        if role == _Role.DecorationRole and column == NAME:
            return draw_dot(self._colours[index.row()])
        if role == _Role.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column == VALUE else Qt.AlignmentFlag.AlignLeft
            return int(Qt.AlignmentFlag.AlignVCenter | side)
        if role == _Role.ToolTipRole:
            return _describe(one, reading)
        return None


def format_value(reading: Reading) -> str:
    """Write a value with half of its interval and its unit, as in `82.1 ± 1.4 deg`; empty where there is none."""
    if not math.isfinite(reading.value):
        return ""
    half = (reading.high - reading.low) / 2
    digits = 2 if not reading.unit else 1
    also = f" ± {half:.{digits}f}" if math.isfinite(half) else ""
    return f"{reading.value:.{digits}f}{also} {reading.unit}".rstrip()


def _write(reading: Reading | None, column: int) -> str:
    if reading is None:
        return ""
    if column == VALUE:
        return format_value(reading)
    z = f"{round(reading.z, 1) + 0.0:+.1f}" if math.isfinite(reading.z) else ""
    parts = [part for part in (z, reading.class_name) if part]
    return ", ".join(parts) + (" !" if reading.flag else "")


def _describe(one: Measurement, reading: Reading | None) -> str:
    lines = [one.description or one.name, one.text]
    if one.norm is not None:
        source = f" ({one.norm.source})" if one.norm.source else ""
        lines.append(f"norm {one.norm.mean:g} ± {one.norm.sd:g} {one.unit}{source}")
    if reading is not None and reading.class_name:
        label = next((c.label for c in one.classes if c.name == reading.class_name), "")
        lines.append(f"class {reading.class_name}{f': {label}' if label else ''}")
    if reading is not None and reading.flag:
        lines.append(reading.flag)
    return "\n".join(lines)
