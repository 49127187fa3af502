from __future__ import annotations

import csv
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from onemark.data.cohort import Cohort, open_cohort
from onemark.data.keys import canonical
from onemark.data.landmarks.convert import write_landmarks
from onemark.data.landmarks.table import LandmarkTable, read_landmarks
from onemark.types import LandmarkSet, UserError

Folder = Callable[..., Path]
NAN = (math.nan, math.nan)
SUFFIXES = [".csv", ".mrk.json", ".tps", ".json"]


@pytest.fixture
def cohort(folder: Folder) -> Cohort:
    """Three radiographs of 60 x 40 px, 0.1 x 0.2 mm per pixel."""
    return open_cohort(folder("a 1.png", "sub/é.png", "c.png"), spacing_mm=(0.1, 0.2))


@pytest.fixture
def table() -> LandmarkTable:
    found = LandmarkSet(
        "sub/é.png",
        ("sella", "7, left"),
        np.array([[59.25, 39.125], NAN]),
        np.array([0.5, 0.125]),
        np.array([2.0, math.nan]),
    )
    return LandmarkTable.from_sets(
        [LandmarkSet("a 1.png", found.names, np.array([[1.5, 2], [3, 4.25]])), found]
    )


def assert_same(one: LandmarkTable, two: LandmarkTable, scores: bool = True) -> None:
    assert one.names == two.names
    assert one.images == two.images
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a.xy, b.xy, rtol=0, atol=1e-6)
        if scores:
            np.testing.assert_allclose(a.score, b.score, rtol=0, atol=1e-6)
            np.testing.assert_allclose(a.expected_error, b.expected_error, rtol=0, atol=1e-6)


def back(files: tuple[Path, ...], path: Path) -> LandmarkTable:
    return read_landmarks(
        files[0] if len(files) == 1 else path.with_name(path.name.removesuffix(".mrk.json"))
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_written_files_read_back_without_the_cohort(
    tmp_path: Path, cohort: Cohort, table: LandmarkTable, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    assert_same(back(write_landmarks(table, path, cohort=cohort), path), table, scores=suffix != ".tps")


@pytest.mark.parametrize("unit", ["px", "mm", ""])
@pytest.mark.parametrize("suffix", [".csv", ".mrk.json", ".json"])
def test_the_unit_of_expected_errors_is_kept(
    tmp_path: Path, cohort: Cohort, table: LandmarkTable, suffix: str, unit: str
) -> None:
    path = tmp_path / f"out{suffix}"
    stated = table.with_set(replace(table["sub/é.png"], unit=unit))
    found = back(write_landmarks(stated, path, cohort=cohort), path)
    assert_same(found, stated)
    assert [one.unit for one in found] == ["", unit]


NAMES = st.lists(
    st.text(st.characters(exclude_categories=()), min_size=1, max_size=8).filter(canonical),
    min_size=1,
    max_size=4,
    unique_by=canonical,
)
INSIDE = st.tuples(st.floats(-0.5, 59.5), st.floats(-0.5, 39.5))


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(data=st.data())
def test_round_trip(tmp_path: Path, cohort: Cohort, suffix: str, data: st.DataObject) -> None:
    names = tuple(data.draw(NAMES))
    count = data.draw(st.integers(1, 3))
    sets = []
    for image in cohort.names[:count]:
        xy = [data.draw(st.one_of(st.just(NAN), INSIDE)) for _ in names]
        sets.append(LandmarkSet(image, names, np.array(xy)))
    expected = LandmarkTable.from_sets(sets)
    with tempfile.TemporaryDirectory(dir=tmp_path) as fresh:
        path = Path(fresh) / f"out{suffix}"
        assert_same(back(write_landmarks(expected, path, cohort=cohort), path), expected)


# CSV


def test_csv_needs_no_cohort_and_mm_needs_one(tmp_path: Path, cohort: Cohort, table: LandmarkTable) -> None:
    assert write_landmarks(table, tmp_path / "px.csv") == (tmp_path / "px.csv",)
    assert (tmp_path / "px.csv").read_text().startswith("image,landmark,x,y,score,expected_error\n")
    write_landmarks(table, tmp_path / "mm.csv", cohort=cohort, mm=True)
    assert "a 1.png,sella,1.5,2.0,,,0.15000000000000002,0.4\n" in (tmp_path / "mm.csv").read_text()
    with pytest.raises(UserError, match="give their folder"):
        write_landmarks(table, tmp_path / "no.csv", mm=True)
    with pytest.raises(UserError, match=r"no radiograph in .* tells its pixel spacing"):
        write_landmarks(table, tmp_path / "no.csv", mm=True, cohort=open_cohort(cohort.folder))
    assert not (tmp_path / "no.csv").exists()


@pytest.mark.parametrize(("option", "what"), [("mm", "x and y in mm"), ("safe_csv", "safe names")])
def test_what_only_csv_has_a_place_for_is_refused_elsewhere(
    option: str, what: str, tmp_path: Path, cohort: Cohort, table: LandmarkTable
) -> None:
    with pytest.raises(UserError, match=f"t.tps has no place for {what}"):
        write_landmarks(table, tmp_path / "t.tps", cohort=cohort, **{option: True})
    assert not (tmp_path / "t.tps").exists()


def test_names_that_differ_in_case_alone_keep_their_suffixes(tmp_path: Path, folder: Folder) -> None:
    cohort = open_cohort(folder("P1.png", "p1.bmp"))
    one = LandmarkSet("P1.png", ("a", "b"), np.array([(1.0, 2.0), (3.0, 4.0)]))
    table = LandmarkTable.from_sets([one, replace(one, image="p1.bmp")])
    files = write_landmarks(table, tmp_path / "out.pts", cohort=cohort)
    assert len({str(file).casefold() for file in files}) == 2


def test_the_pixels_of_a_radiograph_that_has_gone_are_still_written(
    tmp_path: Path, folder: Folder, table: LandmarkTable
) -> None:
    cohort = open_cohort(folder("a 1.png", "sub/é.png"))
    for name, dpi in (("a 1.png", 254), ("sub/é.png", 254)):
        with Image.open(cohort.path(name)) as image:
            image.save(cohort.path(name), dpi=(dpi, dpi))
    cohort.path("sub/é.png").unlink()
    with pytest.warns(UserWarning, match="has no mm of sub/é.png, only pixels"):
        write_landmarks(table, tmp_path / "mm.csv", cohort=cohort, mm=True)
    rows = list(csv.DictReader((tmp_path / "mm.csv").open(encoding="utf-8")))
    assert [(row["x"], bool(row["x_mm"])) for row in rows if row["landmark"] == "sella"] == [
        ("1.5", True),
        ("59.25", False),
    ]


# Slicer


def test_slicer_positions_are_mm_in_lps(tmp_path: Path, cohort: Cohort, table: LandmarkTable) -> None:
    files = write_landmarks(table, tmp_path / "out.mrk.json", cohort=cohort)
    assert files == (tmp_path / "out" / "a 1.png.mrk.json", tmp_path / "out" / "sub" / "é.png.mrk.json")
    (markup,) = json.loads(files[1].read_text("utf-8"))["markups"]
    assert (markup["type"], markup["coordinateSystem"], markup["coordinateUnits"]) == (
        "Fiducial",
        "LPS",
        "mm",
    )
    first, second = markup["controlPoints"]
    assert first["label"] == "sella"
    # A PNG lies at 1 mm per pixel in Slicer, whatever spacing was given.
    assert first["position"] == pytest.approx([59.25, 39.125, 0.0])
    assert first["positionStatus"] == "defined"
    assert first["description"] == "score=0.5; expected_error=2.0"
    assert second["positionStatus"] == "undefined"


def test_slicer_one_image_is_one_file_and_unknown_spacing_counts_as_one(
    tmp_path: Path, cohort: Cohort, table: LandmarkTable
) -> None:
    one = LandmarkTable.from_sets([table["a 1.png"]])
    files = write_landmarks(one, tmp_path / "p.mrk.json", cohort=open_cohort(cohort.folder))
    assert files == (tmp_path / "p.mrk.json",)
    document = json.loads(files[0].read_text())
    assert document["onemark"] == {
        "image": "a 1.png",
        "origin": [0, 0, 0],
        "spacing": [1, 1, 1],
        "direction": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    }
    assert document["markups"][0]["controlPoints"][0]["position"] == [1.5, 2.0, 0.0]
    assert_same(read_landmarks(files[0]), one)


def slicer_file(path: Path, markup: dict[str, Any]) -> Path:
    """As Slicer writes it: nothing of onemark's in it."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"@schema": "x", "markups": [{"type": "Fiducial", **markup}]}))
    return path


@pytest.mark.parametrize(
    ("system", "units", "position"),
    [
        ("LPS", "mm", [1.0, 2.0, 0.0]),
        ("RAS", "mm", [-1.0, -2.0, 0.0]),
        ("LPS", "um", [1000.0, 2000.0, 0.0]),
        ("LPS", ["mm", "UCUM", "millimeter"], [1.0, 2.0, 0.0]),
    ],
)
def test_slicers_own_files_take_image_and_spacing_from_name_and_cohort(
    tmp_path: Path, cohort: Cohort, system: str, units: object, position: list[float]
) -> None:
    points = [
        {"label": "s", "position": position, "positionStatus": "defined"},
        {"label": "", "position": [0, 0, 0], "positionStatus": "undefined"},
        {"label": "gone", "position": [0, 0, 0], "positionStatus": "missing", "description": "not asked"},
        {"label": "open", "position": [0, 0, 0], "positionStatus": "undefined", "description": "not asked"},
    ]
    markup = {"coordinateSystem": system, "coordinateUnits": units, "controlPoints": points}
    path = slicer_file(tmp_path / "edited" / "c.png.mrk.json", markup)
    table = read_landmarks(path, cohort)
    assert table.images == ("c.png",)
    assert table.names == ("s", "2", "gone", "open")
    np.testing.assert_allclose(table["c.png"].xy, [(1, 2), NAN, NAN, NAN])
    assert table["c.png"].answered_names == {"s", "2", "gone"}, "missing is what was looked for in vain"
    assert read_landmarks(path.parent, cohort).images == ("c.png",)
    with pytest.raises(
        UserError, match=r"c\.png\.mrk\.json: .*the pixel spacing is not known; give the folder"
    ):
        read_landmarks(path)


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ({"controlPoints": []}, "holds no landmarks"),
        ({"controlPoints": [{"label": "s", "position": [1, "b", 0]}]}, "'b' where a number belongs"),
        ({"controlPoints": [{"label": "s", "position": [1]}]}, "no valid markups file"),
        ({"controlPoints": [{"label": "s", "position": [1, 10**400, 0]}]}, "a number of 401 digits"),
        ({"controlPoints": "none"}, "no valid markups file"),
        (
            {"coordinateUnits": "mile", "controlPoints": [{"label": "s", "position": [1, 2, 0]}]},
            "in the unit 'mile'",
        ),
        (
            {"controlPoints": [{"label": "s", "position": [1, 2, 0]}] * 2},
            "control point 2: landmark 's' .* twice",
        ),
        (
            {"controlPoints": [{"label": "s", "position": [1, math.inf, 0]}]},
            "Infinity, which is not a finite number",
        ),
        (
            {
                "controlPoints": [
                    {"label": "s", "position": [1, 2, 0], "description": "expected_error_unit=cm"}
                ]
            },
            "has the expected_error_unit cm; give mm or px",
        ),
    ],
)
def test_bad_slicer_files(tmp_path: Path, cohort: Cohort, markup: dict[str, Any], words: str) -> None:
    path = slicer_file(tmp_path / "c.mrk.json", markup)
    with pytest.raises(UserError, match=words) as caught:
        read_landmarks(path, cohort)
    assert str(caught.value).startswith(str(path))


# TPS


def test_tps_text(tmp_path: Path, cohort: Cohort, table: LandmarkTable) -> None:
    square = replace(cohort, spacing_mm=(0.1, 0.1))
    write_landmarks(table, tmp_path / "o.tps", cohort=square)
    assert (tmp_path / "o.tps").read_bytes().decode().split("\r\n") == [
        "LM=2",
        "1.5 38.0",
        "3.0 35.75",
        "IMAGE=a 1.png",
        "ID=0",
        'COMMENT=onemark {"height": 40, "landmarks": ["sella", "7, left"]}',
        "SCALE=0.1",
        "LM=2",
        "59.25 0.875",
        "-1 -1",
        "IMAGE=sub/é.png",
        "ID=1",
        'COMMENT=onemark {"height": 40, "landmarks": ["sella", "7, left"]}',
        "SCALE=0.1",
        "",
    ]


@pytest.mark.parametrize("spacing", [None, (0.1, 0.2)])
def test_tps_has_a_scale_only_for_square_pixels(
    tmp_path: Path, cohort: Cohort, table: LandmarkTable, spacing: tuple[float, float] | None
) -> None:
    write_landmarks(table, tmp_path / "o.tps", cohort=replace(cohort, spacing_mm=spacing))
    assert "SCALE" not in (tmp_path / "o.tps").read_text()


FOREIGN = """lm=3
1.0 38
NA NA
-1.000 -1.000
CURVES=1
POINTS=2
5 5
6 6
IMAGE=C:\\data\\c.png
ID=0
SCALE=0.01

LM=0
IMAGE=empty.png
LM=1
2\t37.5
ID=a 1
"""


def test_foreign_tps_with_the_cohort(tmp_path: Path, cohort: Cohort) -> None:
    (tmp_path / "f.TPS").write_text(FOREIGN)
    table = read_landmarks(tmp_path / "f.TPS", cohort)
    assert table.names == ("1", "2", "3")
    assert table.images == ("c.png", "a 1.png")
    np.testing.assert_array_equal(table["c.png"].xy, [(1, 2), NAN, NAN])
    np.testing.assert_array_equal(table["a 1.png"].xy, [(2, 2.5), NAN, NAN])


def test_a_comment_that_only_looks_like_ours(tmp_path: Path, cohort: Cohort) -> None:
    for comment in ("onemark is great", 'onemark {"height": 9}', "onemark [1]"):
        (tmp_path / "f.tps").write_text(f"LM=1\n1 38\nIMAGE=c.png\nCOMMENT={comment}\n")
        np.testing.assert_array_equal(read_landmarks(tmp_path / "f.tps", cohort)["c.png"].xy, [(1, 2)])


def test_foreign_tps_beside_its_images(cohort: Cohort) -> None:
    path = cohort.folder / "f.tps"
    path.write_text("LM=1\n1 38\nIMAGE=c.png\n")
    np.testing.assert_array_equal(read_landmarks(path)["c.png"].xy, [(1, 2)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("IMAGE=c.png\n", "no LM= line"),
        ("LM=2\n1 2\nIMAGE=c.png\n", "line 1: LM=2, but 1 points"),
        ("\nLM=1\n1 2\n3 4\nIMAGE=c.png\n", "line 2: LM=1, but 2 points"),
        ("LM=x\n", "line 1: LM=x is no number"),
        ("LM=²\n", "line 1: LM=² is no number"),
        ("LM=" + "1" * 5000 + "\n", "line 1: LM=1{20} is no number"),
        ("LM3=1\n1 2 3\n", "line 1: 3-D landmarks"),
        ("LM=1\n1 2\n", "line 1: no IMAGE= and no ID="),
        ("LM=1\n1 two\nIMAGE=c.png\n", "line 2: '1 two' is not a point"),
        ("LM=1\n1 2 3\nIMAGE=c.png\n", "line 2: '1 2 3' is not a point"),
        ("LM=1\n1 inf\nIMAGE=c.png\n", "line 2: '1 inf' is not a point"),
        ("LM=1\n1 2\nIMAGE=zz.png\n", "no radiograph 'zz.png' in"),
        (
            "LM=1\n1 2\nIMAGE=c.png\nLM=1\n1 2\nIMAGE=c.png\n",
            r"line 5: landmark '1' .* twice \(first in line 2\)",
        ),
        ("LM=0\nIMAGE=c.png\n", "holds no landmarks"),
        (
            'LM=1\n1 2\nIMAGE=zz.png\nCOMMENT=onemark {"height": 1e999, "landmarks": ["a"]}\n',
            "no radiograph 'zz.png' in",
        ),
        ('LM=1\n1 2\nIMAGE=c.png\nCOMMENT=onemark {"height": 9, "landmarks": []}\n', "1 points, .* names 0"),
    ],
)
def test_bad_tps_files(tmp_path: Path, cohort: Cohort, text: str, words: str) -> None:
    (tmp_path / "f.tps").write_text(text, "utf-8")
    with pytest.raises(UserError, match=words) as caught:
        read_landmarks(tmp_path / "f.tps", cohort)
    assert str(caught.value).startswith(str(tmp_path / "f.tps"))


def test_foreign_tps_of_an_image_whose_name_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "f.tps").write_text(f"LM=1\n1 2\nIMAGE={'x' * 300}\n")
    with pytest.raises(UserError, match=r"cannot be read \(File name too long\); check the path"):
        read_landmarks(tmp_path / "f.tps")


def test_foreign_tps_without_any_height(tmp_path: Path) -> None:
    (tmp_path / "f.tps").write_text(FOREIGN)
    with pytest.raises(UserError, match=r"y from the bottom .* give the folder of images"):
        read_landmarks(tmp_path / "f.tps")


# COCO


def test_coco_document(tmp_path: Path, cohort: Cohort, table: LandmarkTable) -> None:
    write_landmarks(table, tmp_path / "o.json", cohort=cohort)
    document = json.loads((tmp_path / "o.json").read_text("utf-8"))
    assert document["images"][1] == {"id": 2, "file_name": "sub/é.png", "width": 60, "height": 40}
    assert document["categories"][0]["keypoints"] == ["sella", "7, left"]
    first, second = document["annotations"]
    assert first["keypoints"] == [1.5, 2.0, 2, 3.0, 4.25, 2]
    assert first["bbox"] == [1.5, 2.0, 1.5, 2.25]
    assert "keypoint_scores" not in first
    assert second["keypoints"] == [59.25, 39.125, 2, 0, 0, 0]
    assert second["num_keypoints"] == 1
    assert second["keypoint_scores"] == [0.5, 0.125]
    assert second["expected_errors"] == [2.0, None]


@pytest.mark.parametrize("name", ["o.csv", "o.json"])
def test_ellipses_are_kept(tmp_path: Path, cohort: Cohort, table: LandmarkTable, name: str) -> None:
    ellipse = np.array([[2.5, 1.25, -30.0], [math.nan] * 3])
    shaped = table.with_set(replace(table["sub/é.png"], ellipse=ellipse))
    files = write_landmarks(shaped, tmp_path / name, cohort=cohort)
    read = back(files, tmp_path / name)
    np.testing.assert_array_equal(read["sub/é.png"].ellipse, ellipse)
    assert not read["a 1.png"].ellipse.size


def coco_annotation(**changes: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 7, "category_id": 3, "keypoints": [1, 2, 2, 3, 4, 1, 0, 0, 0], **changes}


def coco_document(**changes: Any) -> dict[str, Any]:
    document = {
        "images": [{"id": 7, "file_name": "c.png"}],
        "categories": [{"id": 3, "name": "x", "keypoints": ["s", "t", "u"]}, {"id": 4, "name": "box"}],
        "annotations": [
            coco_annotation(),
            {"id": 2, "image_id": 7, "category_id": 4, "bbox": [1, 2, 3, 4]},
        ],
    }
    return {**document, **changes}


def test_foreign_coco(tmp_path: Path) -> None:
    (tmp_path / "o.json").write_text(json.dumps(coco_document()))
    table = read_landmarks(tmp_path / "o.json")
    assert table.names == ("s", "t", "u")
    np.testing.assert_array_equal(table["c.png"].xy, [(1, 2), (3, 4), NAN])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"annotations": []}, "holds no landmarks"),
        (
            {"annotations": [{"image_id": 7, "category_id": 3, "keypoints": [1, 2, 2]}]},
            "has 3 keypoint numbers, but",
        ),
        ({"annotations": [{"image_id": 9, "category_id": 3, "keypoints": [1, 2, 2]}]}, "no valid COCO"),
        ({"annotations": [{"category_id": 3, "keypoints": [1, 2, 2]}]}, "no valid COCO .*image_id"),
        ({"annotations": coco_document()["annotations"][:1] * 2}, "landmark 's' is on 'c.png' twice"),
        ({"categories": [{"id": 3, "keypoints": ["s", "s", "t"]}]}, "names a landmark twice"),
        ({"images": None}, "no valid COCO"),
        ({"annotations": [coco_annotation(keypoint_scores=[1])]}, "annotation 1 has 1 keypoint_scores for 3"),
        (
            {"annotations": [coco_annotation(expected_error_unit="cm")]},
            "has the expected_error_unit .cm.; give mm",
        ),
        (
            {"annotations": [coco_annotation(keypoints=[math.inf, 2, 2, *[0] * 6])]},
            "Infinity, which is not a finite number",
        ),
        (
            {"annotations": [{"image_id": 7, "category_id": 3, "keypoints": ["a", 2, 2, *[0] * 6]}]},
            "'a' where a number belongs",
        ),
        ({"annotations": [coco_annotation(keypoints=[10**400, 2, 2, *[0] * 6])]}, "a number of 401 digits"),
    ],
)
def test_bad_coco_files(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = tmp_path / "o.json"
    path.write_text(json.dumps(coco_document(**changes)))
    with pytest.raises(UserError, match=words) as caught:
        read_landmarks(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"markups": [', "line 1: not readable as JSON"),
        ('{\n"a": 1\n"b": 2}', "line 3: not readable as JSON"),
        ("[1, 2]", "neither 3D Slicer markups nor COCO"),
        ("{}", "neither 3D Slicer markups nor COCO"),
        ("[" * 100_000, "JSON|neither"),
        ('{"annotations": [' + "1" * 5000 + "]}", "o.json holds a number of 5000 digits"),
    ],
)
def test_other_json(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "o.json").write_text(text)
    with pytest.raises(UserError, match=words):
        read_landmarks(tmp_path / "o.json")


def test_content_decides_where_the_suffix_says_nothing(
    tmp_path: Path, cohort: Cohort, table: LandmarkTable
) -> None:
    for suffix in (".tps", ".json", ".csv"):
        (file,) = write_landmarks(table, tmp_path / f"o{suffix}", cohort=cohort)
        other = file.rename(tmp_path / f"{suffix[1:]}.txt")
        assert read_landmarks(other).images == table.images


# What write_landmarks refuses


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_is_overwritten_unless_allowed(
    tmp_path: Path, cohort: Cohort, table: LandmarkTable, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    files = write_landmarks(table, path, cohort=cohort)
    files[-1].write_text("mine")
    with pytest.raises(UserError, match="is there already; choose another name"):
        write_landmarks(table, path, cohort=cohort)
    assert files[-1].read_text() == "mine"
    write_landmarks(table, path, cohort=cohort, overwrite=True)
    assert files[-1].read_text() != "mine"


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_formats_that_need_the_cohort(
    tmp_path: Path, cohort: Cohort, table: LandmarkTable, suffix: str
) -> None:
    with pytest.raises(UserError, match="give their folder"):
        write_landmarks(table, tmp_path / f"o{suffix}")
    with pytest.raises(UserError, match=r"no radiograph 'sub/é\.png'"):
        write_landmarks(table, tmp_path / f"o{suffix}", cohort=cohort.subset(["a 1.png"]))
    assert list(tmp_path.glob("o*")) == []


def test_unknown_suffix_and_empty_table(tmp_path: Path, table: LandmarkTable) -> None:
    with pytest.raises(
        UserError, match=r"out\.xlsx has no known suffix; end it in .*\.mrk\.json, \.tps, or name the format"
    ):
        write_landmarks(table, tmp_path / "out.xlsx")
    with pytest.raises(UserError, match="no landmarks to write"):
        write_landmarks(LandmarkTable.from_sets([]), tmp_path / "out.csv")
