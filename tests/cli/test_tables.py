"""Commands that only read and print: evaluate, convert, recipes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import onemark
from onemark.cli import main

Fails = Callable[..., str]
RunWords = Callable[..., list[str]]


@pytest.fixture
def shifted(cohort: Path, tmp_path: Path) -> Path:
    """The truth moved by (3, 4) px."""
    path = tmp_path / "predictions.csv"
    table = onemark.read_landmarks(cohort / "truth.csv")
    frame = table.to_frame()
    frame["x"] += 3
    frame["y"] += 4
    frame.to_csv(path, index=False)
    return path


def test_evaluate(shifted: Path, cohort: Path, capsys: pytest.CaptureFixture[str], fails: Fails):
    words = ["evaluate", str(shifted), str(cohort / "truth.csv"), "--json"]
    assert main(words) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["unit"], scores["images"]) == ("px", 3)
    assert scores["mre"] == pytest.approx(5)
    assert (
        main([*words, "--spacing-mm", "0.5", "--exclude", "phantom-001.png", "--exclude", "phantom-002.png"])
        == 0
    )
    scores = json.loads(capsys.readouterr().out)
    assert (scores["unit"], list(scores["per_image"])) == ("mm", ["phantom-003.png"])
    assert scores["mre"] == pytest.approx(2.5)
    assert main([*words[:-1], "--images", str(cohort / "xrays")]) == 0
    assert f"MRE {5 / 88 * 100:.3f} % of the mean side" in capsys.readouterr().out


def test_evaluate_names_what_it_leaves_out(
    shifted: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    truth = pd.read_csv(cohort / "truth.csv")
    truth["image"] = truth["image"].str.removesuffix(".png").str.replace("phantom-003", "phantom-033")
    truth.to_csv(tmp_path / "t.csv", index=False)
    assert main(["evaluate", str(shifted), str(tmp_path / "t.csv"), "--json"]) == 0
    out, said = capsys.readouterr()
    assert json.loads(out)["images"] == 2
    assert said.count("\n") == 1
    assert "1 image of the truth left out for lack of a prediction: no radiograph 'phantom-033'" in said


def test_evaluate_asks_the_radiographs_for_the_height_that_a_foreign_table_lacks(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Fails
):
    tps = tmp_path / "predictions.tps"
    tps.write_text("LM=1\n10 76\nIMAGE=phantom-001.png\n")  # 96 px high: y = 20 from the top
    (tmp_path / "truth.csv").write_text("image,landmark,x,y\nphantom-001.png,1,13,24\n")
    assert "give the folder of images" in fails("evaluate", tps, tmp_path / "truth.csv")
    assert main(["evaluate", str(tps), str(tmp_path / "truth.csv"), "--images", str(cohort / "xrays")]) == 0
    assert f"MRE {5 / 88 * 100:.3f} % of the mean side" in capsys.readouterr().out


def test_evaluate_takes_one_unit(shifted: Path, cohort: Path, fails: Fails):
    words = ["evaluate", shifted, cohort / "truth.csv", "--images", cohort / "xrays", "--spacing-mm", "1"]
    assert "one of them" in fails(*words)


@pytest.mark.parametrize("name", ["l.csv", "l.tps", "l.json"])
def test_convert_there_and_back(name: str, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    images = ["--images", str(cohort / "xrays")]
    assert main(["convert", str(cohort / "truth.csv"), str(tmp_path / name), *images]) == 0
    assert capsys.readouterr().out == f"{tmp_path / name}\n"
    assert main(["convert", str(tmp_path / name), str(tmp_path / "back.csv"), *images]) == 0
    truth, back = onemark.read_landmarks(cohort / "truth.csv"), onemark.read_landmarks(tmp_path / "back.csv")
    assert back.images == truth.images
    for ours, theirs in zip(back, truth, strict=True):
        np.testing.assert_allclose(ours.xy, theirs.xy, atol=1e-3)


def test_convert_refuses(cohort: Path, tmp_path: Path, fails: Fails):
    (tmp_path / "there.csv").write_text("mine")
    assert "--overwrite" in fails("convert", cohort / "truth.csv", tmp_path / "there.csv")
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert ".docx" in fails("convert", cohort / "truth.csv", tmp_path / "l.docx")
    assert "folder" in fails("convert", cohort / "truth.csv", tmp_path / "l.tps")


def test_recipes(capsys: pytest.CaptureFixture[str]):
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(onemark.RECIPES)


def test_every_setting_that_is_listed_can_be_set(capsys: pytest.CaptureFixture[str]):
    for recipe in onemark.RECIPES.values():
        assert main(["recipes", recipe.name]) == 0
        settings = dict(line.split()[0].split("=", 1) for line in capsys.readouterr().out.splitlines())
        assert recipe.configure(settings) == recipe.configure()
        assert recipe.configure_selector(settings) == recipe.configure_selector()
        slots = {"select": recipe.configure_selector(), **recipe.configure()}
        assert set(settings) == {f"{slot}.{name}" for slot, config in slots.items() for name in vars(config)}


def test_safe_csv_keeps_names_from_running_as_formulas(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "l.csv").write_text(
        "image,landmark,x,y\nphantom-001.png,=1+1,13,24\nphantom-001.png,b,15,30\n"
    )
    for more, name in (([], "=1+1"), (["--safe-csv"], "'=1+1")):
        words = ["convert", str(tmp_path / "l.csv"), str(tmp_path / f"{len(more)}.csv"), *more]
        assert main(words) == 0
        assert pd.read_csv(tmp_path / f"{len(more)}.csv").landmark.tolist() == [name, "b"]
    capsys.readouterr()


def test_links_are_followed_unless_told_otherwise(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Fails
):
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "phantom-001.png").symlink_to(cohort / "xrays" / "phantom-001.png")
    (folder / "other.png").write_bytes((cohort / "xrays" / "phantom-002.png").read_bytes())
    (tmp_path / "l.csv").write_text("image,landmark,x,y\nphantom-001.png,a,13,24\n")
    words = ["convert", tmp_path / "l.csv", tmp_path / "l.tps", "--images", folder]
    assert "no radiograph 'phantom-001.png'" in fails(*words, "--no-follow")
    assert main([str(word) for word in words]) == 0
    capsys.readouterr()
