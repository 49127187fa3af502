"""The command line over the real pipeline, with settings so small that a training takes a second."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import onemark
from onemark.cli import main
from onemark.io.landmarks import LandmarkTable
from onemark.phantom import write_phantom_cohort

TINY = [
    f"--set={name}"
    for name in (
        "match.steps=2",
        "match.batch=2",
        "match.area=4096",
        "detect.steps=2",
        "detect.batch=2",
        "detect.area=4096",
    )
]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `xrays/` (3 phantoms), `truth.csv` and `exemplar.csv` (the first one)."""
    folder = tmp_path_factory.mktemp("cohort")
    truth = write_phantom_cohort(folder / "xrays", 3, size=(96, 80))
    truth.to_csv(folder / "truth.csv")
    LandmarkTable.from_sets([truth["phantom-001.png"]]).to_csv(folder / "exemplar.csv")
    return folder


@pytest.fixture(scope="module")
def trained(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run folder; read only."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(run_words(cohort, out)) == 0
    return out


def run_words(cohort: Path, out: Path, *more: str) -> list[str]:
    return [
        "run",
        str(cohort / "xrays"),
        "--exemplar",
        str(cohort / "exemplar.csv"),
        "--out",
        str(out),
        *TINY,
        *more,
    ]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command that must fail with exit status 2 and one line; return the line."""
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"onemark: [^\n]+\n", captured.err), captured.err
    return captured.err


# --- usage -----------------------------------------------------------------------------------------------


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in ("demo", "fit", "predict", "run", "resume", "evaluate", "convert", "recipes"):
        assert re.search(rf"\b{command} ", out)
    assert "suggest" not in out


def test_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == onemark.__version__


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fot"], "fot"),
        (["fit"], "XRAYS"),
        (["fit", "x", "--out", "r"], "--exemplar"),
        (["fit", "x", "--exemplar", "e.csv", "--out", "r", "--minutes", "soon"], "--minutes"),
        (["fit", "x", "--exemplar", "e.csv", "--out", "r", "--seeds", "1"], "--seeds"),
        (["evaluate", "a.csv", "b.csv", "c.csv"], "c.csv"),
        (["recipes", "nonsense"], "nonsense"),
    ],
)
def test_wrong_words_are_one_line_and_status_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert said in fails(capsys, *words)


def test_an_error_of_ours_passes_through(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onemark.cli.tables.recipe_lines", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["recipes"])


# --- bad input -------------------------------------------------------------------------------------------


def bad_exemplar(text: str, said: str) -> pytest.param:
    return pytest.param(text, said, id=said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "exemplar.csv"),
        ("image,landmark,x,y\n", "no "),
        ("image,landmark,x\nphantom-001.png,a,3\n", "y"),
        ("image,landmark,x,y\nphantom-001.png,a,3,three\n", "three"),
        ("image,landmark,x,y\nphantom-001.png,a,3,500\n", "outside"),
        ("image,landmark,x,y\nphantom-001.png,a,3,5\nphantom-001.png,a,4,5\n", "a"),
        ("image,landmark,x,y\nother.png,a,3,5\n", "other.png"),
        ("image,landmark,x,y\nphantom-001.png,a,nan,nan\n", "phantom-001.png"),
        ("\x00\x01\x02\xff", "exemplar.csv"),
    ],
)
def test_a_bad_exemplar(
    text: str, said: str, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    exemplar = tmp_path / "exemplar.csv"
    exemplar.write_text(text, "latin-1")
    out = tmp_path / "run"
    assert said in fails(capsys, "run", cohort / "xrays", "--exemplar", exemplar, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--recipe", "magic"], "onemark"),
        (["--device", "tpu"], "cpu"),
        (["--minutes", "-1"], "minutes"),
        (["--minutes", "0"], "minutes"),
        (["--minutes", "inf"], "minutes"),
        (["--spacing-mm", "-0.1"], "spacing"),
        (["--set", "match.steps"], "name=value"),
        (["--set", "match.seed=5"], "match.steps"),
        (["--set", "steps=5"], "match"),
        (["--set", "match.batch=0"], "at least"),
        (["--set", "match.batch=2.5"], "match.batch"),
        (["--set", "match.rate=1", "--set", "match.rate=2"], "twice"),
    ],
)
def test_a_bad_option(
    more: list[str], said: str, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["run", cohort / "xrays", "--exemplar", cohort / "exemplar.csv", "--out", tmp_path / "run", *more]
    assert said in fails(capsys, *words)
    assert not (tmp_path / "run").exists()


def test_a_bad_folder(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no image")
    for folder in ("empty", "texts", "missing"):
        words = ["run", tmp_path / folder, "--exemplar", cohort / "exemplar.csv", "--out", tmp_path / "run"]
        assert folder in fails(capsys, *words)


def test_a_run_folder_in_use(trained: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    before = (trained / "landmarks.csv").read_bytes()
    assert f"onemark resume {trained}" in fails(capsys, *run_words(cohort, trained))
    assert (trained / "landmarks.csv").read_bytes() == before
    (tmp_path / "file").write_text("mine")
    fails(capsys, *run_words(cohort, tmp_path / "file"))
    fails(capsys, *run_words(cohort, tmp_path / "file" / "run"))
    assert (tmp_path / "file").read_text() == "mine"


# --- the job ---------------------------------------------------------------------------------------------


def test_run_leaves_landmarks_report_and_model(trained: Path, cohort: Path):
    found = rows(trained / "landmarks.csv")
    truth = rows(cohort / "truth.csv")
    assert [(row["image"], row["landmark"]) for row in found] == [
        (row["image"], row["landmark"]) for row in truth
    ]
    assert list(found[0]) == ["image", "landmark", "x", "y", "score", "expected_error"]
    assert all(np.isfinite(float(row["x"])) for row in found)
    assert "phantom-002.png" in (trained / "report.html").read_text("utf-8")
    assert len(list((trained / "overlays").iterdir())) == 3
    assert onemark.load(trained).names == onemark.read_landmarks(cohort / "truth.csv").names


def test_fit_then_predict_is_run(
    trained: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = run_words(cohort, tmp_path / "run")
    assert main(["fit", *words[1:]]) == 0
    assert f"onemark predict {tmp_path / 'run'}" in capsys.readouterr().out
    assert (
        main(["predict", str(tmp_path / "run"), str(cohort / "xrays"), "--out", str(tmp_path / "l.csv")]) == 0
    )
    captured = capsys.readouterr()
    assert captured.out == f"marked 3 of 3 radiographs: {tmp_path / 'l.csv'}\n"
    assert "predict 3/3" in captured.err
    assert rows(tmp_path / "l.csv") == rows(trained / "landmarks.csv")


def test_predict_replaces_a_file_only_when_told(
    trained: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "mine.csv"
    out.write_text("by hand")
    words = ["predict", str(trained), str(cohort / "xrays"), "--out", str(out), "--mm"]
    assert "--overwrite" in fails(capsys, *words)
    assert out.read_text() == "by hand"
    assert main([*words, "--overwrite", "--spacing-mm", "0.5"]) == 0
    row = rows(out)[4]
    assert float(row["x_mm"]) == pytest.approx(0.5 * float(row["x"]))


def test_a_bad_radiograph_is_named_and_passed_over(
    trained: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(cohort / "xrays", tmp_path / "xrays")
    (tmp_path / "xrays" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert main(["predict", str(trained), str(tmp_path / "xrays"), "--out", str(tmp_path / "l.csv")]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("marked 3 of 4 radiographs")
    assert len([line for line in captured.err.splitlines() if "broken.png" in line]) == 1
    assert {row["image"] for row in rows(tmp_path / "l.csv")} == {f"phantom-00{k}.png" for k in (1, 2, 3)}


def test_predict_without_a_run(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert str(tmp_path) in fails(capsys, "predict", tmp_path, cohort / "xrays", "--out", tmp_path / "l.csv")


def test_the_demo_tells_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("onemark-demo").mkdir()  # an earlier demo, which must stay
    assert main(["demo", "--count", "3", "--minutes", "0.05"]) == 0
    out = capsys.readouterr().out
    px, _, percent = map(float, re.findall(r"([\d.]+) (?:px|mm|%)", out))
    assert percent == pytest.approx(px / 288 * 100, abs=0.05)  # 320 x 256: the mean side is 288 px
    folder = Path("onemark-demo-2")
    assert str(folder / "run" / "report.html") in out
    assert (folder / "run" / "report.html").exists()
    assert onemark.read_landmarks(folder / "exemplar.csv").images == ("phantom-001.png",)
    assert list(Path("onemark-demo").iterdir()) == []
    assert "exists" in fails(capsys, "demo", "--out", folder)


# --- stopping and resuming -------------------------------------------------------------------------------


def onemark_process(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "onemark", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a child on Windows")
def test_ctrl_c_stops_and_resume_finishes(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    process = onemark_process(*run_words(cohort, out, "--set", "match.pool=3")[:-2], "--minutes", "10")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("match 1/"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == f"onemark: stopped; continue with: onemark resume {out}"
    assert json.loads((out / "config.json").read_text())["state"] == "stopped"
    assert not (out / "landmarks.csv").exists()

    assert main(["resume", str(out), "--minutes", "0.05"]) == 0
    assert capsys.readouterr().out == f"marked 3 of 3 radiographs: {out / 'landmarks.csv'}\n"
    assert len(rows(out / "landmarks.csv")) == len(rows(cohort / "truth.csv"))
    assert "finished" in fails(capsys, "resume", out)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a child on Windows")
def test_the_second_ctrl_c_ends_the_process():
    code = (
        "import signal\n"
        "from onemark.cli.show import Show\n"
        "with Show():\n"
        "    signal.raise_signal(signal.SIGINT); print('still here', flush=True)\n"
        "    signal.raise_signal(signal.SIGINT); print('not any more', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (130, "still here\n")


def test_resume_marks_a_run_that_was_stopped_while_marking(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "landmarks.csv").unlink()
    (run / "report.html").unlink()
    assert main(["resume", str(run)]) == 0
    assert rows(run / "landmarks.csv") == rows(trained / "landmarks.csv")
    capsys.readouterr()
    assert "finished" in fails(capsys, "resume", run)


def test_resume_finds_radiographs_that_have_moved(
    trained: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "report.html").unlink()
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"cohort": str(tmp_path / "gone")}))
    assert "--xrays" in fails(capsys, "resume", run)
    assert main(["resume", str(run), "--xrays", str(cohort / "xrays")]) == 0
    assert (run / "report.html").exists()


def test_resume_learns_from_a_further_exemplar(trained: Path, cohort: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    truth = onemark.read_landmarks(cohort / "truth.csv")
    LandmarkTable.from_sets([truth["phantom-002.png"]]).to_csv(tmp_path / "more.csv")
    assert main(["resume", str(run), "--exemplar", str(tmp_path / "more.csv"), "--minutes", "0.05"]) == 0
    assert onemark.load(run).exemplars.images == ("phantom-001.png", "phantom-002.png")
    found = onemark.read_landmarks(run / "landmarks.csv")
    np.testing.assert_array_equal(found["phantom-002.png"].xy, truth["phantom-002.png"].xy)


# --- evaluate, convert, recipes --------------------------------------------------------------------------


@pytest.fixture
def shifted(cohort: Path, tmp_path: Path) -> Path:
    """The truth moved by (3, 4) px."""
    path = tmp_path / "found.csv"
    table = onemark.read_landmarks(cohort / "truth.csv")
    frame = table.to_frame()
    frame["x"] += 3
    frame["y"] += 4
    frame.to_csv(path, index=False)
    return path


def test_evaluate(shifted: Path, cohort: Path, capsys: pytest.CaptureFixture[str]):
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


def test_evaluate_takes_one_unit(shifted: Path, cohort: Path, capsys: pytest.CaptureFixture[str]):
    words = ["evaluate", shifted, cohort / "truth.csv", "--images", cohort / "xrays", "--spacing-mm", "1"]
    assert "one of them" in fails(capsys, *words)


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


def test_convert_refuses(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "there.csv").write_text("mine")
    assert "--overwrite" in fails(capsys, "convert", cohort / "truth.csv", tmp_path / "there.csv")
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert ".docx" in fails(capsys, "convert", cohort / "truth.csv", tmp_path / "l.docx")
    assert "folder" in fails(capsys, "convert", cohort / "truth.csv", tmp_path / "l.tps")


def test_recipes(capsys: pytest.CaptureFixture[str]):
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(onemark.RECIPES)


def test_every_setting_that_is_listed_can_be_set(capsys: pytest.CaptureFixture[str]):
    for recipe in onemark.RECIPES.values():
        assert main(["recipes", recipe.name]) == 0
        settings = dict(line.split()[0].split("=", 1) for line in capsys.readouterr().out.splitlines())
        assert recipe.configure(settings) == recipe.configure()
        fields = {f"{slot}.{name}" for slot, config in recipe.configure().items() for name in vars(config)}
        assert set(settings) == fields
