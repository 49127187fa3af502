"""Numbers that no landmark can have are one sentence in every format that can hold them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onemark import UserError, open_cohort, read_landmarks

HUGE = 9 * 10**60
HEAD = "image,landmark,x,y,score,expected_error,sd_major,sd_minor,angle,visible_probability"


def coco(x: object = 3, **more: object) -> str:
    image = {"id": 1, "file_name": "p1.png", "width": 32, "height": 24}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [x, 4, 2]}
    return json.dumps(
        {
            "images": [image],
            "categories": [{"id": 1, "keypoints": ["a"]}],
            "annotations": [annotation | more],
        }
    )


def slicer(position: list[object], description: str = "") -> str:
    point = {"label": "a", "position": position, "description": description}
    about = {"image": "p1.png", "spacing_mm": [0.1, 0.1]}
    return json.dumps({"markups": [{"controlPoints": [point]}], "onemark": about})


def label_studio(x: object, width: int = 32) -> str:
    value = {"x": x, "y": 5, "keypointlabels": ["a"]}
    result = {"type": "keypointlabels", "original_width": width, "original_height": 24, "value": value}
    return json.dumps([{"id": 1, "data": {"image": "p1.png"}, "annotations": [{"result": [result]}]}])


def labelme(x: object) -> str:
    shape = {"label": "a", "points": [[x, 4]], "shape_type": "point"}
    return json.dumps({"imagePath": "p1.png", "shapes": [shape]})


def via(x: object) -> str:
    region = {"shape_attributes": {"name": "point", "cx": x, "cy": 4}, "region_attributes": {"name": "a"}}
    return json.dumps({"k": {"filename": "p1.png", "regions": [region]}})


def cvat(x: str) -> str:
    return f'<annotations><image name="p1.png"><points label="a" points="{x},4"/></image></annotations>'


def imglab(x: str) -> str:
    part = f"<box><part name='a' x='{x}' y='4'/></box>"
    return f"<dataset><images><image file='p1.png'>{part}</image></images></dataset>"


def row(**cells: object) -> str:
    usual = {"image": "p1.png", "landmark": "a", "x": 3, "y": 4, "expected_error": 1, "sd_major": 1}
    usual |= {"score": 0.5, "sd_minor": 1, "angle": 0, "visible_probability": 0.5}
    return f"{HEAD}\n{','.join(str((usual | cells)[name]) for name in HEAD.split(','))}\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", row(x="1e300")),
        ("a.csv", row(expected_error="-1")),
        ("a.csv", row(sd_minor="-1")),
        ("a.csv", row(visible_probability="1.5")),
        ("a.csv", row(score="-1e300")),
        ("a.json", coco(HUGE)),
        ("a.json", coco("1_0")),
        ("a.json", coco(True)),
        ("a.json", coco(keypoints="342")),
        ("a.json", coco(keypoint_scores=[1e300])),
        ("a.json", coco(expected_errors=[-1])),
        ("a.json", coco(keypoint_scores=["1_0"])),
        ("p1.mrk.json", slicer([HUGE, 0, 0])),
        ("p1.mrk.json", slicer([True, 0, 0])),
        ("p1.mrk.json", slicer(["1_0", 0, 0])),
        ("p1.mrk.json", slicer([1, 0, 0], "expected_error=-2")),
        ("a.json", label_studio(1e300)),
        ("a.json", label_studio(1e300, 10**18)),
        ("a.json", labelme(HUGE)),
        ("a.json", via(HUGE)),
        ("a.xml", cvat("1e300")),
        ("a.xml", cvat("1_0")),
        ("a.xml", cvat("1" * 500)),
        ("a.xml", imglab("1e300")),
        ("a.xml", imglab("\u0663")),
        ("p1.pts", "version: 1\nn_points: 1\n{\n1e300 4\n}\n"),
        ("p1.pts", "version: 1\nn_points: 1\n{\n1_0 4\n}\n"),
        ("p1.txt", "1e300,4\n"),
        ("p1.txt", "0 0.5 0.5 0.1 0.1 1e300 0.5 2\n"),
        ("a.tps", "LM=1\n1e300 4\nIMAGE=p1.png\n"),
        ("a.tps", "LM=1\n1_0 4\nIMAGE=p1.png\n"),
        ("p1.csv", "index,axis-0,axis-1\n0,4,1e300\n"),
        ("a.csv", "scorer,s,s\nbodyparts,a,a\ncoords,x,y\np1.png,1e300,4\n"),
        ("p1.fcsv", "# Markups fiducial file version = 4.6\n1,1e300,4,0,0,0,0,1,1,1,0,a,,\n"),
    ],
)
def test_impossible_numbers(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text, "utf-8")
    for cohort in (open_cohort(folder / "xrays"), None):
        with pytest.raises(UserError) as caught:
            read_landmarks(path, cohort)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", row()),
        ("a.json", coco("3")),
        ("p1.mrk.json", slicer([0.3, 0.4, 0], "score=0.5; expected_error=1.0")),
        ("a.json", labelme(3)),
        ("a.json", via(3)),
        ("a.xml", cvat("3")),
        ("a.xml", imglab("3")),
        ("p1.pts", "version: 1\nn_points: 1\n{\n3 4\n}\n"),
    ],
)
def test_the_same_with_possible_numbers(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, "utf-8")
    (one,) = read_landmarks(folder / name, open_cohort(folder / "xrays"))
    np.testing.assert_allclose(one.xy, [[3, 4]], atol=1e-6)


def test_a_damaged_roi_set_is_one_sentence(folder: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.roi", bytes(range(256)) * 4)
    data = stream.getvalue()
    for at in range(35, 90, 6):
        (folder / "p1.zip").write_bytes(data[:at] + b"\xff\xff\xff" + data[at + 3 :])
        with pytest.raises(UserError, match=r"p1\.zip"):
            read_landmarks(folder / "p1.zip", open_cohort(folder / "xrays"))


def test_a_sentence_does_not_quote_a_whole_file(folder: Path) -> None:
    (folder / "a.json").write_text(coco(image_id="9" * 100_000))
    with pytest.raises(UserError, match=r"a\.json is no valid COCO.*export it again$") as caught:
        read_landmarks(folder / "a.json")
    assert len(str(caught.value)) < 2000


def test_one_name_for_two_images_of_two_sizes_is_refused(folder: Path) -> None:
    document = json.loads(coco())
    document["images"].append({"id": 2, "file_name": "p1.png", "width": 64, "height": 48})
    (folder / "a.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"'p1\.png', of two sizes"):
        read_landmarks(folder / "a.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`xrays` holds `p1.png` of 32 x 24 px."""
    (tmp_path / "xrays").mkdir()
    y, x = np.mgrid[:24, :32]
    Image.fromarray((x * 5 + y).astype(np.uint8)).save(tmp_path / "xrays" / "p1.png")
    return tmp_path
