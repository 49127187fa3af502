"""What each part of a formula is: a point, a line, or a number with its power of length. Checked before any use."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from onemark.measurement.formulas.grammar import Call, FormulaError, Name, Negative, Node, Number, Operation

POINT, LINE, NUMBER = "point", "line", "number"
ORIENTED = ("signed_angle", "distance_to_line", "across", "perpendicular")
"""Functions whose sign depends on the way the face looks."""


@dataclass(frozen=True)
class Signature:
    """What a function takes and gives.

    Attributes:
        takes: Kind of each argument.
        gives: Kind of the result.
        length: Power of length of a number: 0 for angles and ratios, 1 for distances; None where the arguments say it.
        help: What it is, for people.
    """

    takes: tuple[str, ...]
    gives: str
    length: int | None
    help: str


_P, _L, _N = POINT, LINE, NUMBER
FUNCTIONS: Mapping[str, Signature] = {
    "midpoint": Signature((_P, _P), _P, 0, "the point halfway between two points"),
    "foot": Signature((_P, _L), _P, 0, "foot of the perpendicular from a point to a line"),
    "intersection": Signature((_L, _L), _P, 0, "where two lines meet"),
    "line": Signature((_P, _P), _L, 0, "the line from one point to another; it has that direction"),
    "parallel": Signature((_L, _P), _L, 0, "the line through a point with the direction of a line"),
    "perpendicular": Signature((_L, _P), _L, 0, "the line through a point, turned by 90 degrees to a line"),
    "distance": Signature((_P, _P), _N, 1, "distance of two points"),
    "distance_to_line": Signature((_P, _L), _N, 1, "signed distance of a point from a line"),
    "along": Signature((_P, _P, _L), _N, 1, "signed way from the first to the second point along a line"),
    "across": Signature((_P, _P, _L), _N, 1, "signed way from the first to the second point across a line"),
    "angle": Signature((_P, _P, _P), _N, 0, "angle at the second point, 0 to 180 degrees"),
    "angle_between": Signature(
        (_L, _L), _N, 0, "angle between the directions of two lines, 0 to 180 degrees"
    ),
    "signed_angle": Signature((_L, _L), _N, 0, "turn from the first line to the second, -180 to 180 degrees"),
    "ratio": Signature((_N, _N), _N, 0, "one number divided by another of the same kind"),
    "sign": Signature((_N,), _N, 0, "-1, 0 or 1"),
    "abs": Signature((_N,), _N, None, "the number without its sign"),
    "min": Signature((_N, _N), _N, None, "the smaller of two numbers"),
    "max": Signature((_N, _N), _N, None, "the larger of two numbers"),
}


@dataclass
class Scope:
    """The names that formulas may use.

    Attributes:
        points: Landmarks and named points.
        lines: Named lines.
        numbers: Earlier measurements, name -> power of length.
        oriented: Whether the set says which way the face looks.
    """

    points: set[str] = field(default_factory=set)
    lines: set[str] = field(default_factory=set)
    numbers: dict[str, int] = field(default_factory=dict)
    oriented: bool = False


def check_kind(node: Node, wanted: str, scope: Scope) -> int:
    """Check that a formula is of the wanted kind.

    Args:
        node: The formula.
        wanted: `point`, `line` or `number`.
        scope: The names it may use.

    Returns:
        The power of length of a number; 0 for points and lines.

    Raises:
        FormulaError: it is of another kind, a name or function is unknown, or lengths and plain numbers are mixed.
    """
    match node:
        case Name():
            return _check_name(node, wanted, scope)
        case Call():
            return _check_call(node, wanted, scope)
    if wanted != NUMBER:
        raise FormulaError(f"a {wanted} is needed here, not a number", node.at)
    match node:
        case Negative():
            return check_kind(node.inner, NUMBER, scope)
        case Operation():
            return _check_operation(node, scope)
        case _:
            return 0


def landmarks_in(node: Node) -> set[str]:
    """Every name in a formula, whatever it stands for."""
    match node:
        case Name():
            return {node.text}
        case Negative():
            return landmarks_in(node.inner)
        case Operation():
            return landmarks_in(node.left) | landmarks_in(node.right)
        case Call():
            return set[str]().union(*map(landmarks_in, node.arguments))
        case Number():
            return set()


def is_oriented(node: Node) -> bool:
    """Whether a formula's sign depends on the way the face looks."""
    match node:
        case Negative():
            return is_oriented(node.inner)
        case Operation():
            return is_oriented(node.left) or is_oriented(node.right)
        case Call():
            return node.function in ORIENTED or any(map(is_oriented, node.arguments))
        case _:
            return False


def _check_name(node: Name, wanted: str, scope: Scope) -> int:
    known: dict[str, Collection[str]] = {POINT: scope.points, LINE: scope.lines, NUMBER: scope.numbers}
    if node.text in known[wanted]:
        return scope.numbers[node.text] if wanted == NUMBER else 0
    other = next((kind for kind, names in known.items() if node.text in names), None)
    if other:
        what = "a measurement" if other == NUMBER else f"a {other}"
        raise FormulaError(f"{node.text!r} is {what}, but a {wanted} is needed here", node.at)
    close = difflib.get_close_matches(node.text, known[wanted], 1)
    what = {POINT: "landmark or point", LINE: "line", NUMBER: "earlier measurement"}[wanted]
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise FormulaError(f"there is no {what} {node.text!r}{hint}", node.at)


def _check_call(node: Call, wanted: str, scope: Scope) -> int:
    signature = FUNCTIONS.get(node.function)
    if signature is None:
        raise _unknown(node)
    if signature.gives != wanted:
        raise FormulaError(
            f"{node.function} gives a {signature.gives}, but a {wanted} is needed here", node.at
        )
    if len(node.arguments) != len(signature.takes):
        takes = ", ".join(signature.takes)
        raise FormulaError(f"{node.function} takes {len(signature.takes)} arguments ({takes})", node.at)
    if node.function in ORIENTED and not scope.oriented:
        raise FormulaError(f"{node.function} needs the set to say `facing = [BACK, FRONT, BELOW]`", node.at)
    powers = [check_kind(a, kind, scope) for a, kind in zip(node.arguments, signature.takes, strict=True)]
    if signature.takes == (NUMBER, NUMBER) and powers[0] != powers[1]:
        raise FormulaError(
            f"{node.function} of a length and a plain number; both must be of one kind", node.at
        )
    return powers[0] if signature.length is None else signature.length


def _unknown(node: Call) -> FormulaError:
    close = difflib.get_close_matches(node.function, FUNCTIONS, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(FUNCTIONS)}"
    return FormulaError(f"there is no function {node.function!r}; {hint}", node.at)


def _check_operation(node: Operation, scope: Scope) -> int:
    left, right = check_kind(node.left, NUMBER, scope), check_kind(node.right, NUMBER, scope)
    if node.sign == "*":
        return left + right
    if node.sign == "/":
        return left - right
    if left != right:
        raise FormulaError(
            f"{node.sign!r} joins a length and a plain number, which depends on the unit", node.at
        )
    return left
