"""The loss during the training, as a running mean."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyqtgraph as pg
from qtpy.QtWidgets import QVBoxLayout, QWidget

from onemark.gui.widgets.theme import Theme

KEEP = 4000
DRAWN = 400
COLOURS = ("#4aa3ff", "#ffb020", "#b48cff", "#2fbf8f")


class LossPlot(QWidget):
    """One curve per stage over the minutes since the start."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("onemark.loss")
        self.setToolTip("The training loss. It falls quickly at first, then levels out.")
        self._plot = pg.PlotWidget(self)
        self._plot.setMenuEnabled(False)
        self._plot.hideButtons()
        self._plot.setMouseEnabled(x=False, y=False)
        for side, text in (("bottom", "minutes"), ("left", "loss")):
            self._plot.setLabel(side, text)
            self._plot.getAxis(side).enableAutoSIPrefix(False)
        self._legend = self._plot.addLegend(offset=(-4, 4), labelTextSize="8pt")
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self._plot)
        self.setMinimumHeight(150)
        self.set_theme(theme)
        self.clear()

    def clear(self) -> None:
        """Remove all curves, for a new training."""
        self._values: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._curves: dict[str, pg.PlotDataItem] = {}
        self._plot.getPlotItem().clear()
        self._legend.clear()

    def add(self, losses: list[tuple[float, str, float]]) -> None:
        """Add (seconds since the start, stage, loss) values and draw."""
        for seconds, stage, loss in losses:
            if np.isfinite(loss):
                self._values[stage].append((seconds / 60, loss))
        for stage in {stage for _, stage, _ in losses}:
            del self._values[stage][:-KEEP]
            self._draw(stage)

    @property
    def stages(self) -> list[str]:
        """The stages drawn so far."""
        return list(self._curves)

    def set_theme(self, theme: Theme) -> None:
        """Follow the theme."""
        self._plot.setBackground(theme.ground)
        for side in ("bottom", "left"):
            axis = self._plot.getAxis(side)
            axis.setPen(pg.mkPen(theme.line))
            axis.setTextPen(pg.mkPen(theme.muted))
        self._legend.setLabelTextColor(theme.text)

    def _draw(self, stage: str) -> None:
        values = np.array(self._values[stage])
        if stage not in self._curves:
            colour = COLOURS[len(self._curves) % len(COLOURS)]
            self._curves[stage] = self._plot.plot(pen=pg.mkPen(colour, width=2), name=stage)
        self._curves[stage].setData(*smooth(values))


def smooth(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth `[N, 2]` (minutes, loss): minutes and running mean, at no more than about `DRAWN` points."""
    window = max(1, len(values) // 40)
    kernel = np.ones(window) / window
    mean = np.convolve(values[:, 1], kernel, mode="valid")
    minutes = values[window - 1 :, 0]
    stride = max(1, len(mean) // DRAWN)
    return minutes[::stride], mean[::stride]
