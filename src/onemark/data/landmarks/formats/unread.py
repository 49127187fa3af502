"""Files of other programs that are not read: each is known by its first lines and named with the way out."""

from __future__ import annotations

import re
from collections.abc import Callable

from onemark.data.landmarks.formats.base import Format, Source


def _starts(*starts: bytes) -> Callable[[Source], bool]:
    return lambda source: source.data.startswith(starts)


def _head_has(*words: str) -> Callable[[Source], bool]:
    return lambda source: bool(source.lines) and all(word in source.lines[0] for word in words)


def _root(tag: str) -> Callable[[Source], bool]:
    return lambda source: source.root is not None and source.root.tag == tag


def _first_line(start: str) -> Callable[[Source], bool]:
    return lambda source: bool(source.lines) and source.lines[0].startswith(start)


def _is_xlsx(source: Source) -> bool:
    return source.data.startswith(b"PK\x03\x04") and (
        source.suffix in (".xlsx", ".xlsm", ".ods") or b"[Content_Types].xml" in source.data[:4096]
    )


def _is_labelbox(source: Source) -> bool:
    first = source.document[:1] if isinstance(source.document, list) else []
    return source.has_keys("data_row") or any(isinstance(one, dict) and "Label" in one for one in first)


def _is_short_label_studio(source: Source) -> bool:
    return "keypointlabels" in source.text and "original_width" in source.text


def _first_but(source: Source, comment: str) -> str:
    """The first line that is no comment."""
    return next((line for line in source.lines if not line.startswith(comment)), "")


def _known(key: str, title: str, recognises: Callable[[Source], bool], way_out: str, rank: int = 0) -> Format:
    return Format(key, title, "", recognises, way_out=way_out, rank=rank)


_NTS = re.compile(r"[123] \d+[LlBb]? \d+[LlBb]? [01]( -?\d+)? dim=[23]", re.IGNORECASE)
_AS_CSV = "write a CSV with the columns image,landmark,x,y"
FORMATS = (
    _known("excel", "an Excel workbook", _is_xlsx, "save the sheet as CSV and give that", -2),
    _known(
        "excel-old",
        "an Excel workbook",
        _starts(b"\xd0\xcf\x11\xe0"),
        "save the sheet as CSV and give that",
        -2,
    ),
    _known(
        "hdf5",
        "an HDF5 file, such as DeepLabCut's or SLEAP's",
        _starts(b"\x89HDF\r\n\x1a\n"),
        "give DeepLabCut's CSV of the same name, or export from SLEAP to COCO",
        -2,
    ),
    _known("matlab", "a MATLAB file", _starts(b"MATLAB "), f"{_AS_CSV} with writetable", -2),
    _known("numpy", "a NumPy file", _starts(b"\x93NUMPY"), _AS_CSV, -2),
    _known(
        "pickle",
        "a Python pickle",
        _starts(b"\x80\x04", b"\x80\x05", b"\x80\x03"),
        _AS_CSV,
        -2,
    ),
    _known("pdf", "a PDF", _starts(b"%PDF"), _AS_CSV, -2),
    _known("sqlite", "a SQLite database", _starts(b"SQLite format 3"), _AS_CSV, -2),
    _known(
        "gzip",
        "compressed with gzip, as R's .rds and .rda are",
        _starts(b"\x1f\x8b"),
        f"unpack it, or in R {_AS_CSV} with write.csv",
        -2,
    ),
    _known(
        "sleap",
        "a table of SLEAP (frames, no images)",
        _head_has("frame_idx", "instance.score"),
        "export it as COCO, or replace frame_idx by a column image",
    ),
    _known(
        "aariz",
        "a file of the Aariz data set",
        lambda source: source.has_keys("ceph_id", "landmarks"),
        _AS_CSV,
    ),
    _known(
        "voc",
        "an annotation of Pascal VOC (boxes, no points)",
        lambda source: (
            source.root is not None
            and source.root.tag == "annotation"
            and source.root.find("object") is not None
        ),
        "export key points instead, as CVAT XML or COCO",
    ),
    _known("cvat-video", "CVAT for video", _root("annotations"), "export as CVAT for images", 5),
    _known(
        "nts",
        "an NTS file",
        lambda source: bool(_NTS.match(_first_but(source, '"'))),
        "save it as TPS, or write a CSV with the columns image,landmark,x,y",
    ),
    _known("idav", "a file of IDAV Landmark (3-D)", _first_line("Version 1"), _AS_CSV),
    _known("stereomorph", "a file of StereoMorph", _starts(b"<landmarks"), _AS_CSV, -2),
    _known("morphologika", "a Morphologika file", _first_line("[individuals]"), "save it as TPS"),
    _known(
        "supervisely",
        "a file of Supervisely",
        lambda source: source.has_keys("objects", "size"),
        "export it as COCO keypoints",
    ),
    _known(
        "labelbox",
        "an export of Labelbox",
        _is_labelbox,
        "export it as COCO keypoints",
    ),
    _known(
        "via-3",
        "a project of VIA 3",
        lambda source: source.has_keys("project", "file", "metadata"),
        "annotate with VIA 2, or write a CSV with the columns image,landmark,x,y",
    ),
    _known(
        "label-studio-min",
        "a short export of Label Studio (JSON-MIN, CSV)",
        _is_short_label_studio,
        "export it as JSON",
        5,
    ),
    _known(
        "superannotate",
        "a file of SuperAnnotate",
        lambda source: source.has_keys("metadata", "instances"),
        "export it as COCO keypoints",
    ),
    _known(
        "darwin",
        "a file of V7 Darwin",
        lambda source: source.has_keys("item", "annotations"),
        "export it as COCO keypoints",
    ),
    _known("geojson", "a GeoJSON file", lambda source: source.has_keys("features", "type"), _AS_CSV),
    _known(
        "openpose",
        "a file of OpenPose",
        lambda source: source.has_keys("people"),
        _AS_CSV,
    ),
    _known(
        "fcsv-table",
        "a table of 3D Slicer",
        _head_has("label", "defined", "selected"),
        "save the markups as .mrk.json",
        5,
    ),
)
