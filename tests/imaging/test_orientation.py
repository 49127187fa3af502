"""The eight orientations, on pixels and points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onemark import LandmarkSet, Radiograph
from onemark.imaging.orientation import ALL, UPRIGHT, Orientation

SIZE = (5, 7)


def dot(x: int, y: int) -> np.ndarray:
    pixels = np.zeros(SIZE, np.float32)
    pixels[y, x] = 1
    return pixels


@pytest.mark.parametrize("orientation", ALL, ids=str)
def test_points_follow_the_pixels_and_come_back(orientation: Orientation):
    pixels, xy = dot(1, 3), np.array([[1.0, 3.0]])
    turned = orientation.turn_pixels(pixels)
    assert turned.shape == orientation.turn_size(SIZE)
    x, y = orientation.turn_points(xy, SIZE)[0]
    assert turned[int(y), int(x)] == 1
    assert np.array_equal(orientation.restore_points(np.array([[x, y]]), SIZE), xy)
    assert np.array_equal(orientation.restore_pixels(turned), pixels)


@pytest.mark.parametrize("orientation", ALL, ids=str)
def test_displacements_come_back_with_the_points(orientation: Orientation):
    start, end = np.array([[1.0, 3.0]]), np.array([[3.0, 2.0]])
    there, then = (orientation.turn_points(one, SIZE) for one in (start, end))
    field = np.broadcast_to((then - there)[0], (*orientation.turn_size(SIZE), 2)).astype(np.float32)
    assert np.allclose(orientation.restore_field(field)[3, 1], (end - start)[0])


@pytest.mark.parametrize("orientation", ALL, ids=str)
def test_ellipses_turn_with_the_points(orientation: Orientation):
    angle = 25.0
    step = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    start = np.array([[3.0, 2.0]])
    there = orientation.turn_points(np.concatenate([start, start + step]), SIZE)
    one = LandmarkSet("a.png", ("tip",), start, ellipse=np.array([[2.0, 1.0, angle]]))
    turned = orientation.turn_landmarks(one, SIZE)
    along = np.array([np.cos(np.radians(turned.angle[0])), np.sin(np.radians(turned.angle[0]))])
    assert abs(along @ (there[1] - there[0])) == pytest.approx(1)
    np.testing.assert_allclose(orientation.restore(turned, SIZE).ellipse, one.ellipse)


@pytest.mark.parametrize("orientation", ALL, ids=str)
def test_the_names_of_pairs_change_places_where_left_and_right_do(orientation: Orientation):
    names, numbers = ("left", "middle", "right", "alone"), np.arange(4.0)
    xy = np.array([[1.0, 3.0], [3.0, 2.0], [np.nan, np.nan], [2.0, 2.0]])
    ellipse = np.column_stack([numbers + 1, numbers, 0 * numbers])
    asked = np.array([True, True, False, True])
    one = LandmarkSet("a.png", names, xy, numbers, numbers + 10, "px", asked, ellipse, numbers / 10)
    pairs = replace(orientation, swap=(("left", "right"), ("alone", "gone")))
    rows = [2, 1, 0, 3] if orientation.mirrored else [0, 1, 2, 3]
    turned = pairs.turn_landmarks(one, SIZE)
    assert turned.names == names
    np.testing.assert_array_equal(turned.xy, orientation.turn_points(xy, SIZE)[rows])
    np.testing.assert_array_equal(turned.score, numbers[rows])
    np.testing.assert_array_equal(turned.expected_error, numbers[rows] + 10)
    np.testing.assert_array_equal(turned.visible_probability, numbers[rows] / 10)
    np.testing.assert_array_equal(turned.ellipse[:, :2], ellipse[rows, :2])
    np.testing.assert_array_equal(turned.asked, asked[rows])
    back = pairs.restore(turned, SIZE)
    np.testing.assert_array_equal(back.xy, xy)
    np.testing.assert_array_equal(back.score, numbers)
    assert pairs.partner("left") == ("right" if orientation.mirrored else "left")
    assert pairs.partner("middle") == "middle"


def test_the_eight_differ():
    pixels = np.arange(35, dtype=np.float32).reshape(SIZE)
    assert len({orientation.turn_pixels(pixels).tobytes() for orientation in ALL}) == 8


def test_a_quarter_turn_swaps_the_spacing_and_no_turn_changes_nothing():
    radiograph = Radiograph("a.png", dot(1, 3), (0.1, 0.2))
    assert Orientation(quarters=1).turn(radiograph).spacing == (0.2, 0.1)
    assert Orientation(True, 2).turn(radiograph).spacing == (0.1, 0.2)
    assert UPRIGHT.turn(radiograph) is radiograph
    landmarks = LandmarkSet("a.png", ("tip",), np.array([[1.0, 3.0]]))
    assert UPRIGHT.restore(landmarks, SIZE) is landmarks


def test_each_has_words():
    assert [str(one) for one in ALL] == [
        "upright",
        "turned to the right",
        "upside down",
        "turned to the left",
        "mirrored",
        "mirrored and turned to the right",
        "mirrored and upside down",
        "mirrored and turned to the left",
    ]
