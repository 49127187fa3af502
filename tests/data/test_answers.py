"""A landmark that nobody was asked for is not one that is not visible, in tables and in the files that can tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onemark import Cohort, LandmarkSet, LandmarkTable, UserError, read_landmarks
from onemark.data.landmarks.convert import write_landmarks
from onemark.evaluation.metrics import evaluate

NAN = (np.nan, np.nan)
NAMES = ("a", "b", "c")


def answers(image: str = "p.png", asked: tuple[bool, ...] = (True, True, False)) -> LandmarkSet:
    """`a` has a place, `b` is not visible, and nobody was asked for `c`."""
    return LandmarkSet(image, NAMES, np.array([(3.0, 4.0), NAN, NAN]), asked=np.array(asked))


@pytest.fixture
def partial(phantoms: Cohort) -> LandmarkTable:
    return LandmarkTable.from_sets([answers(phantoms.names[0])])


def test_a_place_that_nobody_was_asked_for_is_refused():
    with pytest.raises(ValueError, match="not asked for"):
        answers(asked=(False, True, False))


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.mrk.json"])
def test_formats_that_can_tell_read_back_what_was_asked(
    name: str, partial: LandmarkTable, phantoms: Cohort, tmp_path: Path
):
    write_landmarks(partial, tmp_path / name, cohort=phantoms)
    one = read_landmarks(tmp_path / name, phantoms).sets[0]
    assert one.names == NAMES
    assert one.answered.tolist() == [True, True, False]
    np.testing.assert_allclose(one.xy, partial.sets[0].xy, atol=1e-6)


@pytest.mark.parametrize("name", ["t.tps", "t.pts"])
def test_other_formats_say_what_becomes_of_it(
    name: str, partial: LandmarkTable, phantoms: Cohort, tmp_path: Path
):
    with pytest.warns(UserWarning, match="1 landmark that nobody was asked for"):
        write_landmarks(partial, tmp_path / name, cohort=phantoms)


def test_a_file_that_does_not_tell_reads_as_ever(tmp_path: Path):
    (tmp_path / "l.csv").write_text("image,landmark,x,y\np.png,a,3,4\nq.png,b,5,6\n")
    table = read_landmarks(tmp_path / "l.csv")
    assert all(one.answered.all() for one in table)
    assert "answer" not in table.to_frame()


def read(text: str, folder: Path) -> LandmarkTable:
    (folder / "q.csv").write_text("image,landmark,x,y,answer,guess_x,guess_y,expected_error,unit\n" + text)
    return read_landmarks(folder / "q.csv")


def test_a_filled_in_file_of_questions(tmp_path: Path):
    table = read(
        "p.png,a,,,right,1,2,0.5,mm\n"
        "p.png,b,3,4,,1,2,0.5,mm\n"
        "q.png,c,,,Not visible,1,2,0.5,mm\n"
        "q.png,a,,,,1,2,0.5,mm\n",
        tmp_path,
    )
    p, q = table["p.png"], table["q.png"]
    np.testing.assert_array_equal(p.xy, [(1, 2), (3, 4), NAN])
    assert p.answered.tolist() == [True, True, False]
    assert q.answered.tolist() == [False, False, True]
    assert not q.visible.any()
    assert p.expected_error.size == 0


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("p.png,a,,,rihgt,1,2,1,px", "line 2: the answer 'rihgt' is none of"),
        ("p.png,a,,,clicked,1,2,1,px", "line 2: clicked, but without a place"),
        ("p.png,a,,,right,,,1,px", "line 2: right, but without a place"),
        ("p.png,a,3,4,not visible,1,2,1,px", "line 2: not visible, but with a place"),
    ],
)
def test_an_answer_that_does_not_fit_is_named(row: str, said: str, tmp_path: Path):
    with pytest.raises(UserError, match=said):
        read(row + "\n", tmp_path)


def test_newer_answers_leave_what_they_were_not_asked_for(tmp_path: Path):
    known = LandmarkTable.from_sets([LandmarkSet("p.png", ("a", "b"), np.array([(1.0, 1.0), (2.0, 2.0)]))])
    newer = LandmarkSet("p.png", ("b", "c"), np.array([NAN, (9.0, 9.0)]), asked=np.array([False, True]))
    both = known.merged(LandmarkTable.from_sets([newer]))["p.png"]
    np.testing.assert_array_equal(both.xy, [(1, 1), (2, 2), (9, 9)])
    assert both.answered.all()
    newer = LandmarkSet("p.png", ("a",), np.array([NAN]), asked=np.array([True]))
    hidden = known.merged(LandmarkTable.from_sets([newer]))["p.png"]
    np.testing.assert_array_equal(hidden.xy, [NAN, (2, 2)])


def test_only_what_was_asked_is_scored():
    truth = LandmarkTable.from_sets([answers()])
    predictions = LandmarkTable.from_sets([LandmarkSet("p.png", NAMES, np.array([(3.0, 5.0)] * 3))])
    scores = evaluate(predictions, truth)
    assert (scores.asked, scores.mre) == (1, 1.0)


def test_an_exemplar_without_an_answer_is_no_exemplar(phantoms: Cohort):
    nothing = LandmarkSet(phantoms.names[0], ("a",), np.array([NAN]), asked=np.array([False]))
    with pytest.raises(UserError, match="no landmarks at all"):
        LandmarkTable.from_sets([nothing]).checked(phantoms)
    hidden = LandmarkSet(phantoms.names[1], ("a", "b"), np.array([NAN, NAN]), asked=np.array([True, False]))
    checked = LandmarkTable.from_sets([nothing, hidden]).checked(phantoms)
    assert checked.images == (phantoms.names[1],)


def test_single_answers_are_told_from_annotated_radiographs():
    whole = LandmarkSet("w.png", NAMES, np.ones((3, 2)) * [[1], [2], [3]])
    table = LandmarkTable.from_sets([answers(), whole])
    assert table.mostly_annotated().images == ("w.png",)
    assert table.answers == pytest.approx(1 + 2 / 3)
