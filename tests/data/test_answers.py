"""A landmark that nobody was asked for is not one that is not visible, in tables and in the files that can tell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onemark import Cohort, LandmarkSet, LandmarkTable, UserError, read_landmarks
from onemark.data.landmarks.convert import write_landmarks
from onemark.data.questions import Question, Questions
from onemark.evaluation.metrics import evaluate
from onemark.pipeline.resuming import describe_lost, merge_exemplars

NAN = (np.nan, np.nan)
NAMES = ("a", "b", "c")
TELLING = [("t.csv", None), ("t.json", None), ("t.mrk.json", None), ("t.tps", None), ("l.json", "labelme")]
"""Files that tell what was asked, and their formats where the suffix does not say it."""


def answers(image: str = "p.png", asked: tuple[bool, ...] = (True, True, False)) -> LandmarkSet:
    """`a` has a place, `b` is not visible, and nobody was asked for `c`."""
    return LandmarkSet(image, NAMES, np.array([(3.0, 4.0), NAN, NAN]), asked=np.array(asked))


@pytest.fixture
def partial(phantoms: Cohort) -> LandmarkTable:
    return LandmarkTable.from_sets([answers(phantoms.names[0])])


def test_a_place_that_nobody_was_asked_for_is_refused():
    with pytest.raises(ValueError, match="not asked for"):
        answers(asked=(False, True, False))


@pytest.mark.parametrize(("name", "format"), TELLING)
def test_formats_that_can_tell_read_back_what_was_asked(
    name: str, format: str | None, partial: LandmarkTable, phantoms: Cohort, tmp_path: Path
):
    write_landmarks(partial, tmp_path / name, cohort=phantoms, format=format)
    one = read_landmarks(tmp_path / name, phantoms).sets[0]
    answered = dict(zip(one.names, one.answered.tolist(), strict=True))
    assert answered == {"a": True, "b": True, "c": False}
    places = dict(zip(one.names, one.xy, strict=True))
    np.testing.assert_allclose([places[n] for n in NAMES], partial.sets[0].xy, atol=1e-6)


def test_a_landmark_that_another_program_placed_has_an_answer(
    partial: LandmarkTable, phantoms: Cohort, tmp_path: Path
):
    write_landmarks(partial, tmp_path / "t.tps", cohort=phantoms)
    text = (tmp_path / "t.tps").read_text()
    assert text.count("-1 -1") == 2
    last = text.rindex("-1 -1")
    (tmp_path / "t.tps").write_text(text[:last] + "5 6" + text[last + 5 :])
    one = read_landmarks(tmp_path / "t.tps", phantoms).sets[0]
    assert (one.answered.tolist(), one.visible.tolist()) == ([True] * 3, [True, False, True])
    write_landmarks(partial, tmp_path / "l.json", cohort=phantoms, format="labelme")
    document = json.loads((tmp_path / "l.json").read_text())
    assert document["flags"] == {"not visible: b": True, "not asked: c": True}
    document["shapes"].append(document["shapes"][0] | {"label": "c", "points": [[9.0, 8.0]]})
    document["flags"]["not visible: b"] = False
    (tmp_path / "l.json").write_text(json.dumps(document))
    one = read_landmarks(tmp_path / "l.json", phantoms).sets[0]
    assert (one.names, one.visible.tolist(), one.answered.all()) == (("a", "c"), [True, True], True)


def test_other_formats_say_what_becomes_of_it(partial: LandmarkTable, phantoms: Cohort, tmp_path: Path):
    with pytest.warns(UserWarning, match="1 landmark that nobody was asked for"):
        write_landmarks(partial, tmp_path / "t.pts", cohort=phantoms)


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
    assert (scores.hidden, scores.placed) == (1, 1)
    assert "not visible 1, of which placed 1" in scores.as_text()
    shown = LandmarkTable.from_sets([LandmarkSet("p.png", NAMES, np.array([(3.0, 5.0), NAN, (1.0, 1.0)]))])
    scores = evaluate(shown, truth)
    assert (scores.hidden, scores.placed) == (1, 0)
    assert json.loads(scores.to_json())["landmarks_not_visible"] == 1


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


def test_a_landmark_added_later_was_not_asked_for_on_former_exemplars():
    known = LandmarkTable.from_sets([LandmarkSet("p.png", ("a", "b"), np.array([(1.0, 1.0), NAN]))])
    newer = LandmarkTable.from_sets([LandmarkSet("q.png", ("c", "a"), np.array([(5.0, 5.0), (6.0, 6.0)]))])
    both = merge_exemplars(known, newer)
    assert both.names == ("a", "b", "c")
    assert both["p.png"].answered.tolist() == [True, True, False]
    assert both["q.png"].answered.tolist() == [True, False, True]


def test_an_exemplar_given_again_counts_as_a_whole_and_single_answers_do_not():
    known = LandmarkTable.from_sets(
        LandmarkSet(image, ("a", "b"), np.array([(1.0, 1.0), (2.0, 2.0)])) for image in ("p.png", "q.png")
    )
    again = LandmarkSet("p.png", ("a",), np.array([(3.0, 3.0)]))
    both = merge_exemplars(known, LandmarkTable.from_sets([again]))
    assert both.images == ("p.png", "q.png"), "the first exemplar says how radiographs lie"
    np.testing.assert_array_equal(both["p.png"].xy, [(3, 3), NAN])
    assert both["p.png"].answered.tolist() == [True, False]
    single = LandmarkTable.from_sets([replace(again, asked=np.array([True]))])
    np.testing.assert_array_equal(merge_exemplars(known, single)["p.png"].xy, [(3, 3), (2, 2)])


def test_a_landmark_that_is_on_no_exemplar_any_more_is_dropped():
    known = LandmarkTable.from_sets([LandmarkSet("p.png", ("a", "b"), np.array([(1.0, 1.0), (2.0, 2.0)]))])
    again = LandmarkTable.from_sets([LandmarkSet("p.png", ("c", "b"), np.array([(3.0, 3.0), (2.0, 2.0)]))])
    assert merge_exemplars(known, again).names == ("b", "c")


@pytest.mark.parametrize(("name", "format"), TELLING)
def test_a_radiograph_of_which_all_that_was_asked_is_hidden(
    name: str, format: str | None, phantoms: Cohort, tmp_path: Path
):
    shown, hidden = phantoms.names[:2]
    one = LandmarkSet(hidden, ("a",), np.array([NAN]), asked=np.array([True]))
    known = LandmarkTable.from_sets([LandmarkSet(shown, ("a",), np.array([(3.0, 4.0)]))])
    both = merge_exemplars(known, LandmarkTable.from_sets([one]).checked(phantoms)).checked(phantoms)
    write_landmarks(both, tmp_path / name, cohort=phantoms, format=format)
    folder = tmp_path / name.split(".")[0]
    again = read_landmarks(folder if folder.is_dir() else tmp_path / name, phantoms).checked(phantoms)
    assert [(one.image, bool(one.visible[0]), bool(one.answered[0])) for one in again] == [
        (shown, True, True),
        (hidden, False, True),
    ]


def test_what_another_table_answers_is_not_asked():
    whole = LandmarkTable.from_sets([LandmarkSet("p.png", NAMES, np.arange(6.0).reshape(3, 2))])
    rest = whole.without_answers(LandmarkTable.from_sets([answers()]))["p.png"]
    assert rest.answered.tolist() == [False, False, True]
    np.testing.assert_array_equal(rest.xy, [NAN, NAN, (4, 5)])
    assert whole.without_answers(LandmarkTable.from_sets([answers("q.png")])) == whole
    assert whole.annotated(least=1) == whole
    partly = LandmarkTable.from_sets([answers()])
    assert (partly.annotated(least=1).images, partly.annotated().images) == ((), ("p.png",))


def test_questions_without_their_column_of_answers_do_not_hide_what_is_empty(tmp_path: Path):
    path = tmp_path / "questions.csv"
    path.write_text("image,landmark,x,y,guess_x,guess_y\np.png,a,3,4,1,2\np.png,b,,,5,6\n")
    one = read_landmarks(path)["p.png"]
    assert one.answered_names == {"a"}
    assert one.hidden_names == ()


def test_questions_do_not_replace_a_file_that_may_hold_answers(tmp_path: Path):
    questions = Questions((Question("p.png", "a", 1.0, 2.0, 0.5, "px"),))
    questions.to_csv(tmp_path / "questions.csv")
    (tmp_path / "questions.csv").write_text("filled in")
    with pytest.raises(UserError, match="may hold answers"):
        questions.to_csv(tmp_path / "questions.csv")
    assert (tmp_path / "questions.csv").read_text() == "filled in"
    questions.to_csv(tmp_path / "questions.csv", overwrite=True)
    assert read_landmarks(tmp_path / "questions.csv")["p.png"].answered_names == set()


def test_what_an_exemplar_loses_is_told():
    known = LandmarkTable.from_sets([LandmarkSet("p.png", ("a", "b"), np.ones((2, 2)))])
    again = LandmarkTable.from_sets([LandmarkSet("p.png", ("b",), np.zeros((1, 2)))])
    said = describe_lost(known, merge_exemplars(known, again))
    assert "p.png was given again without a, which it showed before" in said
    hidden = LandmarkTable.from_sets([LandmarkSet("p.png", ("a", "b"), np.array([NAN, (1.0, 1.0)]))])
    single = LandmarkTable.from_sets([LandmarkSet("p.png", ("b",), np.zeros((1, 2)), asked=np.array([True]))])
    for corrected in (hidden, single):
        assert describe_lost(known, merge_exemplars(known, corrected)) == ""
