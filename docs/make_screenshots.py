"""Takes the pictures of docs/gui.md in a real window, on the phantom, so that they always show the present window.

Run it as `make screenshots`. Needs a screen, or `xvfb-run -a -s "-screen 0 1280x720x24"`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
from PIL import Image
from qtpy.QtCore import QItemSelectionModel
from qtpy.QtWidgets import QApplication, QDoubleSpinBox

from onemark.data.landmarks.schema import schema_from_names
from onemark.gui.controllers import opening
from onemark.gui.widget import OnemarkWidget
from onemark.phantom import write_phantom_cohort

IMAGES = Path(__file__).parent / "images"
SIZE = (640, 512)
WINDOW = (1280, 720)
ROWS = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows


class Photographer:
    """A window of 1280 x 720 with the widget in it."""

    def __init__(self, folder: Path, out: Path, theme: str) -> None:
        self.out = out
        self.folder = folder / "radiographs"
        self.truth = write_phantom_cohort(self.folder, 16, seed=3, size=SIZE)
        self.viewer = napari.Viewer()
        self.viewer.theme = theme
        self.widget = OnemarkWidget(self.viewer)
        self.viewer.window.add_dock_widget(self.widget, name="onemark", area="right")
        self.widget.window().resize(*WINDOW)
        self.app = self.widget.app

    def wait(self, seconds: float, until: Callable[[], object] = lambda: False) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            QApplication.processEvents()
            time.sleep(0.005)

    def take(self, name: str) -> None:
        self.wait(0.6)
        path = self.out / f"gui-{name}.png"
        self.viewer.screenshot(str(path), canvas_only=False, flash=False)
        Image.open(path).convert("RGB").save(path, optimize=True)
        print(path)

    def show(self, name: str) -> None:
        self.app.session.show(name)
        self.wait(10, lambda: self.app.context.canvas.radiograph.name == name)

    def tour(self, minutes: float) -> None:
        session = self.app.session
        self.wait(120, lambda: self.app.training.recipes)
        self.take("open")
        self.widget.open(self.folder)
        self.wait(30, lambda: self.app.context.canvas.radiograph)
        session.set_schema(schema_from_names(self.truth.names, "phantom"))
        self.widget.findChild(QDoubleSpinBox, "onemark.minutes").setValue(minutes)
        self.suggest(minutes)
        self.widget.press("message.close")
        first = session.current
        for i in range(6):
            session.place(i, self.truth[first].xy[i])
        self.take("annotate")
        for i in range(6, len(self.truth.names)):
            session.place(i, self.truth[first].xy[i])
        self.app.go(2)
        self.show(next(name for name in self.app.viewing.order if name != first))
        self.app.training.start()
        self.wait(minutes * 60 * 0.3, lambda: self.app.training.running is None)
        self.take("train")
        self.wait(minutes * 60 * 5 + 120, lambda: self.app.training.running is None)
        self.review()
        self.app.go(4)
        self.take("export")

    def suggest(self, minutes: float) -> None:
        self.widget.press("suggest")
        self.wait(minutes * 60 * 2 + 60, lambda: self.app.training.running is None)
        self.wait(5, lambda: self.app.context.canvas.radiograph.name == self.app.session.current)
        self.take("suggest")

    def review(self) -> None:
        session = self.app.session
        worst = next(n for n in self.app.viewing.order if n not in session.annotations)
        self.show(worst)
        # The switches show every kind until the model has said which ones it has.
        self.wait(30, lambda: "warped exemplar" not in self.widget.review.switches.shown)
        self.take("review")
        self.widget.press("evidence.similarity")
        self.wait(10, lambda: self.app.context.canvas.layer("similarity"))
        session.select(int(session.predictions[worst].expected_error.argmax()))
        self.wait(2)
        self.take("evidence")
        self.widget.press("evidence.similarity")
        self.measure()

    def measure(self) -> None:
        self.widget.press("tab.measurements")
        self.wait(5, lambda: self.app.measuring.readings)
        view = self.widget.measure.view
        view.clearSelection()
        for row in (0, 3, 4):
            view.selectionModel().select(self.widget.measure.model.index(row, 0), ROWS)
        self.widget.press("measure.draw")
        self.take("measure")
        self.widget.press("measure.draw")
        self.widget.press("reading.begin")
        self.widget.press("tab.radiographs")
        self.wait(2)
        self.take("reading")
        self.widget.press("reading.discard")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES)
    parser.add_argument("--theme", default="dark", choices=["dark", "light"])
    parser.add_argument("--minutes", type=float, default=2.0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        opening.user_config_path = lambda app: Path(
            scratch
        )  # keeps your own recent folders out of the pictures
        photographer = Photographer(Path(scratch), options.out, options.theme)
        photographer.tour(options.minutes)
        photographer.viewer.close()


if __name__ == "__main__":
    main()
