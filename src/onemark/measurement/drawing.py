"""What a measurement looks like on its radiograph: lines and arcs in pixels, for any surface to draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from onemark.measurement.formulas.duals import Floats
from onemark.measurement.formulas.geometry import Point, Scene, foot, intersection
from onemark.measurement.formulas.grammar import Call, Name, Negative, Node, Number, Operation
from onemark.measurement.sets.schema import Measurement, MeasurementSet

LINE, ARC = "line", "arc"
ARC_POINTS = 24
ARC_SHARE = 0.25
"""Radius of an arc, as a share of the shorter of its two legs."""


@dataclass(frozen=True, eq=False)
class Stroke:
    """One thing to draw.

    Attributes:
        kind: `line` (two points) or `arc` (a path of points along a circle).
        xy: `[P, 2]` in pixels of the original image, x right and y down.
    """

    kind: str
    xy: Floats


def draw(
    measurement: Measurement, measurements: MeasurementSet, scene: Scene, pixels_per_unit: Floats
) -> tuple[Stroke, ...]:
    """The strokes of a measurement on one radiograph.

    Args:
        measurement: Which one.
        measurements: The set it belongs to; measurements that it is made of are drawn as well.
        scene: A scene of one radiograph.
        pixels_per_unit: `(x, y)` pixels per unit of the scene, 1 where it is in pixels.

    Returns:
        Distances as lines; distances from a line as the line and the perpendicular; angles as both legs and an arc.
        What is not finite is left out.
    """
    numbers = {one.name: one.formula for one in measurements.measurements}
    with np.errstate(all="ignore"):
        strokes = _strokes(measurement.formula, scene, numbers)
        scaled = (Stroke(one.kind, one.xy * pixels_per_unit) for one in strokes)
        return tuple(one for one in scaled if np.isfinite(one.xy).all())


def _strokes(node: Node, scene: Scene, numbers: dict[str, Node]) -> Iterator[Stroke]:
    match node:
        case Name():
            yield from _strokes(numbers[node.text], scene, numbers)
        case Negative():
            yield from _strokes(node.inner, scene, numbers)
        case Operation():
            yield from _strokes(node.left, scene, numbers)
            yield from _strokes(node.right, scene, numbers)
        case Call():
            yield from _strokes_of_call(node, scene, numbers)
        case Number():
            return


def _strokes_of_call(node: Call, scene: Scene, numbers: dict[str, Node]) -> Iterator[Stroke]:
    match node.function:
        case "distance":
            yield _segment(*(_place(scene.point(one)) for one in node.arguments))
        case "angle":
            first, tip, second = (_place(scene.point(one)) for one in node.arguments)
            yield from _wedge(tip, first, second)
        case "angle_between" | "signed_angle":
            yield from _angle_of_lines(node, scene)
        case "distance_to_line":
            line = scene.line(node.arguments[1])
            point = scene.point(node.arguments[0])
            base = _place(foot(point, line))
            yield _segment(_place(line.through), base)
            yield _segment(_place(point), base)
        case "along" | "across":
            ends = [scene.point(one) for one in node.arguments[:2]]
            feet = [_place(foot(one, scene.line(node.arguments[2]))) for one in ends]
            yield _segment(*feet)
            yield from (_segment(_place(one), base) for one, base in zip(ends, feet, strict=True))
        case "sign":
            return
        case _:
            for argument in node.arguments:
                yield from _strokes(argument, scene, numbers)


def _angle_of_lines(node: Call, scene: Scene) -> Iterator[Stroke]:
    one, other = map(scene.line, node.arguments)
    tip = _place(intersection(one, other))
    ends = []
    for line in (one, other):
        start, way = _place(line.through), _place(line.direction)
        yield _segment(start, start + way)
        ends.append(way)
    spans = [float(np.hypot(*way)) for way in ends]
    # Lines that are nearly parallel meet far outside; their legs alone say what is measured.
    if np.isfinite(tip).all() and np.hypot(*(tip - _place(one.through))) < 5 * max(spans):
        yield _arc(tip, ends[0], ends[1], ARC_SHARE * min(spans))


def _wedge(tip: Floats, first: Floats, second: Floats) -> Iterator[Stroke]:
    yield _segment(tip, first)
    yield _segment(tip, second)
    legs = first - tip, second - tip
    yield _arc(tip, *legs, ARC_SHARE * min(float(np.hypot(*leg)) for leg in legs))


def _arc(tip: Floats, first: Floats, second: Floats, radius: float) -> Stroke:
    start = np.arctan2(first[1], first[0])
    turn = (np.arctan2(second[1], second[0]) - start + np.pi) % (2 * np.pi) - np.pi
    angles = start + turn * np.linspace(0, 1, ARC_POINTS)
    return Stroke(ARC, tip + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def _segment(start: Floats, end: Floats) -> Stroke:
    return Stroke(LINE, np.stack([start, end]))


def _place(point: Point) -> Floats:
    return np.array([point[0].value[0], point[1].value[0]])
