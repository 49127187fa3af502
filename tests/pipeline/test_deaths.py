"""A death at every write, flush to the disk and renaming of a run and of teaching.

Nothing is half written, going on always finishes, and the end is that of a run which nothing disturbed.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from dying import die
from small_recipe import SmallMatcher, book, few_radiographs, place

import onemark
from onemark import Cohort, UserError
from onemark.cli.steps import predict_and_report, resume_run
from onemark.data.atomic import writing
from onemark.nn.training import loop
from onemark.pipeline import recipes
from onemark.pipeline.runs.folder import RunFolder
from onemark.pipeline.runs.locks import locked
from onemark.stages import trust
from onemark.stages.base import StageContext

EVERY = int(os.environ.get("ONEMARK_EVERY_DEATH", "4"))
"""Deaths at every one of that many events; `make fuzz` dies at each."""
FIRST = min(2, EVERY)


class Quiet:
    """Takes the place of the progress bar."""

    messages: tuple[str, ...] = ()
    others: float | None = None

    def __call__(self, event: object) -> None:
        pass


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe `small`, a checkpoint after every step, and a report of one file."""
    monkeypatch.setattr(recipes, "RECIPES", book())
    monkeypatch.setattr(trust, "COPIES", 1)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "ASIDE", float("inf"))
    monkeypatch.setattr("onemark.evaluation.report.write_report", lambda path, *_, **__: write(path))
    monkeypatch.setattr("onemark.evaluation.report.write_overlays", lambda path, *_, **__: write(path / "a"))


def write(path: Path) -> None:
    with writing(path) as stream:
        stream.write("report")


@pytest.fixture
def few(tmp_path: Path) -> Cohort:
    return few_radiographs(tmp_path / "xrays")


def run(cohort: Cohort, out: Path) -> None:
    """What `onemark run` does."""
    model = onemark.fit(cohort, place(cohort, 0), recipe="small", out=out, device="cpu", orient=False)
    predict_and_report(model, cohort, out, Quiet())  # type: ignore[arg-type]


def teach(cohort: Cohort, out: Path) -> None:
    """What `onemark resume --exemplar` does."""
    model = onemark.resume(out, exemplars=place(cohort, 1))
    predict_and_report(model, cohort, out, Quiet())  # type: ignore[arg-type]


def resume(cohort: Cohort, out: Path) -> None:
    """What `onemark resume` does, which refuses a run that is finished."""
    with locked(out):
        try:
            model = resume_run(out, cohort, None, None, None, Quiet())  # type: ignore[arg-type]
        except UserError as error:
            if "is finished" not in str(error):
                raise
        else:
            predict_and_report(model, cohort, out, Quiet())  # type: ignore[arg-type]


def end_of(out: Path) -> dict[str, Any]:
    """All that a run holds in the end, without times."""
    files = {one.name: one.read_bytes() for one in out.iterdir() if one.is_file()}
    files.pop(".onemark.owner", None)  # of who died last
    config = json.loads(files.pop("config.json"))
    config["done"] = sorted(config["done"])
    del config["earlier_seconds"]
    log = [json.loads(line) for line in files.pop("log.jsonl").splitlines()]
    steps = [(entry["stage"], entry["step"], entry["loss"]) for entry in log]
    return {"files": files, "config": config, "log": steps}


def test_a_run_that_dies_anywhere_is_finished_by_the_same_command_or_by_resume(few: Cohort, tmp_path: Path):
    run(few, tmp_path / "unbroken")
    unbroken, fatal, out = end_of(tmp_path / "unbroken"), FIRST, tmp_path / "run"
    while die(lambda: run(few, out), fatal):
        if (out / "config.json").exists():
            resume(few, out)
        else:
            run(few, out)
        assert end_of(out) == unbroken, f"after a death at event {fatal}"
        shutil.rmtree(out)
        fatal += EVERY
    assert fatal > 60


def test_teaching_that_dies_anywhere_learns_the_correction_or_has_changed_nothing(
    few: Cohort, tmp_path: Path
):
    run(few, tmp_path / "once")
    shutil.copytree(tmp_path / "once", tmp_path / "unbroken")
    teach(few, tmp_path / "unbroken")
    before, unbroken = end_of(tmp_path / "once"), end_of(tmp_path / "unbroken")
    fatal, out, taken = FIRST, tmp_path / "run", 0
    shutil.copytree(tmp_path / "once", out)
    while die(lambda: teach(few, out), fatal):
        resume(few, out)
        if len(RunFolder.open(out).exemplars()) == 2:
            taken += 1
        else:
            assert end_of(out) == before
            teach(few, out)
        assert end_of(out) == unbroken, f"after a death at event {fatal}"
        shutil.rmtree(out)
        shutil.copytree(tmp_path / "once", out)
        fatal += EVERY
    assert taken > 40 // EVERY


def test_a_run_that_dies_again_and_again_ends_all_the_same(few: Cohort, tmp_path: Path):
    run(few, tmp_path / "unbroken")
    out = tmp_path / "run"
    die(lambda: run(few, out), 30)
    for fatal in range(1, 60, 7):
        die(lambda fatal=fatal: resume(few, out), fatal)
    resume(few, out)
    assert end_of(out) == end_of(tmp_path / "unbroken")


def test_equal_runs_have_equal_bytes(few: Cohort, tmp_path: Path):
    for name in ("one", "other"):
        run(few, tmp_path / name)
    assert end_of(tmp_path / "one") == end_of(tmp_path / "other")


def test_a_teaching_that_is_refused_late_leaves_the_run_as_it_was(
    few: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "run"
    run(few, out)
    before = end_of(out)

    def refuse(context: StageContext) -> Any:
        raise UserError("no")

    with monkeypatch.context() as patch:
        patch.setattr(SmallMatcher, "fit", refuse)
        with pytest.raises(UserError, match="no"):
            teach(few, out)
    after = end_of(out)
    assert after["files"] == before["files"]
    assert after["config"] == before["config"] | {"training": 1}
    assert RunFolder.open(out).status().is_trained
