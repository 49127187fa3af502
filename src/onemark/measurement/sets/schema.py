"""What a set of measurements holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from onemark.data.keys import canonical
from onemark.measurement.formulas.duals import Floats
from onemark.measurement.formulas.geometry import Scene
from onemark.measurement.formulas.grammar import Node
from onemark.types import UserError

UNITS = {"deg": 0, "": 0, "%": 0, "mm": 1, "mm2": 2}
"""Unit -> power of length."""


@dataclass(frozen=True)
class Norm:
    """What is usual: mean and standard deviation in the measurement's unit, and who published it."""

    mean: float
    sd: float
    source: str = ""


@dataclass(frozen=True)
class Class:
    """A range of values with a name; limits that are None do not bound it.

    Attributes:
        name: What stands in tables.
        label: The same for people.
        below: Less than.
        above: More than.
        at_least: Not less than.
        at_most: Not more than.
    """

    name: str
    label: str = ""
    below: float | None = None
    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Which of the values `[N]` lie in the range; never NaN."""
        inside = ~np.isnan(value)
        if self.below is not None:
            inside &= value < self.below
        if self.above is not None:
            inside &= value > self.above
        if self.at_least is not None:
            inside &= value >= self.at_least
        if self.at_most is not None:
            inside &= value <= self.at_most
        return inside


@dataclass(frozen=True)
class Measurement:
    """One measurement.

    Attributes:
        name: Its name in tables; unique in the set.
        formula: The checked tree.
        text: The formula as written.
        unit: `deg`, `mm`, `mm2`, `%` or empty.
        needs: The landmarks that it depends on, in the set's order.
        description: What it is, in a phrase.
        source: Who defined it.
        norm: What is usual, or None.
        classes: Ranges with names; the first that fits counts.
    """

    name: str
    formula: Node
    text: str
    unit: str
    needs: tuple[str, ...]
    description: str = ""
    source: str = ""
    norm: Norm | None = None
    classes: tuple[Class, ...] = ()

    @property
    def length(self) -> int:
        """The power of length in its unit."""
        return UNITS[self.unit]

    def classify(self, value: Floats) -> list[str]:
        """Name of the class of each value `[N]`; empty where there is none."""
        found = np.full(len(value), "", dtype=object)
        for one in reversed(self.classes):
            found[one.holds(value)] = one.name
        return [str(name) for name in found]


@dataclass(frozen=True)
class MeasurementSet:
    """Measurements over named landmarks.

    Attributes:
        name: `isbi19`, or the stem of the file.
        title: One line for people.
        source: Who defined it.
        landmarks: Symbol -> other names that tables may have for it.
        measurements: In the order of the file.
        points: Named points -> formula.
        lines: Named lines -> formula.
        facing: Three landmarks that say which way the anatomy looks, or None.
        numbered: Whether a table whose landmarks are called 1 to K has them in the set's order.
    """

    name: str
    title: str
    source: str
    landmarks: Mapping[str, tuple[str, ...]]
    measurements: tuple[Measurement, ...]
    points: Mapping[str, Node] = field(default_factory=dict)
    lines: Mapping[str, Node] = field(default_factory=dict)
    facing: tuple[str, str, str] | None = None
    numbered: bool = False

    def __getitem__(self, name: str) -> Measurement:
        """The measurement of that name. Raises KeyError when there is none."""
        return {one.name: one for one in self.measurements}[name]

    def scene(self, xy: Mapping[str, Floats], slopes: bool = True) -> Scene:
        """A scene in which the set's measurements can be asked for; `xy`: symbol -> `[N, 2]`, every landmark needed."""
        numbers = {one.name: one.formula for one in self.measurements}
        facing = self.facing if self.facing and set(self.facing) <= set(xy) else None
        return Scene(xy, self.points, self.lines, numbers, facing, slopes)

    def match_names(self, names: Iterable[str]) -> dict[str, str]:
        """Symbol -> a table's name for it, for the landmarks that the table has.

        A name counts as it is, or else without regard to capitals when only one landmark fits.

        Raises:
            UserError: none of the set's landmarks is there, or two names mean the same landmark.
        """
        names = tuple(names)
        if self.numbered and names == tuple(str(k + 1) for k in range(len(self.landmarks))):
            return dict(zip(self.landmarks, names, strict=True))
        found: dict[str, str] = {}
        for name in names:
            symbol = self._symbol(name)
            if symbol in found:
                raise UserError(
                    f"the landmarks {found[symbol]!r} and {name!r} both mean {symbol} of the set {self.name}; "
                    "rename one of the two"
                )
            if symbol:
                found[symbol] = name
        if not found:
            theirs, ours = ", ".join(map(repr, names[:5])), ", ".join(list(self.landmarks)[:5])
            raise UserError(
                f"none of the landmarks ({theirs}...) belongs to the set {self.name} ({ours}...); give another --set, or "
                "name them as its [landmarks] do"
            )
        return found

    def _symbol(self, name: str) -> str:
        spellings = {s: {s, *others} for s, others in self.landmarks.items()}
        exact = [symbol for symbol, known in spellings.items() if canonical(name) in known]
        folded = canonical(name).casefold()
        loose = [s for s, known in spellings.items() if folded in {one.casefold() for one in known}]
        fits = exact or (loose if len(loose) == 1 else [])
        return fits[0] if fits else ""
