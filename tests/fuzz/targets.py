"""What is fuzzed: bytes go into a reader; a value or one sentence must come out."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import onemark
from onemark import Cohort, UserError
from onemark.data.images.read import read_header, read_radiograph
from onemark.data.landmarks.table import read_table

FOREIGN = {
    "labelme": "a.json",
    "cvat": "a.xml",
    "pts": "p1.pts",
    "yolo": "p1.txt",
    "roi": "p1.roi",
    "fcsv": "p1.fcsv",
    "napari": "p1.csv",
    "deeplabcut": "a.csv",
}
LANDMARKS = ("csv", "tps", "slicer", "coco", *FOREIGN)
PICTURES = ("png", "jpeg", "bmp", "webp", "jpeg2000", "tiff", "dicom")
TARGETS = (*PICTURES, *LANDMARKS)
_NAMES = {"slicer": "p1.mrk.json", "coco": "a.json", "csv": "a.csv", "tps": "a.tps", "dicom": "a.dcm"}
_NAMES |= FOREIGN
_DIGITS, _DEEP = b"9" * 400, b"[" * 3000
_WORDS = {
    "csv": [*b', ; " nan inf 1e999 - _x image \xff\xfe \0'.split(b" "), b"\n", _DIGITS],
    "tps": [*b"LM= LM3= IMAGE= 1e999 NA \xe2\x80\xa8".split(b" "), b"COMMENT=onemark ", _DIGITS, _DEEP],
    "json": [*b"null true false NaN -Infinity 1e999 [] {} -1".split(b" "), b'""', _DIGITS, _DEEP],
    "picture": [bytes(4), b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x01\0", b"\xff\xd8\xff", b"\xff\xda"],
}
_WORDS |= dict.fromkeys(("slicer", "coco", "labelme"), _WORDS["json"])
_WORDS |= dict.fromkeys(("pts", "yolo", "fcsv", "napari", "deeplabcut", "cvat"), _WORDS["csv"])

Check = Callable[[bytes], None]


def mutated(target: str, data: bytes, rng: random.Random) -> bytes:
    """The data with one to eight changes of bytes, words, order or length."""
    words = _WORDS.get(target, _WORDS["picture"])
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        length = rng.choice((1, 2, 4, 16, 64))
        start = rng.randrange(len(data) + 1)
        inserted = rng.choice((b"", rng.randbytes(length), rng.choice(words), data[start : start + length]))
        removed = rng.choice((0, len(inserted), length))
        data = data[:at] + inserted + data[at + removed :]
        if rng.random() < 0.05:
            data = data[: rng.randrange(len(data) + 1)]
    return data


def check_of(target: str, folder: Path) -> Check:
    """The check of a target's inputs, which are written into this folder."""
    if target in PICTURES:
        return lambda data: check_picture(_written(folder / _NAMES.get(target, f"a.{target}"), data))
    cohort = _cohort(folder)
    return lambda data: check_landmarks(_written(folder / _NAMES[target], data), cohort)


def check_picture(path: Path) -> None:
    """A radiograph of two dimensions, finite and of the size that its header says, or one sentence."""
    try:
        radiograph = read_radiograph(path)
    except UserError as error:
        assert_sentence(error, path)
        return
    assert radiograph.pixels.ndim == 2
    assert radiograph.pixels.dtype == np.float32
    assert min(radiograph.size) >= 16
    assert math.prod(radiograph.size) <= 80_000_000
    assert np.isfinite(radiograph.pixels).all()
    assert (radiograph.pixels.min(), radiograph.pixels.max()) == (0.0, 1.0)
    assert radiograph.spacing is None or all(math.isfinite(mm) and mm > 0 for mm in radiograph.spacing)
    assert read_header(path) == (radiograph.size, radiograph.spacing)


def check_landmarks(path: Path, cohort: Cohort) -> None:
    """A table without infinities that our own CSV gives back, or one sentence."""
    try:
        table = read_table(path, cohort)
    except UserError as error:
        assert_sentence(error, path)
        return
    for one in table:
        for values in (one.xy, one.score, one.expected_error):
            assert not np.isinf(values).any()
    if len(table):
        copy = path.with_name("copy.csv")
        with copy.open("w", encoding="utf-8", newline="") as stream:  # without the flush to the disk
            table.write_csv(stream)
        again = read_table(copy)
        assert (again.images, again.names) == (table.images, table.names)
        for one, other in zip(table, again, strict=True):
            np.testing.assert_array_equal(one.xy, other.xy)


def assert_sentence(error: UserError, path: Path) -> None:
    """One line that names the file and steers no terminal."""
    message = str(error)
    assert path.name in message
    assert "\n" not in message
    assert "\x1b" not in message


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _cohort(folder: Path) -> Cohort:
    (folder / "xrays").mkdir()
    y, x = np.mgrid[:24, :32]
    for name in ("p1.png", "p2.png"):
        Image.fromarray((x * 5 + y).astype(np.uint8)).save(folder / "xrays" / name)
    return onemark.open_cohort(folder / "xrays")
