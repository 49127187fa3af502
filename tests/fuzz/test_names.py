"""Names that strangers chose, on every writer whose paths come from them: nothing outside the output folder changes."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from onemark import Cohort, LandmarkTable, UserError, open_cohort, write_landmarks
from onemark.data.keys import image_key
from onemark.data.paths import safe_child
from onemark.data.scaling import Amount, scale_cohort
from onemark.evaluation.report.overlays import write_overlays
from onemark.types import LandmarkSet

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses most of these names itself")

_DECEPTIVE = ["\x1b[31m", "\u202e", "\n", "\udcf6", "o\u0308", "\u2028"]
_PIECES = ["a", "..", ".", "", "C:", "~", "victim", "ö", " ", "%2e", "x" * 200, *_DECEPTIVE]
_KEYS = st.lists(
    st.tuples(st.one_of(st.sampled_from(_PIECES), st.text(max_size=5)), st.sampled_from(["", "/", "\\"])),
    max_size=6,
).map(lambda pieces: "".join(piece + separator for piece, separator in pieces))
_RARELY = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    """`victim` must stay as it is; `xrays` and `out` lie beside it."""
    (tmp_path / "box" / "victim").mkdir(parents=True)
    (tmp_path / "box" / "victim" / "scan.png").write_bytes(b"precious")
    (tmp_path / "box" / "e.png").write_bytes(b"precious")
    return tmp_path / "box"


def outside(sandbox: Path) -> dict[str, bytes]:
    """Every file that no writer may touch."""
    files = (path for path in sandbox.parent.rglob("*") if path.is_file())
    inside = (sandbox / "out", sandbox / "xrays")
    return {
        str(path): path.read_bytes() for path in files if not any(path.is_relative_to(one) for one in inside)
    }


def picture(path: bytes | Path) -> None:
    """A picture of 32 x 24 px."""
    y, x = np.mgrid[:24, :32]
    with open(path, "wb") as stream:  # noqa: PTH123  # the name may be no valid path for pathlib
        Image.fromarray((x * 5 + y).astype(np.uint8)).save(stream, "PNG")


FORMATS = {"points.mrk.json": "slicer", "points.json": "labelme", "points.pts": "pts", "points": "yolo"}
"""Those that write a file for each radiograph, under its name."""


def write_everything(cohort: Cohort, out: Path) -> None:
    """Every export whose file names come from the radiographs' names; each may refuse."""
    sets = (LandmarkSet(name, ("a",), np.array([[3.0, 4.0]])) for name in cohort.names)
    with contextlib.suppress(UserError):
        table = LandmarkTable.from_sets(sets)
        with contextlib.suppress(UserError):
            write_overlays(out / "overlays", cohort, table)
        for name, key in FORMATS.items():
            with contextlib.suppress(UserError):
                write_landmarks(table, out / name, cohort=cohort, format=key, overwrite=True)
    with contextlib.suppress(UserError):
        scale_cohort(cohort, out / "scaled", Amount(factor=0.9))


@settings(_RARELY, max_examples=40)
@given(st.lists(_KEYS, min_size=1, max_size=4))
@example(["\\a\\b\\victim\\scan.png"])
@example(["a\\..\\..\\..\\e.png", "good.png"])
@example(["C:\\scan.png"])
def test_files_of_any_name_write_nothing_outside(sandbox: Path, names: list[str]) -> None:
    folder = sandbox / "xrays"
    for made in (folder, sandbox / "out"):
        shutil.rmtree(made, ignore_errors=True)
    folder.mkdir()
    picture(folder / "good.png")
    for name in names:
        flat = name.replace("/", "").replace("\0", "").encode("utf-8", "replace")[:230]
        if flat.strip(b"."):
            picture(os.path.join(os.fsencode(folder), flat + b".png"))  # noqa: PTH118
    before = outside(sandbox)
    # Refused are two names that read the same, and one that is too long with its suffix.
    with contextlib.suppress(UserError):
        write_everything(open_cohort(folder), sandbox / "out")
    assert outside(sandbox) == before


@_RARELY
@given(_KEYS)
@example("/victim/scan.png")
@example("../victim/scan.png")
def test_any_key_writes_nothing_outside(sandbox: Path, key: str) -> None:
    folder = sandbox / "xrays"
    shutil.rmtree(sandbox / "out", ignore_errors=True)
    folder.mkdir(exist_ok=True)
    picture(folder / "a.png")
    before = outside(sandbox)
    key = image_key(key)
    # With a second radiograph the formats of a file for each make a folder.
    write_everything(Cohort(folder, (key, "b.png"), {key: "a.png", "b.png": "a.png"}), sandbox / "out")
    assert outside(sandbox) == before


@_RARELY
@given(_KEYS)
def test_a_safe_child_is_inside_or_refused(sandbox: Path, key: str) -> None:
    try:
        path = safe_child(sandbox / "out", key)
    except UserError:
        return
    assert Path(os.path.normpath(path)).is_relative_to(sandbox / "out")
    assert Path(os.path.normpath(path)) != sandbox / "out"
