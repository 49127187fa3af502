"""Phantoms that lie otherwise than the first: turned by quarters, or mirrored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import onemark
from onemark import Cohort, LandmarkTable
from onemark.imaging.orientation import ALL, UPRIGHT, Orientation
from onemark.phantom import write_phantom_cohort

SIZE = (160, 128)
QUICK = {"match.area": 20480, "match.references": 3, "match.field_steps": 25}


def lay(table: LandmarkTable, folder: Path, ways: dict[str, Orientation]) -> LandmarkTable:
    """Turn files away from upright, and their landmarks with them."""
    sets = []
    for one in table:
        way = ways.get(one.image, UPRIGHT)
        pixels = np.asarray(Image.open(folder / one.image))
        size = (pixels.shape[0], pixels.shape[1])
        lying = way.turn_size(size)
        Image.fromarray(way.restore_pixels(pixels)).save(folder / one.image)
        sets.append(replace(one, xy=way.restore_points(one.xy, lying)))
    return LandmarkTable.from_sets(sets)


Lying = tuple[Cohort, LandmarkTable, dict[str, Orientation]]


def lay_phantoms(folder: Path) -> Lying:
    """Nine phantoms, three of which lie otherwise than the first."""
    truth = write_phantom_cohort(folder, 9, size=SIZE)
    ways = {truth.images[2]: ALL[1], truth.images[5]: ALL[4], truth.images[7]: ALL[7]}
    return onemark.open_cohort(folder), lay(truth, folder, ways), ways
