"""Window and level by the right button, and the lens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt

from onemark.data.landmarks.schema import schema_from_names
from onemark.gui.canvas.layers import REGION
from onemark.gui.controllers.view.contrast import adjust
from onemark.imaging.ellipses import to_covariance

from .desktop import Desktop

ALT = Qt.KeyboardModifier.AltModifier
RIGHT = Qt.MouseButton.RightButton


def _limits(desktop: Desktop) -> tuple[float, float]:
    low, high = desktop.app.context.canvas.layer("radiograph").contrast_limits
    return float(low), float(high)


def _drag_right(desktop: Desktop, dx: int, dy: int) -> None:
    start = desktop.canvas.rect().center()
    desktop.mouse(QEvent.Type.MouseButtonPress, start, which=RIGHT)
    for share in (0.3, 0.7, 1.0):
        there = start.__class__(start.x() + round(share * dx), start.y() + round(share * dy))
        desktop.mouse(QEvent.Type.MouseMove, there, which=RIGHT)
        desktop.settle(6)
    desktop.mouse(QEvent.Type.MouseButtonRelease, there, which=RIGHT)
    desktop.settle(4)


@pytest.fixture
def looking(desktop: Desktop, xrays: Path) -> Desktop:
    desktop.open(xrays)
    desktop.session.set_schema(schema_from_names(["left", "right"], "two"))
    desktop.settle(20)
    return desktop


def test_sideways_is_the_window_and_up_is_brighter():
    whole = (0.0, 1.0)
    low, high = adjust(whole, np.array([-100.0, 0.0]))
    assert 0 < low < high < 1
    assert (low + high) / 2 == pytest.approx(0.5)
    low, high = adjust(whole, np.array([0.0, -100.0]))
    assert (low + high) / 2 < 0.5
    assert adjust(whole, np.array([-1e6, 0.0]))[1] > adjust(whole, np.array([-1e6, 0.0]))[0]


def test_the_right_button_changes_the_contrast_and_nothing_else(looking: Desktop) -> None:
    zoom = looking.viewer.scene.camera.zoom
    _drag_right(looking, -80, 0)
    low, high = _limits(looking)
    assert high - low < 0.9
    assert looking.viewer.scene.camera.zoom == zoom
    assert len(looking.layer.data) == 0
    assert looking.layer.mode == "add"
    _drag_right(looking, 1, 0)  # a click of the right button places nothing
    assert len(looking.layer.data) == 0


def test_the_selected_prediction_shows_its_region_when_zoomed_in(annotated: Desktop) -> None:
    annotated.train()
    session, canvas = annotated.session, annotated.app.context.canvas
    name = next(n for n in session.predictions if n not in session.annotations)
    annotated.show(name)
    at = int(np.argmax(session.predictions[name].sd_major))
    session.select(at)
    annotated.viewer.scene.camera.zoom = 0.5
    annotated.settle()
    assert canvas.layer(REGION) is None or not canvas.layer(REGION).visible
    canvas.remove(REGION)
    annotated.viewer.scene.camera.zoom = 40
    # Not at once: napari zooms while it inserts a layer, and cannot take another one meanwhile.
    assert canvas.layer(REGION) is None
    annotated.settle()
    layer, one = canvas.layer(REGION), session.predictions[name]
    assert layer.visible
    away = layer.data[0][:, ::-1] - one.xy[at]
    squared = (away * np.linalg.solve(to_covariance(one.ellipse[at]), away.T).T).sum(1)
    np.testing.assert_allclose(squared, -2 * np.log(0.2), rtol=1e-3)
    assert annotated.viewer.layers.selection.active is annotated.layer
    session.place(at, one.xy[at] + 3)  # a person's point has no region
    annotated.settle()
    assert not layer.visible


def test_keys_invert_and_bring_the_original_back(looking: Desktop) -> None:
    layer = looking.app.context.canvas.layer("radiograph")
    _drag_right(looking, -80, 30)
    looking.key(Qt.Key.Key_I, ALT)
    assert layer.colormap.name == "gray_r"
    looking.key(Qt.Key.Key_0, ALT)
    assert layer.colormap.name == "gray"
    assert _limits(looking) == (0.0, 1.0)


def test_the_contrast_belongs_to_the_cohort(looking: Desktop, xrays: Path, tmp_path: Path) -> None:
    import shutil

    _drag_right(looking, -80, 0)
    kept = _limits(looking)
    looking.show(looking.session.cohort.names[1])
    assert _limits(looking) == pytest.approx(kept)
    shutil.copytree(xrays, tmp_path / "other")
    looking.open(tmp_path / "other")
    looking.settle(10)
    assert _limits(looking) == (0.0, 1.0)
    looking.open(xrays)
    looking.settle(10)
    assert _limits(looking) == pytest.approx(kept)


def test_the_lens_shows_the_pixels_under_the_mouse(looking: Desktop) -> None:
    lens = looking.widget.lens
    # The canvas of the tests shows small phantoms; zoom out, so that a pixel is smaller than on the screen.
    looking.viewer.scene.camera.zoom /= 2
    xy = np.array([120.0, 100.0])
    looking.mouse(QEvent.Type.MouseMove, looking.at(xy), pressed=False)
    looking.settle(4)
    assert lens.isVisible()
    pixels, corner = lens._crop()
    radiograph = looking.app.context.canvas.radiograph
    x, y = (corner + 10).astype(int)
    assert pixels[10, 10] == int(255 * np.clip(radiograph.pixels[y, x], 0, 1))
    assert np.abs(lens._at - xy).max() < 3
    assert looking.canvas.rect().contains(lens.geometry())
    looking.click(xy)
    assert len(looking.layer.data) == 1
    looking.mouse(QEvent.Type.MouseMove, looking.at((-30, -30)), pressed=False)
    looking.settle(4)
    assert not lens.isVisible()
    looking.key(Qt.Key.Key_L, ALT)
    looking.mouse(QEvent.Type.MouseMove, looking.at(xy), pressed=False)
    looking.settle(4)
    assert not lens.isVisible()


def test_the_lens_follows_a_dragged_point(annotated: Desktop) -> None:
    annotated.viewer.scene.camera.zoom /= 2
    annotated.settle()
    start = annotated.session.shown_annotation.xy[3]
    annotated.mouse(QEvent.Type.MouseMove, annotated.at(start), pressed=False)
    annotated.mouse(QEvent.Type.MouseButtonPress, annotated.at(start))
    for step in (4, 8, 12):
        annotated.mouse(QEvent.Type.MouseMove, annotated.at(start + step))
        annotated.settle(4)
    assert annotated.widget.lens.isVisible()
    assert np.abs(annotated.widget.lens._at - (start + 12)).max() < 4
    annotated.mouse(QEvent.Type.MouseButtonRelease, annotated.at(start + 12))
    annotated.settle(4)
    assert not annotated.widget.lens.isVisible()
