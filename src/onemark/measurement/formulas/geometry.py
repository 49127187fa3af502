"""Formulas on landmarks: the value of each on N radiographs at once, with its slopes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from onemark.measurement.formulas.duals import Dual, Floats, arc_tangent, constant, hypotenuse
from onemark.measurement.formulas.grammar import Call, Name, Negative, Node, Number, Operation

Point = tuple[Dual, Dual]


@dataclass(frozen=True, eq=False)
class Line:
    """A line through a point with a direction that need not have unit length."""

    through: Point
    direction: Point


class Scene:
    """The landmarks of N radiographs, and what formulas make of them.

    Coordinates may be mm or px, x right and y down. Points, lines and numbers that were asked for once are kept.

    Args:
        xy: Landmark -> `[N, 2]`, NaN where it is not visible.
        points: Named points -> formula.
        lines: Named lines -> formula.
        numbers: Measurements -> formula.
        facing: Three landmarks: going from the first to the second, the third lies to the right of a face that looks
            to the right. On a radiograph where it lies to the left all signs are turned over.
        slopes: Whether to carry slopes; landmark k of `xy` has the coordinates 2 k and 2 k + 1.
    """

    def __init__(
        self,
        xy: Mapping[str, Floats],
        points: Mapping[str, Node] | None = None,
        lines: Mapping[str, Node] | None = None,
        numbers: Mapping[str, Node] | None = None,
        facing: tuple[str, str, str] | None = None,
        slopes: bool = True,
    ) -> None:
        self._points: dict[str, Point] = {n: _leaf(p, k, slopes) for k, (n, p) in enumerate(xy.items())}
        self._lines: dict[str, Line] = {}
        self._numbers: dict[str, Dual] = {}
        self._formulas = {"point": points or {}, "line": lines or {}, "number": numbers or {}}
        self.like = next(iter(xy.values()))[:, 0]
        self.facing = 1.0 if facing is None else self._side(facing)

    def point(self, node: Node) -> Point:
        """The point that a formula of kind `point` means."""
        if isinstance(node, Name):
            if node.text not in self._points:
                self._points[node.text] = self.point(self._formulas["point"][node.text])
            return self._points[node.text]
        assert isinstance(node, Call)
        match node.function:
            case "midpoint":
                (ax, ay), (bx, by) = map(self.point, node.arguments)
                return (ax + bx).times(0.5), (ay + by).times(0.5)
            case "foot":
                return foot(self.point(node.arguments[0]), self.line(node.arguments[1]))
            case _:
                return intersection(*map(self.line, node.arguments))

    def line(self, node: Node) -> Line:
        """The line that a formula of kind `line` means."""
        if isinstance(node, Name):
            if node.text not in self._lines:
                self._lines[node.text] = self.line(self._formulas["line"][node.text])
            return self._lines[node.text]
        assert isinstance(node, Call)
        if node.function == "line":
            start, end = map(self.point, node.arguments)
            return Line(start, vector(start, end))
        dx, dy = self.line(node.arguments[0]).direction
        turned = (-dy.times(self.facing), dx.times(self.facing))
        return Line(self.point(node.arguments[1]), (dx, dy) if node.function == "parallel" else turned)

    def number(self, node: Node) -> Dual:
        """The number that a formula of kind `number` means; angles in degrees."""
        match node:
            case Number():
                return constant(node.value, self.like)
            case Negative():
                return -self.number(node.inner)
            case Operation():
                left, right = self.number(node.left), self.number(node.right)
                return _OPERATIONS[node.sign](left, right)
            case Name():
                if node.text not in self._numbers:
                    self._numbers[node.text] = self.number(self._formulas["number"][node.text])
                return self._numbers[node.text]
            case Call():
                return self._call(node)

    def _call(self, node: Call) -> Dual:
        arguments = node.arguments
        if node.function in _ON_NUMBERS:
            return _ON_NUMBERS[node.function](*map(self.number, arguments))
        match node.function:
            case "distance":
                return hypotenuse(*vector(*map(self.point, arguments)))
            case "angle":
                a, tip, b = map(self.point, arguments)
                return turn(vector(tip, a), vector(tip, b)).absolute()
            case "angle_between":
                return turn(*(self.line(a).direction for a in arguments)).absolute()
            case "signed_angle":
                return turn(*(self.line(a).direction for a in arguments)).times(self.facing)
            case "distance_to_line":
                line = self.line(arguments[1])
                return across(vector(line.through, self.point(arguments[0])), line).times(self.facing)
        way = vector(self.point(arguments[0]), self.point(arguments[1]))
        line = self.line(arguments[2])
        return along(way, line) if node.function == "along" else across(way, line).times(self.facing)

    def _side(self, facing: tuple[str, str, str]) -> Floats:
        back, front, below = (self._points[name] for name in facing)
        return np.sign(cross(vector(back, front), vector(back, below)).value)


def vector(start: Point, end: Point) -> Point:
    """From one point to another."""
    return end[0] - start[0], end[1] - start[1]


def dot(a: Point, b: Point) -> Dual:
    """Scalar product."""
    return a[0] * b[0] + a[1] * b[1]


def cross(a: Point, b: Point) -> Dual:
    """Cross product; more than 0 where b lies clockwise of a on the screen."""
    return a[0] * b[1] - a[1] * b[0]


def turn(a: Point, b: Point) -> Dual:
    """Turn from a to b in degrees, clockwise on the screen, -180 to 180."""
    return arc_tangent(cross(a, b), dot(a, b))


def unwrapped(degrees: Floats, around: Floats | float) -> Floats:
    """Angles moved by whole turns to lie within half a turn of `around`, so that 179 and -179 degrees lie 2 apart."""
    return np.asarray(degrees - 360.0 * np.round((degrees - around) / 360.0), np.float64)


def along(way: Point, line: Line) -> Dual:
    """Length of a way along a line's direction."""
    return dot(line.direction, way) / hypotenuse(*line.direction)


def across(way: Point, line: Line) -> Dual:
    """Length of a way across a line's direction, to its right on the screen."""
    return cross(line.direction, way) / hypotenuse(*line.direction)


def foot(point: Point, line: Line) -> Point:
    """Foot of the perpendicular from a point to a line."""
    share = dot(line.direction, vector(line.through, point)) / dot(line.direction, line.direction)
    return line.through[0] + share * line.direction[0], line.through[1] + share * line.direction[1]


def intersection(a: Line, b: Line) -> Point:
    """Where two lines meet; NaN where they are parallel."""
    sine = cross(a.direction, b.direction)
    share = cross(vector(a.through, b.through), b.direction) / Dual(
        np.where(sine.value == 0, np.nan, sine.value), sine.slopes
    )
    return a.through[0] + share * a.direction[0], a.through[1] + share * a.direction[1]


def _leaf(xy: Floats, index: int, slopes: bool) -> Point:
    one = np.ones(len(xy))
    x, y = ({2 * index: one}, {2 * index + 1: one}) if slopes else ({}, {})
    return Dual(xy[:, 0], x), Dual(xy[:, 1], y)


_OPERATIONS: Mapping[str, Callable[[Dual, Dual], Dual]] = {
    "+": Dual.__add__,
    "-": Dual.__sub__,
    "*": Dual.__mul__,
    "/": Dual.__truediv__,
}
_ON_NUMBERS: Mapping[str, Callable[..., Dual]] = {
    "ratio": Dual.__truediv__,
    "sign": lambda a: Dual(np.sign(a.value)),
    "abs": Dual.absolute,
    "min": lambda a, b: a.where(a.value <= b.value, b),
    "max": lambda a, b: a.where(a.value >= b.value, b),
}
