"""A list of radiographs in the place of a folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

import onemark
from onemark import UserError
from onemark.data import manifest


@pytest.fixture(scope="module")
def folder(xrays: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`a/one.png`, `b/two.png` and `b/three.png`."""
    folder = tmp_path_factory.mktemp("listed")
    for source, name in zip(sorted(xrays.iterdir()), ("a/one.png", "b/two.png", "b/three.png"), strict=False):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(source, folder / name)
    return folder


def write(path: Path, places: Sequence[object]) -> Path:
    if path.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        table = pa.table({"patient": ["p"] * len(places), "path": [str(place) for place in places]})
        pytest.importorskip("pyarrow.parquet").write_table(table, path)
    elif path.suffix == ".csv":
        path.write_text("patient,Path\n" + "".join(f'p,"{place}"\n' for place in places))
    else:
        path.write_text("".join(f"{place}\n\n" for place in places))
    return path


@pytest.mark.parametrize("name", ["list.txt", "list.csv", "list.parquet"])
@pytest.mark.parametrize("is_absolute", [True, False])
def test_a_list_keeps_its_order_and_names_files_from_their_shared_folder(
    name: str, is_absolute: bool, folder: Path, tmp_path: Path
):
    places = [folder / "b/two.png" if is_absolute else "b/two.png", "a/one.png", "./b/three.png"]
    path = write(folder / name, places)
    cohort = onemark.open_cohort(path, spacing_mm=0.5)
    assert cohort.names == ("b/two.png", "a/one.png", "b/three.png")
    assert (cohort.folder, cohort.spacing_mm) == (folder, (0.5, 0.5))
    assert cohort["two"].pixels.shape == cohort.header("two").size


def test_a_list_may_lie_elsewhere_and_name_what_is_gone(folder: Path, tmp_path: Path):
    cohort = onemark.open_cohort(write(tmp_path / "l.txt", [folder / "b/two.png", folder / "b/gone.png"]))
    assert (cohort.folder, cohort.names) == (folder / "b", ("two.png", "gone.png"))
    assert [one.name for one in cohort.readable()] == ["two.png"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.txt", "\n", "lists no radiographs"),
        ("l.txt", "a.png\n./a.png\n", "twice"),
        ("l.csv", "name,age\na.png,3\n", "no column 'path'"),
        ("l.txt", "s3://key:secret@bucket/a.png\n", "credentials"),
        ("l.txt", "memory://x/a.png\nb.png\n", "mixes"),
        ("l.txt", "memory://x/a.png\ns3://y/b.png\n", "several places"),
        ("l.parquet", "no parquet", "Parquet"),
        ("l.csv", "\udcff", "UTF-8"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_sentence(name: str, text: str, said: str, tmp_path: Path):
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=said) as caught:
        onemark.open_cohort(tmp_path / name)
    assert "secret" not in str(caught.value)


def test_a_name_that_leads_elsewhere_is_left_out_and_said(folder: Path):
    path = folder / "odd.txt"
    path.write_bytes(f"{folder}/a/one.png\n{folder}/b/x\x01.png/../y\x02/z.png\n".encode())
    cohort = onemark.open_cohort(path)
    assert cohort.names[0].endswith("one.png")
    assert all("\x01" not in name and "\x02" not in name for name in cohort.names)


@pytest.mark.parametrize(
    "values", [[1, 2], [["a.png"]], [b"\xff"], ["a" * 5000 + ".png"], ["a" * 10**6] * 300]
)
def test_a_parquet_column_of_anything_but_paths_is_one_sentence(values: list[object], tmp_path: Path):
    pa = pytest.importorskip("pyarrow")
    path = tmp_path / "list.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(pa.table({"path": values}), path)
    with pytest.raises(UserError, match=r"list\.parquet") as caught:
        onemark.open_cohort(path)
    assert len(str(caught.value)) < 500


def test_empty_rows_of_a_parquet_list_are_no_paths(folder: Path, tmp_path: Path):
    pa = pytest.importorskip("pyarrow")
    path = tmp_path / "list.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(
        pa.table({"path": [None, str(folder / "a" / "one.png"), ""]}), path
    )
    assert onemark.open_cohort(path).names == ("one.png",)


@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_a_line_without_end_is_one_sentence(name: str, tmp_path: Path):
    (tmp_path / name).write_text("path\n" + "a" * (1 << 21))
    with pytest.raises(UserError, match=r"list\.(txt|csv) (has a line|is no list)"):
        onemark.open_cohort(tmp_path / name)


def test_drives_of_windows_are_roots_and_not_mixed():
    path = Path("list.txt")
    assert manifest._shared_folder(path, ["D:\\a\\1.png", "D:\\b\\2.png"], "\\") == "D:\\"
    assert manifest._shared_folder(path, ["D:\\a\\1.png", "D:\\a\\2.png"], "\\") == "D:\\a"
    with pytest.raises(UserError, match="several drives; make a list of each"):
        manifest._shared_folder(path, ["C:\\a\\1.png", "D:\\a\\2.png"], "\\")
