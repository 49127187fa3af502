from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from PIL import Image

from onemark.data.cohort import open_cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.phantom import LANDMARKS, phantom_radiograph, write_phantom_cohort
from onemark.phantom import cohort as phantom_cohort
from onemark.phantom.anatomy import FRAME, REFERENCE
from onemark.phantom.atlas import curve
from onemark.phantom.pose import draw_pose
from onemark.types import LandmarkSet, Radiograph, UserError

SUBJECTS = range(1, 17)
HALF = 7
REACH = 6


@cache
def drawn() -> list[tuple[Radiograph, LandmarkSet]]:
    return [phantom_radiograph(index) for index in SUBJECTS]


def test_the_same_arguments_give_the_same_radiograph():
    first, points = phantom_radiograph(3, seed=5, size=(96, 80))
    again, same = phantom_radiograph(3, seed=5, size=(96, 80))
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(points.xy, same.xy)


@pytest.mark.parametrize(("index", "seed"), [(4, 5), (3, 6)])
def test_another_subject_or_seed_is_another_head(index, seed):
    first, points = phantom_radiograph(3, seed=5, size=(96, 80))
    other, elsewhere = phantom_radiograph(index, seed=seed, size=(96, 80))
    assert np.abs(first.pixels - other.pixels).mean() > 0.02
    assert np.abs(points.xy - elsewhere.xy).max() > 1.0


@pytest.mark.parametrize("size", [(320, 256), (160, 200), (64, 64)])
def test_a_radiograph_keeps_the_contract(size):
    radiograph, points = phantom_radiograph(7, size=size)
    assert radiograph.name == points.image == "phantom-007.png"
    assert radiograph.pixels.dtype == np.float32
    assert radiograph.size == size
    assert radiograph.pixels.min() >= 0
    assert radiograph.pixels.max() <= 1
    assert radiograph.pixels.std() > 0.1
    assert radiograph.spacing is not None
    covered = np.array(size) * radiograph.spacing
    assert np.all(covered >= np.array(FRAME[::-1]) - 1e-9)
    assert points.names == LANDMARKS
    assert points.xy.shape == (len(LANDMARKS), 2)


def test_landmarks_of_many_subjects_lie_well_inside_the_image():
    for index in range(300):
        pose = draw_pose(np.random.default_rng((0, index)), (320, 256))
        xy = pose.to_image(np.array(list(REFERENCE.values())))
        assert np.all(xy > 4)
        assert np.all(xy < np.array([256, 320]) - 5)


def test_the_two_directions_of_the_pose_are_inverse():
    pose = draw_pose(np.random.default_rng(1), (320, 256))
    mm = np.random.default_rng(2).uniform((10, 10), np.array(FRAME) - 10, (50, 2))
    assert np.abs(pose.to_reference(pose.to_image(mm)) - mm).max() < 1e-6


def test_no_subject_is_folded():
    for index in range(40):
        pose = draw_pose(np.random.default_rng((0, index)), (320, 256))
        grid = np.stack(np.meshgrid(np.arange(0, 256, 4.0), np.arange(0, 320, 4.0)), -1)
        down, right = np.gradient(pose.to_reference(grid), 4 * pose.spacing, axis=(0, 1))
        area = right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]
        assert area.min() > 0.4


def test_landmarks_stay_on_their_anatomy():
    away = np.array([_strays([points.xy for _, points in drawn()], k) for k in range(len(LANDMARKS))])
    assert np.median(away, axis=1).max() <= 1.5, dict(zip(LANDMARKS, np.median(away, axis=1), strict=True))
    assert away.mean() < 1.2


def test_the_check_above_sees_landmarks_that_miss_the_proportions():
    reference = np.array(list(REFERENCE.values()))
    rigid = []
    for index in SUBJECTS:
        pose = draw_pose(np.random.default_rng((0, index)), (320, 256))
        rigid.append(replace(pose, bumps=pose.bumps * (1, 1, 1, 1, 0, 0)).to_image(reference))
    away = np.array([_strays(rigid, k) for k in range(len(LANDMARKS))])
    assert away.mean() > 2.0


def test_edges_at_the_landmarks_face_the_right_way():
    right_of = {
        "nose tip": (1, 0),
        "pogonion": (1, 0),
        "menton": (0, 1),
        "gonion": (-1, 0.4),
        "C3 corner": (1, 0.3),
    }
    for name, way in right_of.items():
        steps = []
        for radiograph, points in drawn():
            xy = points.xy[LANDMARKS.index(name)]
            direction = np.array(way) / np.hypot(*way)
            inside, outside = (_mean_at(radiograph, xy + side * 4 * direction) for side in (-1, 1))
            steps.append(inside - outside)
        assert np.median(steps) > 0.02, name
        assert np.mean(np.array(steps) > 0) > 0.8, name


def test_subjects_differ_in_pose_proportions_and_exposure():
    xy = np.array([points.xy for _, points in drawn()])
    at = {name: xy[:, k] for k, name in enumerate(LANDMARKS)}
    base = at["nasion"] - at["sella"]
    assert np.ptp(np.rad2deg(np.arctan2(base[:, 1], base[:, 0]))) > 8
    length = np.hypot(*base.T)
    assert length.max() / length.min() > 1.15
    jaw = np.hypot(*(at["menton"] - at["gonion"]).T) / length
    assert jaw.max() / jaw.min() > 1.1
    brightness = [radiograph.pixels.mean() for radiograph, _ in drawn()]
    assert np.ptp(brightness) > 0.08


def test_a_curve_passes_through_its_points_and_keeps_corners_sharp():
    square = (
        (0.0, 0.0),
        (0.0, 0.0),
        (10.0, 0.0),
        (10.0, 0.0),
        (10.0, 10.0),
        (10.0, 10.0),
        (0.0, 10.0),
        (0.0, 10.0),
    )
    path = curve(square)
    assert path.min() > -1e-9
    assert path.max() < 10 + 1e-9
    bent = curve(((0.0, 0.0), (5.0, 4.0), (10.0, 0.0)), closed=False)
    assert np.abs(bent - (5.0, 4.0)).sum(1).min() < 1e-9


def test_a_written_cohort_is_read_back_with_its_truth(tmp_path):
    truth = write_phantom_cohort(tmp_path / "xrays", 3, seed=2, size=(320, 256))
    cohort = open_cohort(tmp_path / "xrays")
    assert cohort.names == truth.images == ("phantom-001.png", "phantom-002.png", "phantom-003.png")
    assert isinstance(truth, LandmarkTable)
    assert truth.names == LANDMARKS
    assert len(truth.checked(cohort)) == 3
    direct, points = phantom_radiograph(2, seed=2, size=(320, 256))
    written = np.asarray(Image.open(tmp_path / "xrays" / "phantom-002.png"))
    assert written.dtype == np.uint8
    assert np.abs(written / 255 - direct.pixels).max() < 0.003
    assert np.array_equal(truth["phantom-002.png"].xy, points.xy)
    read = cohort["phantom-002.png"]
    assert read.spacing == pytest.approx(direct.spacing, rel=1e-3)
    assert np.corrcoef(read.pixels.ravel(), direct.pixels.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    "call", [lambda: phantom_radiograph(-1), lambda: phantom_radiograph(1, size=(40, 256))]
)
def test_impossible_phantoms_are_a_user_error(call):
    with pytest.raises(UserError, match="phantom"):
        call()


def test_an_empty_cohort_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="at least 1"):
        write_phantom_cohort(tmp_path, 0)
    assert phantom_cohort.phantom_name(12) == "phantom-012.png"


def _mean_at(radiograph: Radiograph, xy: np.ndarray) -> float:
    x, y = np.rint(xy).astype(int)
    return float(radiograph.pixels[y - 1 : y + 2, x - 1 : x + 2].mean())


def _strays(xy: list[np.ndarray], k: int) -> np.ndarray:
    """px from each subject's landmark `k` to the best match of the other subjects' mean patch around it."""
    windows, patches = [], []
    for (radiograph, _), points in zip(drawn(), xy, strict=True):
        padded = np.pad(radiograph.pixels, HALF + REACH, mode="edge")
        x, y = np.rint(points[k]).astype(int)
        window = np.lib.stride_tricks.sliding_window_view(
            padded[y : y + 2 * (HALF + REACH) + 1, x : x + 2 * (HALF + REACH) + 1],
            (2 * HALF + 1, 2 * HALF + 1),
        )
        flat = window.reshape(*window.shape[:2], -1)
        flat = flat - flat.mean(-1, keepdims=True)
        windows.append(flat / np.linalg.norm(flat, axis=-1, keepdims=True))
        patches.append(windows[-1][REACH, REACH])
    away = []
    for i, window in enumerate(windows):
        template = np.mean(patches[:i] + patches[i + 1 :], axis=0)
        row, column = np.unravel_index(np.argmax(window @ template), window.shape[:2])
        away.append(np.hypot(row - REACH, column - REACH))
    return np.array(away)
