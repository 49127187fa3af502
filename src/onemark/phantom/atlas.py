"""The anatomy as maps of path length: how many mm of tissue and bone a ray crosses at every point of the frame."""

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
    "skin",
    "air",
    "vault",
    "base",
    "face",
    "plates",
    "jaw",
    "teeth",
    "fillings",
    "spine",
    "grooves",
    "hyoid",
)
MARGIN = 20.0
"""mm that the maps reach beyond the frame, so that a turned head has a neck."""
STEP = 0.4
"""mm per sample of the maps."""


@lru_cache(maxsize=4)
def atlas(pixel: float) -> Map:
    """Path lengths in mm, `[H, W, len(LAYERS)]` float32, blurred against aliasing at `pixel` mm per pixel.

    Sample (row, column) lies at `(column * STEP - MARGIN, row * STEP - MARGIN)` mm of the reference frame.
    """
    layers = {
        "skin": solid(a.SKIN, 75.0, 68.0),
        "air": solid(a.AIRWAY, 5.0, 9.0)
        + solid(a.MOUTH, 2.0, 12.0)
        + sum(solid(s, 8.0, 16.0) for s in a.SINUSES),
        "vault": _vault(),
        "base": bone(a.CRANIAL_BASE, 9.0, 1.3, 12.0, 0.35) + bone(a.PETROUS, 12.0, 1.5, 22.0, 0.5),
        "face": bone(a.FACE, 10.0, 1.0, 7.0, 0.25)
        + bone(a.MAXILLA, 8.0, 1.2, 12.0, 0.45)
        + solid(a.NASAL_BONE, 3.0, 4.0),
        "plates": _plates(),
        "jaw": bone(a.MANDIBLE, 7.0, 2.2, 7.0, 0.45) + bone(a.SYMPHYSIS, 6.0, 2.0, 6.0, 0.4),
        "teeth": _teeth(),
        "fillings": _fillings(),
        "spine": _spine(),
        "grooves": sum((plate(s, 0.8) for s in (*a.SUTURES, *a.VESSELS)), _empty()),
        "hyoid": bone(a.HYOID, 4.0, 1.2, 6.0, 0.5),
    }
    blur = max(0.35, 0.45 * pixel) / STEP
    return np.stack([ndimage.gaussian_filter(layers[name], blur) for name in LAYERS], axis=-1).astype(
        np.float32
    )


def curve(points: Outline, closed: bool = True, steps: int = 12) -> NDArray[np.float64]:
    """A Catmull-Rom curve through control points, `[N, 2]` xy in mm; a point given twice makes a corner."""
    p = np.asarray(points, float)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    p0, p1, p2, p3 = p[:-3], p[1:-2], p[2:-1], p[3:]
    tangent1, tangent2 = (p2 - p0) / 2, (p3 - p1) / 2
    # No overshoot beside a corner: the tangent there is that of the straight edge.
    corner = np.all(p1 == p0, 1) | np.all(p1 == p2, 1)
    tangent1[corner] = 0
    tangent2[np.all(p2 == p3, 1) | np.all(p1 == p2, 1)] = 0
    h = 2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t, -2 * t**3 + 3 * t**2, t**3 - t**2
    path = h[0] * p1 + h[1] * tangent1 + h[2] * p2 + h[3] * tangent2
    return path.transpose(1, 0, 2).reshape(-1, 2)


def depth(outline: Outline) -> Map:
    """Distance to the outline in mm, inside it; 0 outside, `[H, W]`."""
    mask = _empty().astype(bool)
    rows, columns = polygon(*_samples(curve(outline)), shape=mask.shape)
    mask[rows, columns] = True
    found = _empty()
    box = ndimage.find_objects(np.pad(mask, 1).astype(int))[0]
    inner = np.pad(mask, 1)[box[0].start - 1 : box[0].stop + 1, box[1].start - 1 : box[1].stop + 1]
    distance = np.maximum(ndimage.distance_transform_edt(inner) - 0.5, 0) * STEP
    found[box[0].start - 1 : box[0].stop - 1, box[1].start - 1 : box[1].stop - 1] = distance[1:-1, 1:-1]
    return found


def solid(outline: Outline, radius: float, half: float) -> Map:
    """Path length through a body that bulges: round over `radius` mm from its edge, `2 * half` mm thick inside."""
    return _bulge(depth(outline), radius, half)


def bone(outline: Outline, radius: float, cortex: float, half: float, spongy: float) -> Map:
    """Path length through a bone: a cortical shell of `cortex` mm around spongiosa of relative density `spongy`."""
    d = depth(outline)
    whole, core = _bulge(d, radius, half), _bulge(np.maximum(d - cortex, 0), radius, half)
    return whole - (1 - spongy) * core


def plate(points: Outline, width: float) -> Map:
    """A thin plate seen edge-on along an open curve: 1 on the curve, falling to 0 at `width` mm, `[H, W]`."""
    path = _samples(curve(points, closed=False, steps=60))
    away = np.ones(_shape(), bool)
    row, column = (np.clip(np.rint(v).astype(int), 0, n - 1) for v, n in zip(path, away.shape, strict=True))
    away[row, column] = False
    distance = ndimage.distance_transform_edt(away) * STEP
    return np.sqrt(np.clip(1 - (distance / width) ** 2, 0, None)).astype(np.float32)


def _bulge(d: Map, radius: float, half: float) -> Map:
    return (2 * half * np.sqrt(1 - (1 - np.minimum(d / radius, 1)) ** 2)).astype(np.float32)


def _vault() -> Map:
    d = depth(a.VAULT)
    reach = [_bulge(np.maximum(d - inset, 0), 70.0, 62.0) for inset in (0.0, 1.3, 4.2, 5.4)]
    tables = (reach[0] - reach[1]) + (reach[2] - reach[3])
    return tables + 0.35 * (reach[1] - reach[2])


def _plates() -> Map:
    total = 9.0 * plate(a.SELLA, 0.9) + 6.0 * plate(a.PTERYGOID, 1.0) + 8.0 * plate(a.KEY_RIDGE, 1.3)
    for orbit in a.ORBITS:
        total += 7.0 * plate(orbit, 1.0)
    return total + bone(a.PALATE, 2.0, 0.9, 9.0, 0.6)


def _teeth() -> Map:
    total = solid(a.UPPER_INCISOR, 2.5, 4.0) + solid(a.LOWER_INCISOR, 2.2, 3.6)
    for crown, root in a.molars():
        total += solid(crown, 3.0, 5.0) + solid(root, 2.5, 2.6)
    return total


def _fillings() -> Map:
    crowns = a.molars()
    return sum((solid(crowns[k][0], 4.0, 6.0) for k in (4, 7, 8)), _empty())


def _spine() -> Map:
    total = bone(a.AXIS_BONE, 6.0, 1.5, 8.0, 0.5)
    for ring in a.ATLAS_BONE:
        total += bone(ring, 3.0, 1.3, 5.0, 0.4)
    for body, arch, process in a.vertebrae():
        total += (
            bone(body, 5.0, 1.2, 8.0, 0.5)
            + bone(arch, 4.0, 1.2, 6.0, 0.4)
            + bone(process, 3.0, 1.0, 3.0, 0.4)
        )
    return total


def _shape() -> tuple[int, int]:
    return round((FRAME[1] + 2 * MARGIN) / STEP), round((FRAME[0] + 2 * MARGIN) / STEP)


def _empty() -> Map:
    return np.zeros(_shape(), np.float32)


def _samples(xy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (xy[:, 1] + MARGIN) / STEP, (xy[:, 0] + MARGIN) / STEP
