"""What detectors learn from: pseudo-labels, each predicted once, and the exemplars' true labels."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.nn.training.canvases import CanvasCache, ResolutionLevel
from onemark.types import LandmarkSet, Radiograph

SHAPES = 150  # most pseudo-labels that the prior on constellations is learned from

Label = Callable[[CanvasCache, int], torch.Tensor]


class PseudoLabels:
    """Pseudo-labels, predicted when first needed.

    Args:
        pseudo_label: Predicts the landmarks of a radiograph.
    """

    def __init__(self, pseudo_label: Callable[[Radiograph], LandmarkSet]) -> None:
        self.pseudo_label = pseudo_label
        self.known: dict[int, LandmarkSet] = {}

    def __call__(self, store: CanvasCache, index: int) -> torch.Tensor:
        """`[K, 2]` canvas px of a radiograph by its position in the store."""
        if index not in self.known:
            self.known[index] = self.pseudo_label(store.cohort[index])
        return torch.from_numpy(store.letterbox(index).to_canvas(self.known[index].xy)).float()

    def shapes(self, store: CanvasCache) -> list[NDArray[np.float64]]:
        """Pseudo-labels `[K, 2]`, canvas px, of up to 150 radiographs, evenly spread.

        The choice does not depend on what training drew: a resumed fit must learn the same shape as an unbroken one.
        """
        spread = range(0, len(store), math.ceil(len(store) / SHAPES))
        return [self(store, index).double().numpy() for index in spread if store.usable(index)]


def exemplars_per_batch(batch: int, known: int) -> int:
    """Exemplars in a batch: an eighth of it where there is one, growing with the root of their number to a half.

    Args:
        batch: Radiographs per step.
        known: Exemplars that there are.
    """
    return max(1, min(batch // 2, round(batch / 8 * math.sqrt(known))))


def draw_labelled(
    level: ResolutionLevel, pseudo: int, true: int, label: Label, generator: torch.Generator
) -> tuple[list[int], torch.Tensor]:
    """Draw pseudo-labelled radiographs and, last, exemplars.

    Args:
        level: The cohort and its exemplars on a canvas.
        pseudo: How many radiographs.
        true: How many exemplars.
        label: Pseudo-labels `[K, 2]`, canvas px, of the radiograph at a position in a store.
        generator: The random numbers, on the device of the labels.

    Returns:
        Their positions in the store, and their labels `[pseudo + true, K, 2]` (x, y), canvas px (NaN where unknown),
        on the generator's device. An exemplar has its true labels wherever it is drawn.
    """
    device = generator.device
    chosen = level.store.draw(pseudo, generator)
    which = torch.randint(len(level.exemplars), (true,), generator=generator, device=device)
    chosen += [level.exemplars[int(i)].index for i in which]
    # Reversed, so that the first of two exemplars of one radiograph counts.
    placed = {one.index: one.xy for one in reversed(level.exemplars)}
    return chosen, torch.stack([placed[i] if i in placed else label(level.store, i) for i in chosen]).to(
        device
    )
