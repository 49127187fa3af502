from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from onemark.data.keys import without_suffix
from onemark.data.paths import open_regular, printable, quoted, read_regular, safe_child
from onemark.types import UserError


@pytest.mark.parametrize(
    "key",
    [
        "a.png",
        "a/b c.png",
        "ä.png",
        "..a/b..png",
        "...png",
        "a:b/c.png"[2:],
        "r\N{REPLACEMENT CHARACTER}.png",
    ],
)
def test_a_relative_name_stays_inside(tmp_path: Path, key: str) -> None:
    assert safe_child(tmp_path, key) == tmp_path / key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/a",
        "\\a",
        "//host/a",
        ".",
        "..",
        "../a",
        "a/..",
        "a/../../b",
        "a\\..\\b",
        "a//b",
        "a/./b",
        "a/",
        "C:a",
        "c:/a",
        "a\0b",
        "a\x1bb",
        "a\nb",
        "\ud800",
    ],
)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(UserError, match="cannot write") as caught:
        safe_child(tmp_path, key)
    assert str(caught.value).isprintable()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_inside_must_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "up").symlink_to(tmp_path)
    (tmp_path / "also").symlink_to(tmp_path / "out")
    with pytest.raises(UserError, match="a link leads out"):
        safe_child(tmp_path / "out", "up/a.png")
    assert safe_child(tmp_path / "also", "a.png") == tmp_path / "also" / "a.png"


def test_what_steers_a_terminal_is_shown_as_an_escape() -> None:
    assert (
        printable("a\x1b[31m\u202egnp.\ud800\U000e0001\u2028ä")
        == r"a\x1b[31m\u202egnp.\ud800\U000e0001\u2028ä"
    )
    assert printable(Path("Müller, 額.png")) == "Müller, 額.png"


def test_a_quoted_name_is_short_enough_for_a_sentence() -> None:
    assert quoted("a\u202eb") == r"'a\u202eb'"
    assert len(quoted("x" * 10_000)) < 200


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with open_regular(tmp_path / "a") as stream:
        assert stream.read() == b"abc"
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "gone")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(UserError, match="a pipe or a device, not a file"):
        read_regular(tmp_path / "a.png", 10)


def test_no_more_bytes_than_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert read_regular(tmp_path / "a", 3) == b"abc"
    with pytest.raises(UserError, match="larger than 2 bytes"):
        read_regular(tmp_path / "a", 2)


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/", "a//b.png", ".png", "a/.tif", "a/..", "\\"])
def test_a_suffix_is_taken_from_any_text(name: str):
    expected = {"a//b.png": "a//b"}
    assert without_suffix(name) == expected.get(name, name)
