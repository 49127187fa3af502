"""Files of other programs: the right values, what is left out, and the way out of what is not read."""

from __future__ import annotations

import json
import math
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
from PIL import Image

from onemark.data.cohort import Cohort, open_cohort
from onemark.data.landmarks.convert import write_landmarks
from onemark.data.landmarks.formats import all_formats, readers, writers
from onemark.data.landmarks.formats.base import ReadOptions
from onemark.data.landmarks.table import LandmarkTable, read_landmarks, read_table
from onemark.types import LandmarkSet, UserError

Folder = Callable[..., Path]
NAN = (math.nan, math.nan)
S, N = (10.0, 20.0), (30.0, 35.0)


@pytest.fixture
def cohort(folder: Folder) -> Cohort:
    """Radiographs of 60 x 40 px."""
    return open_cohort(folder("p1.png", "sub/p2.png", "003.png"))


def read(tmp_path: Path, cohort: Cohort | None, name: str, content: Any, **options: bool) -> LandmarkTable:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, str) else json.dumps(content)
    path.write_text(data, "utf-8")
    return read_table(path, cohort, ReadOptions(**options))


def assert_points(table: LandmarkTable, image: str = "p1.png", **points: tuple[float, float]) -> None:
    assert table.images == (image,)
    assert table.names == tuple(points)
    np.testing.assert_allclose(table[image].xy, list(points.values()), atol=1e-6)


def labelme(**changes: Any) -> dict[str, Any]:
    shapes = [
        {"label": name, "points": [list(xy)], "shape_type": "point"} for name, xy in (("S", S), ("N", N))
    ]
    document = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": "..\\x\\p1.png"}
    return {**document, "imageHeight": 40, "imageWidth": 60, **changes}


LABEL_STUDIO = [
    {
        "id": 1,
        "data": {"img": "/data/upload/7/0a1b2c3d-p1.png"},
        "annotations": [
            {"was_cancelled": True, "result": []},
            {
                "result": [
                    {
                        "type": "keypointlabels",
                        "original_width": 60,
                        "original_height": 40,
                        "value": {"x": 100 * x / 60, "y": 100 * y / 40, "keypointlabels": [name]},
                    }
                    for name, (x, y) in (("S", S), ("N", N))
                ]
                + [{"type": "rectanglelabels", "value": {}}]
            },
        ],
    }
]
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
 <image id="0" name="train/p1.png" width="60" height="40">
  <points label="S" points="10.00,20.00" occluded="0"/>
  <skeleton label="face"><points label="N" outside="0" points="30,35"/>
  <points label="A" outside="1" points="1,2"/></skeleton>
  <box label="b" xtl="1" ytl="2" xbr="3" ybr="4"/>
 </image>
</annotations>"""
IMGLAB = """<?xml version='1.0' encoding='ISO-8859-1'?><?xml-stylesheet type='text/xsl' href='s.xsl'?>
<dataset><name>x</name><images>
 <image file='p1.png'><box top='1' left='2' width='30' height='30'><part name='S' x='10' y='20'/>
  <part name='N' x='30' y='35'/></box></image>
 <image file='sub/p2.png'/>
</images></dataset>"""
VIA = {
    "p1.png999": {
        "filename": "p1.png",
        "size": 999,
        "regions": [
            {"shape_attributes": {"name": "point", "cx": x, "cy": y}, "region_attributes": {"name": n}}
            for n, (x, y) in (("S", S), ("N", N))
        ],
    }
}
FCSV = (
    "# Markups fiducial file version = 4.11\n# CoordinateSystem = {}\n"
    "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    "1,{},0,0,0,1,1,1,0,S,,\n2,{},0,0,0,1,1,1,0,N,,\n"
)
DLC = "scorer{0},J,J,J,J\nbodyparts{0},S,S,N,N\ncoords{0},x,y,x,y\n"
WHOLE = [
    ("labelme.json", labelme()),
    ("label-studio.json", LABEL_STUDIO),
    ("cvat.xml", CVAT),
    ("imglab.xml", IMGLAB),
    ("via.json", VIA),
    ("via.json", {"_via_img_metadata": VIA}),
    ("p1.fcsv", FCSV.format("LPS", "10,20,0", "30,35,0")),
    ("p1.fcsv", FCSV.format("RAS", "-10,-20,0", "-30,-35,0")),
    ("p1.fcsv", FCSV.format("0", "-10,-20,0", "-30,-35,0")),
    ("CollectedData_J.csv", DLC.format("") + "labeled-data/set/p1.png,10,20,30,35\n"),
    ("CollectedData_J.csv", DLC.format(",,") + "labeled-data,set,p1.png,10,20,30,35\n"),
    ("long.csv", "filename,landmark,x (px),y (px)\np1.png,S,10,20\np1.png,N,30,35\n"),
    ("long.csv", "Image_ID;Point;X;Y\nP1;S;10;20\nP1;N;30;35\n"),
    ("long.csv", 'image,landmark,x,y\np1.png,S,"10,0",20\np1.png,N,30,"35,0"\n'),
    ("long.csv", "image,landmark,x,y\n'/a/P1.PNG',S,10,20\n'/a/P1.PNG',N,30,35\n"),
    ("two.csv", "image,S,,N,\n,x,y,x,y\np1.png,10,20,30,35\n"),
    ("p1.csv", "landmark,x,y\nS,10,20\nN,30,35\n"),
    ("p1_points.csv", "label,x,y\nS,10,20\nN,30,35\n"),
    ("glued.csv", "specimen,SX,SY,NX,NY\np1,10,20,30,35\n"),
    ("before.csv", "document,x_S,y_S,x_N,y_N\np1,10,20,30,35\n"),
]


@pytest.mark.parametrize(("name", "content"), WHOLE)
def test_files_of_other_programs(tmp_path: Path, cohort: Cohort, name: str, content: Any) -> None:
    table = read(tmp_path, cohort, name, content)
    if "A" in table.names:
        np.testing.assert_array_equal(table["p1.png"].xy[2], NAN)
        table = LandmarkTable.from_sets([LandmarkSet("p1.png", table.names[:2], table["p1.png"].xy[:2])])
    assert_points(table, S=S, N=N)


NUMBERED = [
    ("p1.csv", "index,axis-0,axis-1\n0,20,10\n1,35,30\n"),
    ("p1.txt", "10,20\n30,35\n1\n2\n"),
    ("p1.txt", "10 20\n30 35\n"),
    ("p1.pts", "version: 1\nn_points: 2\n{\n10 20\n30 35\n}\n"),
    ("imagej.csv", " ,Label,Area,Mean,X,Y\n1,p1.png,0,15,10,20\n2,p1.png,0,15,30,35\n"),
    *(
        ("w.csv", f"{image},{head}\np1.png,10,20,30,35\n")
        for image in ("id", "file", "specimen", "document", "Image Name")
        for head in ("x1,y1,x2,y2", "X1,Y1,X2,Y2", "1_x,1_y,2_x,2_y", "1.X,1.Y,2.X,2.Y")
    ),
    (
        "w.csv",
        "id,x1,y1,x2,y2,spacing_x,spacing_y,pad_x,pad_y,bbox_x,bbox_y,scale_x\np1,10,20,30,35,1,1,9,9,1,2,3\n",
    ),
]


@pytest.mark.parametrize(("name", "content"), NUMBERED)
def test_files_without_landmark_names(tmp_path: Path, cohort: Cohort, name: str, content: str) -> None:
    assert_points(read(tmp_path, cohort, name, content), **{"1": S, "2": N})


def test_columns_with_leading_zeros_keep_them(tmp_path: Path, cohort: Cohort) -> None:
    table = read(tmp_path, cohort, "w.csv", "image,x01,y01,x02,y02\np1,10,20,30,35\n")
    assert_points(table, **{"01": S, "02": N})


def test_what_became_a_landmark_is_said(tmp_path: Path, cohort: Cohort) -> None:
    table = read(tmp_path, cohort, "w.csv", "specimen,S_x,S_y,spacing_x,spacing_y\np1,10,20,1,1\n")
    notes = " ".join(table.notes)
    assert "'specimen' names the images" in notes
    assert "1 landmark from its columns: S (S_x, S_y)" in notes
    assert "spacing_x, spacing_y are no landmarks" in notes
    with pytest.warns(UserWarning, match="1 landmark from its columns"):
        read_landmarks(tmp_path / "w.csv", cohort)


@pytest.mark.parametrize(
    "text",
    [
        "image,Sella (x),Sella (y)\np1,10,20\n",
        "image,Sella[x],Sella[y]\np1,10,20\n",
        "image,Sella (x px),Sella (y px)\np1,10,20\n",
        "# made by me\n\n# in px\nimage,Sella_x,Sella_y\np1,10,20\n",
        "# image,Sella_x,Sella_y\np1,10,20\n",
    ],
)
def test_axes_in_brackets_and_comments_above_the_header(tmp_path: Path, cohort: Cohort, text: str) -> None:
    assert_points(read(tmp_path, cohort, "w.csv", text), Sella=(10, 20))


def test_curves_of_tps_are_named(tmp_path: Path, cohort: Cohort) -> None:
    text = "LM=1\n10 20\nCURVES=1\nPOINTS=2\n1 2\n3 4\nIMAGE=p1.png\n"
    assert "curves of 1 specimen were not used" in " ".join(read(tmp_path, cohort, "c.tps", text).notes)


def test_a_table_without_images(tmp_path: Path, cohort: Cohort) -> None:
    with pytest.raises(
        UserError, match=r"lacks the column image \(it has S_x,S_y\).* or call the file after"
    ):
        read(tmp_path, cohort, "w.csv", "S_x,S_y\n10,20\n")


def test_names_that_lost_their_zeros(tmp_path: Path, cohort: Cohort) -> None:
    with pytest.raises(UserError, match=r"lose its leading zeros, and is '003.png' meant"):
        read(tmp_path, cohort, "w.csv", "image,S_x,S_y\n3,10,20\n")


def test_folders_of_files_of_one_image_each(tmp_path: Path, cohort: Cohort) -> None:
    for name in ("p1.txt", "sub/p2.txt", "stranger.txt"):
        (tmp_path / "points" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "points" / name).write_text("10,20\n30,35\n")
    table = read_table(tmp_path / "points", cohort)
    assert table.images == ("p1.png", "sub/p2.png")
    assert any("stranger.txt" in note for note in table.notes)


# ROIs


def roi(name: str, *points: tuple[float, float], kind: Any = roifile.ROI_TYPE.POINT) -> bytes:
    one = roifile.ImagejRoi.frompoints(np.array(points))
    one.roitype, one.name = kind, name
    return bytes(one.tobytes())


def test_imagej_rois(tmp_path: Path, cohort: Cohort) -> None:
    (tmp_path / "p1.roi").write_bytes(roi("whatever", S, N))
    assert_points(read_table(tmp_path / "p1.roi", cohort), **{"1": S, "2": N})
    with zipfile.ZipFile(tmp_path / "p1_RoiSet.zip", "w") as archive:
        archive.writestr("S.roi", roi("S", S))
        archive.writestr("N.roi", roi("N", N))
        archive.writestr("line.roi", roi("line", (1, 2), (3, 4), kind=roifile.ROI_TYPE.POLYGON))
    table = read_table(tmp_path / "p1_RoiSet.zip", cohort)
    assert_points(table, S=S, N=N)
    assert "1 ROIs that are no points" in table.notes[0]


@pytest.mark.parametrize("data", [b"Iout", b"Iout" + bytes(80), b"PK\x03\x04rest.roi", b"PK\x03\x04"])
def test_damaged_rois(tmp_path: Path, cohort: Cohort, data: bytes) -> None:
    for name in ("p1.roi", "p1.zip"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError):
            read_table(tmp_path / name, cohort)


# Writing


@pytest.fixture
def table() -> LandmarkTable:
    names = ("S", "N")
    return LandmarkTable.from_sets(
        [
            LandmarkSet("p1.png", names, np.array([S, N])),
            LandmarkSet("sub/p2.png", names, np.array([(1.25, 2.5), NAN])),
        ]
    )


@pytest.mark.parametrize("key", ["labelme", "pts", "yolo"])
def test_written_formats_come_back(tmp_path: Path, cohort: Cohort, table: LandmarkTable, key: str) -> None:
    target = tmp_path / "out" / {"pts": "o.pts", "labelme": "o.json", "yolo": "o"}[key]
    files = write_landmarks(table, target, cohort=cohort, format=key)
    assert all(tmp_path / "out" / "o" in file.parents for file in files)
    again = read_table(tmp_path / "out" / "o", cohort)
    assert again.images == table.images
    for one in again:
        wanted = table[one.image].xy[np.isfinite(table[one.image].xy).all(axis=1)]
        np.testing.assert_allclose(one.xy[np.isfinite(one.xy).all(axis=1)], wanted, atol=1e-6)
    assert again.names == (("1", "2") if key == "pts" else ("S", "N"))


@pytest.mark.parametrize(("key", "suffix"), [("labelme", ".json"), ("pts", ".pts"), ("yolo", ".txt")])
def test_names_with_dots_keep_all_their_parts(tmp_path: Path, folder: Folder, key: str, suffix: str) -> None:
    """DICOM files are often called after their UID, without a suffix."""
    where = folder("5.6.7.8.png", where="dotted")
    (where / "1.2.3.4").write_bytes((where / "5.6.7.8.png").read_bytes())
    cohort = open_cohort(where)
    sets = [LandmarkSet(name, ("1", "2"), np.array([S, N])) for name in cohort.names]
    target = tmp_path / ("o" if key == "yolo" else f"o{suffix}")
    files = write_landmarks(LandmarkTable.from_sets(sets), target, cohort=cohort, format=key)
    assert {f"1.2.3.4{suffix}", f"5.6.7.8{suffix}"} <= {file.name for file in files}
    again = read_table(tmp_path / "o", cohort)
    assert again.images == cohort.names == ("1.2.3.4", "5.6.7.8.png")


def test_labelme_text(tmp_path: Path, cohort: Cohort, table: LandmarkTable) -> None:
    write_landmarks(table, tmp_path / "o.json", cohort=cohort, format="labelme")
    document = json.loads((tmp_path / "o" / "p1.json").read_text())
    assert (document["imagePath"], document["imageHeight"], document["imageWidth"]) == ("p1.png", 40, 60)
    assert [(one["label"], one["points"], one["shape_type"]) for one in document["shapes"]] == [
        ("S", [[10, 20]], "point"),
        ("N", [[30, 35]], "point"),
    ]


def test_yolo_text(tmp_path: Path, cohort: Cohort, table: LandmarkTable) -> None:
    write_landmarks(table, tmp_path / "o", cohort=cohort, format="yolo")
    cells = [float(cell) for cell in (tmp_path / "o/labels/sub/p2.txt").read_text().split()]
    np.testing.assert_allclose(cells[5:], [1.25 / 60, 2.5 / 40, 2, 0, 0, 0], atol=1e-9)
    assert "kpt_shape:\n- 2\n- 3" in (tmp_path / "o/data.yaml").read_text()


def test_yolo_without_a_configuration(tmp_path: Path, cohort: Cohort) -> None:
    line = "0 0.5 0.5 0.5 0.5 0.25 0.5 0 0"
    assert_points(read(tmp_path, cohort, "labels/p1.txt", line), **{"1": (15, 20), "2": NAN})
    with pytest.raises(UserError, match="2 objects"):
        read(tmp_path, cohort, "labels/p1.txt", f"{line}\n{line}\n")
    with pytest.raises(UserError, match="give the folder of images"):
        read(tmp_path, None, "labels/p1.txt", line)


def test_unknown_formats_to_write(tmp_path: Path, cohort: Cohort, table: LandmarkTable) -> None:
    with pytest.raises(
        UserError, match=r"no format 'excel' to write; choose one of coco, csv, dicom-sr, labelme, pts"
    ):
        write_landmarks(table, tmp_path / "o.csv", cohort=cohort, format="excel")


# The one place of checks


def test_what_fits_is_used_and_the_rest_named(tmp_path: Path, cohort: Cohort) -> None:
    text = "image,landmark,x,y\np1.png,S,10,20\ngone.png,S,1,2\nsub/p2.png,S,99,2\n003.png,S,0,0\n003.png,N,0,0\n"
    table = read(tmp_path, cohort, "t.csv", text)
    assert table.images == ("p1.png",)
    notes = " ".join(table.notes)
    assert "1 image of the file left out: no radiograph 'gone.png'" in notes
    assert "sub/p2.png left out: landmark 'S' of 'sub/p2.png' lies at (99, 2), outside" in notes
    assert "003.png left out: all its points are 0, 0" in notes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gone.png,S,1,2\n", "no radiograph 'gone.png'"),
        ("p1.png,S,99,2\n", "outside the image of 60 x 40 px"),
        ("p1.png,S,0.31,0.42\np1.png,N,0.55,0.61\n", "within one pixel"),
        ("p1.png,S,0,0\np1.png,N,0,0\n", "count as not placed"),
    ],
)
def test_a_file_of_which_nothing_fits(tmp_path: Path, cohort: Cohort, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(tmp_path, cohort, "t.csv", "image,landmark,x,y\n" + text)


def test_predictions_may_lie_anywhere(tmp_path: Path, cohort: Cohort) -> None:
    table = read(tmp_path, cohort, "t.csv", "image,landmark,x,y,score\np1.png,S,99,2,0.5\n")
    assert_points(table, S=(99, 2))


def test_a_size_of_the_same_shape_scales_the_points(tmp_path: Path, cohort: Cohort) -> None:
    shapes = [{"label": "S", "points": [[5, 10]], "shape_type": "point"}]
    table = read(tmp_path, cohort, "a.json", labelme(imageHeight=20, imageWidth=30, shapes=shapes))
    # The middle of pixel 5 of 30 is that of pixels 10 and 11 of 60.
    assert_points(table, S=(10.5, 20.5))
    assert "scaled to the picture's size" in " ".join(table.notes)
    with pytest.raises(UserError, match="the file says 30 x 30 px, but the picture has 60 x 40 px"):
        read(tmp_path, cohort, "a.json", labelme(imageHeight=30, imageWidth=30))


@pytest.mark.parametrize("turn", range(1, 9))
def test_programs_that_turn_pictures(tmp_path: Path, turn: int) -> None:
    """A bright pixel is annotated where such a program shows it, and must come back to where it is stored."""
    where = (7, 11)
    pixels = np.zeros((40, 60), np.uint8)
    pixels[where[1], where[0]] = 255
    exif = Image.Exif()
    exif[0x0112] = turn
    (tmp_path / "x").mkdir()
    Image.fromarray(pixels).save(tmp_path / "x/p1.png", exif=exif)
    from PIL import ImageOps

    shown = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "x/p1.png")))
    y, x = (int(v[0]) for v in np.nonzero(shown))
    document = labelme(
        imageHeight=shown.shape[0],
        imageWidth=shown.shape[1],
        shapes=[{"label": "S", "points": [[x, y]], "shape_type": "point"}],
    )
    cohort = open_cohort(tmp_path / "x")
    table = read(tmp_path, cohort, "a.json", document)
    assert_points(table, S=where)
    write_landmarks(table, tmp_path / "b.json", cohort=cohort, format="labelme")
    written = json.loads((tmp_path / "b.json").read_text())
    assert written["shapes"][0]["points"] == [[x, y]]
    assert (written["imageHeight"], written["imageWidth"]) == shown.shape
    assert bool(table.notes) == (turn > 1)


def test_tps_habits(tmp_path: Path, cohort: Cohort) -> None:
    text = "LM=1\n10,0 20,0\nIMAGE=p1.png\nID=a_1\nLM=1\n11 21\nIMAGE=p1.png\nID=a_2\n"
    table = read(tmp_path, cohort, "t.tps", text)
    assert_points(table, **{"1": (10, 20)})
    assert "p1.png more than once, of which the first was used" in " ".join(table.notes)
    assert_points(read(tmp_path, cohort, "t.tps", text, y_from_top=True), **{"1": (10, 20)})
    low = "LM=1\n10 5\nIMAGE=p1.png\n"
    assert_points(read(tmp_path, cohort, "t.tps", low), **{"1": (10, 35)})
    assert_points(read(tmp_path, cohort, "t.tps", low, y_from_top=True), **{"1": (10, 5)})


def test_specimens_with_ids_of_their_own_are_one_image_more_than_once(tmp_path: Path, cohort: Cohort) -> None:
    """tpsDig counts the specimens of a file from 0."""
    one = "LM=1\n{}\nIMAGE=p1.png\nID={}\n"
    table = read(tmp_path, cohort, "t.tps", one.format("10 20", 0) + one.format("11 21", 1))
    assert_points(table, **{"1": (10, 20)})
    assert "p1.png more than once, of which the first was used" in " ".join(table.notes)
    with pytest.raises(UserError, match=r"landmark '1' is on 'p1.png' twice"):
        read(tmp_path, cohort, "t.tps", one.format("10 20", 1) + one.format("11 21", 1))


# Code pages


@pytest.mark.parametrize(
    ("encoding", "image", "landmark"),
    [
        ("gb18030", "头颅.png", "蝶鞍点"),
        ("cp932", "頭蓋.png", "ナジオン"),
        ("cp1251", "череп.png", "Селла"),
        ("cp1250", "žuchwa.png", "źródło"),
        ("utf-16-le", "p1.png", "a"),
    ],
)
def test_the_code_page_in_which_image_names_match(
    tmp_path: Path, folder: Folder, encoding: str, image: str, landmark: str
) -> None:
    cohort = open_cohort(folder(image, "p1.png", where="pages"))
    (tmp_path / "t.csv").write_bytes(f"image,landmark,x,y\n{image},{landmark},10,20\n".encode(encoding))
    assert_points(read_table(tmp_path / "t.csv", cohort), image, **{landmark: S})


@pytest.mark.parametrize("encoding", ["gb18030", "cp932", "cp1251"])
def test_a_code_page_that_nothing_tells(tmp_path: Path, cohort: Cohort, encoding: str) -> None:
    word = {"gb18030": "蝶鞍点", "cp932": "ナジオン", "cp1251": "Селла"}[encoding]
    (tmp_path / "t.csv").write_bytes(f"image,landmark,x,y\np1.png,{word},10,20\n".encode(encoding))
    with pytest.raises(UserError, match="save it as CSV UTF-8"):
        read_table(tmp_path / "t.csv", cohort)


# What is not read


UNREAD = [
    ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(9), "HDF5 file"),
    ("a.mat", b"MATLAB 5.0 MAT-file", "MATLAB file"),
    ("a.npy", b"\x93NUMPY\1\0", "NumPy file"),
    ("a.xls", b"\xd0\xcf\x11\xe0", "Excel workbook"),
    ("a.csv", b"track,frame_idx,instance.score,S.x,S.y\n,0,1,2,3\n", "SLEAP"),
    ("a.json", b'{"ceph_id": "p1", "landmarks": []}', "Aariz"),
    ("a.xml", b"<annotation><object><name>a</name></object></annotation>", "Pascal VOC"),
    ("a.xml", b"<html><body/></html>", "neither CVAT's"),
    ("a.xml", b'<!DOCTYPE x [<!ENTITY a "b">]><dataset>&a;</dataset>', "XML that is not read"),
    ("a.json", b'{"people": []}', "OpenPose"),
    ("a.json", b'{"project": {}, "file": {}, "metadata": {}}', "VIA 3"),
    ("a.json", b'[{"image": "p1.png", "k": [{"keypointlabels": ["S"], "original_width": 9}]}]', "JSON-MIN"),
    ("a.json", b'{"metadata": {"name": "p1.png"}, "instances": []}', "SuperAnnotate"),
    ("a.json", b'{"item": {"name": "p1.png"}, "annotations": []}', "V7 Darwin"),
    ("a.json", b'{"type": "FeatureCollection", "features": []}', "GeoJSON"),
    ("a.nts", b'"made by me\n1 1L 4 0 DIM=2\np1\n10 20 30 40\n', "NTS file"),
    ("a.pts", b"Version 1.0\n1\nS000 10 20 0\n", "IDAV"),
    ("a.txt", b"<landmarks.pixel type=matrix>\nS\t10\t20\n", "StereoMorph"),
    ("a.db", b"SQLite format 3\0", "SQLite database"),
    ("a.rds", b"\x1f\x8b\x08\0", "gzip"),
    ("a.csv", b"image,landmark,x_mm,y_mm\np1.png,S,10,20\n", "points in mm only"),
    ("a.json", b'{"a": 1}', "neither 3D Slicer markups nor COCO"),
]


@pytest.mark.parametrize(("name", "data", "words"), UNREAD)
def test_what_is_not_read_is_named(
    tmp_path: Path, cohort: Cohort, name: str, data: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=words) as caught:
        read_table(tmp_path / name, cohort)
    assert ";" in str(caught.value)


def test_one_module_is_one_format() -> None:
    keys = [one.key for one in all_formats()]
    assert len(set(keys)) == len(keys)
    assert {one.key for one in writers()} - {"dicom-sr"} <= {one.key for one in readers()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all_formats() is all_formats()


def test_a_stated_size_below_zero_is_one_sentence(tmp_path: Path, cohort: Cohort) -> None:
    shape = {"label": "a", "shape_type": "point", "points": [[1, 2]]}
    content = {"shapes": [shape], "imagePath": "p1.png", "imageHeight": -3, "imageWidth": 60}
    with pytest.raises(UserError, match="states a size of 60 x -3 px"):
        read(tmp_path, cohort, "a.json", json.dumps(content))


def test_labelme_files_of_pictures_with_one_name_come_back(tmp_path: Path, folder: Folder) -> None:
    where = folder("p1/lateral.png", "p2/lateral.png", where="visits")
    sets = [LandmarkSet(f"p{n}/lateral.png", ("S",), np.array([[n, 2.0 * n]])) for n in (1, 2)]
    table, cohort = LandmarkTable.from_sets(sets), open_cohort(where)
    write_landmarks(table, tmp_path / "o.json", cohort=cohort, format="labelme")
    for known in (cohort, None):
        again = read_table(tmp_path / "o", known)
        assert again.images == table.images
        assert [one.xy.tolist() for one in again] == [one.xy.tolist() for one in table]


@pytest.mark.parametrize("path", ["../images/p1.png", "/data/p1.png", "C:\\data\\p1.png"])
def test_a_labelme_path_from_elsewhere_names_its_picture(tmp_path: Path, cohort: Cohort, path: str) -> None:
    (tmp_path / "o" / "deep").mkdir(parents=True)
    (tmp_path / "o" / "deep" / "p1.json").write_text(json.dumps(labelme(imagePath=path)), "utf-8")
    assert read_table(tmp_path / "o", cohort).images == ("p1.png",)
