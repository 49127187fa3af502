"""Measures for how long the window does not respond: it opens a folder, trains on it and reviews it.

    python benchmarks/gui.py                                  the phantom, at 960 x 774 px
    python benchmarks/gui.py XRAYS --exemplar exemplar.csv    any folder

A timer that should fire every millisecond notes when it does. A person could notice the gap between two firings. onemark
and napari answer only for the processor time of the GUI thread in that gap, because the machine may do something else in
the rest. The longest event and the longest painting are separate figures, because without a graphics card the processor
paints, too. Needs a screen, or `xvfb-run -a`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication

from onemark.data.landmarks.table import LandmarkTable, read_landmarks
from onemark.gui.widget import OnemarkWidget
from onemark.phantom import write_phantom_cohort

PAINTING = (QEvent.Type.UpdateRequest, QEvent.Type.Paint)


class Loop(QApplication):
    """Times every event from outside; an event inside another one counts as part of that one.

    Attributes:
        calls: Processor time of this thread in each event, ms, and whether it painted.
    """

    def __init__(self) -> None:
        super().__init__([])
        self.calls: list[tuple[float, bool]] = []
        self._within = False

    def notify(self, receiver: QObject, event: QEvent) -> bool:
        """Pass an event on, and note how long it took."""
        if self._within:
            return bool(super().notify(receiver, event))
        self._within, painting, started = True, event.type() in PAINTING, time.thread_time()
        try:
            return bool(super().notify(receiver, event))
        finally:
            self._within = False
            self.calls.append((1e3 * (time.thread_time() - started), painting))

    def longest(self, painting: bool) -> float:
        """The longest event of that kind, ms."""
        return max((took for took, painted in self.calls if painted is painting), default=0.0)


@dataclass
class Probe:
    """Gaps between timer firings, `[N, 2]` ms: wall clock, processor time of this thread."""

    loop: Loop
    gaps: list[tuple[float, float]] = field(default_factory=list)
    last: tuple[float, float] | None = None

    def tick(self) -> None:
        now = (time.perf_counter(), time.thread_time())
        if self.last is not None:
            self.gaps.append((1e3 * (now[0] - self.last[0]), 1e3 * (now[1] - self.last[1])))
        self.last = now

    def start(self) -> None:
        """Forget earlier measurements."""
        self.gaps.clear()
        self.loop.calls.clear()
        self.last = None

    def report(self, name: str) -> None:
        wall, own = np.array(self.gaps or [(0.0, 0.0)]).T
        print(
            f"| {name} | {wall.sum() / 1e3:.1f} | {np.percentile(wall, 99):.0f} | {wall.max():.0f} | "
            f"{own.max():.0f} | {self.loop.longest(painting=False):.0f} | {self.loop.longest(painting=True):.0f} |",
            flush=True,
        )


@dataclass
class Bench:
    """A window with the widget and the probe in it."""

    widget: OnemarkWidget
    probe: Probe

    def spend(self, seconds: float, until: Callable[[], object] = lambda: False) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            QApplication.processEvents()
            time.sleep(0.0005)

    def measure(
        self, name: str, act: Callable[[], None], seconds: float, until: Callable[[], object] = lambda: False
    ) -> None:
        self.probe.start()
        QTimer.singleShot(0, act)
        self.spend(seconds, until)
        self.probe.report(name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("xrays", nargs="?", type=Path)
    parser.add_argument("--exemplar", type=Path)
    parser.add_argument(
        "--image", default="", help="the radiograph of the exemplar file to use; the first when left out"
    )
    parser.add_argument("--minutes", type=float, default=0.5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, table = options.xrays, None
        if folder is None:
            folder = Path(scratch) / "phantom"
            table = write_phantom_cohort(folder, 24, size=(960, 774))
        else:
            linked = Path(scratch) / "xrays"
            linked.symlink_to(folder.resolve())
            folder, table = linked, read_landmarks(options.exemplar)
        run(folder, LandmarkTable.from_sets([table[options.image or table.images[0]]]), options.minutes)


def run(folder: Path, exemplar: LandmarkTable, minutes: float) -> None:
    from onemark.data.landmarks.schema import schema_from_names

    loop = Loop()
    viewer = napari.Viewer()
    widget = OnemarkWidget(viewer)
    viewer.window.add_dock_widget(widget, name="onemark", area="right")
    widget.window().resize(1280, 720)
    probe = Probe(loop)
    timer = QTimer()
    timer.setInterval(1)
    timer.timeout.connect(probe.tick)
    timer.start()
    bench, app = Bench(widget, probe), widget.app
    bench.spend(60, lambda: app.training.recipes)
    print(
        "| what | seconds | 99 % gap ms | worst gap | its own time at most | longest call | longest painting |\n"
        "|---|---|---|---|---|---|---|",
        flush=True,
    )
    bench.measure("open the folder", lambda: widget.open(folder), 20, lambda: app.context.canvas.radiograph)
    app.session.set_schema(schema_from_names(exemplar.names, "bench"))
    bench.measure("take the exemplar", lambda: app.session.import_annotations(exemplar), 1)
    browse = _browser(widget)
    bench.measure("look through", browse.start, 5)
    browse.stop()
    app.session_store.preferences.minutes = minutes
    app.training.start()
    bench.measure("train", lambda: None, 60 * minutes * 0.5, lambda: app.training.running is None)
    bench.measure(
        "train and look through", browse.start, 60 * minutes * 3 + 120, lambda: app.training.running is None
    )
    if app.training.model is None:
        raise SystemExit(f"the training did not end well: {widget.banner.text}")
    browse.stop()
    bench.measure("look through the results", browse.start, 5)
    widget.press("evidence")
    bench.measure("look through with evidence", lambda: None, 10)
    browse.stop()
    timer.stop()
    viewer.close()


def _browser(widget: OnemarkWidget) -> QTimer:
    """Goes to the next radiograph twice a second, and from the last to the first."""
    timer = QTimer(widget)
    timer.setInterval(500)

    def step() -> None:
        order, current = widget.app.viewing.order, widget.app.session.current
        widget.app.session.show(order[(order.index(current) + 1) % len(order)])

    timer.timeout.connect(step)
    return timer


if __name__ == "__main__":
    main()
