"""What the command line says to wrong words and wrong input."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import onemark
from onemark.cli import main
from onemark.cli.steps import read_pairs
from onemark.types import UserError

Fails = Callable[..., str]
RunWords = Callable[..., list[str]]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str], fails: Fails, run_words: RunWords):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in (
        "demo",
        "fit",
        "predict",
        "run",
        "resume",
        "evaluate",
        "convert",
        "recipes",
        "suggest",
        "doctor",
    ):
        assert re.search(rf"\b{command} ", out)


def test_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == onemark.__version__


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fot"], "fot"),
        (["fit"], "--exemplar"),
        (["predict"], "RUN_FOLDER"),
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
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"onemark: [^\n]*{re.escape(said)}[^\n]*\n", err)


def test_an_error_of_ours_passes_through(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onemark.cli.tables.list_recipes", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["recipes"])


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
def test_a_bad_exemplar(text: str, said: str, cohort: Path, tmp_path: Path, fails: Fails):
    exemplar = tmp_path / "exemplar.csv"
    exemplar.write_text(text, "latin-1")
    out = tmp_path / "run"
    assert said in fails("run", cohort / "xrays", "--exemplar", exemplar, "--out", out)
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
def test_a_bad_option(more: list[str], said: str, cohort: Path, tmp_path: Path, fails: Fails):
    words = ["run", cohort / "xrays", "--exemplar", cohort / "exemplar.csv", "--out", tmp_path / "run", *more]
    assert said in fails(*words)
    assert not (tmp_path / "run").exists()


def test_a_bad_folder(cohort: Path, tmp_path: Path, fails: Fails):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no image")
    for folder in ("empty", "texts", "missing"):
        words = ["run", tmp_path / folder, "--exemplar", cohort / "exemplar.csv", "--out", tmp_path / "run"]
        assert folder in fails(*words)


LONG = "x" * 300


def test_a_name_that_is_too_long(trained: Path, cohort: Path, tmp_path: Path, fails: Fails):
    xrays, exemplar, out = cohort / "xrays", cohort / "exemplar.csv", tmp_path / "run"
    for words in (
        ("run", xrays, "--exemplar", exemplar, "--out", tmp_path / LONG),
        ("predict", trained, xrays, "--out", tmp_path / f"{LONG}.csv"),
        ("predict", trained, xrays, "--out", tmp_path / f"{LONG}.mrk.json"),
        ("convert", exemplar, tmp_path / f"{LONG}.csv"),
        ("demo", "--out", tmp_path / LONG),
    ):
        assert "the name is too long; choose a shorter one" in fails(*words)
    for words in (
        ("run", tmp_path / LONG, "--exemplar", exemplar, "--out", out),
        ("run", xrays, "--exemplar", tmp_path / LONG, "--out", out),
        ("predict", trained, tmp_path / LONG, "--out", tmp_path / "l.csv"),
        ("evaluate", tmp_path / LONG, exemplar),
        ("convert", tmp_path / LONG, tmp_path / "l.csv"),
    ):
        assert f"{LONG} cannot be read (File name too long); check the path" in fails(*words)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_nobody_may_look(
    trained: Path, cohort: Path, tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
):
    locked, stat = tmp_path / "locked", os.stat

    def guarded(path: object, *more: Any, **named: Any) -> os.stat_result:
        if isinstance(path, str | Path) and Path(path).parent == locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, *more, **named)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(os, "stat", guarded)
    xrays, exemplar, out = cohort / "xrays", cohort / "exemplar.csv", tmp_path / "run"
    for words in (
        ("run", xrays, "--exemplar", exemplar, "--out", locked / "run"),
        ("predict", trained, xrays, "--out", locked / "l.csv"),
        ("convert", exemplar, locked / "l.csv"),
    ):
        assert "you may not write there" in fails(*words)
    for words in (
        ("run", locked / "xrays", "--exemplar", exemplar, "--out", out),
        ("run", xrays, "--exemplar", locked / "l.csv", "--out", out),
        ("evaluate", locked / "l.csv", exemplar),
    ):
        assert "cannot be read (Permission denied); change its permissions or move it" in fails(*words)


def test_a_run_folder_in_use(trained: Path, tmp_path: Path, fails: Fails, run_words: RunWords):
    before = (trained / "landmarks.csv").read_bytes()
    assert f"onemark resume {trained}" in fails(*run_words(trained))
    assert (trained / "landmarks.csv").read_bytes() == before
    (tmp_path / "file").write_text("mine")
    fails(*run_words(tmp_path / "file"))
    fails(*run_words(tmp_path / "file" / "run"))
    assert (tmp_path / "file").read_text() == "mine"


def test_doctor_says_what_a_bug_report_needs_and_names_no_radiograph(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "patient-4711.png").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for words in (
        onemark.__version__,
        "Python",
        "torch ",
        "device",
        "memory",
        "free disk",
        "pydicom",
        "caches",
    ):
        assert words in out
    assert "labelme" in out
    assert "4711" not in out
    assert str(Path.home()) not in out
    assert len(out.splitlines()) < 30


def test_left_right_pairs_come_from_a_schema_with_partners(tmp_path: Path, fails: Fails):
    (tmp_path / "names.csv").write_text("landmark,label,swap\nhip left,HL,hip right\nhip right,HR\n")
    assert read_pairs(tmp_path / "names.csv") == (("hip left", "hip right"),)
    (tmp_path / "plain.csv").write_text("landmark,label\nsella,S\n")
    with pytest.raises(UserError, match="declares no left-right pair"):
        read_pairs(tmp_path / "plain.csv")
    assert "--swap goes with --exemplar" in fails(
        "resume", str(tmp_path), "--swap", str(tmp_path / "names.csv")
    )


@pytest.mark.parametrize(
    ("words", "called"),
    [
        (["fit", "{xrays}", "--out", "{out}"], "fit"),
        (["fit", "--resume", "{run}"], "resume"),
        (["run", "{xrays}", "--out", "{out}"], "fit"),
        (["resume", "{run}"], "resume"),
    ],
)
def test_every_training_command_passes_the_pairs_on(
    words: list[str],
    called: str,
    cohort: Path,
    trained: Path,
    tmp_path: Path,
    fails: Fails,
    monkeypatch: pytest.MonkeyPatch,
):
    passed: list[Any] = []

    def stop(*_: object, swap: object = None, **__: object) -> None:
        passed.append(swap)
        raise UserError("far enough")

    monkeypatch.setattr(onemark, called, stop)
    (tmp_path / "names.csv").write_text("landmark,label,swap\nhip left,HL,hip right\nhip right,HR\n")
    places = {"xrays": cohort / "xrays", "out": tmp_path / "out", "run": trained}
    options = ["--exemplar", str(cohort / "exemplar.csv"), "--swap", str(tmp_path / "names.csv")]
    assert "far enough" in fails(*[word.format(**places) for word in words], *options)
    assert passed == [(("hip left", "hip right"),)]


def test_a_name_that_the_terminal_has_no_letters_for_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    printed = io.TextIOWrapper(io.BytesIO(), "cp1252")
    monkeypatch.setattr(sys, "stdout", printed)
    words = ["image,landmark,x,y", "Łukasz.png,tip,1,2"]
    (tmp_path / "t.csv").write_text("\n".join(words), "utf-8")
    assert main(["evaluate", str(tmp_path / "t.csv"), str(tmp_path / "t.csv"), "--json"]) == 0
    printed.flush()
    written = printed.buffer.getvalue().decode("ascii")  # whatever reads it, and in whatever encoding
    assert "Łukasz.png" in str(json.loads(written))
