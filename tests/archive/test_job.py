"""A prediction in parts: the same table, whatever happens on the way, and each radiograph once."""

from __future__ import annotations

import dataclasses
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import pytest
from dying import die
from filelock import FileLock

import onemark
from onemark import Cancelled, Cohort, Model, Progress, UserError
from onemark.archive.job import merge, predict_into, predict_share
from onemark.archive.options import PredictOptions
from onemark.archive.shares import Share
from onemark.data.images.spacing import given
from onemark.progress import Sink, silent


def predict(out: Path, model: Model, cohort: Cohort, progress: Sink = silent, **options: Any) -> bytes:
    predict_into(out, model, cohort, PredictOptions(shard_size=3, **options), progress=progress)
    return out.read_bytes()


def whole(out: Path, model: Model, cohort: Cohort, **options: Any) -> bytes:
    onemark.write_landmarks(model.predict(cohort), out, cohort=cohort, **options)
    return out.read_bytes()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stop_after(count: int) -> onemark.progress.Sink:
    def sink(event: Progress) -> None:
        if event.preview and event.step == count:
            raise Cancelled

    return sink


@pytest.mark.parametrize(
    ("name", "options"),
    [("p.csv", {}), ("p.csv", {"mm": True}), ("p.csv", {"safe_csv": True}), ("p.json", {}), ("p.tps", {})],
)
def test_the_parts_become_the_table_that_one_process_writes(
    name: str, options: dict[str, bool], model: Model, few: Cohort, tmp_path: Path
):
    cohort = dataclasses.replace(few, spacing_mm=given(0.25))
    (tmp_path / "out").mkdir()
    assert predict(tmp_path / "out" / name, model, cohort, **options) == whole(
        tmp_path / name, model, cohort, **options
    )
    assert left(tmp_path / "out") == [name]


def test_a_prediction_that_dies_anywhere_goes_on_with_what_is_missing(
    model: Model, few: Cohort, tmp_path: Path, located: Any
):
    few = few.subset(few.names[:5])
    unbroken, fatal, out = whole(tmp_path / "whole.csv", model, few), 1, tmp_path / "out" / "p.csv"
    out.parent.mkdir()
    while die(lambda: predict(out, model, few), fatal):
        was_written = out.exists()
        if was_written:  # it died while it cleaned up
            assert out.read_bytes() == unbroken
        done = len(list(out.parent.glob(".p.csv.parts/0*.json")))
        located.names.clear()
        assert predict(out, model, few, overwrite=True) == unbroken, f"after a death at event {fatal}"
        assert was_written or located.names == list(few.names[3 * done :])
        assert left(out.parent) == ["p.csv"]
        out.unlink()
        fatal += 1
    assert fatal > 20


def test_a_stop_keeps_the_finished_parts_and_says_so(model: Model, few: Cohort, tmp_path: Path, located: Any):
    with pytest.raises(Cancelled, match="go on with the same command"):
        predict(tmp_path / "p.csv", model, few, progress=stop_after(8))
    said: list[str] = []
    located.names.clear()
    predict(tmp_path / "p.csv", model, few, progress=lambda event: said.append(event.message))
    assert located.names == list(few.names[6:])
    assert "going on: 2 of 4 parts are predicted already" in said


def test_a_stop_before_the_first_part_leaves_nothing(model: Model, few: Cohort, tmp_path: Path):
    with pytest.raises(Cancelled):
        predict(tmp_path / "p.csv", model, few, progress=stop_after(2))
    assert left(tmp_path) == []


def test_who_goes_on_hears_again_what_was_skipped(model: Model, few: Cohort, tmp_path: Path):
    shutil.copytree(few.folder, tmp_path / "xrays")
    (tmp_path / "xrays" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    cohort, said = onemark.open_cohort(tmp_path / "xrays"), list[str]()
    with pytest.raises(Cancelled):
        predict(tmp_path / "p.csv", model, cohort, progress=stop_after(5))
    joined = predict_into(tmp_path / "p.csv", model, cohort, progress=lambda e: said.append(e.message))
    assert (joined.predicted, joined.total, len(joined.skipped)) == (9, 10, 1)
    assert [one for one in said if "1.png" in one] == list(joined.skipped)
    assert (tmp_path / "p.csv").read_bytes() == whole(tmp_path / "whole.csv", model, cohort)


def test_a_cohort_of_bad_files_is_one_sentence_and_leaves_nothing(model: Model, tmp_path: Path):
    (tmp_path / "xrays").mkdir()
    (tmp_path / "xrays" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UserError, match=r"no radiograph in .* could be read"):
        predict(tmp_path / "p.csv", model, onemark.open_cohort(tmp_path / "xrays"))
    assert left(tmp_path) == ["xrays"]


@pytest.mark.parametrize("change", ["run", "list", "settings", "size"])
def test_parts_of_another_plan_are_never_taken_for_this_one(
    change: str, model: Model, run: Path, few: Cohort, tmp_path: Path, located: Any
):
    out, options = tmp_path / "p.csv", dict[str, Any](shard_size=3)
    with pytest.raises(Cancelled):
        predict(out, model, few, progress=stop_after(8))
    said = {"run": "had learned", "list": "list of rad", "settings": "--mm", "size": "--shard-size"}[change]
    cohort = few
    if change == "run":
        shutil.copytree(run, tmp_path / "run")
        with (tmp_path / "run" / "weights.safetensors").open("ab") as stream:
            stream.write(b" ")
        assert model.folder is not None
        model.folder.path = tmp_path / "run"
    elif change == "list":
        cohort = few.subset(few.names[1:])
    elif change == "settings":
        options["mm"] = True
        cohort = dataclasses.replace(few, spacing_mm=given(0.5))
    else:
        options["shard_size"] = 4
    with pytest.raises(UserError, match=rf"2 parts .*{said}.*--overwrite"):
        predict_into(out, model, cohort, PredictOptions(**options))
    located.names.clear()
    predict_into(out, model, cohort, PredictOptions(overwrite=True, **options))
    assert located.names == list(cohort.names)


def test_shares_of_several_processes_merge_into_the_same_table(
    model: Model, few: Cohort, tmp_path: Path, located: Any
):
    out = tmp_path / "p.csv"
    for index in (3, 1, 2):
        with pytest.raises(UserError, match=r"to merge|are missing \("):
            merge(out)
        predict_share(out, model, few, Share(index, 3), PredictOptions(shard_size=3))
    assert sorted(located.names) == list(few.names)
    assert merge(out).predicted == 10
    assert out.read_bytes() == whole(tmp_path / "whole.csv", model, few)
    assert left(tmp_path) == ["p.csv", "whole.csv"]


def test_one_process_at_a_time(model: Model, few: Cohort, tmp_path: Path):
    predict_share(tmp_path / "p.csv", model, few, Share(2, 2), PredictOptions(shard_size=3))
    with holding(tmp_path / ".p.csv.parts" / "job.lock"), pytest.raises(UserError, match="another process"):
        predict_into(tmp_path / "p.csv", model, few)
    with (
        holding(tmp_path / ".p.csv.parts" / "000000.lock"),
        pytest.raises(UserError, match="another process"),
    ):
        predict_share(tmp_path / "p.csv", model, few, Share(1, 2))


class holding:
    """Another process holds a lock meanwhile."""

    def __init__(self, path: Path) -> None:
        context = multiprocessing.get_context("fork")
        self.ready, self.done = context.Event(), context.Event()
        self.process = context.Process(target=self.hold, args=(path,))

    def hold(self, path: Path) -> None:
        with FileLock(path):
            self.ready.set()
            self.done.wait(60)

    def __enter__(self) -> None:
        self.process.start()
        assert self.ready.wait(60)

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.process.join()
