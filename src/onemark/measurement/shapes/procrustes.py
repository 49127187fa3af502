"""Generalised Procrustes analysis and principal components of landmark configurations in the plane.

Own code, since the libraries for it are unmaintained or bring a framework; the tests hold it to closed forms: Kendall's
distances between triangles, scipy's ordinary Procrustes analysis, and Kent's mean shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BOOLS = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Superimposition:
    """Configurations laid on their mean.

    Attributes:
        aligned: `[N, K, 2]` centred, of unit centroid size, turned to the mean (partial Procrustes).
        mean: `[K, 2]` mean shape, of unit centroid size, turned as the configurations stand on average.
        size: `[N]` centroid size in the unit of the input.
        distance: `[N]` partial Procrustes distance from the mean.
        mirrored: `[N]` which were mirrored before.
    """

    aligned: Floats
    mean: Floats
    size: Floats
    distance: Floats
    mirrored: BOOLS

    @property
    def tangent(self) -> Floats:
        """`[N, K, 2]` orthogonal projections on the space that touches shape space at the mean."""
        flat, mean = self.aligned.reshape(len(self.aligned), -1), self.mean.ravel()
        return (flat - (flat @ mean - 1)[:, None] * mean).reshape(self.aligned.shape)


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of shapes.

    Attributes:
        scores: `[N, C]`.
        directions: `[C, K, 2]` of unit length; the largest coordinate of each is positive.
        variance: `[C]`, largest first.
        share: `[C]` of the whole variance.
    """

    scores: Floats
    directions: Floats
    variance: Floats
    share: Floats


def superimpose(xy: Floats, *, mirror: bool = False, rounds: int = 100) -> Superimposition:
    """Generalised Procrustes analysis (Gower 1975; Rohlf and Slice 1990), as `geomorph::gpagen` does it.

    Args:
        xy: `[N, K, 2]` configurations without NaN, K >= 3, N >= 2.
        mirror: Whether a configuration that fits the mean better mirrored is mirrored.
        rounds: At most so many turns of aligning and averaging; it ends when the mean rests.
    """
    centred = xy - xy.mean(axis=1, keepdims=True)
    size = np.sqrt((centred**2).sum(axis=(1, 2)))
    shapes = centred / size[:, None, None]
    mirrored = np.zeros(len(xy), bool)
    mean = shapes[0]
    for _ in range(rounds):
        if mirror:
            mirrored = fits_mirrored(shapes, mean, mirrored)
        aligned = turn_to(_mirror(shapes, mirrored), mean)
        former, mean = mean, aligned.mean(axis=0)
        mean = mean / np.linalg.norm(mean)
        if np.linalg.norm(mean - former) < 1e-12:
            break
    mean = turn_to(mean[None], _mirror(shapes, mirrored).mean(axis=0))[0]
    aligned = turn_to(_mirror(shapes, mirrored), mean)
    distance = np.linalg.norm(aligned - mean, axis=(1, 2))
    return Superimposition(aligned, mean, size, distance, mirrored)


def fits_mirrored(shapes: Floats, mean: Floats, already: BOOLS | None = None) -> BOOLS:
    """Whether each of the shapes `[N, K, 2]`, of unit size, lies nearer to the mean when mirrored.

    With `already`, where it is a tie the former answer stays.
    """
    plain, flipped = (
        np.linalg.norm(turn_to(one, mean) - mean, axis=(1, 2)) for one in (shapes, shapes * (-1.0, 1.0))
    )
    tie = np.isclose(plain, flipped, rtol=1e-12)
    return np.where(tie & (already is not None), already if already is not None else False, flipped < plain)


def turn_to(shapes: Floats, target: Floats) -> Floats:
    """The shapes `[N, K, 2]` turned, not mirrored, so that they lie nearest to the target `[K, 2]`."""
    # As complex numbers: the best turn is the phase of the inner product.
    z, w = shapes[..., 0] + 1j * shapes[..., 1], target[..., 0] + 1j * target[..., 1]
    inner = (np.conj(z) * w).sum(axis=-1)
    length = np.abs(inner)
    turn = np.where(length > 0, inner / np.where(length > 0, length, 1), 1)
    turned = z * turn[..., None]
    return np.stack([turned.real, turned.imag], axis=-1)


def riemannian_distance(a: Floats, b: Floats) -> float:
    """Kendall's distance of two shapes `[K, 2]` in shape space, 0 to pi / 2; sizes and turns do not count."""
    one, other = (x - x.mean(axis=0) for x in (a, b))
    one, other = one / np.linalg.norm(one), other / np.linalg.norm(other)
    # From the chord, not the cosine: it keeps its digits where shapes are alike.
    chord = float(np.linalg.norm(turn_to(one[None], other)[0] - other))
    return float(2 * np.arcsin(min(chord / 2, 1.0)))


def find_components(tangent: Floats) -> Components:
    """Principal components of tangent coordinates `[N, K, 2]`; components without variance are left out."""
    flat = tangent.reshape(len(tangent), -1)
    centred = flat - flat.mean(axis=0)
    u, s, v = np.linalg.svd(centred, full_matrices=False)
    kept = s > 1e-10 * max(float(np.linalg.norm(flat)), 1e-300)
    u, s, v = u[:, kept], s[kept], v[kept]
    signs = np.sign(v[np.arange(len(v)), np.abs(v).argmax(axis=1)]) if len(v) else np.empty(0)
    variance = s**2 / max(len(tangent) - 1, 1)
    share = variance / variance.sum() if len(variance) else variance
    return Components(u * s * signs, (v * signs[:, None]).reshape(-1, *tangent.shape[1:]), variance, share)


def _mirror(shapes: Floats, chosen: BOOLS) -> Floats:
    return np.where(chosen[:, None, None], shapes * (-1.0, 1.0), shapes)
