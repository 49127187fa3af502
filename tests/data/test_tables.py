from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onemark.data.cohort import open_cohort
from onemark.data.landmarks import text
from onemark.data.landmarks.table import LandmarkTable, read_landmarks, read_table
from onemark.types import UserError

Folder = Callable[..., Path]
NAN = (math.nan, math.nan)
LONG = "image,landmark,x,y\na.png,s,1.5,2\na.png,t,3,4\nb.png,t,5,6\n"
POINTS = {"a.png": [(1.5, 2), (3, 4)], "b.png": [NAN, (5, 6)]}


def read(tmp_path: Path, content: str | bytes, name: str = "l.csv") -> LandmarkTable:
    data = content.encode() if isinstance(content, str) else content
    (tmp_path / name).write_bytes(data)
    return read_landmarks(tmp_path / name)


def assert_points(table: LandmarkTable, points: dict[str, list[tuple[float, float]]] = POINTS) -> None:
    assert table.images == tuple(points)
    for one in table:
        np.testing.assert_array_equal(one.xy, points[one.image])
        assert one.score.size == 0


def test_only_all_three_columns_of_an_ellipse_count(tmp_path: Path) -> None:
    foreign = read(tmp_path, "image,landmark,x,y,angle\na.png,s,1,2,steep\n")
    assert not foreign["a.png"].ellipse.size
    own = read(tmp_path, "image,landmark,x,y,sd_major,sd_minor,angle\na.png,s,1,2,3,1,45\na.png,t,1,2,,,\n")
    np.testing.assert_array_equal(own["a.png"].ellipse, [[3, 1, 45], [math.nan] * 3])


@pytest.mark.parametrize(
    "content",
    [
        LONG,
        LONG.replace("\n", "\r\n"),
        LONG.replace("\n", "\r"),
        LONG.removesuffix("\n"),
        LONG.replace("\n", "\n\n \n"),
        "\n\n" + LONG,
        LONG.replace(",", ";"),
        LONG.replace(",", ";").replace("1.5", "1,5"),
        LONG.replace(",", "\t"),
        LONG.replace(",", "\t").replace("1.5", "1,5"),
        LONG.replace(",", " , "),
        LONG.replace("image,landmark,x,y", "Image,LANDMARK, X ,Y"),
        LONG.replace("1.5", '"1.5"').replace("a.png", '"a.png"'),
        LONG.replace("1.5", "+15e-1").replace(",2\n", ",2.\n"),
        "sep=;\n" + LONG.replace(",", ";"),
        "image,landmark,x,y,who\na.png,s,1.5,2,me\na.png,t,3,4\nb.png,t,5,6,\n",
        "y,note,landmark,image,x\n2,,s,a.png,1.5\n4,,t,a.png,3\n6,,t,b.png,5\n",
        "image,landmark,x,y\na.png,s,1.5,2\na.png,t,3,4\nb.png,s,,\nb.png,t,5,6\n",
        "image,landmark,x,y\na.png,s,1.5,2\na.png,t,3,4\nb.png,s,nan,NA\nb.png,t,5,6\n",
        "image,s_x,s_y,t_x,t_y\na.png,1.5,2,3,4\nb.png,,,5,6\n",
        "image,s x,s y,t x,t y\na.png,1.5,2,3,4\nb.png,,,5,6\n",
        "image;t_X;t_Y;who;s_X;s_Y\na.png;3;4;;1,5;2\nb.png;5;6;;;\n".replace(
            "t_X;t_Y;who;s_X;s_Y", "s_X;s_Y;who;t_X;t_Y"
        )
        .replace("a.png;3;4;;1,5;2", "a.png;1,5;2;;3;4")
        .replace("b.png;5;6;;;", "b.png;;;;5;6"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_way_to_write_the_same_table(tmp_path: Path, content: str, encoding: str) -> None:
    table = read(tmp_path, content.encode(encoding))
    assert table.names == ("s", "t")
    assert_points(table)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "latin-1", "utf-16"])
def test_letters_beyond_ascii(tmp_path: Path, encoding: str) -> None:
    table = read(tmp_path, "image,landmark,x,y\nMüller é.png,Größe,1,2\n".encode(encoding))
    assert table.images == ("Müller é.png",)
    assert table.names == ("Größe",)


def test_names_stay_words(tmp_path: Path) -> None:
    table = read(tmp_path, "image,landmark,x,y\n001,1,1,2\n001,01,3,4\n1.0,NA,5,6\nNA,nan,7,8\n")
    assert table.images == ("001", "1.0", "NA")
    assert table.names == ("1", "01", "NA", "nan")


def test_names_with_commas_quotes_blanks_and_line_ends(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        'image,landmark,x,y\n"a, ""b"" c.png","tip, left",1,2\n"a\nb.png",s,1,2\nx.png,q,zz,2\n'[:-13],
    )
    assert table.images == ('a, "b" c.png', "a b.png")
    assert table.names == ("tip, left", "s")


def test_wide_names_may_hold_blanks_and_underscores(tmp_path: Path) -> None:
    table = read(tmp_path, "image,left lung_apex_x,left lung_apex_y,a x,a y\na.png,1,2,3,4\n")
    assert table.names == ("left lung_apex", "a")


def test_scores_are_read_where_they_are(tmp_path: Path) -> None:
    content = (
        "image,landmark,x,y,score,expected_error,x_mm\na.png,s,1,2,0.5,,7\na.png,t,,,0.25,,\nb.png,s,1,2,,,\n"
    )
    table = read(tmp_path, content)
    np.testing.assert_array_equal(table["a.png"].score, [0.5, 0.25])
    assert table["a.png"].expected_error.size == 0
    assert table["b.png"].score.size == 0


HEAD = "image,landmark,x,y\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("  \n\n", "is empty"),
        ("\ufeff", "is empty"),
        ("\ufeff\n \n", "is empty"),
        ("sep=,\n", "is empty"),
        (",,,\n,\n", "is empty"),
        (HEAD, "holds no landmarks"),
        (HEAD + ",,,\n\n", "holds no landmarks"),
        ("image,s_x,s_y\n", "holds no landmarks"),
        ("image,landmark,x\na,s,1\n", r"lacks the column y \(it has image,landmark,x\)"),
        ("image,x,y\na,1,2\n", "lacks the column landmark"),
        ("file,point,u,v\na,s,1,2\n", "lacks the columns x, y"),
        ("a.png,s,1,2\n", "lacks the columns image, landmark, x, y"),
        ("landmark,s_x,s_y,x,y\n1,2,3,4,5\n", "lacks the column image"),
        ("colour,s_x,s_y\na,1,2\n", "lacks the column image"),
        ("just words\n", "lacks the columns"),
        ("image,landmark,x,x,y\na,s,1,2,3\n", "the column x more than once"),
        ("image,s_x,s_y,S_x\na,1,2,3\n", "'S' has no column for its y; add S_y"),
        ("image,s_x,s_y,s x\na,1,2,3\n", "'s x' is there twice"),
        ("image,s_x,t_x,t_y\na,1,2,3\n", "'s' has no column for its y; add s_y"),
        (HEAD + "a,s,1,2\na,t,left,2\n", "line 3: 't' x is 'left', not a number"),
        (HEAD + "a,s,1,2mm\n", "line 2: 's' y is '2mm', not a number"),
        (HEAD + "a,s,1_0,2\n", "'1_0', not a number"),
        (HEAD + "a,s,0x1F,2\n", "'0x1F', not a number"),
        (HEAD + "a,s,٣,2\n", "not a number"),
        (HEAD.replace(",", ";") + "a;s;1.234,5;2\n", "'1.234,5', not a number"),
        (HEAD + "a,s,inf,2\n", r"line 2: 's' x is infinite \(inf\)"),
        (HEAD + "a,s,1,-Infinity\n", "'s' y is infinite"),
        (HEAD + "a,s,1,1e999\n", "'s' y is infinite"),
        (HEAD + "a,s,,2\n", "line 2: 's' x is missing beside its y"),
        (HEAD + "\n\na,s,1,nan\n", "line 4: 's' y is missing beside its x"),
        ("image,s_x,s_y\na,1,2\nb,,2\n", "line 3: s_x is missing beside its y"),
        (HEAD + "a,s,1,2\nb,s,1,2\na, s ,3,4\n", r"line 4: landmark 's' is on 'a' twice \(first in line 2\)"),
        ("image,s_x,s_y\na,1,2\na,1,2\n", "line 3: image 'a' is already in line 2"),
        (HEAD + "a,s,1\n", "line 2: 3 cells, but the header has 4"),
        (HEAD + "a,s,1,5,2,5\n", "line 2: 6 cells, but the header has 4; decimal commas need ;"),
        (HEAD.replace(",", ";") + "a;s;1;2;3\n", "line 2: 5 cells, but the header has 4; remove the rest"),
        (HEAD + ",s,1,2\n", "line 2: the image has no name"),
        (HEAD + "a,,1,2\n", "line 2: the landmark has no name"),
        ("image,s_x,s_y\n,1,2\n", "line 2: the image has no name"),
        (HEAD + '"a,s,1,2\n', "line 2: not readable as CSV"),
        ("\n" + "a" * 140_000 + "\n", "line 2: not readable as CSV"),
        (HEAD + "a" * 140_000 + ",s,1,2\n", "line 2: not readable as CSV"),
        (HEAD + '"a\nb",s,1,2\nc,s,word,2\n', "line 4: 's' x is 'word'"),
        ("image,landmark,x,y,score\na,s,1,2,good\n", "line 2: score is 'good', not a number"),
    ],
)
def test_bad_tables_are_refused_with_file_and_line(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "l.csv"))
    assert "\n" not in message
    assert ";" in message


def test_what_is_no_text(tmp_path: Path) -> None:
    Image.new("L", (30, 30)).save(tmp_path / "a.png")
    picture = (tmp_path / "a.png").read_bytes()
    for data in (picture, bytes(range(256)) * 20, b"\xff\xfe\x00", b"image,landmark\0"):
        with pytest.raises(UserError, match=r"l\.csv is no text file; give a landmark table"):
            read(tmp_path, data)


def test_a_workbook(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Excel workbook.*save the sheet as CSV"):
        read(tmp_path, b"PK\x03\x04rest", "l.xlsx")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.csv does not exist; check the path"):
        read_landmarks(tmp_path / "gone.csv")
    with pytest.raises(UserError, match=r"is a folder without .* give the landmark file"):
        read_landmarks(tmp_path)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "l.csv").write_text(LONG)
    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(UserError, match=r"cannot be read .*change its permissions"):
        read_landmarks(tmp_path / "l.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "l.csv")
    with pytest.raises(UserError, match="a pipe or a device"):
        read_landmarks(tmp_path / "l.csv")


def test_a_number_of_countless_digits_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 2: .* has 100000 characters, not a number"):
        read(tmp_path, f"image,landmark,x,y\na.png,s,{'1' * 100_000},2\n")


def test_a_file_far_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_BYTES", 10)
    with pytest.raises(UserError, match="larger than 10 bytes"):
        read(tmp_path, LONG)


@pytest.mark.parametrize("column", ["sample", "name", "subject", ""])
def test_words_for_the_image_column_of_a_wide_table(tmp_path: Path, folder: Folder, column: str) -> None:
    """`name` may also be the landmark's in a long table, and R writes row names without a title."""
    cohort = open_cohort(folder("p1.png", "p2.png"))
    (tmp_path / "c.csv").write_text(f"{column},nose_x,nose_y\np1,10,20\np2,30,25\n")
    table = read_table(tmp_path / "c.csv", cohort)
    assert {one.image: one.xy.tolist() for one in table} == {"p1.png": [[10, 20]], "p2.png": [[30, 25]]}
    said = "the first column, which has no name," if not column else f"the column {column!r}"
    assert any(f"{said} names the images" in note for note in table.notes)


def test_name_stays_the_landmark_of_a_long_table(tmp_path: Path, folder: Folder) -> None:
    (tmp_path / "p1.csv").write_text("name,x,y\nnose,10,20\nchin,30,25\n")
    table = read_table(tmp_path / "p1.csv", open_cohort(folder("p1.png")))
    assert (table.images, table.names) == (("p1.png",), ("nose", "chin"))


def test_an_unnamed_column_of_numbers_is_no_image(tmp_path: Path, folder: Folder) -> None:
    """As pandas writes its index."""
    (tmp_path / "p1.csv").write_text(",nose_x,nose_y\n0,10,20\n")
    assert read_table(tmp_path / "p1.csv", open_cohort(folder("p1.png"))).images == ("p1.png",)
