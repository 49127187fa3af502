from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from onemark.data import atomic
from onemark.data.atomic import PREFIX, write_text, writing
from onemark.types import UserError


def test_writes_the_text_as_it_is_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "é\r\nb\n")
    assert (tmp_path / "a.csv").read_bytes() == "é\r\nb\n".encode()
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_writes_bytes_and_makes_missing_folders(tmp_path: Path) -> None:
    with writing(tmp_path / "run" / "overlays" / "a.bin", "wb") as stream:
        stream.write(b"\x00\xff")
    assert (tmp_path / "run" / "overlays" / "a.bin").read_bytes() == b"\x00\xff"


def test_a_failure_in_the_block_leaves_the_old_file_and_no_scrap(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), writing(path) as stream:
        stream.write("half of the new" * 10_000 + "\ud800")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_the_old_file_stays_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    with writing(path) as stream:
        stream.write("new")
        stream.flush()
        assert path.read_text() == "old"
        unfinished = [p.name for p in tmp_path.iterdir() if p != path]
        assert len(unfinished) == 1
        assert unfinished[0].startswith(PREFIX)
    assert path.read_text() == "new"


def test_follows_a_link_instead_of_replacing_it(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    write_text(tmp_path / "link.csv", "new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_permissions_follow_the_umask_and_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    plain = tmp_path / "plain"
    plain.write_text("")
    write_text(path, "1")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    path.chmod(0o640)
    write_text(path, "2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EACCES, "may not write"),
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "choose another folder"),
    ],
)
def test_disk_errors_say_how_to_mend_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    path = tmp_path / "landmarks.csv"
    path.write_text("old")
    with pytest.raises(UserError, match=words) as caught:
        write_text(path, "new")
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["landmarks.csv"]


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="is a file, not a folder"):
        write_text(tmp_path / "run" / "landmarks.csv", "")
    with pytest.raises(UserError, match="is a file, not a folder"):
        write_text(tmp_path / "run" / "deep" / "landmarks.csv", "")


def test_a_folder_where_the_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "landmarks.csv").mkdir()
    with pytest.raises(UserError, match="there is a folder of that name"):
        write_text(tmp_path / "landmarks.csv", "")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too long"):
        write_text(tmp_path / ("a" * 300), "")


def test_on_windows_a_file_that_is_held_for_a_moment_is_replaced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace, held = tmp_path / "a.csv", Path.replace, [True, True]
    path.write_text("old")

    def refuse(self: Path, target: Path) -> Path:
        if held:
            held.pop()
            raise PermissionError(errno.EACCES, "held by a virus scanner")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(atomic, "PAUSES", (0.001, 0.001))
    with pytest.raises(UserError, match="you may not write there"):
        write_text(path, "new")
    assert path.read_text() == "old"
    held.append(True)
    monkeypatch.setattr(atomic, "WINDOWS", True)
    write_text(path, "new")
    assert path.read_text() == "new"
    held.extend([True] * 3)
    with pytest.raises(UserError, match="you may not write there"):
        write_text(path, "newer")


def test_a_disk_that_refuses_modes_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    for text in ("old", "new"):
        write_text(tmp_path / "a.csv", text)
    assert (tmp_path / "a.csv").read_text() == "new"


def test_on_windows_writing_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "WINDOWS", True)
    assert atomic.may_write(tmp_path)
    assert not list(tmp_path.iterdir())
    assert not atomic.may_write(tmp_path / "missing")
