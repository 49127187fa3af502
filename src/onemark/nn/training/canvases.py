"""A cohort's radiographs on the network's canvas: decoded once, kept on disk, read by the batch."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from onemark.data.atomic import user_errors
from onemark.imaging.augment import Intensity
from onemark.imaging.letterbox import Letterbox, Size, canvas_for
from onemark.options import option
from onemark.progress import SKIPPED, Progress, Sink, silent, watched_by
from onemark.types import Radiograph, UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable

SIZES_LOOKED_AT = 200
PREVIEWS = 4
GROW_FROM = 2 / 3
ASPECTS_DIFFER = 0.02
CROPPED = 0.5

Framing = Literal["auto", "alike", "mixed"]
STRETCH: Mapping[Framing, float] = {"auto": 1.0, "alike": 1.0, "mixed": 1.5}
"""Framing -> how much one side of a radiograph may be scaled more than the other to fill the canvas: a mixed cohort's
images end where the anatomy of interest does, so that filling the canvas brings like to like."""


def framing_option(default: Framing = "auto") -> Any:
    """The option `framing` of a stage's Config."""
    help = "whether radiographs are framed alike; mixed ones are stretched to the canvas and their borders mean nothing"
    return option(default, help)


def pool_option() -> Any:
    """The option `pool` of a stage's Config."""
    help = "most radiographs learned from; of a larger folder an even choice"
    return option(400, help, unit="radiographs", low=2)


@dataclass(frozen=True)
class CanvasExemplar:
    """An exemplar on the canvas.

    Attributes:
        index: Position in the store.
        xy: `[K, 2]` float32 canvas pixels (x, y); NaN where a landmark is not visible.
    """

    index: int
    xy: torch.Tensor

    @property
    def visible(self) -> torch.Tensor:
        """The visible landmarks, `[V, 2]`."""
        return self.xy[self.xy.isfinite().all(-1)]


class CanvasCache:
    """Random access to the canvases of a cohort in constant memory.

    A radiograph is decoded when first asked for and its canvas written to an unnamed temporary file (16 bit); later
    reads come from there. Unreadable radiographs are reported once and replaced by another one.
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
        """`count` readable radiographs at random: different ones where the cohort has as many.

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
        """The exemplars on the canvas."""
        found = []
        for one in exemplars:
            index = self.index(one.image)
            found.append(
                CanvasExemplar(index, torch.from_numpy(self.letterbox(index).to_canvas(one.xy)).float())
            )
        return found

    def put(self, index: int, radiograph: Radiograph) -> None:
        """Keep the canvas of a decoded radiograph.

        Raises:
            UserError: the disk of the temporary files is full.
        """
        frame = Letterbox.fit(radiograph.size, self.canvas, STRETCH[self.framing])
        canvas = (frame.render(radiograph.pixels).clamp(0, 1) * 65535).round().numpy().astype(np.uint16)
        with user_errors(f"a temporary file to {tempfile.gettempdir()}"):
            self._file.seek(index * self._bytes)
            self._file.write(canvas.tobytes())
            self._file.flush()
        self._letterboxes[index] = frame

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
    """The canvas `(H, W)` for a cohort, from the sizes of up to 200 of its radiographs, evenly spread."""
    return canvas_for(_sizes(cohort), area)


def cohort_framing(cohort: Cohort, wanted: Framing) -> Framing:
    """`alike` or `mixed`: whether radiographs show the same part of the body in the same place.

    `auto` takes it from the aspect ratios of up to 200 of them: alike where three quarters differ by less than 2 %
    from the median. In a mixed cohort the distance to the image's border says nothing about a place.
    """
    if wanted != "auto":
        return wanted
    aspects = np.log([h / w for h, w in _sizes(cohort)])
    same = np.abs(aspects - np.median(aspects)) < ASPECTS_DIFFER
    return "alike" if same.mean() >= 0.75 else "mixed"


def adapt_intensity(framing: Framing, intensity: Intensity) -> Intensity:
    """The changes of grey values that views of such a cohort are given: with borders cut off where it is mixed."""
    return replace(intensity, crop=CROPPED) if framing == "mixed" else intensity


def _sizes(cohort: Cohort) -> list[Size]:
    step = max(1, len(cohort) // SIZES_LOOKED_AT)
    sizes = []
    for name in cohort.names[::step]:
        try:
            sizes.append(cohort.header(name).size)
        except UserError:
            continue
    if not sizes:
        raise UserError(f"no radiograph in {cohort.folder} can be read: check that the files are images")
    return sizes


@dataclass(frozen=True)
class ResolutionLevel:
    """The cohort at one size, used up to a share of the schedule.

    Attributes:
        until: Share of the schedule, 0...1.
        store: The canvases.
        exemplars: The exemplars on them.
    """

    until: float
    store: CanvasCache
    exemplars: list[CanvasExemplar]

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
    """The sizes a network learns from: for a share `grow` of the schedule two thirds of the canvas, then all of it.

    Radiographs are taken from the whole of a cohort of up to `pool`, else from that many, evenly spread.
    """
    taken = learning_pool(cohort, exemplars, pool)
    small = canvas_for([canvas], round(canvas[0] * canvas[1] * GROW_FROM**2))
    wanted = [(grow, small), (1.0, canvas)] if grow > 0 else [(1.0, canvas)]
    stores = [(until, CanvasCache(taken, size, sink, framing)) for until, size in wanted]
    return [ResolutionLevel(until, store, store.place_exemplars(exemplars)) for until, store in stores]


def level_at(sizes: Sequence[ResolutionLevel], fraction: float) -> ResolutionLevel:
    """The size to learn from after `fraction` of the schedule."""
    return next((size for size in sizes if fraction < size.until), sizes[-1])


def learning_pool(cohort: Cohort, exemplars: LandmarkTable, most: int) -> Cohort:
    """The radiographs to learn from: all of a small cohort, else `most` of them evenly spread; exemplars always."""
    count = len(cohort)
    if count > most:
        spread = (cohort.names[i * count // most] for i in range(most))
        cohort = cohort.subset([*exemplars.images, *spread])
    return cohort
