from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onemark.imaging.letterbox import Letterbox, canvas_for

sides = st.integers(1, 5000)
sizes = st.tuples(sides, sides)
canvases = st.tuples(st.integers(32, 1024), st.integers(32, 1024))


def blob(size: tuple[int, int], xy: NDArray[np.float64], sigma: float) -> NDArray[np.float32]:
    """A Gaussian of height 1 around `xy`, in `[H, W]`."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.exp(-((x - xy[0]) ** 2 + (y - xy[1]) ** 2) / (2 * sigma**2)).astype(np.float32)


def centroid(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """The centre of mass (x, y)."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(image * x).sum(), (image * y).sum()]) / image.sum()


@given(size=sizes, canvas=canvases, x=st.floats(-0.5, 1.5), y=st.floats(-0.5, 1.5))
def test_there_and_back_ends_where_it_began(
    size: tuple[int, int], canvas: tuple[int, int], x: float, y: float
):
    frame = Letterbox.fit(size, canvas)
    there = np.array([[x * size[1], y * size[0]], [0, 0]])
    np.testing.assert_allclose(frame.to_image(frame.to_canvas(there)), there, rtol=0, atol=1e-4)
    np.testing.assert_allclose(frame.to_canvas(frame.to_image(there)), there, rtol=0, atol=1e-4)


@given(size=sizes, canvas=canvases)
def test_the_outer_edges_of_the_image_are_the_outer_edges_on_the_canvas(
    size: tuple[int, int], canvas: tuple[int, int]
):
    frame = Letterbox.fit(size, canvas)
    top, left = frame.offset
    edges = np.array([[-0.5, -0.5], [size[1] - 0.5, size[0] - 0.5]])
    expected = np.array(
        [[left - 0.5, top - 0.5], [left + frame.scaled[1] - 0.5, top + frame.scaled[0] - 0.5]]
    )
    np.testing.assert_allclose(frame.to_canvas(edges), expected, atol=1e-6)
    assert 0 <= top <= canvas[0] - frame.scaled[0]
    assert 0 <= left <= canvas[1] - frame.scaled[1]


@given(size=sizes, canvas=canvases)
def test_the_image_fills_one_side_and_keeps_its_aspect(size: tuple[int, int], canvas: tuple[int, int]):
    frame = Letterbox.fit(size, canvas)
    assert frame.scaled[0] == canvas[0] or frame.scaled[1] == canvas[1]
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    for side, scaled in zip(size, frame.scaled, strict=True):
        assert scaled == 1 or abs(scaled - side * scale) <= 0.5 + 1e-9


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(60, 300), st.integers(60, 300)),
    canvas=st.tuples(st.integers(60, 200), st.integers(60, 200)),
    x=st.floats(0.4, 0.6),
    y=st.floats(0.4, 0.6),
)
def test_a_drawn_blob_lands_where_its_point_does_and_comes_back(
    size: tuple[int, int], canvas: tuple[int, int], x: float, y: float
):
    frame, point = Letterbox.fit(size, canvas), np.array([x * size[1], y * size[0]])
    rendered = frame.render(blob(size, point, min(size) / 15))
    assert rendered.shape == canvas
    np.testing.assert_allclose(centroid(rendered.numpy()), frame.to_canvas(point), atol=0.03)
    restored = frame.restore(rendered)
    assert restored.shape == size
    np.testing.assert_allclose(centroid(restored), point, atol=0.03 * max(1, *1 / frame.scale))


def test_what_the_image_does_not_cover_is_black():
    frame = Letterbox.fit((50, 100), (96, 96))
    rendered = frame.render(np.ones((50, 100), np.float32))
    top, height = frame.offset[0], frame.scaled[0]
    np.testing.assert_allclose(rendered[top : top + height], 1, atol=1e-6)
    assert rendered[:top].abs().sum() == rendered[top + height :].abs().sum() == 0


def test_reduction_averages_instead_of_skipping_pixels():
    stripes = np.zeros((256, 256), np.float32)
    stripes[:, ::4] = 1
    rendered = Letterbox.fit((256, 256), (64, 64)).render(stripes)
    np.testing.assert_allclose(rendered[:, 2:-2], 0.25, atol=0.02)


def test_restore_takes_maps_of_any_leading_shape():
    frame = Letterbox.fit((40, 30), (64, 32))
    maps = torch.rand(2, 3, 64, 32)
    restored = frame.restore(maps)
    assert restored.shape == (2, 3, 40, 30)
    np.testing.assert_allclose(restored[1, 2], frame.restore(maps[1, 2]), atol=1e-6)


@given(st.lists(sizes, min_size=1, max_size=9), st.sampled_from([4096, 10240, 81920]))
def test_the_canvas_has_whole_tiles(found: list[tuple[int, int]], area: int):
    h, w = canvas_for(found, area)
    assert h % 32 == w % 32 == 0
    assert min(h, w) >= 32


@pytest.mark.parametrize(
    ("found", "canvas"),
    [
        ([(960, 774)] * 5, (320, 256)),
        ([(500, 500)], (288, 288)),
        ([(960, 774)] * 3 + [(10, 9000)], (320, 256)),
    ],
)
def test_the_canvas_has_the_median_aspect_ratio(found: list[tuple[int, int]], canvas: tuple[int, int]):
    assert canvas_for(found, 81920) == canvas


def test_a_stretched_frame_fills_the_canvas_as_far_as_it_may_and_has_its_inverse():
    frame = Letterbox.fit((100, 50), (64, 64), stretch=1.5)
    assert frame.scaled == (64, 48)
    points = np.array([[0.0, 0.0], [49.3, 99.1]])
    np.testing.assert_allclose(frame.to_image(frame.to_canvas(points)), points, atol=1e-9)
    assert Letterbox.fit((100, 50), (64, 64), stretch=3).scaled == (64, 64)
