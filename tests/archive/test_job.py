"""A prediction in parts: the same table, whatever happens on the way, and each radiograph once."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import pytest
from dying import die
from filelock import FileLock

import onemark
from onemark import Cancelled, Cohort, Model, Progress, UserError
from onemark.archive.job import begin, check_result, merge, predict_into, predict_share
from onemark.archive.options import PredictOptions
from onemark.archive.parts import Parts
from onemark.archive.predicting import Predictor
from onemark.archive.shares import Share
from onemark.archive.tasks import Order, predict_shard_of
from onemark.data.images.spacing import given
from onemark.progress import Sink, silent

THREES = PredictOptions(shard_size=3)


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


def test_a_process_whose_plan_was_replaced_writes_nothing(
    model: Model, few: Cohort, tmp_path: Path, located: Any
):
    out, early = tmp_path / "p.csv", few.subset(few.names[:7])
    parts = Parts(out)
    plan = begin(parts, model, early, THREES)
    begin(Parts(out), model, few, THREES)  # the other radiographs have arrived
    with pytest.raises(UserError, match="got another plan while part 1 was"):
        Predictor(model, early, plan, parts).run([0])
    assert Parts(out).recorded() == set()
    predict_into(out, model, few)
    assert out.read_bytes() == whole(tmp_path / "whole.csv", model, few)


def test_a_part_that_came_late_from_another_plan_does_not_count(
    model: Model, few: Cohort, tmp_path: Path, located: Any
):
    out, folder, others = tmp_path / "p.csv", tmp_path / ".p.csv.parts", few.subset(few.names[1:])
    predict_share(out, model, few, Share(1, 4), THREES)
    late = {path: path.read_bytes() for path in (folder / "000000.csv", folder / "000000.json")}
    begin(Parts(out), model, others, THREES, discard=True)
    for path, content in late.items():
        path.write_bytes(content)
    with pytest.raises(UserError, match="3 of the 3 parts of"):
        merge(out)
    located.names.clear()
    predict_into(out, model, others)
    assert located.names == list(others.names)


def test_a_record_of_earlier_versions_names_no_plan_and_does_not_count(
    model: Model, few: Cohort, tmp_path: Path, located: Any
):
    out, record = tmp_path / "p.csv", tmp_path / ".p.csv.parts" / "000001.json"
    predict_share(out, model, few, Share(1, 1), THREES)
    found = json.loads(record.read_text())
    record.write_text(json.dumps({key: value for key, value in found.items() if key != "plan"}))
    with pytest.raises(UserError, match=r"1 of the 4 parts of .* are missing \(2\)"):
        merge(out)
    located.names.clear()
    predict_into(out, model, few)
    assert located.names == list(few.names[3:6])


def test_the_plan_of_a_process_at_work_is_not_replaced(model: Model, few: Cohort, tmp_path: Path):
    out, others = tmp_path / "p.csv", few.subset(few.names[1:])
    begin(Parts(out), model, few, THREES)
    with holding(tmp_path / ".p.csv.parts" / "000002.lock"):
        for discard in (False, True):
            with pytest.raises(UserError, match="by another process with another list of radiographs"):
                begin(Parts(out), model, others, THREES, discard=discard)
    assert begin(Parts(out), model, others, THREES).names == others.names


def test_who_is_refused_leaves_the_plan_of_others(model: Model, few: Cohort, tmp_path: Path):
    out = tmp_path / "p.csv"
    begin(Parts(out), model, few, THREES)  # the task of a job array, which is at its first part
    with (
        holding(tmp_path / ".p.csv.parts" / "000000.lock"),
        pytest.raises(UserError, match="another process"),
    ):
        predict_into(out, model, few)
    assert Parts(out).plan() is not None


def test_who_stops_leaves_the_plan_to_those_who_go_on(model: Model, few: Cohort, tmp_path: Path):
    out, folder = tmp_path / "p.csv", tmp_path / ".p.csv.parts"
    folder.mkdir()
    with holding(folder / "000003.lock"), pytest.raises(Cancelled):
        predict(out, model, few, progress=stop_after(2))
    assert Parts(out).plan() is not None


def test_radiographs_that_moved_are_looked_for_where_they_are(
    model: Model, run: Path, few: Cohort, tmp_path: Path
):
    shutil.copytree(few.folder, tmp_path / "before")
    out = tmp_path / "p.csv"
    predict_share(out, model, onemark.open_cohort(tmp_path / "before"), Share(1, 4), THREES)
    (tmp_path / "before").rename(tmp_path / "after")
    plan = begin(Parts(out), model, onemark.open_cohort(tmp_path / "after"), THREES)
    assert Parts(out).numbers(plan) == {0}
    report = predict_shard_of(Order(str(run), str(out), "cpu", plan.digest), 1)
    assert (report.part.predicted, report.part.skipped) == (3, ())


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


def test_files_that_a_job_wrote_before_it_died_do_not_stop_the_same_command(
    model: Model, few: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, folder = tmp_path / "points.pts", tmp_path / "points"
    folder.mkdir()  # as a full disk leaves it
    check_result(out, few)
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "remove", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            predict_into(out, model, few)
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(written) == len(few)
    next(folder.iterdir()).unlink()
    check_result(out, few)
    predict_into(out, model, few)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == written
    with pytest.raises(UserError, match="is there already"):
        check_result(out, few)


def test_a_job_that_died_before_all_parts_were_there_wrote_none_of_the_files(
    model: Model, few: Cohort, tmp_path: Path
):
    out, folder = tmp_path / "points.pts", tmp_path / "points"
    predict_into(out, model, few)
    with pytest.raises(Cancelled):
        predict_into(out, model, few, PredictOptions(shard_size=3, overwrite=True), progress=stop_after(4))
    assert len(list(folder.iterdir())) == len(few)
    with pytest.raises(UserError, match="is there already"):
        check_result(out, few)
