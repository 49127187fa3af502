"""The measurements of the radiograph in view, live, and one measurement of every radiograph for the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from onemark.gui.canvas.layers import STROKES
from onemark.gui.canvas.palette import landmark_colours
from onemark.gui.canvas.strokes import show_strokes
from onemark.gui.controllers.context import Context
from onemark.gui.controllers.session_store import SessionStore
from onemark.gui.controllers.view.viewing import Viewing
from onemark.gui.state.measuring import Column, collect_shown, load_measurable, measure_column

if TYPE_CHECKING:
    from onemark.measurement.live import Reading
    from onemark.measurement.sets.schema import MeasurementSet
    from onemark.types import LandmarkSet

LIVE_MS = 30  # a drag sends more moves than anybody can read
SETTLE_MS = 60


class Measuring(QObject):
    """Measures the radiograph in view, draws what the person has selected, and fills the list's column.

    Signals:
        chosen_changed: Another set is measured, or the landmarks are others.
        stopped_drawing: The person has removed the layer.
        read: The readings of the radiograph in view; empty when there are none.
        column_changed: `column` has changed.

    Attributes:
        chosen: The set, limited to what the landmarks allow; None when nothing can be measured.
        readings: The last readings.
        drawn: Names of the measurements to draw.
        column: The measurement that the list shows, or None for the expected error.
    """

    chosen_changed = Signal()
    stopped_drawing = Signal()
    read = Signal(object)
    column_changed = Signal()

    def __init__(
        self, context: Context, session_store: SessionStore, viewing: Viewing, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.context, self.session_store = context, session_store
        self.chosen: MeasurementSet | None = None
        self.readings: tuple[Reading, ...] = ()
        self.drawn: frozenset[str] = frozenset()
        self.column: Column | None = None
        self._watched = self._drawing = False
        self._asked: object = None
        self._dragged: LandmarkSet | None = None
        self._live = self._make_timer(LIVE_MS, self._read_dragged)
        self._settle = self._make_timer(SETTLE_MS, self._read)
        self._column_settle = self._make_timer(10 * SETTLE_MS, self._measure_column)
        self._listen(viewing)

    def watch(self, on: bool) -> None:
        """Measure the radiograph in view from now on, or stop because nobody looks at the values."""
        self._watched = on
        self.refresh()

    def choose(self, which: str) -> None:
        """Choose another set: the name of a shipped one, or a TOML file.

        Raises:
            UserError: it cannot be read, or has nothing to measure on these landmarks; the last set stays.
        """
        names = self.context.session.schema.names
        self.chosen = load_measurable(which, names)
        self.session_store.preferences.measurements = which
        self.session_store.save()
        self._on_chosen()

    def draw(self, names: Sequence[str], on: bool) -> None:
        """Draw the measurements of these names, if `on`."""
        self.drawn, self._drawing = frozenset(names), on
        self._draw(self.readings)

    def show_column(self, name: str) -> None:
        """Show a measurement in the list; an empty name brings the expected error back."""
        self.session_store.preferences.column = name
        self.session_store.save()
        self._measure_column()

    def refresh(self) -> None:
        """Measure the radiograph in view again, soon."""
        if self._watched or self._drawing:
            self._settle.start()

    def close(self) -> None:
        """Stop measuring."""
        for timer in (self._live, self._settle, self._column_settle):
            timer.stop()

    def _make_timer(self, interval: int, act: Any) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(interval)
        timer.timeout.connect(act)
        return timer

    def _listen(self, viewing: Viewing) -> None:
        session = self.context.session
        session.schema_changed.connect(self.follow_schema)
        session.annotations_changed.connect(self._on_edited)
        session.predictions_changed.connect(self._on_edited)
        viewing.shown.connect(lambda name: self.refresh())
        viewing.removed.connect(self._on_removed)
        self.context.points.moving.connect(self._on_moving)

    def follow_schema(self) -> None:
        """Measure what the landmarks and the person's choice allow."""
        which = self.session_store.preferences.measurements
        names = self.context.session.schema.names
        self.chosen = None
        if names:
            # Landmarks of another kind need another set, which the page says; it is no fault.
            self.context.try_to("measuring", lambda: setattr(self, "chosen", load_measurable(which, names)))
        self._on_chosen()

    def _on_chosen(self) -> None:
        known = {one.name for one in self.chosen.measurements} if self.chosen else set()
        self.drawn &= known
        self.chosen_changed.emit()
        self.refresh()
        self._measure_column()

    def _on_edited(self, *about: object) -> None:
        self.refresh()
        if self.column is not None:
            self._column_settle.start()

    def _on_removed(self, tag: str) -> None:
        if tag == STROKES:
            self._drawing = False
            self.stopped_drawing.emit()

    def _on_moving(self, landmark: int, xy: NDArray[np.float64]) -> None:
        shown = collect_shown(self.context.session)
        if shown is None or not (self._watched or self._drawing):
            return
        moved = shown.xy.copy()
        moved[landmark] = xy
        # Without intervals: they take too long to follow a hand.
        self._dragged = replace(shown, xy=moved, score=np.empty(0), expected_error=np.empty(0))
        if not self._live.isActive():
            self._live.start()

    def _read_dragged(self) -> None:
        from onemark.measurement.live import read_measurements

        dragged, radiograph = self._dragged, self.context.canvas.radiograph
        if self.chosen is None or dragged is None or radiograph is None or dragged.image != radiograph.name:
            return
        self._take(read_measurements(dragged, self.chosen, radiograph.spacing))

    def _read(self) -> None:
        from onemark.measurement.live import read_measurements

        shown, radiograph = collect_shown(self.context.session), self.context.canvas.radiograph
        chosen, self._dragged = self.chosen, None
        if chosen is None or shown is None or radiograph is None or radiograph.name != shown.image:
            self._asked = None
            self._take(())
            return
        self._asked = shown
        self.context.background.run(
            lambda: read_measurements(shown, chosen, radiograph.spacing),
            lambda readings: self._take(readings) if self._asked is shown else None,
            lambda error: self.context.fail(error, "measuring"),
        )

    def _take(self, readings: tuple[Reading, ...]) -> None:
        self.readings = readings
        self.read.emit(readings)
        self._draw(readings)

    def _draw(self, readings: tuple[Reading, ...]) -> None:
        colours = landmark_colours(len(readings))
        wanted = [
            (stroke, colours[k])
            for k, one in enumerate(readings)
            if self._drawing and one.name in self.drawn
            for stroke in one.strokes
        ]
        show_strokes(self.context.canvas, wanted)

    def _measure_column(self) -> None:
        session, name = self.context.session, self.session_store.preferences.column
        chosen, cohort = self.chosen, session.cohort
        known = {one.name for one in chosen.measurements} if chosen else set()
        if chosen is None or cohort is None or name not in known:
            if self.column is not None:
                self._set_column(None)
            return
        sets = session.collect_results()
        self.context.background.run(
            lambda: measure_column(sets, cohort, chosen, name),
            lambda column: self._take_column(chosen, column),
            lambda error: self.context.fail(error, "measuring"),
        )

    def _take_column(self, chosen: MeasurementSet, column: Column) -> None:
        if chosen is self.chosen and column.name == self.session_store.preferences.column:
            self._set_column(column)

    def _set_column(self, column: Column | None) -> None:
        self.column = column
        self.column_changed.emit()
