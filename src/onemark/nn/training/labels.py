"""What detectors learn from: pseudo-labels, each predicted once, and the exemplars' true labels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.nn.threads import spread
from onemark.nn.training.canvases import CanvasCache, CanvasExemplar, ResolutionLevel
from onemark.nn.training.exemplars import draw_exemplars
from onemark.types import LandmarkSet, Radiograph

CPU = torch.device("cpu")
NOTE = "labels"
SHAPES = 150  # most radiographs whose labels the prior on constellations is learned from

Label = Callable[[CanvasCache, int], torch.Tensor]


class PseudoLabels:
    """Pseudo-labels, predicted when first needed.

    Args:
        pseudo_label: Predicts the landmarks of a radiograph.
        seconds: How long predicting may take in all; then the radiographs that have labels must do. None for no limit.
        device: Where it predicts.

    Attributes:
        known: Position in a store -> `[K, 2]` label (x, y), original px.
    """

    def __init__(
        self,
        pseudo_label: Callable[[Radiograph], LandmarkSet],
        seconds: float | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.pseudo_label, self.device = pseudo_label, device
        self.left = math.inf if seconds is None else seconds
        self.known: dict[int, NDArray[np.float64]] = {}
        self._notes: dict[str, Any] = {}
        self._names: Sequence[str] = ()

    def keep_in(self, notes: dict[str, Any], names: Sequence[str]) -> None:
        """Note labels and the time they took, and begin with those noted by a training that this one continues.

        Args:
            notes: Of the training.
            names: Of the radiographs, by their positions in the stores.
        """
        self._notes, self._names = notes.setdefault(NOTE, {"seconds": 0.0, "xy": {}}), names
        at = {name: index for index, name in enumerate(names)}
        self.known = {at[name]: np.array(xy, float) for name, xy in self._notes["xy"].items() if name in at}
        self.left -= self._notes["seconds"]

    def __call__(self, store: CanvasCache, index: int) -> torch.Tensor:
        """`[K, 2]` canvas px of a radiograph by its position in the store."""
        self.predict(store, [index])
        return torch.from_numpy(store.letterbox(index).to_canvas(self.known[index])).float()

    def predict(self, store: CanvasCache, indices: Sequence[int]) -> None:
        """Predict the labels that are not known yet of radiographs by their positions in the store."""
        missing = [index for index in dict.fromkeys(indices) if index not in self.known]
        if not missing:
            return
        started = time.monotonic()
        read = (store.cohort[index] for index in missing)
        found = spread(self.pseudo_label, read, self.device)
        labels = {index: one.xy for index, one in zip(missing, found, strict=True)}
        seconds = time.monotonic() - started
        self.known |= labels
        self.left -= seconds
        if self._notes:
            self._notes["seconds"] += seconds
            whole = {index: xy for index, xy in labels.items() if np.isfinite(xy).all()}  # JSON has no NaN
            self._notes["xy"] |= {self._names[index]: xy.tolist() for index, xy in whole.items()}

    def choose(self, indices: Sequence[int], placed: Mapping[int, CanvasExemplar]) -> list[int]:
        """Replace radiographs without a label, once predicting has taken its time, by some that have one.

        Args:
            indices: Positions in the store.
            placed: What a person said of some; those that were annotated as a whole need no pseudo-label.
        """
        known = list(self.known)
        if self.left > 0 or not known:
            return list(indices)
        return [i if i in self.known or _is_whole(placed.get(i)) else known[i % len(known)] for i in indices]

    def shapes(self, level: ResolutionLevel) -> list[NDArray[np.float64]]:
        """Labels `[K, 2]`, canvas px, of up to 150 radiographs, evenly spread: a person's where there are some.

        Without a limit of time the choice does not depend on what training drew: a resumed fit must learn the same shape
        as an unbroken one.
        """
        store, placed = level.store, _placed(level)
        found: dict[int, NDArray[np.float64]] = {}
        for drawn in range(0, len(store), math.ceil(len(store) / SHAPES)):
            if store.usable(drawn):
                (index,) = self.choose([drawn], placed)
                found[index] = _label(level, placed.get(index), index, self).double().numpy()
        return list(found.values())


def exemplars_per_batch(batch: int, known: float, generator: torch.Generator) -> int:
    """Exemplars in a batch: an eighth of it times the root of their number, but at least one and at most a half.

    A number between two whole ones is met on average: a batch of 4 with ten exemplars would else always hold two.

    Args:
        batch: Radiographs per step.
        known: Exemplars that there are; one of which few landmarks were asked for counts by their share.
        generator: The random numbers; none is drawn where nothing is to be rounded.
    """
    wanted = max(1.0, min(batch // 2, batch / 8 * math.sqrt(known)))
    whole, rest = int(wanted), wanted % 1
    if not rest:
        return whole
    drawn = torch.rand((), generator=generator, device=generator.device)
    return whole + int(float(drawn) < rest)


@dataclass(frozen=True)
class Labelled:
    """Radiographs of a batch and their labels; those that a person annotated as a whole come last.

    Attributes:
        indices: B positions in the store.
        xy: `[B, K, 2]` labels (x, y), canvas px; NaN where unknown.
        annotated: How many of them a person annotated.
    """

    indices: list[int]
    xy: torch.Tensor
    annotated: int


def draw_labelled(
    level: ResolutionLevel, pseudo: int, true: int, label: Label, generator: torch.Generator
) -> Labelled:
    """Draw radiographs and, among those that come last, exemplars.

    An exemplar has its true labels wherever it is drawn. Landmarks of it that nobody was asked for have pseudo-labels
    among the radiographs, and no label among the exemplars.

    Args:
        level: The cohort and its exemplars on a canvas.
        pseudo: How many radiographs.
        true: How many exemplars.
        label: Pseudo-labels `[K, 2]`, canvas px, of the radiograph at a position in a store.
        generator: The random numbers, on the device of the labels.
    """
    placed, chosen = _placed(level), level.store.draw(pseudo, generator)
    if isinstance(label, PseudoLabels):
        chosen = label.choose(chosen, placed)
        label.predict(level.store, [index for index in chosen if not _is_whole(placed.get(index))])
    drawn = [one.index for one in draw_exemplars(level.exemplars, true, generator)]
    chosen.sort(key=lambda index: _is_whole(placed.get(index)))
    labels = [_label(level, placed.get(index), index, label) for index in chosen]
    labels += [placed[index].xy for index in drawn]
    annotated = sum(_is_whole(placed.get(index)) for index in chosen) + len(drawn)
    return Labelled(chosen + drawn, torch.stack(labels).to(generator.device), annotated)


def _placed(level: ResolutionLevel) -> dict[int, CanvasExemplar]:
    """What a person said of radiographs, by their positions in the store."""
    # Reversed, so that the first of two exemplars of one radiograph counts.
    return {one.index: one for one in reversed([*level.exemplars, *level.hidden])}


def _is_whole(known: CanvasExemplar | None) -> bool:
    return known is not None and known.asked is None


def _label(level: ResolutionLevel, known: CanvasExemplar | None, index: int, label: Label) -> torch.Tensor:
    if known is not None and _is_whole(known):
        return known.xy
    found = label(level.store, index)
    return found if known is None else torch.where(known.answered[:, None], known.xy, found)
