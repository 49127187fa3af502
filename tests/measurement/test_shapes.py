"""Procrustes analysis, held to closed forms and to scipy; and the shapes of a cohort."""

from __future__ import annotations

import csv
import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faces import FACE, SYMBOLS, face, faces, mirrored, turned
from scipy.spatial import procrustes as scipy_procrustes

from onemark.data.landmarks.table import LandmarkTable
from onemark.measurement.shapes.cohort import analyse_shapes, write_shapes
from onemark.measurement.shapes.procrustes import find_components, riemannian_distance, superimpose
from onemark.types import UserError

EQUILATERAL = np.array([[0, 0], [1, 0], [0.5, math.sqrt(3) / 2]])
FLAT = np.array([[0.0, 0], [2, 0], [1, 0]])


def noisy(count: int, noise: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            rng.uniform(0.5, 3) * turned(FACE + rng.normal(0, noise, FACE.shape), rng.uniform(0, 360))
            + rng.normal(0, 50, 2)
            for _ in range(count)
        ]
    )


def test_distances_of_triangles_are_kendall_s():
    # On Kendall's sphere of radius 1/2 the equilateral triangle is a pole, its mirror image the other one, and the
    # flat triangles are the equator (Kendall 1984).
    assert riemannian_distance(EQUILATERAL, FLAT) == pytest.approx(math.pi / 4)
    assert riemannian_distance(EQUILATERAL, mirrored(EQUILATERAL)) == pytest.approx(math.pi / 2)
    assert riemannian_distance(EQUILATERAL, 3 * turned(EQUILATERAL, 40) + 7) == pytest.approx(0, abs=1e-12)


def test_distances_agree_with_scipy_s_ordinary_analysis():
    a, b = noisy(2, 3.0)
    disparity = scipy_procrustes(a, b)[2]  # 1 - cos^2 of the Riemannian distance
    assert math.sin(riemannian_distance(a, b)) ** 2 == pytest.approx(disparity)


def test_the_mean_shape_is_kent_s():
    # The full Procrustes mean is the dominant eigenvector of the sum of z z* (Kent 1994); close to the mean of unit
    # sizes where shapes vary little.
    xy = noisy(40, 0.3)
    z = xy[..., 0] + 1j * xy[..., 1]
    z = z - z.mean(axis=1, keepdims=True)
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    first = np.linalg.eigh(z.T @ np.conj(z))[1][:, -1]
    kent = np.stack([first.real, first.imag], axis=1)
    assert riemannian_distance(superimpose(xy).mean, kent) < 1e-4


def test_a_superimposition_is_at_rest():
    fit = superimpose(noisy(30, 4.0))
    again = superimpose(fit.aligned)
    assert again.aligned == pytest.approx(fit.aligned, abs=1e-9)
    assert np.linalg.norm(fit.aligned, axis=(1, 2)) == pytest.approx(np.ones(30))
    assert fit.aligned.mean(axis=1) == pytest.approx(np.zeros((30, 2)), abs=1e-12)
    mean = fit.aligned.mean(axis=0)
    assert fit.mean == pytest.approx(mean / np.linalg.norm(mean), abs=1e-9)


def test_sizes_are_centroid_sizes_and_places_and_turns_do_not_count():
    fit = superimpose(np.stack([FACE, 2 * turned(FACE, 33) + 100, FACE * 0.1]))
    assert fit.size / fit.size[0] == pytest.approx([1, 2, 0.1])
    assert fit.distance == pytest.approx(np.zeros(3), abs=1e-9)


def test_the_mean_stands_as_the_radiographs_do():
    fit = superimpose(np.stack([turned(FACE, angle) for angle in (-10, 0, 10)]))
    centred = FACE - FACE.mean(axis=0)
    assert fit.mean == pytest.approx(centred / np.linalg.norm(centred), abs=1e-6)


def test_tangent_coordinates_touch_at_the_mean_and_have_the_known_dimensions():
    fit = superimpose(noisy(60, 4.0))
    flat, mean = fit.tangent.reshape(60, -1), fit.mean.ravel()
    assert flat @ mean == pytest.approx(np.ones(60))
    assert len(find_components(fit.tangent).variance) == 2 * 19 - 4


def test_components_rebuild_the_shapes_and_are_sorted():
    fit = superimpose(noisy(25, 4.0))
    found = find_components(fit.tangent)
    rebuilt = fit.tangent.mean(axis=0) + np.tensordot(found.scores, found.directions, 1)
    assert rebuilt == pytest.approx(fit.tangent, abs=1e-9)
    assert (np.diff(found.variance) <= 0).all()
    assert found.share.sum() == pytest.approx(1)
    assert found.scores.var(axis=0, ddof=1) == pytest.approx(found.variance)


def test_a_known_way_of_varying_is_the_first_component():
    rng = np.random.default_rng(0)
    way = np.zeros(FACE.shape)
    way[[SYMBOLS.index(n) for n in ("Pog", "Me", "Gn", "B")]] = (6, 0)
    amounts = rng.normal(0, 1, 40)
    found = analyse_shapes(
        LandmarkTable.from_sets(
            face(f"{k}", FACE + a * way + rng.normal(0, 0.1, FACE.shape)) for k, a in enumerate(amounts)
        )
    )
    scores = found.table.set_index("image").loc[[str(k) for k in range(40)], "pc1"]
    assert abs(np.corrcoef(scores, amounts)[0, 1]) > 0.99
    assert found.components.share[0] > 0.9


def test_the_odd_one_is_an_outlier_and_comes_first():
    odd = FACE.copy()
    odd[SYMBOLS.index("Go")] += (40, -30)
    found = analyse_shapes(
        LandmarkTable.from_sets([*faces(20), face("odd.png", odd, error=3.0)]), spacing_mm=0.5
    )
    assert found.table["image"][0] == "odd.png"
    assert found.table["outlier"].sum() == 1
    assert found.table["expected_error"][0] == pytest.approx(3.0)
    assert set(found.table["unit"]) == {"mm"}


def test_mirrored_radiographs_are_named_and_mirrored_only_when_asked():
    table = LandmarkTable.from_sets([*faces(12), face("mirror.png", mirrored(FACE))])
    plain, asked = (analyse_shapes(table, mirror=m).table.set_index("image") for m in (False, True))
    assert plain["fits_mirrored"].sum() == 1
    assert plain.loc["mirror.png", "fits_mirrored"]
    assert plain.loc["mirror.png", "outlier"]
    assert asked.loc["mirror.png", "mirrored"]
    assert not asked.loc["mirror.png", "outlier"]


def test_radiographs_that_lack_a_landmark_are_left_out_and_named():
    hidden = FACE.copy()
    hidden[SYMBOLS.index("Go")] = np.nan
    table = LandmarkTable.from_sets([*faces(5), face("hidden.png", hidden)])
    assert analyse_shapes(table).incomplete == ("hidden.png",)
    assert analyse_shapes(table, landmarks=["S", "N", "A", "B"]).incomplete == ()
    nowhere = LandmarkTable.from_sets(
        replace(one, xy=np.where(np.isnan(hidden), np.nan, one.xy)) for one in table
    )
    with pytest.raises(UserError, match="'Go' is missing on 6"):
        analyse_shapes(nowhere)


@pytest.mark.parametrize(
    ("landmarks", "message"), [(["S", "N"], "at least three landmarks"), (["S", "N", "X"], "no landmark 'X'")]
)
def test_too_few_or_unknown_landmarks_are_refused(landmarks: list[str], message: str):
    with pytest.raises(UserError, match=message):
        analyse_shapes(faces(5), landmarks=landmarks)


def test_landmarks_in_one_place_are_refused():
    table = LandmarkTable.from_sets([*faces(5), face("point.png", np.ones_like(FACE))])
    with pytest.raises(UserError, match=r"'point.png' lie in one place"):
        analyse_shapes(table)


def test_files_are_written_for_r_and_for_the_eye(tmp_path: Path):
    found = analyse_shapes(faces(8))
    files = write_shapes(tmp_path, found)
    assert [file.name for file in files] == ["shapes.csv", "tangent.csv", "components.csv", "shapes.svg"]
    rows = list(csv.reader(files[1].open(encoding="utf-8")))
    assert rows[0][:3] == ["image", "S_x", "S_y"]
    read = np.array([[float(cell) for cell in row[1:]] for row in rows[1:]]).reshape(8, 19, 2)
    assert (read == found.fit.tangent).all()
    at = {name: found.fit.mean[k] for k, name in enumerate(found.names)}
    assert at["N"][1] > at["Me"][1]  # y upwards
    assert ET.parse(files[3]).getroot().tag.endswith("svg")
    assert files[3].read_text("utf-8").count("PC ") == 4
