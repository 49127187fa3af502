from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onemark.data import cohort as cohort_module
from onemark.data.cohort import is_run_folder, open_cohort
from onemark.data.images import read as images
from onemark.progress import Progress
from onemark.types import UserError

Folder = Callable[..., Path]


def test_natural_order_sub_folders_and_only_images(folder: Folder) -> None:
    where = folder("10.png", "9.png", "b/2.png", "b/10.jpg", "b-a/1.png", "A 1, x.PNG")
    (where / "notes.txt").write_text("")
    (where / "landmarks.csv").write_text("")
    assert open_cohort(where).names == ("9.png", "10.png", "A 1, x.PNG", "b/2.png", "b/10.jpg", "b-a/1.png")


def test_hidden_files_and_folders_are_ignored(folder: Folder) -> None:
    where = folder("a.png", ".hidden.png", ".cache/a.png", "__MACOSX/._a.png", ".onemark-00.png")
    assert open_cohort(where).names == ("a.png",)


def test_same_stem_twice_is_two_radiographs(folder: Folder) -> None:
    cohort = open_cohort(folder("a.png", "a.jpg"))
    assert set(cohort.names) == {"a.png", "a.jpg"}
    assert cohort["a.jpg"].name == "a.jpg"
    with pytest.raises(UserError, match=r"any of a.jpg, a.png .* with its suffix"):
        cohort.resolve("a")


def test_names_are_the_keys(folder: Folder) -> None:
    cohort = open_cohort(folder("a.png", "sub/b.png"))
    assert len(cohort) == 2
    assert cohort[0].name == cohort["a.png"].name == "a.png"
    assert cohort[-1].name == "sub/b.png"
    assert "sub/b.png" in cohort
    assert "b.png" not in cohort
    assert 3 not in cohort
    assert [r.name for r in cohort] == ["a.png", "sub/b.png"]
    assert cohort.path("sub/b.png") == cohort.folder / "sub" / "b.png"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_composed_and_decomposed_names_are_the_same(folder: Folder, form: str) -> None:
    cohort = open_cohort(folder(unicodedata.normalize(form, "Müller Ö.png")))
    assert cohort.names == (unicodedata.normalize("NFC", "Müller Ö.png"),)
    for asked in ("NFC", "NFD"):
        name = unicodedata.normalize(asked, "Müller Ö.png")
        assert name in cohort
        assert cohort[name].name == cohort.names[0]


def test_two_files_that_read_the_same_are_refused(folder: Folder) -> None:
    where = folder(unicodedata.normalize("NFC", "ö.png"), unicodedata.normalize("NFD", "ö.png"))
    if len(list(where.iterdir())) == 1:
        pytest.skip("this file system knows only one of the two")
    with pytest.raises(UserError, match=r"two files that read 'ö.png'; rename one"):
        open_cohort(where)


@pytest.mark.parametrize("spelling", ["sub/b.png", "./sub/b.png", "sub\\b.png", "sub/b", " sub/b.png "])
def test_other_spellings_of_a_name(folder: Folder, spelling: str) -> None:
    assert open_cohort(folder("a.png", "sub/b.png")).resolve(spelling) == "sub/b.png"


def test_an_unknown_name_gets_a_hint(folder: Folder) -> None:
    cohort = open_cohort(folder("patient_01.png"))
    with pytest.raises(
        UserError, match=r"no radiograph 'patient_1\.png' in .*did you mean 'patient_01\.png'"
    ):
        cohort["patient_1.png"]
    with pytest.raises(UserError, match=r"there is, for one, 'patient_01.png'"):
        cohort["zzz"]
    with pytest.raises(IndexError):
        cohort[1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_unicode_still_work(folder: Folder, tmp_path: Path) -> None:
    where = folder("a.png")
    os.rename(where / "a.png", os.fsencode(where) + b"/r\xf6ntgen.png")  # noqa: PTH104
    cohort = open_cohort(where)
    assert cohort.names == ("r\N{REPLACEMENT CHARACTER}ntgen.png",)
    assert cohort[0].size == (40, 60)


def test_nothing_is_decoded_or_opened_at_open(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    where = folder("a.png")
    (where / "broken.png").write_bytes(b"")

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(cohort_module, "kind_of_file", fail)
    monkeypatch.setattr(images, "run_reader", fail)
    assert len(open_cohort(where)) == 2


def test_opening_loads_no_decoder(folder: Folder) -> None:
    code = (
        "import sys; from onemark.data.cohort import open_cohort; open_cohort(sys.argv[1]);"
        "print([m for m in ('PIL', 'tifffile', 'pydicom', 'pandas', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder("a.png")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_readable_names_and_passes_over_the_bad_ones(folder: Folder) -> None:
    where = folder("1.png", "3.png")
    (where / "2.png").write_bytes(b"\x89PNG rubbish")
    events: list[Progress] = []
    found = [r.name for r in open_cohort(where).readable(sink=events.append)]
    assert found == ["1.png", "3.png"]
    assert [(e.stage, e.step, e.total) for e in events] == [("read", 2, 3)]
    assert "2.png" in events[0].message
    assert "damaged" in events[0].message


def test_readable_takes_names_in_their_order(folder: Folder) -> None:
    cohort = open_cohort(folder("1.png", "2.png", "3.png"))
    assert [r.name for r in cohort.readable(["3", "1.png"])] == ["3.png", "1.png"]


def test_subset(folder: Folder) -> None:
    cohort = open_cohort(folder("1.png", "2.png", "3.png"), spacing_mm=0.1)
    part = cohort.subset(["3.png", "1", "3.png"])
    assert part.names == ("3.png", "1.png")
    assert "2.png" not in part
    assert part["1.png"].spacing == (0.1, 0.1)
    with pytest.raises(UserError, match=r"4\.png"):
        cohort.subset(["4.png"])
    with pytest.raises(UserError, match=r"2\.png"):
        part["2.png"]


def test_spacing_overrides_pixels_and_header(folder: Folder) -> None:
    cohort = open_cohort(folder("1.png"), spacing_mm=(0.1, 0.2))
    assert cohort["1.png"].spacing == (0.1, 0.2)
    assert cohort.header("1.png") == ((40, 60), (0.1, 0.2))
    assert open_cohort(cohort.folder).header("1.png").spacing is None
    with pytest.raises(UserError, match="positive"):
        open_cohort(cohort.folder, spacing_mm=-1)


def test_a_file_that_vanishes_is_a_user_error(folder: Folder) -> None:
    cohort = open_cohort(folder("1.png"))
    (cohort.folder / "1.png").unlink()
    with pytest.raises(UserError, match="not there any more"):
        cohort["1.png"]


def test_a_run_folder_inside_is_passed_over(folder: Folder) -> None:
    where = folder("1.png", "run/overlays/1.png", "other/2.png")
    (where / "run" / "config.json").write_text(json.dumps({"onemark": "0.1.0", "recipe": "cc2d"}))
    (where / "other" / "config.json").write_text(json.dumps({"scanner": "x"}))
    assert is_run_folder(where / "run")
    assert not is_run_folder(where / "other")
    assert open_cohort(where).names == ("1.png", "other/2.png")


def test_radiographs_beside_a_run_count_and_its_overlays_do_not(folder: Folder) -> None:
    where = folder("1.png", "overlays/1.png")
    (where / "config.json").write_text('{"onemark": "0.1.0"}')
    assert open_cohort(where).names == ("1.png",)


def test_a_folder_called_overlays_counts_where_no_run_is(folder: Folder) -> None:
    assert open_cohort(folder("overlays/1.png")).names == ("overlays/1.png",)


def test_links_in_a_circle_end(folder: Folder, tmp_path: Path) -> None:
    where = folder("a.png", "sub/b.png")
    (where / "sub" / "up").symlink_to(where, target_is_directory=True)
    (where / "link.png").symlink_to(where / "a.png")
    assert open_cohort(where).names == ("a.png", "link.png", "sub/b.png")


def test_wrong_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts" / "png").mkdir(parents=True)
    (tmp_path / "texts" / "a.txt").write_text("x")
    (tmp_path / "a.png").write_text("")
    for name, words in (
        ("empty", "no radiographs in .* put images there"),
        ("texts", "no radiographs in"),
        ("gone", "does not exist; check the path"),
        ("a.png", "is a file; give the folder it lies in"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            open_cohort(tmp_path / name)
        assert name in str(caught.value)


def test_an_unreadable_sub_folder_is_named(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    where = folder("a.png", "secret/b.png")
    scandir = os.scandir

    def guarded(path: Path) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(UserError, match=r"secret cannot be read .*change its permissions"):
        open_cohort(where)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_that_lead_nowhere_are_no_folders(folder: Folder) -> None:
    where = folder("a.png")
    for name in ("loop", "loop.png"):
        (where / name).symlink_to(name)
    cohort = open_cohort(where)
    assert cohort.names == ("a.png", "loop.png")
    assert [radiograph.name for radiograph in cohort.readable()] == ["a.png"]


def test_pixels_of_a_sub_folder(folder: Folder) -> None:
    radiograph = open_cohort(folder("deep/er/a.png"))["deep/er/a.png"]
    assert radiograph.pixels.dtype == np.float32
    assert radiograph.size == (40, 60)
