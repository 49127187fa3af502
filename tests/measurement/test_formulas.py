"""The grammar, the kinds, and the values of formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onemark.measurement.formulas.geometry import Scene
from onemark.measurement.formulas.grammar import FormulaError, parse_formula
from onemark.measurement.formulas.kinds import FUNCTIONS, NUMBER, Scope, check_kind

POINTS = {"A": (0.0, 0.0), "B": (4.0, 0.0), "C": (4.0, 3.0), "soft tissue": (0.0, 3.0), "Pog'": (2.0, 1.0)}
SCOPE = Scope(points=set(POINTS), oriented=True)


def value(text: str, points: dict[str, tuple[float, float]] = POINTS) -> float:
    node = parse_formula(text)
    check_kind(node, NUMBER, SCOPE)
    scene = Scene({n: np.array([p]) for n, p in points.items()}, facing=("A", "B", "C"))
    with np.errstate(all="ignore"):
        return float(scene.number(node).value[0])


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("1 + 2 * 3 - 4 / 2", 5),
        ("-(1 + 2) * -.5e1", 15),
        ("distance(A, C)", 5),
        ("distance(A, 'soft tissue')", 3),
        ("distance(A, Pog')", math.sqrt(5)),
        ("angle(B, A, C)", math.degrees(math.atan2(3, 4))),
        ("angle_between(line(A, B), line(C, B))", 90),
        ("signed_angle(line(A, B), line(B, C))", 90),
        ("signed_angle(line(A, B), line(C, B))", -90),
        ("distance_to_line(C, line(A, B))", 3),
        ("-distance_to_line(C, line(B, A))", 3),
        ("along(B, 'soft tissue', line(A, B))", -4),
        ("across(B, 'soft tissue', line(A, B))", 3),
        ("distance(midpoint(A, C), A)", 2.5),
        ("distance(foot(C, line(A, B)), B)", 0),
        ("distance(intersection(line(A, C), line(B, 'soft tissue')), midpoint(A, C))", 0),
        ("distance(intersection(perpendicular(line(A, B), Pog'), line(A, B)), A)", 2),
        ("distance_to_line(A, parallel(line(A, B), C))", -3),
        ("ratio(distance(A, B), distance(A, C))", 0.8),
        ("distance(A, B) / distance(A, C) * 100", 80),
        ("sign(along(B, A, line(A, B)))", -1),
        ("abs(along(B, A, line(A, B)))", 4),
        ("min(distance(A, B), distance(B, C))", 3),
        ("max(distance(A, B), distance(B, C))", 4),
    ],
)
def test_formulas_have_the_values_of_geometry(formula: str, expected: float):
    assert value(formula) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("formula", "at", "message"),
    [
        ("distance(A, B", 13, "')' is missing before the end"),
        ("distance(A B)", 11, "')' is missing before 'B'"),
        ("1 +", 3, "missing before the end"),
        ("1 2", 2, "'2' was not expected"),
        ("A ** B", 3, "missing before '*'"),
        ("__import__('os')", 0, "no function '__import__'"),
        ("distance(A, B).real", 14, "'.' has no meaning"),
        ("open('x')", 0, "no function 'open'"),
        ("distnce(A, B)", 0, "did you mean 'distance'"),
        ("distance(A, D)", 12, "no landmark or point 'D'"),
        ("distance(A)", 0, "takes 2 arguments"),
        ("line(A, B)", 0, "gives a line, but a number"),
        ("angle(A, line(A, B), C)", 9, "gives a line, but a point"),
        ("distance(A, B) + 2", 15, "joins a length and a plain number"),
        ("ratio(distance(A, B), 2)", 0, "both must be of one kind"),
        ("A + 1", 0, "'A' is a point, but a number"),
        ("distance(1, A)", 9, "a point is needed here"),
        ("", 0, "missing before the end"),
        ("(" * 60 + "1" + ")" * 60, 50, "levels of brackets"),
        ("1" + "+1" * 400, 0, "split it in two"),
    ],
)
def test_mistakes_are_named_with_their_place(formula: str, at: int, message: str):
    with pytest.raises(FormulaError) as error:
        value(formula)
    assert message in str(error.value)
    assert error.value.at == at


def test_signs_need_a_set_that_says_which_way_the_face_looks():
    with pytest.raises(FormulaError, match="facing"):
        check_kind(parse_formula("signed_angle(line(A, B), line(B, C))"), NUMBER, Scope(points=set(POINTS)))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ABC'(),.+-*/ 019eE_distancegl\n\"", max_size=40))
def test_any_text_is_a_formula_or_a_formula_error(text: str):
    place = 0
    try:
        check_kind(parse_formula(text), NUMBER, SCOPE)
    except FormulaError as error:
        place = error.at
    assert 0 <= place <= len(text)


def test_every_function_has_its_slopes_right():
    rng = np.random.default_rng(0)
    xy = {name: rng.normal(0, 10, (1, 2)) for name in "ABCDEF"}
    takes = {
        "point": "ABCDEF",
        "line": ("line(A, D)", "line(E, C)"),
        "number": ("distance(A, B)", "distance(C, E)"),
    }
    for name, signature in FUNCTIONS.items():
        places = {kind: iter(values) for kind, values in takes.items()}
        call = f"{name}({', '.join(next(places[kind]) for kind in signature.takes)})"
        text = {"point": f"distance({call}, F)", "line": f"signed_angle({call}, line(A, F))", "number": call}
        node = parse_formula(text[signature.gives])
        dual = Scene(xy, facing=("A", "B", "C")).number(node)
        for k, landmark in enumerate(xy):
            for axis in (0, 1):
                step = np.zeros((1, 2))
                step[0, axis] = 1e-5
                ends = [
                    Scene({**xy, landmark: xy[landmark] + s}, facing=("A", "B", "C")).number(node).value
                    for s in (step, -step)
                ]
                slope = dual.slopes.get(2 * k + axis, np.zeros(1))
                assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-6), (
                    name,
                    landmark,
                )


@pytest.mark.parametrize("formula", ["angle(A, B, C)", "signed_angle(line(A, B), line(B, C))"])
def test_angles_at_points_that_coincide_are_no_number(formula: str):
    assert math.isnan(value(formula, {**POINTS, "A": (4.0, 0.0)}))


def test_parallel_lines_meet_nowhere():
    assert math.isnan(value("distance(A, intersection(line(A, B), parallel(line(A, B), C)))"))
