"""Commands behind landmarks: measure, agree, shapes, cite."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import onemark
from onemark.cli import main
from onemark.data.landmarks.table import LandmarkTable
from onemark.pipeline.runs.folder import RunFolder

Fails = Callable[..., str]
SET = """
title = "Phantom"
[landmarks]
{landmarks}
[[measurement]]
name = "width"
formula = "distance(first, second)"
unit = "mm"
"""


@pytest.fixture
def own_set(cohort: Path, tmp_path: Path) -> Path:
    first, second = onemark.read_landmarks(cohort / "truth.csv").names[:2]
    path = tmp_path / "phantom.toml"
    path.write_text(SET.format(landmarks=f'first = ["{first}"]\nsecond = ["{second}"]'), "utf-8")
    return path


@pytest.fixture
def second_reading(cohort: Path, tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    table = onemark.read_landmarks(cohort / "truth.csv")
    moved = LandmarkTable.from_sets(replace(one, xy=one.xy + rng.normal(0, 1, one.xy.shape)) for one in table)
    moved.to_csv(tmp_path / "second.csv")
    return tmp_path / "second.csv"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_measure_writes_a_tidy_or_a_wide_table(cohort: Path, own_set: Path, tmp_path: Path, capsys):
    words = ["measure", str(cohort / "truth.csv"), "--set", str(own_set), "--spacing-mm", "0.5"]
    assert main([*words, "--out", str(tmp_path / "tidy.csv")]) == 0
    assert (
        main([*words, "--out", str(tmp_path / "wide.csv"), "--wide", "--html", str(tmp_path / "m.html")]) == 0
    )
    tidy, wide = rows(tmp_path / "tidy.csv"), rows(tmp_path / "wide.csv")
    truth = onemark.read_landmarks(cohort / "truth.csv")
    expected = [0.5 * float(np.hypot(*(one.xy[1] - one.xy[0]))) for one in truth]
    assert [float(row["value"]) for row in tidy] == pytest.approx(expected)
    assert [float(row["width_mm"]) for row in wide] == pytest.approx(expected)
    assert {row["unit"] for row in tidy} == {"mm"}
    assert "Phantom" in (tmp_path / "m.html").read_text("utf-8")
    assert "measured 1 quantities on 3 radiographs" in capsys.readouterr().out


def test_without_a_spacing_measure_says_what_is_missing(cohort: Path, own_set: Path, tmp_path: Path, capsys):
    out = tmp_path / "m.csv"
    assert main(["measure", str(cohort / "truth.csv"), "--set", str(own_set), "--out", str(out)]) == 0
    assert "lengths are in pixels" in capsys.readouterr().out
    assert {row["unit"] for row in rows(out)} == {"px"}


def test_the_landmarks_of_a_run_take_the_spacing_of_its_radiographs(
    trained: Path, own_set: Path, tmp_path: Path
):
    out = tmp_path / "m.csv"
    assert main(["measure", str(trained / "landmarks.csv"), "--set", str(own_set), "--out", str(out)]) == 0
    assert all(row["standard_error"] for row in rows(out))


def test_ellipses_in_the_file_are_used(own_set: Path, cohort: Path, tmp_path: Path):
    names = onemark.read_landmarks(cohort / "truth.csv").names
    lines = ["image,landmark,x,y,sd_major,sd_minor,angle"]
    lines += [f"a.png,{name},{10 + 90 * k},10,{3},{1},{0}" for k, name in enumerate(names[:2])]
    source, out = tmp_path / "l.csv", tmp_path / "m.csv"
    source.write_text("\n".join(lines) + "\n", "utf-8")
    assert main(["measure", str(source), "--set", str(own_set), "--spacing-mm", "1", "--out", str(out)]) == 0
    assert float(rows(out)[0]["standard_error"]) == pytest.approx(np.sqrt(18))  # along the major axes


def test_corrected_radiographs_give_the_intervals(
    own_set: Path, cohort: Path, tmp_path: Path, capsys, fails: Fails
):
    truth = onemark.read_landmarks(cohort / "truth.csv")
    ones = np.ones(len(truth.names))
    LandmarkTable.from_sets(replace(one, expected_error=ones, score=ones) for one in truth).to_csv(
        tmp_path / "predictions.csv"
    )
    LandmarkTable.from_sets(replace(one, xy=one.xy + np.eye(len(ones))[:, :2]) for one in truth).to_csv(
        tmp_path / "corrected.csv"
    )
    words = ["measure", str(tmp_path / "predictions.csv"), "--set", str(own_set), "--spacing-mm", "1"]
    words += ["--corrected", str(tmp_path / "corrected.csv"), "--out", str(tmp_path / "m.csv")]
    assert main([*words, "--coverage", "0.5"]) == 0
    assert "intervals of 1 quantities hold what the corrected radiographs say" in capsys.readouterr().out
    assert {row["interval"] for row in rows(tmp_path / "m.csv")} == {"corrected"}
    said = fails(*words, "--coverage", "0.99", "--overwrite")
    assert "takes 99 corrected radiographs" in said


def test_measure_writes_a_template_that_can_be_read(tmp_path: Path):
    from onemark.measurement.sets import load_set

    assert main(["measure", "--template", str(tmp_path / "mine.toml")]) == 0
    assert load_set(tmp_path / "mine.toml").measurements


def test_measure_names_mistakes(cohort: Path, own_set: Path, tmp_path: Path, fails: Fails):
    truth = cohort / "truth.csv"
    assert "give the landmarks" in fails("measure")
    assert "no set of measurements" in fails("measure", truth, "--set", "nothing")
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("image,landmark,x,y\na.png,thumb,1,2\n", "utf-8")
    assert "none of the landmarks ('thumb'" in fails("measure", foreign, "--out", tmp_path / "x.csv")
    own_set.write_text(own_set.read_text("utf-8").replace("distance(", "distanz("), "utf-8")
    message = fails("measure", truth, "--set", own_set, "--out", tmp_path / "x.csv")
    assert "line 8, column 12: there is no function 'distanz'; did you mean 'distance'?" in message
    there = tmp_path / "there.csv"
    there.write_text("", "utf-8")
    assert "exists already" in fails("measure", truth, "--set", own_set, "--out", there)


def test_agree_writes_its_tables_and_says_who_differs(
    cohort: Path, own_set: Path, second_reading: Path, tmp_path: Path, capsys
):
    out = tmp_path / "agreement"
    words = [
        "agree",
        str(cohort / "truth.csv"),
        str(second_reading),
        "--set",
        str(own_set),
        "--spacing-mm",
        "0.5",
    ]
    assert main([*words, "--out", str(out)]) == 0
    names = onemark.read_landmarks(cohort / "truth.csv").names
    points = rows(out / "points.csv")
    assert [row["landmark"] for row in points] == [*names, "all"]
    assert rows(out / "measurements.csv")[0]["measurement"] == "width"
    assert rows(out / "reliability.csv")[-1]["what"] == "width"
    printed = capsys.readouterr().out
    assert "truth - second" in printed
    assert f"{float(points[-1]['dahlberg']):.2f} mm" in printed


def test_agree_names_mistakes(cohort: Path, second_reading: Path, tmp_path: Path, fails: Fails):
    truth, out = cohort / "truth.csv", tmp_path / "out"
    assert "at least two observers" in fails("agree", truth, "--out", out)
    assert "the same name" in fails("agree", truth, truth, "--out", out)
    assert "1 --name for 2 files" in fails("agree", truth, second_reading, "--name", "a", "--out", out)


def test_shapes_writes_its_files(cohort: Path, tmp_path: Path, capsys):
    out = tmp_path / "shapes"
    assert main(["shapes", str(cohort / "truth.csv"), "--out", str(out)]) == 0
    assert {file.name for file in out.iterdir()} == {
        "shapes.csv",
        "tangent.csv",
        "components.csv",
        "shapes.svg",
    }
    assert len(rows(out / "shapes.csv")) == 3
    assert "3 shapes" in capsys.readouterr().out


def test_shapes_names_mistakes(cohort: Path, tmp_path: Path, fails: Fails):
    assert "at least three" in fails("shapes", cohort / "exemplar.csv", "--out", tmp_path / "s")
    assert "no landmark 'x'" in fails(
        "shapes", cohort / "truth.csv", "--landmark", "x", "--out", tmp_path / "s"
    )


def test_cite_prints_the_paragraph_of_a_run(trained: Path, cohort: Path, capsys, fails: Fails):
    assert main(["cite", str(trained), "--truth", str(cohort / "truth.csv"), "--spacing-mm", "0.5"]) == 0
    text = capsys.readouterr().out
    assert "recipe 'onemark'" in text
    assert "a cohort of 3" in text
    assert "annotation of 2 radiographs" in text
    assert "[2] Yao Q" in text
    assert "no run" in fails("cite", cohort)


def test_no_file_of_several_is_replaced_or_left_beside_new_ones(
    cohort: Path, own_set: Path, second_reading: Path, tmp_path: Path, fails: Fails
):
    truth, out = str(cohort / "truth.csv"), tmp_path / "out"
    out.mkdir()
    (out / "components.csv").write_text("mine", "utf-8")
    assert "components.csv exists already" in fails("shapes", truth, "--out", out)
    (out / "scatter-truth-second.png").write_text("mine", "utf-8")
    assert "scatter-truth-second.png exists" in fails("agree", truth, second_reading, "--plots", "--out", out)
    assert [path.read_text("utf-8") for path in out.iterdir()] == ["mine", "mine"]
    words = ["agree", truth, str(second_reading), "--spacing-mm", "0.5", "--out", str(out)]
    assert main([*words, "--set", str(own_set)]) == 0
    assert (out / "measurements.csv").is_file()
    assert main([*words, "--overwrite"]) == 0
    assert not (out / "measurements.csv").exists()
    assert (out / "scatter-truth-second.png").read_text("utf-8") == "mine"


def test_plots_of_former_results_do_not_stay_beside_new_ones(
    cohort: Path, second_reading: Path, tmp_path: Path, fails: Fails
):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    out.mkdir()
    former = out / "bland-altman-truth-second.png"
    former.write_text("of a set", "utf-8")
    words = ["agree", str(cohort / "truth.csv"), str(second_reading), "--plots", "--out", str(out)]
    assert f"{former.name} exists already" in fails(*words)
    assert main([*words, "--overwrite"]) == 0
    assert not former.exists()
    assert (out / "scatter-truth-second.png").is_file()


def test_what_needs_no_spacing_is_measured_where_radiographs_are_gone(
    trained: Path, own_set: Path, tmp_path: Path, capsys
):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    config = json.loads((run / "config.json").read_text("utf-8"))
    (run / "config.json").write_text(json.dumps(config | {"cohort": str(tmp_path / "gone")}), "utf-8")
    words = ["measure", str(run / "landmarks.csv"), "--set", str(own_set), "--out", str(tmp_path / "m.csv")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert f"no longer in {tmp_path / 'gone'}" in printed
    assert "give --images FOLDER or --spacing-mm MM" in printed
    (run / "config.json").write_text(
        json.dumps(config | {"cohort": str(tmp_path / "gone"), "spacing_mm": [0.5, 0.5]}), "utf-8"
    )
    assert main([*words, "--overwrite"]) == 0
    assert "pixels" not in capsys.readouterr().out
    assert {row["unit"] for row in rows(tmp_path / "m.csv")} == {"mm"}


@pytest.fixture
def moved(trained: Path, cohort: Path, tmp_path: Path) -> Path:
    """A run whose radiographs state 0.5 mm per pixel, but for one, which has gone."""
    run, xrays = tmp_path / "run", tmp_path / "xrays"
    shutil.copytree(trained, run)
    shutil.copytree(cohort / "xrays", xrays)
    for path in xrays.glob("*.png"):
        with Image.open(path) as image:
            image.save(path, dpi=(50.8, 50.8))
    (xrays / "phantom-003.png").unlink()
    RunFolder.open(run).update(cohort=str(xrays))
    return run


def test_a_radiograph_that_has_gone_from_a_run_is_measured_without_spacing(
    moved: Path, own_set: Path, tmp_path: Path, capsys
):
    words = ["--set", str(own_set), "--out", str(tmp_path / "m.csv")]
    assert main(["measure", str(moved / "landmarks.csv"), *words]) == 0
    assert [row["unit"] for row in rows(tmp_path / "m.csv")] == ["mm", "mm", "px"]
    assert "lengths of 1 of 3 radiographs are in pixels; give --spacing-mm MM" in capsys.readouterr().out


def test_only_the_predictions_of_a_run_have_its_spacing(moved: Path, own_set: Path, tmp_path: Path, capsys):
    shutil.copy(moved / "landmarks.csv", moved / "others.csv")  # of other radiographs, whatever their names
    words = ["--set", str(own_set), "--out", str(tmp_path / "m.csv")]
    assert main(["measure", str(moved / "others.csv"), *words]) == 0
    assert {row["unit"] for row in rows(tmp_path / "m.csv")} == {"px"}
    assert "give --images FOLDER or --spacing-mm MM" in capsys.readouterr().out


def test_an_observer_is_compared_with_a_run_in_mm(moved: Path, cohort: Path, tmp_path: Path, capsys):
    RunFolder.open(moved).update(spacing_mm=(0.5, 0.5))
    words = ["agree", str(cohort / "truth.csv"), str(moved / "landmarks.csv"), "--out", str(tmp_path / "a")]
    assert main(words) == 0
    assert " mm" in capsys.readouterr().out.split("mean distance")[1]


def test_cite_takes_the_spacing_of_the_radiographs(moved: Path, cohort: Path, tmp_path: Path, capsys):
    truth = onemark.read_landmarks(cohort / "truth.csv")
    known = LandmarkTable.from_sets([truth["phantom-001.png"], truth["phantom-002.png"]])
    known.to_csv(tmp_path / "known.csv")
    assert main(["cite", str(moved), "--truth", str(tmp_path / "known.csv")]) == 0
    assert "within 2 mm" in capsys.readouterr().out
    assert main(["cite", str(moved), "--truth", str(cohort / "truth.csv")]) == 0
    assert " px (95 % interval" in capsys.readouterr().out, "one has no spacing"
