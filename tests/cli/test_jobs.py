"""Training and predicting by command, over the real pipeline."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import onemark
from onemark.cli import main

Fails = Callable[..., str]
RunWords = Callable[..., list[str]]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_run_leaves_landmarks_report_and_model(
    trained: Path, cohort: Path, fails: Fails, run_words: RunWords
):
    predictions = rows(trained / "landmarks.csv")
    truth = rows(cohort / "truth.csv")
    assert [(row["image"], row["landmark"]) for row in predictions] == [
        (row["image"], row["landmark"]) for row in truth
    ]
    numbers = ["x", "y", "score", "expected_error", "sd_major", "sd_minor", "angle"]
    assert list(predictions[0]) == ["image", "landmark", *numbers, "unit"]
    assert all(np.isfinite(float(row["x"])) for row in predictions)
    assert "phantom-002.png" in (trained / "report.html").read_text("utf-8")
    assert len(list((trained / "overlays").iterdir())) == 3
    assert onemark.load(trained).names == onemark.read_landmarks(cohort / "truth.csv").names


def test_fit_then_predict_is_run(
    trained: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run_words: RunWords
):
    words = run_words(tmp_path / "run")
    assert main(["fit", *words[1:]]) == 0
    assert f"onemark predict {tmp_path / 'run'}" in capsys.readouterr().out
    assert (
        main(["predict", str(tmp_path / "run"), str(cohort / "xrays"), "--out", str(tmp_path / "l.csv")]) == 0
    )
    captured = capsys.readouterr()
    assert captured.out == f"predicted 3 of 3 radiographs: {tmp_path / 'l.csv'}\n"
    assert "predict 3/3" in captured.err
    assert (tmp_path / "l.csv").read_bytes() == (trained / "landmarks.csv").read_bytes()


def test_predict_replaces_a_file_only_with_overwrite(
    trained: Path, cohort: Path, tmp_path: Path, fails: Fails
):
    out = tmp_path / "mine.csv"
    out.write_text("by hand")
    words = ["predict", str(trained), str(cohort / "xrays"), "--out", str(out), "--mm"]
    assert "--overwrite" in fails(*words)
    assert out.read_text() == "by hand"
    assert main([*words, "--overwrite", "--spacing-mm", "0.5"]) == 0
    row = rows(out)[4]
    assert float(row["x_mm"]) == pytest.approx(0.5 * float(row["x"]))


@pytest.mark.parametrize(
    ("out", "more", "said"),
    [
        ("p.xyz", [], "no known suffix"),
        ("p.csv", ["--mm"], "pixel spacing"),
        ("points.mrk.json", [], "is there already"),
        ("folder.csv", ["--overwrite"], "there is a folder of that name"),
        ("file/p.csv", [], "is a file, not a folder"),
    ],
)
def test_predict_checks_its_target_before_the_work(
    out: str,
    more: list[str],
    said: str,
    trained: Path,
    cohort: Path,
    tmp_path: Path,
    fails: Fails,
    monkeypatch: pytest.MonkeyPatch,
):
    shutil.copytree(cohort / "xrays", tmp_path / "xrays")
    for path in (tmp_path / "xrays").iterdir():
        Image.open(path).save(path)  # loses the pixel spacing
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / "phantom-002.png.mrk.json").write_text("mine")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(onemark.pipeline.fit.Model, "predict", lambda *_, **__: pytest.fail("predicted"))
    assert said in fails("predict", trained, tmp_path / "xrays", "--out", tmp_path / out, *more)


def test_predict_says_when_the_run_is_not_finished(
    trained: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    config = json.loads((run / "config.json").read_text("utf-8"))
    (run / "config.json").write_text(json.dumps(config | {"state": "stopped"}), "utf-8")
    words = ["predict", str(run), str(cohort / "xrays"), "--out"]
    assert main([*words, str(tmp_path / "l.csv")]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "not finished" in line]
    assert len(said) == 1
    assert "(match, register, detect, refine)" in said[0]
    assert f"onemark resume {run}" in said[0]
    (run / "config.json").write_text(json.dumps(config), "utf-8")
    assert main([*words, str(tmp_path / "m.csv")]) == 0
    assert "not finished" not in capsys.readouterr().err


def test_a_bad_radiograph_is_named_and_skipped(
    trained: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(cohort / "xrays", tmp_path / "xrays")
    (tmp_path / "xrays" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert main(["predict", str(trained), str(tmp_path / "xrays"), "--out", str(tmp_path / "l.csv")]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("predicted 3 of 4 radiographs")
    assert len([line for line in captured.err.splitlines() if "broken.png" in line]) == 1
    assert {row["image"] for row in rows(tmp_path / "l.csv")} == {f"phantom-00{k}.png" for k in (1, 2, 3)}


def test_predict_without_a_run(cohort: Path, tmp_path: Path, fails: Fails):
    assert str(tmp_path) in fails("predict", tmp_path, cohort / "xrays", "--out", tmp_path / "l.csv")


def test_the_demo_prints_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: Fails
):
    monkeypatch.chdir(tmp_path)
    Path("onemark-demo").mkdir()  # an earlier demo, which must stay
    assert main(["demo", "--count", "3", "--minutes", "0.05"]) == 0
    out = capsys.readouterr().out
    assert "Not usable yet" not in out  # three seconds train nothing, but registration needs no training
    px, _, percent = map(float, re.findall(r"([\d.]+) (?:px|mm|%)", out[out.index("mean radial error") :]))
    assert percent == pytest.approx(px / 288 * 100, abs=0.05)  # 320 x 256: the mean side is 288 px
    folder = Path("onemark-demo-2")
    assert str(folder / "run" / "report.html") in out
    assert (folder / "run" / "report.html").exists()
    assert onemark.read_landmarks(folder / "exemplar.csv").images == ("phantom-001.png",)
    assert list(Path("onemark-demo").iterdir()) == []
    assert "exists" in fails("demo", "--out", folder)
