from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import numpy as np
import pytest

from onemark import LandmarkSet, LandmarkTable, UserError
from onemark.pipeline.runs.config import RunConfig, RunState
from onemark.pipeline.runs.folder import OURS, RunFolder

EXEMPLARS = LandmarkTable.from_sets(
    [LandmarkSet("é, 1.png", ("a", "b"), np.array([[1.5, 2.25], [np.nan, np.nan]]))]
)
CONFIG = RunConfig("onemark", {"match.steps": 3}, 0, "cpu", None, "/x/é", None, ("é, 1.png",))


def test_what_is_created_is_opened(tmp_path: Path):
    made = RunFolder.create(tmp_path / "deep" / "run", CONFIG, EXEMPLARS)
    made.update(state=RunState.STOPPED, done={"match": 1.5})
    opened = RunFolder.open(tmp_path / "deep" / "run")
    assert opened.config == made.config
    made_of = {"identity": made.config.identity}
    assert opened.config == dataclasses.replace(
        CONFIG, state=RunState.STOPPED, done={"match": 1.5}, **made_of
    )
    assert opened.exemplars().names == ("a", "b")
    np.testing.assert_array_equal(opened.exemplars().sets[0].xy, EXEMPLARS.sets[0].xy)
    assert opened.log() == []
    assert CONFIG.done == {}


def test_the_log_is_a_line_per_step(tmp_path: Path):
    run = RunFolder.create(tmp_path / "run", CONFIG, EXEMPLARS)
    entries = [{"stage": "match", "step": n, "loss": 1 / n} for n in (1, 2, 3)]
    run.write_log(entries)
    assert run.log() == entries
    assert len((run.path / "log.jsonl").read_text().splitlines()) == 3
    run.write_log(entries[:1])
    assert run.log() == entries[:1]


def test_exemplars_are_replaced(tmp_path: Path):
    run = RunFolder.create(tmp_path / "run", CONFIG, EXEMPLARS)
    run.teach(EXEMPLARS.with_set(LandmarkSet("2.png", ("a", "b"), np.ones((2, 2)))))
    assert RunFolder.open(run.path).exemplars().images == ("é, 1.png", "2.png")


def test_an_empty_folder_may_become_a_run_and_a_stranger_s_files_stay(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    RunFolder.create(tmp_path, CONFIG, EXEMPLARS)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", [name for name in OURS if name != "config.json"])
def test_nothing_that_a_run_would_write_is_there_already(tmp_path: Path, name: str):
    (tmp_path / name).write_text("mine")
    with pytest.raises(
        UserError, match=f"already holds {name}, which a run would replace: choose another folder"
    ):
        RunFolder.create(tmp_path, CONFIG, EXEMPLARS)
    assert (tmp_path / name).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_exemplars_of_other_answers_are_not_those_of_the_run(tmp_path: Path):
    one = LandmarkSet("1.png", ("a", "b"), np.array([[1.0, 2.0], [np.nan, np.nan]]))
    whole, partly = (
        LandmarkTable.from_sets([one if asked is None else dataclasses.replace(one, asked=np.array(asked))])
        for asked in (None, (True, False))
    )
    whole.to_csv(tmp_path / "exemplars.csv")
    with pytest.raises(UserError, match=r"already holds exemplars\.csv"):
        RunFolder.create(tmp_path, CONFIG, partly)
    run, other = (
        RunFolder.create(tmp_path / name, CONFIG, each) for name, each in (("w", whole), ("p", partly))
    )
    assert run.config.identity != other.config.identity


def test_another_run_is_never_replaced(tmp_path: Path):
    RunFolder.create(tmp_path / "run", CONFIG, EXEMPLARS)
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(UserError, match="already holds a run: continue it with `onemark resume"):
        RunFolder.create(tmp_path / "run", dataclasses.replace(CONFIG, recipe="other"), EXEMPLARS)
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_a_file_in_the_way(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file: give a folder"):
        RunFolder.create(tmp_path / "file", CONFIG, EXEMPLARS)
    with pytest.raises(UserError, match="is a file, not a folder"):
        RunFolder.create(tmp_path / "file" / "run", CONFIG, EXEMPLARS)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_without_a_run(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(UserError, match="holds no run"):
            RunFolder.open(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("\udcff", "cannot be read"),
        ("[]", "is not a run of onemark"),
        ('{"name": "of another program"}', "is not a run of onemark"),
        ('{"onemark": "0.1.0"}', "is damaged, 'recipe' is missing"),
    ],
)
def test_a_damaged_configuration(tmp_path: Path, text: str, said: str):
    (tmp_path / "config.json").write_text(text, "utf-8", errors="surrogateescape")
    with pytest.raises(UserError, match=said):
        RunFolder.open(tmp_path)


def test_an_update_that_cannot_be_written_leaves_the_former(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = RunFolder.create(tmp_path / "run", CONFIG, EXEMPLARS)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="disk is full"):
        run.update(state=RunState.DONE)
    assert RunFolder.open(run.path).config == dataclasses.replace(CONFIG, identity=run.config.identity)
