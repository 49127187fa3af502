"""Lists of landmarks: names, labels and left-right pairs, as typed and as read from files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from onemark.data.landmarks.schema import (
    SHIPPED,
    Schema,
    abbreviate,
    load_shipped,
    parse_names,
    read_schema,
    schema_from_names,
)
from onemark.types import UserError


@pytest.mark.parametrize(("key", "count"), [("isbi19", 19), ("hand37", 37), ("lung6", 6)])
def test_shipped_schemas_are_complete(key: str, count: int) -> None:
    schema = load_shipped(key)
    assert schema.title == SHIPPED[key]
    assert len(schema) == len(set(schema.names)) == len(set(schema.labels)) == count
    assert max(map(len, schema.labels)) <= 4


def test_typed_names_get_labels_and_stay_unique() -> None:
    schema = parse_names("landmark,label\nanterior nasal spine\nanother nice spot\nsella, S\n\n# a remark\nA")
    assert schema.names == ("anterior nasal spine", "another nice spot", "sella", "A")
    assert schema.labels == ("ANS", "ANS2", "S", "A")
    assert parse_names(schema.to_text()).names == schema.names
    with pytest.raises(UserError, match="twice"):
        parse_names("a\nb\na")
    with pytest.raises(UserError, match="no landmark names"):
        parse_names(" \n")


def test_one_of_two_landmarks_names_its_partner() -> None:
    schema = parse_names("landmark,label,swap\nhip left,HL,hip right\nL5,\nhip right,HR\nb,,a\na,,b")
    assert schema.swap == (("hip left", "hip right"), ("b", "a"))
    assert parse_names(schema.to_text()) == replace(schema, title="my landmarks")
    for text, message in (
        ("a,,b", "'b', which is no landmark"),
        ("a,,a", "one partner"),
        ("a,,b\nb,,c\nc", "one partner"),
        ("a,,c\nb,,c\nc", "one partner"),
        ("a\n,,a", "a line without a name"),
    ):
        with pytest.raises(UserError, match=message):
            parse_names(text)


def test_names_are_read_from_lists_and_from_landmark_files(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("landmark,label\nx,X\ny,Y\n")
    assert read_schema(tmp_path / "names.csv").labels == ("X", "Y")
    (tmp_path / "points.csv").write_text("image,landmark,x,y\na.png,sella,1,2\na.png,tip,3,4\n")
    assert read_schema(tmp_path / "points.csv").names == ("sella", "tip")
    assert schema_from_names(("nasion", "sella"), "two").labels == ("N", "S"), "labels of a shipped schema"
    assert abbreviate("menton") == "Men"


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("wide.csv", "filename,x1,y1,x2,y2\na.png,1,2,3,4\n", ("1", "2")),
        ("wide.csv", "id;S_x;S_y\na.png;1,5;2\n", ("S",)),
        ("long.csv", "image;landmark;x;y\na.png;sella;1,5;2\na.png;tip;3;4\n", ("sella", "tip")),
        ("long.txt", "file;point;x;y\na.png;sella;1;2\n", ("sella",)),
        ("a.txt", "835,996\n473,1029\n1\n2\n", ("1", "2")),
        ("a.txt", "835 996\n473 1029\n", ("1", "2")),
    ],
)
def test_landmark_tables_are_no_lists_of_names(
    tmp_path: Path, name: str, text: str, names: tuple[str, ...]
) -> None:
    (tmp_path / name).write_text(text)
    assert read_schema(tmp_path / name).names == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1\n2\n3\n", ("1", "2", "3")),
        ("tooth 1, 1\ntooth 2, 2\n", ("tooth 1", "tooth 2")),
        ("x, X\ny, Y\n", ("x", "y")),
        ('"tip, left", TL\n5" mark\n', ("tip, left", '5" mark')),
    ],
)
def test_lists_of_names_stay_lists(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    (tmp_path / "names.txt").write_text(text)
    assert read_schema(tmp_path / "names.txt").names == names


def test_names_with_commas_and_quotes_come_back_from_their_text() -> None:
    names = ("tip, left", "tip, right", '5" mark', "plain")
    swap = (("tip, left", "tip, right"),)
    schema = Schema("my landmarks", names, ("T,L", "TR", '"', "P"), swap)
    assert parse_names(schema.to_text()) == schema


def test_lines_may_end_as_on_old_macs(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(b"sella, S\rnasion, N\r")
    assert read_schema(tmp_path / "names.txt").names == ("sella", "nasion")
    with pytest.raises(UserError, match="line 1: no list of names"):
        parse_names("x" * 200_000)
