"""Reading sets of measurements."""

from __future__ import annotations

from pathlib import Path

import pytest

from onemark.measurement.sets import SHIPPED, load_set
from onemark.measurement.sets.reading import parse_set, shipped_text
from onemark.types import UserError

GOOD = """
facing = ["A", "B", "C"]
[landmarks]
A = ["first"]
B = []
C = []
[points]
middle = "foot(C, base)"
[lines]
base = "line(A, B)"
[[measurement]]
name = "height"
formula = "distance_to_line(C, base)"
unit = "mm"
[[measurement]]
name = "twice"
formula = "2 * height"
unit = "mm"
"""


def test_every_shipped_set_is_read_and_cites_its_source():
    for name in (*SHIPPED, "template"):
        found = parse_set(shipped_text(name), name, name)
        assert found.measurements
        assert found.source
    assert load_set("isbi19").facing


def test_the_eight_analyses_of_the_challenge_have_their_classes():
    found = load_set("isbi19")
    eight = {"ANB", "SNB", "SNA", "ODI", "APDI", "FHI", "FMA", "MW"}
    assert {one.name for one in found.measurements if one.classes} == eight


def test_what_a_measurement_needs_is_followed_through_lines_and_other_measurements():
    found = parse_set(GOOD, "mine", "mine.toml")
    assert found["twice"].needs == ("A", "B", "C")
    assert load_set("isbi19")["ANB"].needs == ("S", "N", "A", "B")
    assert set(load_set("isbi19")["FMPA"].needs) == {"Po", "Or", "Go", "Me"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "distance_to_line(C, base)",
            "distance_to_line(C, bas)",
            "line 13, column 32: there is no line 'bas'",
        ),
        (
            "2 * height",
            "2 * hight",
            "line 17, column 16: there is no earlier measurement 'hight'; did you mean",
        ),
        ("2 * height", "2 + height", "line 17, column 14: '+' joins a length and a plain number"),
        ('"line(A, B)"', '"line(A, D)"', "line 10, column 17: there is no landmark or point 'D'"),
        (
            'unit = "mm"',
            'unit = "deg"',
            "line 13: measurement 'height' is a length, which has not the unit 'deg'",
        ),
        ('unit = "mm"', 'unit = "cm"', "use deg, mm, mm2, % or an empty one"),
        ('name = "twice"', 'name = "height"', "line 12: the name 'height' is taken"),
        ('name = "twice"', "", "needs name"),
        ('name = "twice"', 'name = "twice"\nnorms = 3', "'norms', which means nothing"),
        ('name = "twice"', 'name = "twice"\nnorm = {mean = 3, sd = 0}', "must be more than 0"),
        ('name = "twice"', 'name = "twice"\nclasses = [{name = "x", above = "y"}]', "no number"),
        ('facing = ["A", "B", "C"]', 'facing = ["A", "B", "D"]', "facing must be three landmarks"),
        ('facing = ["A", "B", "C"]', "", "needs the set to say `facing"),
        ("B = []", 'B = "b"', "needs a list of other names"),
        ("[lines]", "[lines", "not readable as TOML"),
        ("[points]", "[dots]", "'dots', which means nothing"),
        (
            'formula = "2 * height"\nunit = "mm"',
            'formula = "90"\nunit = "deg"',
            "line 17: the formula of 'twice' uses no landmark; give",
        ),
    ],
)
def test_mistakes_are_named_with_their_line(old: str, new: str, message: str):
    assert old in GOOD
    with pytest.raises(UserError) as error:
        parse_set(GOOD.replace(old, new), "mine", "mine.toml")
    assert str(error.value).startswith("mine.toml")
    assert message in str(error.value)


def test_lines_that_need_each_other_are_refused():
    circle = GOOD.replace('"line(A, B)"', '"line(A, middle)"')
    with pytest.raises(UserError, match="there is no"):
        parse_set(circle, "mine", "mine.toml")


def test_a_file_may_start_with_a_byte_order_mark_and_need_not_exist(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_set(path).name == "mine"
    with pytest.raises(UserError, match="isbi19"):
        load_set("isbi91")
    path.write_bytes(b'title = "\xff"')
    with pytest.raises(UserError, match="line 1: not UTF-8"):
        load_set(path)


def test_tables_may_call_landmarks_by_symbol_name_or_number():
    found = load_set("isbi19")
    assert found.match_names(["sella", "N", "GONION"]) == {"S": "sella", "N": "N", "Go": "GONION"}
    numbers = [str(k) for k in range(1, 20)]
    assert found.match_names(numbers)["Ar"] == "19"
    with pytest.raises(UserError, match="none of the landmarks"):
        found.match_names(numbers[:18])
    with pytest.raises(UserError, match="both mean S"):
        found.match_names(["S", "sella"])


BASE = "[landmarks]\nA = []\nB = []\nC = []\n"
ONE = '[[measurement]]\nname = "d"\nformula = "distance(A, B)"\nunit = "mm"\n'


@pytest.mark.parametrize(
    "text",
    [
        BASE + ONE + f"norm = {{ mean = {'9' * 400}, sd = 1 }}\n",
        BASE + ONE + f"norm = {{ mean = {'9' * 5000}, sd = 1 }}\n",
        BASE + ONE + f'[[measurement.classes]]\nname = "x"\nbelow = {"9" * 400}\n',
        "facing = [[], [], []]\n" + BASE + ONE,
        "facing = ['A', 'A', 'A']\n" + BASE + ONE,
        'numbered = "no"\n' + BASE + ONE,
        BASE + ONE + "classes = 3\n",
        BASE + ONE.replace("(A, B)", "(A, B) * 1e999"),
        BASE + ONE.replace('"d"', '""'),
        BASE + ONE.replace('"d"', '"d\\u0007"'),
        BASE + '"A " = []\n' + ONE,
        BASE + 'D = ["A"]\n' + ONE,
        BASE + 'D = ["x"]\nE = ["x"]\n' + ONE,
        BASE + "[points]\n" + "".join(f'p{n} = "A"\n' for n in range(600)) + ONE,
    ],
)
def test_values_of_a_wrong_kind_are_one_sentence(text: str):
    assert parse_set(BASE + ONE, "s", "s.toml").measurements
    with pytest.raises(UserError, match=r"^s\.toml") as caught:
        parse_set(text, "s", "s.toml")
    assert "\n" not in str(caught.value)
