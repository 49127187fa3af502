"""A stranger's file names never lead a write out of its folder."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import onemark
from onemark import LandmarkSet, LandmarkTable, Progress, UserError
from onemark.evaluation.report import write_overlays

HOSTILE = ("\\a\\b\\victim\\scan.png", "a\\..\\..\\..\\e.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two radiographs whose names become an absolute and a climbing key, and one good one."""
    folder = tmp_path / "deep" / "er" / "xrays"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30), np.uint8)
    for name in (*HOSTILE, "good.png"):
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="a backslash is no part of a name there")
def test_names_that_lead_elsewhere_are_named_and_the_rest_is_read(folder: Path):
    cohort, events = onemark.open_cohort(folder), list[Progress]()
    assert [one.name for one in cohort.readable(sink=events.append)] == ["good.png"]
    said = [event.message for event in events if event.message]
    assert len(said) == len(HOSTILE)
    assert all("rename the file" in message for message in said)


@pytest.mark.skipif(sys.platform == "win32", reason="a backslash is no part of a name there")
def test_overlays_stay_in_their_folder(folder: Path, tmp_path: Path):
    cohort = onemark.open_cohort(folder)
    sets = [LandmarkSet(name, ("a",), np.array([[5.0, 5.0]])) for name in cohort.names]
    write_overlays(tmp_path / "out" / "overlays", cohort, LandmarkTable.from_sets(sets))
    made = [path for path in tmp_path.rglob("*.png") if folder not in path.parents]
    assert [path.relative_to(tmp_path).as_posix() for path in made] == ["out/overlays/good.png"]


def test_a_path_that_leads_out_is_refused(tmp_path: Path):
    from onemark.data.paths import safe_child

    for key in ("/etc/x", "../x", "a/../x", "C:/x", "a//x", ""):
        with pytest.raises(UserError, match="rename the file"):
            safe_child(tmp_path, key)
    assert safe_child(tmp_path, "a/b.png") == tmp_path / "a" / "b.png"
