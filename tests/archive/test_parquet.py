"""A result in Parquet, which grows part by part."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import onemark
from onemark import Cancelled, Cohort, Model, Progress, UserError
from onemark.archive.job import check_free, check_result, predict_into
from onemark.archive.options import PredictOptions
from onemark.data.images.spacing import given

pytest.importorskip("pyarrow")


def read(folder: Path) -> Any:
    from pyarrow.parquet import read_table

    return read_table(folder).to_pandas()


def test_parquet_holds_the_same_table_and_can_be_read_while_it_grows(
    model: Model, few: Cohort, tmp_path: Path, located: Any
):
    out, seen = tmp_path / "p.parquet", list[int]()

    def sink(event: Progress) -> None:
        if event.preview and out.exists():
            seen.append(read(out)["image"].nunique())
        if event.preview and event.step == 8:
            raise Cancelled

    with pytest.raises(Cancelled):
        predict_into(out, model, few, PredictOptions(mm=True, shard_size=3), progress=sink)
    assert set(seen) == {3, 6}
    check_free(out, overwrite=False)
    located.names.clear()
    assert predict_into(out, model, few, PredictOptions(mm=True)).predicted == 10
    assert located.names == list(few.names[6:])
    expected = model.predict(few).to_frame(spacing=dict.fromkeys(few.names))
    found = read(out)
    for column in expected:
        assert found[column].astype(object).where(found[column].notna(), "").tolist() == (
            expected[column].astype(object).where(expected[column].notna(), "").tolist()
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.parquet"]


def test_only_parts_are_replaced(model: Model, few: Cohort, tmp_path: Path, located: Any):
    out = tmp_path / "p.parquet"
    predict_into(out, model, few, PredictOptions(shard_size=1))
    with pytest.raises(UserError, match="--overwrite"):
        check_free(out, overwrite=False)
    predict_into(out, model, few, PredictOptions(shard_size=5, overwrite=True))
    assert len(list(out.iterdir())) == 2
    (out / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"mine\.txt"):
        predict_into(out, model, few, PredictOptions(overwrite=True))
    assert (out / "mine.txt").exists()


def test_what_cannot_be_written_is_said_before_the_work(
    few: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file.parquet").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        check_result(tmp_path / "file.parquet", few, overwrite=True)
    with pytest.raises(UserError, match="pixel spacing"):
        check_result(tmp_path / "p.parquet", few, mm=True)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"onemark\[archive\]"):
        check_result(tmp_path / "p.parquet", onemark.open_cohort(few.folder, spacing_mm=given(1.0)))
