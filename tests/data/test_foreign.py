"""Files of other programs that say something twice, or in a way that moves points."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

import onemark
from onemark import Cohort, LandmarkSet, LandmarkTable, UserError, read_landmarks, write_landmarks


def table(*names: str) -> LandmarkTable:
    return LandmarkTable.from_sets(
        LandmarkSet(name, ("a", "b"), np.array([[3.0, 4.0], [8.0, 9.0]])) for name in names
    )


@pytest.mark.parametrize("kind", ["images", "categories"])
def test_an_id_that_stands_twice_in_coco_moves_no_points(phantoms: Cohort, tmp_path: Path, kind: str):
    path = tmp_path / "a.json"
    write_landmarks(table(*phantoms.names[:2]), path, cohort=phantoms)
    document = json.loads(path.read_text())
    document[kind].append(document[kind][0] | {"file_name": phantoms.names[5]})
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=f"a.json: two of its {kind} have the id '1'; give each its own"):
        read_landmarks(path)


def test_tps_keeps_a_name_with_a_line_separator(phantoms: Cohort, tmp_path: Path):
    one = phantoms.names[0]
    named = LandmarkTable.from_sets(
        [LandmarkSet(one, ("a\u2028b", "c\u0085d"), np.array([[3.0, 4.0], [8.0, 9.0]]))]
    )
    write_landmarks(named, tmp_path / "a.tps", cohort=phantoms)
    assert read_landmarks(tmp_path / "a.tps", phantoms).names == named.names


@pytest.mark.parametrize("height", [-3, 0, 10**9])
def test_an_impossible_height_in_tps(phantoms: Cohort, tmp_path: Path, height: int):
    path = tmp_path / "a.tps"
    write_landmarks(table(phantoms.names[0]), path, cohort=phantoms)
    path.write_text(path.read_text().replace('"height": 160', f'"height": {height}'))
    with pytest.raises(UserError, match=r"a.tps, line 1: its COMMENT= has an impossible height"):
        read_landmarks(path, phantoms)


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x"])
def test_a_name_that_is_a_formula_is_kept_or_made_safe(tmp_path: Path, name: str):
    one = LandmarkTable.from_sets([LandmarkSet("a.png", (name,), np.ones((1, 2)))])
    write_landmarks(one, tmp_path / "plain.csv")
    assert read_landmarks(tmp_path / "plain.csv").names == (name,)
    write_landmarks(one, tmp_path / "safe.csv", safe_csv=True)
    assert f"'{name}" in (tmp_path / "safe.csv").read_text()


def test_a_folder_of_markups_that_a_full_disk_cut_short_is_written_by_the_same_call(
    phantoms: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    points, count, flush = table(*phantoms.names[:3]), [0], os.fsync
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / f"{phantoms.names[1]}.mrk.json").write_text("mine")

    def full(handle: int) -> None:
        count[0] += 1
        if count[0] > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(handle)

    with pytest.raises(UserError, match="is there already"):
        write_landmarks(points, tmp_path / "points.mrk.json", cohort=phantoms)
    (tmp_path / "points" / f"{phantoms.names[1]}.mrk.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="disk is full"):
            write_landmarks(points, tmp_path / "points.mrk.json", cohort=phantoms)
    assert len(write_landmarks(points, tmp_path / "points.mrk.json", cohort=phantoms)) == 3
    # A death leaves a part of them, which is as it is to be.
    assert len(write_landmarks(points, tmp_path / "points.mrk.json", cohort=phantoms)) == 3


def test_points_only_around_the_landmarks_train(phantoms: Cohort, exemplars: LandmarkTable):
    settings = {
        "match.focus": 1,
        "match.steps": 3,
        "match.batch": 2,
        "match.area": 4096,
        "match.cross_from": 0,
    }
    model = onemark.fit(phantoms, exemplars, recipe="match-only", settings=settings, device="cpu")
    assert np.isfinite(model.locate(phantoms[3]).xy).all()
