from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from onemark.data.cohort import open_cohort
from onemark.data.keys import canonical, image_key
from onemark.data.landmarks.table import LandmarkTable, read_landmarks
from onemark.data.landmarks.units import in_one_unit
from onemark.types import LandmarkSet, UserError

Folder = Callable[..., Path]
NAN = (math.nan, math.nan)


def landmarks(image: str, **points: tuple[float, float]) -> LandmarkSet:
    return LandmarkSet(image, tuple(points), np.array(list(points.values()), float).reshape(-1, 2))


def assert_same(one: LandmarkTable, two: LandmarkTable, atol: float = 0.0) -> None:
    """Same images, names and numbers; NaN equals NaN."""
    assert one.names == two.names
    assert one.images == two.images
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a.xy, b.xy, rtol=0, atol=atol)
        np.testing.assert_array_equal(a.score, b.score)
        np.testing.assert_array_equal(a.expected_error, b.expected_error)


def test_sets_are_aligned_to_all_names_in_order_of_appearance() -> None:
    table = LandmarkTable.from_sets(
        [landmarks("b.png", s=(1, 2), a=(3, 4)), landmarks("a.png", n=(5, 6), a=(7, 8))]
    )
    assert table.names == ("s", "a", "n")
    assert table.images == ("b.png", "a.png")
    assert len(table) == 2
    np.testing.assert_array_equal(table["a.png"].xy, [NAN, (7, 8), (5, 6)])
    np.testing.assert_array_equal(table["b.png"].xy, [(1, 2), (3, 4), NAN])


def test_scores_are_aligned_and_stay_away_where_a_person_placed_the_points() -> None:
    found = LandmarkSet("a.png", ("n",), np.ones((1, 2)), np.array([0.5]), np.array([2.0]))
    table = LandmarkTable.from_sets([landmarks("b.png", s=(1, 2)), found])
    np.testing.assert_array_equal(table["a.png"].score, [math.nan, 0.5])
    np.testing.assert_array_equal(table["a.png"].expected_error, [math.nan, 2.0])
    assert table["b.png"].score.size == table["b.png"].expected_error.size == 0


def test_lookup_by_any_spelling() -> None:
    table = LandmarkTable.from_sets([landmarks(unicodedata.normalize("NFD", "sub/ö.png"), a=(1, 2))])
    assert table.images == ("sub/ö.png",)
    assert table["sub\\ö.png"].image == "sub/ö.png"
    assert unicodedata.normalize("NFD", "sub/ö.png") in table
    assert "b.png" not in table
    with pytest.raises(KeyError):
        table["b.png"]


def test_with_set_adds_and_replaces_without_changing_the_old_table() -> None:
    old = LandmarkTable.from_sets([landmarks("a.png", s=(1, 2)), landmarks("b.png", s=(3, 4))])
    new = old.with_set(landmarks("a.png", s=(9, 9))).with_set(landmarks("c.png", t=(5, 6)))
    assert new.images == ("a.png", "b.png", "c.png")
    np.testing.assert_array_equal(new["a.png"].xy, [(9, 9), NAN])
    np.testing.assert_array_equal(old["a.png"].xy, [(1, 2)])


def test_merged_the_other_wins_per_image() -> None:
    mine = LandmarkTable.from_sets([landmarks("a.png", s=(1, 2), t=(1, 1)), landmarks("b.png", s=(3, 4))])
    other = LandmarkTable.from_sets([landmarks("c.png", s=(5, 6)), landmarks("a.png", s=(7, 8))])
    merged = mine.merged(other)
    assert merged.images == ("a.png", "b.png", "c.png")
    np.testing.assert_array_equal(merged["a.png"].xy, [(7, 8), NAN])
    np.testing.assert_array_equal(merged["b.png"].xy, [(3, 4), NAN])


def test_merged_does_not_hide_what_only_the_other_table_knows() -> None:
    mine = LandmarkTable.from_sets([landmarks("a.png", s=(1, 2), t=NAN)])
    other = LandmarkTable.from_sets([landmarks("b.png", s=(5, 6), u=(7, 8))])
    merged = mine.merged(other)
    assert merged.names == ("s", "t", "u")
    assert merged["a.png"].hidden_names == ("t",)
    assert merged["b.png"].hidden_names == ()
    assert merged["b.png"].answered_names == {"s", "u"}


def test_merged_predictions_keep_their_scores() -> None:
    mine = LandmarkTable.from_sets([replace(landmarks("a.png", s=(1, 2)), score=np.array([0.5]))])
    merged = mine.with_set(landmarks("b.png", s=(5, 6), t=(7, 8)))
    np.testing.assert_array_equal(merged["a.png"].score, [0.5, math.nan])
    assert not merged["a.png"].asked.size


def test_the_same_image_or_name_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"'a\.png' twice"):
        LandmarkTable.from_sets([landmarks("a.png", s=(1, 2)), landmarks(" a.png", s=(1, 2))])
    with pytest.raises(UserError, match="a landmark name twice"):
        LandmarkTable.from_sets([landmarks("a.png", **{"s": (1, 2), " s ": (3, 4)})])


# Frames and files


def test_frame_of_a_persons_points_has_four_columns() -> None:
    frame = LandmarkTable.from_sets([landmarks("001.png", **{"1": (1, 2), "2": NAN})]).to_frame()
    assert list(frame.columns) == ["image", "landmark", "x", "y"]
    assert frame["image"].tolist() == ["001.png", "001.png"]
    assert frame["landmark"].tolist() == ["1", "2"]
    assert frame["x"].isna().tolist() == [False, True]


def test_frame_with_scores_and_mm() -> None:
    found = LandmarkSet("a.png", ("s",), np.array([[10.0, 20.0]]), np.array([0.5]), np.array([2.0]))
    table = LandmarkTable.from_sets([found, landmarks("b.png", s=(1, 2)), landmarks("c.png", s=(1, 2))])
    frame = table.to_frame({"a.png": (0.1, 0.2), "b.png": None})
    assert list(frame.columns) == ["image", "landmark", "x", "y", "score", "expected_error", "x_mm", "y_mm"]
    assert frame.loc[0, ["x_mm", "y_mm", "score", "expected_error"]].tolist() == [1.0, 4.0, 0.5, 2.0]
    assert frame.loc[1:, ["x_mm", "y_mm", "score"]].isna().all(axis=None)


def test_csv_text(tmp_path: Path) -> None:
    found = LandmarkSet(
        "a,1.png", ("s", "t"), np.array([[0.1, 20.0], NAN]), np.array([0.5, 0.25]), np.array([2.0, 3.0])
    )
    LandmarkTable.from_sets([found]).to_csv(tmp_path / "l.csv", {"a,1.png": (0.5, 0.5)})
    assert (tmp_path / "l.csv").read_text() == (
        "image,landmark,x,y,score,expected_error,x_mm,y_mm\n"
        '"a,1.png",s,0.1,20.0,0.5,2.0,0.05,10.0\n'
        '"a,1.png",t,,,0.25,3.0,,\n'
    )


def test_an_empty_table_writes_its_header(tmp_path: Path) -> None:
    LandmarkTable.from_sets([]).to_csv(tmp_path / "l.csv")
    assert (tmp_path / "l.csv").read_text() == "image,landmark,x,y\n"
    with pytest.raises(UserError, match="holds no landmarks"):
        read_landmarks(tmp_path / "l.csv")


NAMES = st.one_of(
    st.sampled_from(
        ["a, b", 'say "x"', " blank ", "1", "001", "Ö·№", "a\nb", "x;y", "NA", "nan", "image", "٣"]
    ),
    st.text(st.characters(exclude_categories=()), min_size=1, max_size=12),
)
FLOATS = st.floats(-1e9, 1e9)
ERRORS = st.one_of(st.just(math.nan), st.floats(0, 1e9))
POINTS = st.one_of(st.just(NAN), st.tuples(FLOATS, FLOATS))
EXTRA = st.one_of(st.just(math.nan), FLOATS)


@st.composite
def tables(draw: st.DrawFn, points: st.SearchStrategy[tuple[float, float]] = POINTS) -> LandmarkTable:
    images = draw(
        st.lists(NAMES, min_size=1, max_size=4, unique_by=image_key).filter(lambda n: all(map(image_key, n)))
    )
    names = draw(
        st.lists(NAMES, min_size=1, max_size=4, unique_by=canonical).filter(lambda n: all(map(canonical, n)))
    )
    sets = []
    for image in images:
        xy = np.array([draw(points) for _ in names], float).reshape(-1, 2)
        extras = [
            np.array([draw(extra) for _ in names]) if draw(st.booleans()) else np.empty(0)
            for extra in (EXTRA, ERRORS)
        ]
        sets.append(LandmarkSet(image, tuple(names), xy, *extras))
    return LandmarkTable.from_sets(sets)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(table=tables())
def test_csv_round_trip_is_exact(tmp_path: Path, table: LandmarkTable) -> None:
    table.to_csv(tmp_path / "l.csv")
    assert_same(read_landmarks(tmp_path / "l.csv"), table)


# Against a cohort


def table_of(text: str, tmp_path: Path) -> LandmarkTable:
    (tmp_path / "exemplar.csv").write_text("image,landmark,x,y\n" + text)
    return read_landmarks(tmp_path / "exemplar.csv")


def test_checked_completes_names_and_keeps_points(folder: Folder, tmp_path: Path) -> None:
    cohort = open_cohort(folder("001.png", "sub/a.png"))
    table = table_of("001,s,1,2\nsub\\a.png,s,3,4\nsub\\a.png,t,,\n", tmp_path).checked(cohort)
    assert table.images == ("001.png", "sub/a.png")
    np.testing.assert_array_equal(table["sub/a.png"].xy, [(3, 4), NAN])


def test_a_name_with_another_folder_is_told(folder: Folder, tmp_path: Path) -> None:
    cohort = open_cohort(folder("patient 7/lateral.png", "patient 8/frontal.png", "side.png"))
    rows = [
        "image,landmark,x,y",
        "patient 9/lateral.png,a,1,2",
        "x/patient 8/frontal.png,a,1,2",
        "y/side,a,1,2",
    ]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    with pytest.warns(UserWarning, match="was taken for") as told:
        table = read_landmarks(tmp_path / "t.csv", cohort)
    assert table.images == ("patient 7/lateral.png", "patient 8/frontal.png", "side.png")
    (sentence,) = [str(one.message) for one in told]
    assert "'patient 9/lateral.png' was taken for 'patient 7/lateral.png', which lies in another" in sentence


def test_checked_takes_the_edge_of_the_edge_pixels(folder: Folder, tmp_path: Path) -> None:
    cohort = open_cohort(folder("a.png"))
    table = table_of("a.png,s,-0.5,-0.5\na.png,t,59.5,39.5\n", tmp_path)
    assert_same(table.checked(cohort), table)


@pytest.mark.parametrize("point", ["-0.51,0", "59.51,0", "0,-0.51", "0,39.51", "1e9,3"])
def test_checked_refuses_points_outside(folder: Folder, tmp_path: Path, point: str) -> None:
    cohort = open_cohort(folder("a.png"))
    table = table_of(f"a.png,sella,{point}\n", tmp_path)
    with pytest.raises(
        UserError, match=r"exemplar\.csv: landmark 'sella' of 'a\.png' lies at .* of 60 x 40 px"
    ):
        table.checked(cohort)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("b.png,s,1,2", r"exemplar\.csv: no radiograph 'b\.png' in .*xrays"),
        ("twin,s,1,2", r"'twin' may be any of twin\.bmp, twin\.png .*with its suffix"),
        ("a.png,s,,", r"'a\.png' has no visible landmark; place at least one"),
        ("a,s,1,2\na.png,s,3,4", r"exemplar\.csv has the image 'a\.png' twice"),
        ("bad.png,s,1,2", r"bad\.png is damaged or cut off"),
    ],
)
def test_checked_refuses(folder: Folder, tmp_path: Path, rows: str, words: str) -> None:
    where = folder("a.png", "twin.png", "twin.bmp")
    (where / "bad.png").write_bytes(b"\x89PNG")
    table = table_of(rows + "\n", tmp_path)
    with pytest.raises(UserError, match=words):
        table.checked(open_cohort(where))


def test_checked_refuses_an_empty_table(folder: Folder) -> None:
    with pytest.raises(UserError, match="place at least one"):
        LandmarkTable.from_sets([]).checked(open_cohort(folder("a.png")))


@given(text=st.text())
def test_keys_do_not_change_twice(text: str) -> None:
    for key in (canonical, image_key):
        once = key(text)
        assert key(once) == once
        assert once.encode().decode() == once
        assert once == once.strip()


def test_an_image_needs_a_name() -> None:
    with pytest.raises(UserError, match="is no image name"):
        LandmarkTable.from_sets([landmarks("./ ", s=(1, 2))])


# Units of expected errors


def test_expected_errors_of_mixed_units_compare_in_px(tmp_path: Path, folder: Folder) -> None:
    where = folder("a.png")
    Image.open(where / "a.png").save(where / "b.png", dpi=(254, 254))
    cohort = open_cohort(where)
    sets = [
        LandmarkSet(name, ("s",), np.ones((1, 2)), np.array([0.5]), np.array([error]), unit)
        for name, error, unit in (("a.png", 3.14, "px"), ("b.png", 0.314, "mm"))
    ]
    unit, found = in_one_unit(sets, cohort)
    assert (unit, [one.unit for one in found]) == ("px", ["px", "px"])
    np.testing.assert_allclose([one.expected_error[0] for one in found], 3.14, rtol=1e-3)
    assert in_one_unit(sets[1:], cohort)[0] == "mm"
    table = LandmarkTable.from_sets(sets)
    table.to_csv(tmp_path / "l.csv")
    assert (tmp_path / "l.csv").read_text().splitlines()[:2] == [
        "image,landmark,x,y,score,expected_error,unit",
        "a.png,s,1.0,1.0,0.5,3.14,px",
    ]
    assert [one.unit for one in read_landmarks(tmp_path / "l.csv")] == ["px", "mm"]
    assert table.to_frame()["unit"].tolist() == ["px", "mm"]
