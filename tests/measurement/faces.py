"""Made-up faces with the 19 landmarks of ISBI, in mm, looking to the right; and how to turn, scale and mirror them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onemark.data.landmarks.table import LandmarkTable
from onemark.types import LandmarkSet

NAMES = {
    "S": "sella",
    "N": "nasion",
    "Or": "orbitale",
    "Po": "porion",
    "A": "subspinale",
    "B": "supramentale",
    "Pog": "pogonion",
    "Me": "menton",
    "Gn": "gnathion",
    "Go": "gonion",
    "L1": "lower incisor",
    "U1": "upper incisor",
    "UL": "upper lip",
    "LL": "lower lip",
    "Sn": "subnasale",
    "Pog'": "soft-tissue pogonion",
    "PNS": "posterior nasal spine",
    "ANS": "anterior nasal spine",
    "Ar": "articulare",
}
SYMBOLS, SCHEMA = tuple(NAMES), tuple(NAMES.values())
# Facing right, y down: a plausible face.
FACE = np.array(
    [
        *(
            (0, 0),
            (70, -10),
            (58, 22),
            (-12, 24),
            (66, 52),
            (60, 90),
            (62, 102),
            (52, 112),
            (58, 109),
            (-2, 76),
        ),
        *((66, 73), (69, 75), (84, 68), (80, 84), (78, 55), (73, 103), (16, 46), (72, 46), (-10, 30)),
    ],
    float,
)


def face(
    image: str = "a.png",
    xy: NDArray[np.float64] = FACE,
    error: float | None = None,
    names: tuple[str, ...] = SYMBOLS,
) -> LandmarkSet:
    one = LandmarkSet(image, names, np.asarray(xy, float))
    return (
        one if error is None else replace(one, expected_error=np.full(len(xy), error), score=np.ones(len(xy)))
    )


def faces(count: int, seed: int = 0, spread: float = 2.0) -> LandmarkTable:
    rng = np.random.default_rng(seed)
    return LandmarkTable.from_sets(
        face(f"{k}.png", FACE + rng.normal(0, spread, FACE.shape)) for k in range(count)
    )


def turned(xy: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return xy @ np.array([[c, s], [-s, c]])


def mirrored(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    return xy * (-1.0, 1.0)


OPPOSITE = """
facing = ["A", "B", "C"]
[landmarks]
A = []
B = []
C = []
D = []
[[measurement]]
name = "turn"
formula = "signed_angle(line(A, B), line(C, D))"
unit = "deg"
"""
"""Two lines that run against each other."""


def opposite(image: str, rise: float, error: float | None = None) -> LandmarkSet:
    """Landmarks of `OPPOSITE`: a turn of almost 180 degrees where `rise` mm is positive, else of almost -180."""
    xy = np.array([(0, 0), (100, 0), (100, 50), (0, 50 + rise)], float)
    return face(image, xy, error, ("A", "B", "C", "D"))
