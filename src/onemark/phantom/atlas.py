"""The anatomy as maps of path length: mm of tissue and bone that a ray crosses."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon

from onemark.phantom import anatomy as a
from onemark.phantom.anatomy import FRAME, Outline

Map = NDArray[np.float32]

LAYERS = (
    *("skin", "shoulder", "air", "vault", "base", "face", "cells", "plates", "jaw", "teeth", "fillings"),
    *("spine", "grooves", "hyoid", "rods"),
)
MARGIN = 20.0
"""mm that the maps extend beyond the frame, so that a rotated head still has a neck."""
STEP = 0.4
"""mm per sample of the maps."""


# Radiographs of one size share a spacing, and building an atlas takes far longer than rendering from it.
@lru_cache(maxsize=2)
def build_atlas(pixel: float) -> Map:
    """Return path lengths in mm, `[H, W, len(LAYERS)]` float32, blurred against aliasing at `pixel` mm per pixel.

    Sample (row, column) lies at `(column * STEP - MARGIN, row * STEP - MARGIN)` mm of the reference frame.
    """
    maxilla = bone(a.MAXILLA, 8.0, 1.2, 12.0, 0.45)
    layers = {
        "skin": solid(a.SKIN, 75.0, 68.0),
        "shoulder": solid(a.SHOULDER, 30.0, 80.0),
        "air": _add(
            solid(a.AIRWAY, 5.0, 9.0), solid(a.MOUTH, 2.0, 12.0), *(solid(s, 8.0, 16.0) for s in a.SINUSES)
        ),
        "vault": _build_vault(),
        "base": bone(a.CLIVUS, 5.0, 1.3, 9.0, 0.5) + bone(a.PETROUS, 10.0, 1.5, 19.0, 0.45),
        "face": bone(a.FACE, 10.0, 1.0, 7.0, 0.25) + maxilla + solid(a.NASAL_BONE, 3.0, 4.0),
        "cells": _build_cells(),
        "plates": _build_plates(),
        "jaw": bone(a.MANDIBLE, 7.0, 2.0, 7.0, 0.45)
        + bone(a.SYMPHYSIS, 6.0, 2.0, 6.0, 0.4)
        - 3.0 * plate(a.CANAL, 1.6),
        "teeth": _build_teeth(),
        "fillings": _add(*(solid(a.molars()[k][0], 4.0, 6.0) for k in (4, 7, 8))),
        "spine": _build_spine(),
        "grooves": _add(*(plate(s, 1.0) for s in (*a.SUTURES, *a.VESSELS))),
        "hyoid": bone(a.HYOID, 4.0, 1.2, 6.0, 0.5),
        "rods": _build_rods(),
    }
    # Path lengths change abruptly at edges; without blur coarse pixels would alias.
    blur = max(0.25, 0.35 * pixel) / STEP
    return np.stack([ndimage.gaussian_filter(layers[name], blur) for name in LAYERS], axis=-1)


def curve(points: Outline, closed: bool = True, steps: int = 12) -> NDArray[np.float64]:
    """Return a Catmull-Rom curve through control points, `[N, 2]` xy in mm; a repeated point makes a corner."""
    p = np.asarray(points, float)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    p0, p1, p2, p3 = p[:-3], p[1:-2], p[2:-1], p[3:]
    leave, arrive = (p2 - p0) / 2, (p3 - p1) / 2
    twice = np.all(p1 == p2, 1)
    # A tangent across a corner would bulge the edges next to it.
    leave[np.all(p0 == p1, 1) | twice] = 0
    arrive[np.all(p2 == p3, 1) | twice] = 0
    path = (
        (2 * t**3 - 3 * t**2 + 1) * p1
        + (t**3 - 2 * t**2 + t) * leave
        + (3 * t**2 - 2 * t**3) * p2
        + (t**3 - t**2) * arrive
    )
    return np.asarray(path.transpose(1, 0, 2).reshape(-1, 2))


def depth(outline: Outline) -> Map:
    """Return the distance to the outline in mm, `[H, W]`; 0 outside it."""
    mask = np.zeros(_map_shape(), bool)
    mask[polygon(*_to_samples(curve(outline)), shape=mask.shape)] = True
    # For speed the transform runs on the outline's bounding box alone, with one empty sample around it.
    framed = np.pad(mask, 1)
    box = ndimage.find_objects(framed.astype(np.uint8))[0]
    box = tuple(slice(s.start - 1, s.stop + 1) for s in box)
    framed_depth = np.zeros(framed.shape, np.float32)
    framed_depth[box] = np.maximum(ndimage.distance_transform_edt(framed[box]) - 0.5, 0) * STEP
    return framed_depth[1:-1, 1:-1]


def solid(outline: Outline, radius: float, half: float) -> Map:
    """Return path lengths through a body, `[H, W]`: rounded over `radius` mm at the edge, `2 * half` mm thick inside."""
    return _bulge(depth(outline), radius, half)


def bone(outline: Outline, radius: float, cortex: float, half: float, spongy: float) -> Map:
    """Return path lengths through a bone, `[H, W]`: a shell of `cortex` mm around a core of relative density `spongy`."""
    d = depth(outline)
    whole, core = _bulge(d, radius, half), _bulge(np.maximum(d - cortex, 0), radius, half)
    return whole - (1 - spongy) * core


def plate(points: Outline, width: float) -> Map:
    """Return a thin plate seen edge-on, `[H, W]`: 1 on the open curve, falling to 0 at `width` mm."""
    away = np.ones(_map_shape(), bool)
    row, column = (
        np.clip(np.rint(v).astype(int), 0, n - 1)
        for v, n in zip(_to_samples(curve(points, closed=False, steps=90)), away.shape, strict=True)
    )
    away[row, column] = False
    distance = ndimage.distance_transform_edt(away) * STEP
    return np.asarray(np.sqrt(np.clip(1 - (distance / width) ** 2, 0, None)), np.float32)


def _bulge(d: Map, radius: float, half: float) -> Map:
    return np.asarray(2 * half * np.sqrt(1 - (1 - np.minimum(d / radius, 1)) ** 2), np.float32)


def _build_vault() -> Map:
    """Two cortical tables with the diploe between them, around the whole brain."""
    d = depth(a.VAULT)
    reach = [_bulge(np.maximum(d - inset, 0), 70.0, 62.0) for inset in (0.0, 1.2, 4.4, 5.6)]
    shell = (reach[0] - reach[1]) + (reach[2] - reach[3]) + np.float32(0.35) * (reach[1] - reach[2])
    # The base is not a shell: there only the plates and the clivus are seen.
    rows, columns = _grid_mm()
    base = np.exp(-0.5 * (((columns - 112) / 24) ** 2 + ((rows - 110) / 9) ** 2))
    return np.asarray(shell * (1 - 0.75 * base), np.float32)


def _build_cells() -> Map:
    """Walls of the air cells of ethmoid and mastoid: ridges of smoothed noise."""
    # A fixed seed: the cells are part of the anatomy, the same in every subject.
    noise = np.random.default_rng(7).standard_normal(_map_shape(), np.float32)
    smooth = ndimage.gaussian_filter(noise, 1.5 / STEP)
    ridges = np.exp(-((smooth / smooth.std() / 0.35) ** 2))
    where = _add(*(np.minimum(depth(region) / 3, 1) for region in a.CELLS))
    return np.asarray(ridges * where, np.float32)


def _build_plates() -> Map:
    lines = [9.0 * plate(a.SELLA, 0.9), 6.0 * plate(a.PTERYGOID, 1.0), 8.0 * plate(a.KEY_RIDGE, 1.3)]
    return _add(*lines, *(7.0 * plate(orbit, 1.0) for orbit in a.ORBITS), bone(a.PALATE, 2.0, 0.9, 9.0, 0.6))


def _build_teeth() -> Map:
    parts = [solid(a.UPPER_INCISOR, 3.0, 4.5), solid(a.LOWER_INCISOR, 2.8, 4.0)]
    for crown, root in a.molars():
        parts += [solid(crown, 3.0, 5.0), solid(root, 2.5, 2.6)]
    return _add(*parts)


def _build_spine() -> Map:
    parts = [bone(part, 4.0, 1.3, 7.0, 0.4) for part in (*a.ATLAS_BONE, *a.AXIS_BONE)]
    for body, arch, process in a.vertebrae():
        parts += [
            bone(body, 5.0, 1.3, 8.0, 0.45),
            bone(arch, 4.0, 1.2, 6.0, 0.4),
            bone(process, 3.0, 1.0, 4.0, 0.4),
        ]
    return _add(*parts)


def _build_rods() -> Map:
    """The rings of the head holder's ear rods."""
    rows, columns = _grid_mm()
    rings = [
        np.exp(-(((np.hypot(columns - a.EAR_RODS[0] - dx, rows - a.EAR_RODS[1] - dy) - r) / 0.7) ** 2))
        for dx, dy, r in ((0.0, 0.0, 6.5), (2.5, 1.0, 5.5))
    ]
    return _add(*rings)


def _add(*maps: Map) -> Map:
    total = np.zeros(_map_shape(), np.float32)
    for one in maps:
        total += one
    return total


def _map_shape() -> tuple[int, int]:
    return round((FRAME[1] + 2 * MARGIN) / STEP), round((FRAME[0] + 2 * MARGIN) / STEP)


def _grid_mm() -> tuple[Map, Map]:
    y, x = np.indices(_map_shape(), dtype=np.float32) * np.float32(STEP) - np.float32(MARGIN)
    return y, x


def _to_samples(xy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (xy[:, 1] + MARGIN) / STEP, (xy[:, 0] + MARGIN) / STEP
