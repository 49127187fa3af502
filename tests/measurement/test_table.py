"""Measuring tables: conventions, units, intervals, flags, and the two shapes of the result."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas
import pytest
from numpy.typing import NDArray

from onemark.data.landmarks.table import LandmarkTable
from onemark.imaging.ellipses import to_covariance
from onemark.measurement.sets import load_set
from onemark.measurement.sets.reading import parse_set
from onemark.measurement.table import measure, widen
from onemark.types import UserError

from .faces import FACE, OPPOSITE, SCHEMA, SYMBOLS, face, faces, mirrored, opposite, turned

SET = load_set("isbi19")
CHALLENGE = ["SNA", "SNB", "ANB", "ODI", "APDI", "FHI", "FMA", "MW"]


def values(xy: NDArray[np.float64], spacing: float | tuple[float, float] | None = 1.0) -> dict[str, float]:
    frame = measure([face(xy=xy)], SET, spacing_mm=spacing)
    return dict(zip(frame["measurement"], frame["value"], strict=True))


MOVES: list[tuple[str, Callable[[NDArray[np.float64]], NDArray[np.float64]], float]] = [
    ("shifted", lambda xy: xy + np.array([31.0, -7.0]), 1.0),
    ("turned a little", lambda xy: turned(xy, 20), 1.0),
    ("turned over", lambda xy: turned(xy, 175), 1.0),
    ("mirrored", mirrored, 1.0),
    ("mirrored and turned", lambda xy: turned(mirrored(xy), 100), 1.0),
    ("upside down", lambda xy: xy * (1.0, -1.0), 1.0),
    ("twice the pixels", lambda xy: 2 * xy, 0.5),
]


@pytest.mark.parametrize(("move", "spacing"), [m[1:] for m in MOVES], ids=[m[0] for m in MOVES])
def test_nothing_changes_when_the_radiograph_is_moved(move: Callable, spacing: float):
    before, after = values(FACE), values(move(FACE), spacing)
    for name, value in before.items():
        assert after[name] == pytest.approx(value, abs=1e-9), name


def test_without_a_spacing_lengths_grow_with_the_picture_and_angles_and_ratios_do_not():
    before, after = values(FACE, None), values(3 * FACE, None)
    for one in SET.measurements:
        assert after[one.name] == pytest.approx(before[one.name] * 3**one.length), one.name


def test_pixels_that_are_not_square_are_measured_in_mm():
    stretched = FACE * (2.0, 1.0)
    assert values(stretched, (0.5, 1.0)) == pytest.approx(values(FACE))


def test_signs_say_what_an_orthodontist_expects():
    face_values = values(FACE)
    assert face_values["ANB"] == pytest.approx(face_values["SNA"] - face_values["SNB"])
    assert 70 < face_values["SNA"] < 90
    assert face_values["overjet"] > 0  # the upper incisor is 3 mm in front
    assert face_values["overbite"] > 0  # and 2 mm below the lower one
    assert face_values["MW"] == pytest.approx(math.hypot(3, 2))
    assert face_values["FMPA"] > 0
    assert face_values["convexity"] > 0  # A in front of N-Pog
    behind = FACE.copy()
    behind[SYMBOLS.index("U1")] -= (6, 0)
    assert values(behind)["MW"] < 0
    tilted = FACE.copy()
    tilted[SYMBOLS.index("ANS")] += (0, 5)  # the palatal plane down in front
    assert values(tilted)["ODI"] > face_values["ODI"]
    assert values(tilted)["APDI"] > face_values["APDI"]
    forward = FACE.copy()
    forward[SYMBOLS.index("B")] += (5, 0)
    assert values(forward)["APDI"] > face_values["APDI"]


def test_the_challenge_s_analyses_agree_with_their_plain_definition():
    at = dict(zip(SYMBOLS, FACE, strict=True))

    def between(a: str, b: str, c: str, d: str) -> float:
        u, v = at[b] - at[a], at[d] - at[c]
        return math.degrees(math.acos(u @ v / math.hypot(*u) / math.hypot(*v)))

    def clockwise(a: str, b: str, c: str, d: str) -> float:
        u, v = at[b] - at[a], at[d] - at[c]
        return math.copysign(between(a, b, c, d), u[0] * v[1] - u[1] * v[0])

    palate = clockwise("Po", "Or", "PNS", "ANS")
    expected = {
        "SNA": between("N", "S", "N", "A"),
        "SNB": between("N", "S", "N", "B"),
        "ODI": between("Me", "Go", "B", "A") + palate,
        "APDI": between("Or", "Po", "N", "Pog") - clockwise("N", "Pog", "A", "B") + palate,
        "FHI": math.dist(at["S"], at["Go"]) / math.dist(at["N"], at["Me"]),
        "FMA": between("S", "N", "Go", "Gn"),
    }
    found = values(FACE)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *(("ANB", v, c) for v, c in ((3.19, "3"), (3.2, "1"), (5.7, "1"), (5.71, "2"))),
        *(("SNB", v, c) for v, c in ((74.59, "2"), (74.6, "1"), (78.7, "1"), (78.71, "3"))),
        *(("SNA", v, c) for v, c in ((79.39, "3"), (79.4, "1"), (83.2, "1"), (83.21, "2"))),
        *(("ODI", v, c) for v, c in ((68.39, "3"), (68.4, "1"), (80.5, "1"), (80.51, "2"))),
        *(("APDI", v, c) for v, c in ((77.59, "2"), (77.6, "1"), (85.2, "1"), (85.21, "3"))),
        *(("FHI", v, c) for v, c in ((0.649, "3"), (0.65, "1"), (0.75, "1"), (0.751, "2"))),
        *(("FMA", v, c) for v, c in ((26.79, "3"), (26.8, "1"), (31.4, "1"), (31.41, "2"))),
        *(
            ("MW", v, c)
            for v, c in ((-1.0, "3"), (0.0, "2"), (1.9, "3"), (2.0, "1"), (4.5, "1"), (4.51, "4"))
        ),
        ("ANB", math.nan, ""),
    ],
)
def test_the_class_limits_are_the_challenge_s(name: str, value: float, expected: str):
    assert SET[name].classify(np.array([value])) == [expected]


def test_lengths_have_class_and_z_only_in_mm():
    known, unknown = measure([face()], SET, spacing_mm=1.0), measure([face()], SET)
    for frame, unit in ((known, "mm"), (unknown, "px")):
        mw = frame[frame["measurement"] == "MW"].iloc[0]
        assert mw["unit"] == unit
        assert (mw["class"] != "") == (unit == "mm")
    assert np.isfinite(known[known["measurement"] == "S-N"]["z"]).all()
    assert unknown[unknown["measurement"] == "S-N"]["z"].isna().all()
    angles = unknown[unknown["measurement"] == "gonial angle"].iloc[0]
    norm = SET["gonial angle"].norm
    assert norm is not None
    assert angles["z"] == pytest.approx((angles["value"] - norm.mean) / norm.sd)


def test_landmarks_of_the_schema_and_of_the_challenge_are_found():
    by_name = measure([face(names=SCHEMA)], SET, spacing_mm=1.0)
    by_number = measure([face(names=tuple(map(str, range(1, 20))))], SET, spacing_mm=1.0)
    assert list(by_name["value"]) == list(by_number["value"]) == list(values(FACE).values())


def test_a_landmark_that_is_not_visible_or_not_there_empties_what_needs_it_and_says_so():
    hidden = FACE.copy()
    hidden[SYMBOLS.index("Go")] = np.nan
    frame = measure([face("a.png"), face("b.png", hidden)], SET, spacing_mm=1.0).set_index(
        ["image", "measurement"]
    )
    assert frame.loc[("b.png", "gonial angle"), "flag"] == "Go not visible"
    assert math.isnan(frame.loc[("b.png", "gonial angle"), "value"])
    assert frame.loc[("a.png", "gonial angle"), "flag"] == ""
    assert frame.loc[("b.png", "SNA"), "value"] == frame.loc[("a.png", "SNA"), "value"]
    few = LandmarkTable.from_sets([replace(face(), names=SYMBOLS[:6], xy=FACE[:6])])
    less = measure(few, SET, spacing_mm=1.0).set_index("measurement")
    assert less.loc["FHI", "flag"] == "Me, Go not in the table"
    assert np.isfinite(less.loc["SNA", "value"])


def test_a_landmark_that_nobody_was_asked_for_is_not_called_hidden():
    one = face("a.png")
    asked = np.array([name != "Go" for name in SYMBOLS])
    partly = replace(one, xy=np.where(asked[:, None], one.xy, np.nan), asked=asked)
    frame = measure([partly], SET, spacing_mm=1.0).set_index("measurement")
    assert frame.loc["gonial angle", "flag"] == "Go not asked"


def test_points_that_coincide_are_named():
    same = FACE.copy()
    same[SYMBOLS.index("A")] = same[SYMBOLS.index("N")]
    frame = measure([face(xy=same)], SET, spacing_mm=1.0).set_index("measurement")
    assert math.isnan(frame.loc["SNA", "value"])
    assert "coincide" in frame.loc["SNA", "flag"]


def test_doubtful_landmarks_are_flagged_in_mm_in_px_and_by_a_limit_of_one_s_own():
    one = face(error=1.0)
    one.expected_error[SYMBOLS.index("Go")] = 4.5
    calm = [face(f"{k}.png", error=1.0) for k in range(4)]
    in_mm = measure([*calm, one], SET, spacing_mm=0.5).set_index(["image", "measurement"])
    assert in_mm.loc[("a.png", "gonial angle"), "flag"] == "Go doubtful"
    assert in_mm.loc[("a.png", "SNA"), "flag"] == ""
    in_px = measure([*calm, one], SET, spacing_mm={}).set_index(["image", "measurement"])
    assert in_px.loc[("a.png", "gonial angle"), "flag"] == "Go doubtful"
    strict = measure([one], SET, spacing_mm=0.5, doubtful=0.9)
    assert (strict["flag"] != "").all()


def test_without_a_spacing_the_unit_of_expected_errors_is_unknown_and_there_are_no_intervals():
    assert measure([face(error=1.0)], SET)["standard_error"].isna().all()
    assert measure([face(error=1.0)], SET, spacing_mm={})["standard_error"].notna().all()


def test_expected_errors_that_state_px_are_turned_to_mm_with_the_points():
    axes = np.column_stack([np.full(19, 3.0), np.full(19, 1.5), np.full(19, 30.0)])
    in_px = replace(face(error=2.0), ellipse=axes, unit="px")
    in_mm = replace(face(error=0.2), ellipse=axes * (0.1, 0.1, 1), unit="mm")
    columns = ["value", "standard_error", "low", "high", "flag"]
    ours, theirs = (measure([one], SET, spacing_mm=0.1)[columns] for one in (in_px, in_mm))
    assert ours["standard_error"].notna().all()
    pandas.testing.assert_frame_equal(ours, theirs)
    only = [replace(face(error=size), unit=unit) for size, unit in ((50.0, "px"), (5.0, "mm"))]
    for one in only:
        assert (measure([one], SET, spacing_mm=0.1)["flag"] != "").all(), "5 mm are doubtful"


def test_errors_along_both_axes_of_pixels_that_are_not_square_are_turned_to_mm():
    lying = np.column_stack([np.full(19, 2.0), np.full(19, 1.0), np.zeros(19)])
    wide = replace(face(xy=FACE * (2.0, 1.0), error=1.0), ellipse=lying, unit="px")
    round_ = replace(
        face(error=1.0), ellipse=np.column_stack([np.ones(19), np.ones(19), np.zeros(19)]), unit="mm"
    )
    found, expected = measure([wide], SET, spacing_mm=(0.5, 1.0)), measure([round_], SET, spacing_mm=1.0)
    np.testing.assert_allclose(found["standard_error"], expected["standard_error"])


@pytest.mark.parametrize(("unit", "known"), [("px", True), ("mm", False)])
def test_without_a_spacing_expected_errors_count_where_they_state_px(unit: str, known: bool):
    frame = measure([replace(face(error=1.0), unit=unit)], SET)
    assert frame["standard_error"].notna().all() == known
    assert frame["standard_error"].notna().any() == known


def test_points_that_a_person_placed_have_no_interval():
    assert measure([face()], SET, spacing_mm=1.0)["low"].isna().all()


def test_the_expected_error_is_the_mean_length_of_the_error():
    text = (
        '[landmarks]\nA = []\nB = []\n[[measurement]]\nname = "d"\nformula = "distance(A, B)"\nunit = "mm"\n'
    )
    pair = face(xy=np.array([[0.0, 0.0], [100.0, 0.0]]), error=1.0, names=("A", "B"))
    frame = measure([pair], parse_set(text, "d", "d"), spacing_mm=1.0)
    draws = np.random.default_rng(0).normal(0, frame["standard_error"][0] / math.sqrt(2), (100_000, 2))
    assert np.hypot(*draws.T).mean() == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("error", [0.5, 1.5, 3.0])
@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_intervals_agree_with_sampling(error: float, coverage: float):
    frame = measure([face(error=error)], SET, spacing_mm=1.0, coverage=coverage).set_index("measurement")
    rng = np.random.default_rng(1)
    moved = FACE + rng.normal(0, error / math.sqrt(math.pi / 2), (10_000, *FACE.shape))
    drawn = measure([face(f"{k}", xy) for k, xy in enumerate(moved)], SET, spacing_mm=1.0)
    for name, rows in drawn.groupby("measurement"):
        low, high = np.quantile(rows["value"], (0.5 - coverage / 2, 0.5 + coverage / 2))
        width = frame.loc[name, "high"] - frame.loc[name, "low"]
        assert width == pytest.approx(high - low, rel=0.05), name
        assert frame.loc[name, "standard_error"] == pytest.approx(rows["value"].std(), rel=0.06), name


def test_a_distance_smaller_than_its_errors_is_sampled():
    frame = measure([face(error=2.0)], SET, spacing_mm=1.0).set_index("measurement")
    assert frame.loc["MW", "interval"] == "sampled"
    assert frame.loc["SNA", "interval"] == "first order"
    again = measure([face(error=2.0)], SET, spacing_mm=1.0).set_index("measurement")
    assert again.loc["MW", "low"] == frame.loc["MW", "low"]


def test_an_angle_near_180_degrees_is_sampled():
    straight = FACE.copy()
    straight[SYMBOLS.index("Ar")] = (straight[SYMBOLS.index("S")] + straight[SYMBOLS.index("Go")]) / 2 - (
        3,
        0,
    )
    row = (
        measure([face(xy=straight, error=1.5)], SET, spacing_mm=1.0)
        .set_index("measurement")
        .loc["articular angle"]
    )
    assert row["interval"] == "sampled"
    assert row["high"] <= 180


@pytest.mark.parametrize("rise", [0.5, -0.5])
def test_a_signed_angle_near_180_degrees_has_an_interval_across_it(rise: float):
    row = measure([opposite("a.png", rise, 2.0)], parse_set(OPPOSITE, "o", "o"), spacing_mm=1.0).iloc[0]
    assert row["value"] == pytest.approx(math.copysign(179.71, rise), abs=0.01)
    # Each end of both lines of 100 mm may lie 2 mm off, on average.
    expected = math.degrees(2 * 2.0 / math.sqrt(math.pi / 2) / 100)
    assert row["standard_error"] == pytest.approx(expected, rel=0.05)
    for end, way in (("low", -1.96), ("high", 1.96)):
        assert row[end] == pytest.approx(row["value"] + way * expected, abs=0.3)


def test_incisal_edges_in_one_place_have_an_interval_all_the_same():
    same = FACE.copy()
    same[SYMBOLS.index("U1")] = same[SYMBOLS.index("L1")]
    mw = measure([face(xy=same, error=1.0)], SET, spacing_mm=1.0).set_index("measurement").loc["MW"]
    assert (mw["value"], mw["class"]) == (0.0, "2")
    assert mw["low"] < 0 < mw["high"]


def test_ellipses_go_before_the_expected_error():
    long = {("a.png", name): (3.0, 0.001, 0.0) for name in SYMBOLS}  # along x alone
    plain = measure([face(error=1.0)], SET, spacing_mm=1.0).set_index("measurement")
    frame = measure([face(error=1.0)], SET, spacing_mm=1.0, ellipses=long).set_index("measurement")
    assert frame.loc["N-Me", "standard_error"] < plain.loc["N-Me", "standard_error"]  # mostly along y
    assert frame.loc["S-N", "standard_error"] > plain.loc["S-N", "standard_error"]


def test_the_angle_of_an_ellipse_turns_from_x_to_y():
    turned_up = to_covariance(np.array([2.0, 1.0, 30.0]))
    axis = np.array([math.cos(math.radians(30)), math.sin(math.radians(30))])
    assert axis @ turned_up @ axis == pytest.approx(4.0)
    assert np.linalg.det(turned_up) == pytest.approx(4.0)


def test_the_tidy_frame_goes_image_by_image_in_the_order_of_the_table():
    frame = measure(faces(3), SET, spacing_mm=1.0)
    assert list(frame["image"].unique()) == ["0.png", "1.png", "2.png"]
    assert list(frame["measurement"][: len(SET.measurements)]) == [one.name for one in SET.measurements]
    assert len(frame) == 3 * len(SET.measurements)


def test_the_wide_frame_has_a_row_per_radiograph_and_the_unit_in_the_name():
    hidden = FACE.copy()
    hidden[SYMBOLS.index("Go")] = np.nan
    frame = measure([face("a.png", error=1.0), face("b.png", hidden)], SET, spacing_mm={"a.png": (1.0, 1.0)})
    wide = widen(frame).set_index("image")
    assert list(wide.index) == ["a.png", "b.png"]
    assert np.isfinite(wide.loc["a.png", "S-N_mm"])
    assert np.isfinite(wide.loc["b.png", "S-N_px"])
    assert math.isnan(wide.loc["b.png", "S-N_mm"])
    assert {"SNA_deg", "SNA_se", "SNA_class", "gonial angle_z", "LFH_percent", "FHI"} <= set(wide.columns)
    assert wide.loc["b.png", "flags"] == "Go not visible"
    assert wide.loc["a.png", "flags"] == ""


@pytest.mark.parametrize("coverage", [0.0, 1.0, 95.0])
def test_a_coverage_is_a_share(coverage: float):
    with pytest.raises(UserError, match="share"):
        measure([face()], SET, coverage=coverage)


def test_a_mapping_of_spacings_may_hold_one_number():
    one, both = (measure([face(error=1.0)], SET, spacing_mm={"a.png": mm}) for mm in (0.5, (0.5, 0.5)))
    pandas.testing.assert_frame_equal(one, both)
    assert set(one[one["measurement"] == "S-N"]["unit"]) == {"mm"}
    with pytest.raises(UserError, match="positive numbers of mm per pixel"):
        measure([face()], SET, spacing_mm={"a.png": 0})


def test_an_empty_table_is_refused():
    with pytest.raises(UserError, match="empty"):
        measure([], SET)
