from __future__ import annotations

import os
from pathlib import Path

import pytest

from onemark.data.json import JsonLimits, parse_json, read_json
from onemark.types import UserError


@pytest.mark.parametrize(
    "data", ['{"a": [1, 2.5, "x"]}', b'{"a": [1, 2.5, "x"]}', '{"a": [1, 2.5, "x"]}'.encode("utf-16")]
)
def test_a_document_is_its_value(data: str | bytes) -> None:
    assert parse_json(data, "a.json") == {"a": [1, 2.5, "x"]}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ('{\n"a": }', "a.json, line 2: not readable as JSON"),
        ("", "not readable as JSON"),
        ("[" * 100_000, "too deeply"),
        ('{"a":' * 100_000, "too deeply"),
        ("[" * 70 + "]" * 70, "too deeply"),
        ("9" * 5000, "5000 digits"),
        ("0." + "9" * 5000, "5002 digits"),
        ("[1e999]", "1e999, which is too large"),
        ('{"a": [NaN]}', "NaN, which is not a finite number"),
        ("-Infinity", "-Infinity, which is not"),
        (b'"\xff"', "no UTF-8 text"),
        ("[" + "[]," * 300_000 + "[]]", "more values"),
        (" " * (1 << 20) + "1", "larger than 1 MiB"),
    ],
)
def test_anything_else_is_one_sentence(data: str | bytes, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        parse_json(data, "a.json", JsonLimits(size=1 << 20, containers=200_000))
    assert str(caught.value).startswith("a.json")
    assert "\n" not in str(caught.value)


def test_depth_counts_what_lies_inside_each_other() -> None:
    limits = JsonLimits(depth=2)
    assert parse_json('{"a": [1]}', "a.json", limits) == {"a": [1]}
    with pytest.raises(UserError, match="too deeply"):
        parse_json('{"a": [[1]]}', "a.json", limits)


def test_logs_may_hold_nan_where_the_caller_allows_it() -> None:
    assert str(parse_json("[NaN, 1e999]", "log", JsonLimits(finite=False))) == "[nan, inf]"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(UserError, match="a pipe or a device"):
        read_json(tmp_path / "a.json")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b" " * 101)
    with pytest.raises(UserError, match="larger than 100 bytes"):
        read_json(tmp_path / "a.json", JsonLimits(size=100))
