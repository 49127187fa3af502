"""Changed copies of the exemplars, on which landmarks are known: what stages say of them shows what they have learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.data.choice import pick_evenly
from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.imaging.augment import Geometry, Intensity, Warp
from onemark.types import LandmarkSet, Radiograph

STRENGTH = 0.7  # of the spatial augmentation of training

Errors = NDArray[np.float64]
Copy = tuple[Radiograph, Errors]


def draw_copies(
    exemplars: LandmarkTable, cohort: Cohort, seed: int, count: int, different: int
) -> Iterator[Copy]:
    """Copies as training changes radiographs, less strongly.

    Args:
        exemplars: What a person annotated, at least one radiograph.
        cohort: Holds their radiographs.
        seed: Seed of the changes.
        count: How many copies.
        different: Of how many exemplars at most, evenly spread.

    Returns:
        Radiographs and their landmarks `[K, 2]`, px; NaN where one is not visible.
    """
    generator = torch.Generator().manual_seed(seed)
    geometry, intensity = Geometry().times(STRENGTH), Intensity()
    chosen = pick_evenly(exemplars.sets, different)
    for n in range(count):
        one = chosen[n % len(chosen)]
        radiograph = cohort[one.image]
        h, w = radiograph.size
        warp = Warp.draw(1, (h, w), geometry, generator)
        pixels = intensity.apply(warp.images(torch.from_numpy(radiograph.pixels)[None, None]), generator)[
            0, 0
        ]
        known = np.isfinite(one.xy).all(1)
        xy = np.full_like(one.xy, np.nan)
        moved = warp.inverse(torch.from_numpy(np.nan_to_num(one.xy)).float()[None])[0].double().numpy()
        inside = ((moved >= 0) & (moved <= [w - 1, h - 1])).all(1)
        xy[known & inside] = moved[known & inside]
        yield replace(radiograph, pixels=pixels.clamp(0, 1).numpy()), xy


def errors_of(found: LandmarkSet, xy: Errors, radiograph: Radiograph) -> Errors:
    """Distances `[K]` to the true places, shares of the mean side."""
    return np.asarray(np.linalg.norm(found.xy - xy, axis=1) / radiograph.side)
