"""A cohort's radiographs on the network's canvas: decoded once, kept on disk, read by the batch."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from onemark.data.atomic import user_errors
from onemark.data.choice import pick_evenly
from onemark.imaging.augment import Intensity
from onemark.imaging.letterbox import Letterbox, Size, canvas_for
from onemark.options import option
from onemark.progress import SKIPPED, Progress, Sink, silent, watched_by
from onemark.types import Radiograph, UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable

SIZES_LOOKED_AT = 200  # most headers that are read to choose canvas and framing
PREVIEWS = 4
GROW_FROM = 2 / 3  # of the canvas' sides on the coarser level
ASPECTS_DIFFER = 0.02  # relative difference of aspect ratios that still counts as framed alike (decision 5)
ALIKE = 0.75  # least share of such radiographs in a cohort that is framed alike
CROPPED = 0.5  # probability of each border to be cut off in a mixed cohort

Framing = Literal["auto", "alike", "mixed"]
STRETCH: Mapping[Framing, float] = {"auto": 1.0, "alike": 1.0, "mixed": 1.5}
"""Framing -> how many times as much one side of a radiograph may be scaled as the other to fill the canvas.

A mixed cohort's images end where the anatomy of interest does, so filling the canvas brings like to like: on chest
radiographs the matcher's error fell from 3.70 to 3.29 % of the image side (decision 5)."""


def framing_option(default: Framing = "auto") -> Any:
    """The option `framing` of a stage's Config."""
    help = "whether radiographs are framed alike; mixed ones are stretched, and their borders not trusted"
    return option(default, help)


def pool_option() -> Any:
    """The option `pool` of a stage's Config."""
    # The bound keeps memory and temporary files the same for a folder of any size.
    help = "most radiographs to learn from; an even choice of a larger folder"
    return option(400, help, unit="radiographs", low=2)


@dataclass(frozen=True)
class CanvasExemplar:
    """An exemplar on the canvas.

    Attributes:
        index: Position in the store.
        xy: `[K, 2]` float32 canvas pixels (x, y); NaN where a landmark is not visible or was not asked for.
        asked: `[K]` bool, whether a person was asked for the landmark; None where that is all of them.
    """

    index: int
    xy: torch.Tensor
    asked: torch.Tensor | None = None

    @property
    def answered(self) -> torch.Tensor:
        """`[K]` bool: whether it is known where a landmark is, or that it is not visible."""
        return torch.ones(len(self.xy), dtype=torch.bool) if self.asked is None else self.asked

    @property
    def visible(self) -> torch.Tensor:
        """The visible landmarks, `[V, 2]`."""
        return self.xy[self.xy.isfinite().all(-1)]


class CanvasCache:
    """Random access to the canvases of a cohort in constant memory.

    A radiograph is decoded when it is first needed, and its canvas is written to an unnamed temporary file (16 bit).
    Later reads come from there. An unreadable radiograph is reported once and replaced by another one.

    Attributes:
        cohort: The radiographs.
        canvas: `(H, W)`.
        sink: Takes the reports.
        framing: Decides whether radiographs are stretched to the canvas.
        problems: Name -> message of the radiographs that cannot be read.
    """

    def __init__(self, cohort: Cohort, canvas: Size, sink: Sink = silent, framing: Framing = "alike") -> None:
        self.cohort, self.canvas, self.sink, self.framing = cohort, canvas, sink, framing
        self.problems: dict[str, str] = {}
        with user_errors("temporary files to the folder that TMPDIR names"):
            self._file = tempfile.TemporaryFile(prefix="onemark-")  # noqa: SIM115  it lives as long as the store
        self._letterboxes: dict[int, Letterbox] = {}

    def __len__(self) -> int:
        return len(self.cohort)

    def index(self, name: str) -> int:
        """Position of a radiograph by name."""
        return self.cohort.names.index(name)

    def letterbox(self, index: int) -> Letterbox:
        """Where radiograph `index` lies on the canvas; decodes it when needed."""
        if index not in self._letterboxes:
            self.put(index, self.cohort[index])
        return self._letterboxes[index]

    @property
    def shown(self) -> list[int]:
        """A few readable radiographs for previews: the one the sink watches, then some evenly spread."""
        spread = range(0, len(self), max(1, len(self) // PREVIEWS))
        watched = watched_by(self.sink)
        first = [self.index(watched)] if watched in self.cohort.names else []
        return [i for i in dict.fromkeys([*first, *spread]) if self.usable(i)][:PREVIEWS]

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """Canvases `[B, 1, H, W]` float32 in [0, 1] of radiographs that `usable` let through."""
        return torch.stack([self._read(i) for i in indices])

    def draw(self, count: int, generator: torch.Generator) -> list[int]:
        """Draw `count` readable radiographs: different ones where the cohort has as many.

        The whole cohort is shuffled first, so that a draw does not depend on which bad files are known already.

        Returns:
            Their positions.

        Raises:
            UserError: no radiograph of the cohort can be read.
        """
        chosen: list[int] = []
        while len(chosen) < count:
            order = torch.randperm(len(self), generator=generator, device=generator.device).tolist()
            good = list(islice(filter(self.usable, order), count - len(chosen)))
            if not good:
                raise UserError(f"no radiograph in {self.cohort.folder} can be read: see the messages above")
            chosen += good
        return chosen

    def usable(self, index: int) -> bool:
        """Whether the radiograph can be read; the first failure is reported to the sink."""
        name = self.cohort.names[index]
        if index in self._letterboxes or name in self.problems:
            return index in self._letterboxes
        try:
            radiograph = self.cohort[index]
        except UserError as error:
            self.problems[name] = str(error)
            self.sink(Progress("read", len(self._letterboxes), len(self), message=f"{SKIPPED}{error}"))
            return False
        self.put(index, radiograph)
        return True

    def place_exemplars(self, exemplars: LandmarkTable) -> list[CanvasExemplar]:
        """Take the exemplars' landmarks to the canvas.

        Raises:
            UserError: an exemplar cannot be read.
        """
        placed = []
        for one in exemplars:
            index = self.index(one.image)
            xy = torch.from_numpy(self.letterbox(index).to_canvas(one.xy)).float()
            asked = None if one.answered.all() else torch.from_numpy(one.answered)
            placed.append(CanvasExemplar(index, xy, asked))
        return placed

    def put(self, index: int, radiograph: Radiograph) -> None:
        """Keep the canvas of a decoded radiograph.

        Raises:
            UserError: the disk of the temporary files is full.
        """
        letterbox = Letterbox.fit(radiograph.size, self.canvas, STRETCH[self.framing])
        canvas = (letterbox.render(radiograph.pixels).clamp(0, 1) * 65535).round().numpy().astype(np.uint16)
        with user_errors(f"a temporary file to {tempfile.gettempdir()}"):
            self._file.seek(index * self._bytes)
            self._file.write(canvas.tobytes())
            # A full disk must fail here, where it is reported, and not in a later read.
            self._file.flush()
        self._letterboxes[index] = letterbox

    @property
    def _bytes(self) -> int:
        return self.canvas[0] * self.canvas[1] * 2

    def _read(self, index: int) -> torch.Tensor:
        self.letterbox(index)
        self._file.seek(index * self._bytes)
        raw = self._file.read(self._bytes)
        return torch.from_numpy(np.frombuffer(raw, np.uint16).astype(np.float32) / 65535).view(
            1, *self.canvas
        )


def cohort_canvas(cohort: Cohort, area: int) -> Size:
    """The canvas `(H, W)` px of about `area` px for a cohort, from the sizes of up to 200 radiographs, evenly spread.

    Raises:
        UserError: no radiograph can be read.
    """
    return canvas_for(_sizes(cohort), area)


def cohort_framing(cohort: Cohort, wanted: Framing) -> Framing:
    """Decide whether radiographs show the same part of the body in the same place: `alike` or `mixed`.

    `auto` decides by the aspect ratios of up to 200 radiographs: alike where three quarters differ by less than 2 %
    from the median. In a mixed cohort the distance to the image's border says nothing about a place (decision 5).

    Raises:
        UserError: no radiograph can be read.
    """
    if wanted != "auto":
        return wanted
    aspects = np.log([h / w for h, w in _sizes(cohort)])
    same = np.abs(aspects - np.median(aspects)) < ASPECTS_DIFFER
    return "alike" if same.mean() >= ALIKE else "mixed"


def adapt_intensity(framing: Framing, intensity: Intensity) -> Intensity:
    """Add borders that are cut off to the changes of grey values, where the cohort is mixed (decision 5)."""
    return replace(intensity, crop=CROPPED) if framing == "mixed" else intensity


def _sizes(cohort: Cohort) -> list[Size]:
    sizes = []
    for name in pick_evenly(cohort.names, SIZES_LOOKED_AT):
        try:
            sizes.append(cohort.header(name).size)
        except UserError:
            continue
    if not sizes:
        raise UserError(f"no radiograph in {cohort.folder} can be read: check that the files are images")
    return sizes


@dataclass(frozen=True)
class ResolutionLevel:
    """The cohort on one size of canvas, used up to a share of the schedule.

    Attributes:
        until: Share of the schedule, 0...1.
        store: The canvases.
        exemplars: The exemplars on them that show a landmark.
        hidden: Radiographs of which a person only said what is not visible.
    """

    until: float
    store: CanvasCache
    exemplars: list[CanvasExemplar]
    hidden: list[CanvasExemplar] = field(default_factory=list)

    @property
    def side(self) -> torch.Tensor:
        """`[2]` canvas width and height."""
        return torch.tensor([self.store.canvas[1], self.store.canvas[0]], dtype=torch.float32)


def resolution_levels(
    cohort: Cohort,
    exemplars: LandmarkTable,
    canvas: Size,
    grow: float,
    pool: int,
    sink: Sink,
    framing: Framing = "alike",
) -> list[ResolutionLevel]:
    """The resolution levels that a network learns from, coarse to fine.

    Args:
        cohort: The radiographs.
        exemplars: Landmarks of some of them.
        canvas: `(H, W)` of the finest level.
        grow: Share of the schedule, 0...1, that is trained at two thirds of the canvas' sides first; 0 for one level.
        pool: Most radiographs to learn from; in a larger cohort an even choice and the exemplars.
        sink: Takes reports of unreadable radiographs.
        framing: As for `CanvasCache`.

    Raises:
        UserError: an exemplar cannot be read.
    """
    taken = learning_pool(cohort, exemplars, pool)
    small = canvas_for([canvas], round(canvas[0] * canvas[1] * GROW_FROM**2))
    wanted = [(grow, small), (1.0, canvas)] if grow > 0 else [(1.0, canvas)]
    stores = [(until, CanvasCache(taken, size, sink, framing)) for until, size in wanted]
    return [_open_level(until, store, exemplars) for until, store in stores]


def _open_level(until: float, store: CanvasCache, exemplars: LandmarkTable) -> ResolutionLevel:
    placed = store.place_exemplars(exemplars)
    shown = [one for one in placed if len(one.visible)]
    return ResolutionLevel(until, store, shown, [one for one in placed if not len(one.visible)])


def level_at(levels: Sequence[ResolutionLevel], fraction: float) -> ResolutionLevel:
    """The level to learn from after `fraction` (0...1) of the schedule."""
    return next((level for level in levels if fraction < level.until), levels[-1])


def learning_pool(cohort: Cohort, exemplars: LandmarkTable, most: int) -> Cohort:
    """The radiographs to learn from: all of a small cohort, else `most` of them, evenly spread, and the exemplars."""
    if len(cohort) > most:
        return cohort.subset([*exemplars.images, *pick_evenly(cohort.names, most)])
    return cohort
