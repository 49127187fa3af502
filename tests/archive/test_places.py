"""Results at an address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import onemark
from onemark import Cancelled, Cohort, Model, Progress, UserError
from onemark.archive.job import check_result, merge, predict_into, predict_share
from onemark.archive.options import PredictOptions
from onemark.archive.shares import Share

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def bucket() -> Iterator[Any]:
    memory = fsspec.filesystem("memory")
    yield memory
    memory.rm("/", recursive=True)


def names(bucket: Any) -> list[str]:
    return sorted(bucket.find("/"))


def test_a_prediction_from_and_to_a_bucket_goes_on_after_a_stop(
    bucket: Any, model: Model, few: Cohort, tmp_path: Path, located: Any
):
    for name in few.names:
        bucket.pipe_file(f"/in/{name}", few.path(name).read_bytes())
    cohort, out = onemark.open_cohort("memory://in"), "memory://out/p.csv"

    def sink(event: Progress) -> None:
        if event.preview and event.step == 8:
            raise Cancelled

    with pytest.raises(Cancelled, match="kept"):
        predict_into(out, model, cohort, PredictOptions(shard_size=3), progress=sink)
    assert not bucket.exists("/out/p.csv")
    located.names.clear()
    predict_into(out, model, cohort)
    assert located.names == list(few.names[6:])
    model.predict(few).to_csv(tmp_path / "p.csv")
    assert bucket.cat_file("/out/p.csv") == (tmp_path / "p.csv").read_bytes()
    assert [name for name in names(bucket) if name.startswith("/out")] == ["/out/p.csv"]
    with pytest.raises(UserError, match="--overwrite"):
        predict_into(out, model, cohort)


def test_shares_merge_from_the_list_that_the_first_has_made(
    bucket: Any, model: Model, few: Cohort, tmp_path: Path, located: Any
):
    for index in (1, 2):
        predict_share("memory://out/p.csv", model, few, Share(index, 2), PredictOptions(shard_size=3))
    assert merge("memory://out/p.csv").predicted == 10
    model.predict(few).to_csv(tmp_path / "p.csv")
    assert bucket.cat_file("/out/p.csv") == (tmp_path / "p.csv").read_bytes()


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("memory://out/p.json", "other formats"),
        ("zip://p.csv::/tmp/x.zip", "archive"),
        ("s3://k:s@b/p.csv", "credent"),
    ],
)
def test_an_address_that_cannot_hold_a_result_is_one_sentence(out: str, said: str, few: Cohort):
    with pytest.raises(UserError, match=said):
        check_result(out, few)


def test_a_run_at_an_address_predicts_as_it_does_here(bucket: Any, run: Path, few: Cohort, model: Model):
    for path in run.iterdir():
        if path.is_file():
            bucket.pipe_file(f"/runs/few/{path.name}", path.read_bytes())
    there = onemark.load("memory://runs/few", "cpu")
    assert (there.locate(few[4]).xy == model.locate(few[4]).xy).all()


@pytest.mark.parametrize("lacking", ["config.json", "exemplars.csv"])
def test_an_address_without_a_run_is_one_sentence(bucket: Any, run: Path, lacking: str):
    for name in {"config.json", "exemplars.csv"} - {lacking}:
        bucket.pipe_file(f"/runs/few/{name}", (run / name).read_bytes())
    with pytest.raises(UserError, match=f"memory://runs/few holds no run .no {lacking}"):
        onemark.load("memory://runs/few", "cpu")
