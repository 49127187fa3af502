"""From a posed anatomy to pixels: attenuation, scatter, blur, noise, film, markers and collimation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from onemark.phantom.atlas import LAYERS, MARGIN, STEP, build_atlas
from onemark.phantom.pose import Pose

Map = NDArray[np.floating]

# Layer -> attenuation per mm at diagnostic energies, and the standard deviation of the factor by which subjects
# differ. Soft tissue is taken as water; fillings, grooves and rods have relative values.
DENSITY = {
    "skin": (0.019, 0.08),
    "shoulder": (0.015, 0.9),
    "air": (-0.017, 0.15),
    "vault": (0.026, 0.2),
    "base": (0.022, 0.25),
    "face": (0.024, 0.25),
    "cells": (0.25, 0.3),
    "plates": (0.036, 0.25),
    "jaw": (0.046, 0.2),
    "teeth": (0.058, 0.15),
    "fillings": (0.12, 0.5),
    "spine": (0.040, 0.2),
    "grooves": (-0.06, 0.5),
    "hyoid": (0.035, 0.3),
    "rods": (0.5, 0.4),
}
TISSUE = ("skin", "shoulder", "air")


def expose(pose: Pose, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Render the radiograph of a posed subject, `[H, W]` float32 in [0, 1]; dense tissue is bright.

    Args:
        pose: Map between image and anatomy.
        size: `(H, W)` in pixels.
        rng: Random generator of densities, textures, exposure and noise.
    """
    attenuation = _integrate_attenuation(pose, size, rng)
    attenuation = _add_marker(attenuation, pose, rng)
    signal = _detect(np.exp(-attenuation), pose, rng)
    # The floor keeps the logarithm finite where noise leaves no signal.
    film = _apply_film_curve(-np.log(np.maximum(signal, 1e-4)), rng)
    return _collimate(film, rng).astype(np.float32)


def _integrate_attenuation(pose: Pose, size: tuple[int, int], rng: np.random.Generator) -> Map:
    """Integrate the attenuation along every ray, `[H, W]`."""
    # Rounding lets subjects of nearly equal spacing share a cached atlas.
    maps = build_atlas(round(pose.spacing, 1))
    grid = np.stack(np.meshgrid(np.arange(size[1]), np.arange(size[0])), -1).astype(np.float32)
    mm = pose.to_reference(grid)
    paths = _sample(maps, mm)
    # The far half of the jaw is magnified a little differently and so projects next to the near half.
    offset = np.array(rng.normal(0, (1.6, 1.2)), np.float32)
    jaw = LAYERS.index("jaw")
    paths[..., jaw] += _sample(maps[..., jaw : jaw + 1], mm + offset)[..., 0] * 0.55
    factors = _draw_densities(rng)
    tissue = np.array([factors[n] if n in TISSUE else 0 for n in LAYERS], np.float32)
    bony = np.array([0 if n in TISSUE else factors[n] for n in LAYERS], np.float32)
    texture = _draw_texture(size, pose.spacing, rng)
    total: Map = paths @ tissue * (1 + 0.025 * texture[1])
    total += paths @ bony * (1 + rng.uniform(0.06, 0.14) * texture[0])
    return total


def _draw_densities(rng: np.random.Generator) -> dict[str, float]:
    factors = {name: mu * max(0.4, 1 + sd * rng.normal()) for name, (mu, sd) in DENSITY.items()}
    # Each of these appears on half of the radiographs.
    for sometimes in ("fillings", "rods", "shoulder"):
        factors[sometimes] *= rng.random() < 0.5
    return factors


def _sample(maps: Map, mm: Map) -> Map:
    """Sample maps `[h, w, L]` at mm `[H, W, 2]` bilinearly, `[H, W, L]`; the edge continues outwards."""
    # Just below the last sample, so that the neighbours to the right and below exist.
    at = np.clip((mm[..., ::-1] + MARGIN) / STEP, 0, np.array(maps.shape[:2]) - 1.001)
    low = at.astype(np.intp)
    part = (at - low).astype(np.float32)[..., None]
    first = low[..., 0] * maps.shape[1] + low[..., 1]
    flat = maps.reshape(-1, maps.shape[2])
    down, right = part[..., 0, :], part[..., 1, :]
    top = flat[first] * (1 - right) + flat[first + 1] * right
    bottom = flat[first + maps.shape[1]] * (1 - right) + flat[first + maps.shape[1] + 1] * right
    values: Map = top * (1 - down) + bottom * down
    return values


def _draw_texture(size: tuple[int, int], spacing: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """Draw trabecular grain and slow unevenness, two maps `[H, W]`."""
    noise = rng.standard_normal(size, np.float32)
    fine = ndimage.gaussian_filter(noise, 0.6 / spacing) - ndimage.gaussian_filter(noise, 2.0 / spacing)
    coarse = ndimage.zoom(rng.standard_normal((9, 8), np.float32), (size[0] / 9, size[1] / 8), order=3)
    return fine / fine.std(), coarse[: size[0], : size[1]]


def _detect(primary: Map, pose: Pose, rng: np.random.Generator) -> Map:
    """Turn primary rays `[H, W]` into the detector's signal: add scatter, blur, quantum and electronic noise."""
    # Scatter is smooth, so a quarter of the resolution is enough.
    reach = 18.0 / pose.spacing / 4
    small = ndimage.gaussian_filter(primary[::4, ::4], reach, mode="nearest")
    scatter = ndimage.zoom(small, np.array(primary.shape) / small.shape, order=1)
    signal = primary + rng.uniform(0.05, 0.2) * scatter
    signal = ndimage.gaussian_filter(signal, rng.uniform(0.25, 0.6) * min(1.0, 0.8 / pose.spacing))
    # Quantum noise is Poisson; at these counts a Gaussian of the same variance is close enough.
    photons = 10 ** rng.uniform(3.2, 4.3)
    grain = np.sqrt(np.maximum(signal, 0) / photons) * rng.standard_normal(signal.shape, np.float32)
    grain += 0.001 * rng.standard_normal(signal.shape, np.float32)
    return np.asarray(signal + grain)


def _apply_film_curve(density: Map, rng: np.random.Generator) -> Map:
    """Apply window, gamma and contrast of a viewing station, to [0, 1]."""
    # Quantiles, so that letters and rods do not set the window.
    low, high = np.quantile(density, (0.01, rng.uniform(0.985, 0.999)))
    low -= rng.uniform(0.0, 0.08) * (high - low)
    shown = np.clip((density - low) / (high - low), 0, 1) ** rng.uniform(0.75, 1.35)
    bend = rng.uniform(0.0, 0.7)
    return np.asarray((1 - bend) * shown + bend * shown * shown * (3 - 2 * shown), np.float32)


def _add_marker(attenuation: Map, pose: Pose, rng: np.random.Generator) -> Map:
    """Add a lead letter L or R in front of the face, and sometimes the rod of a head holder."""
    height, width = attenuation.shape
    mm = 1 / pose.spacing
    tile = round(14 * mm)
    letter = Image.new("L", (tile, tile))
    ImageDraw.Draw(letter).text(
        (tile / 2, tile / 2), str(rng.choice(["L", "R"])), fill=255, anchor="mm", font_size=10 * mm
    )
    letter = letter.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR)
    top = round(rng.uniform(0.03, 0.16) * height)
    left = width - tile - round(rng.uniform(0.02, 0.06) * width)
    attenuation[top : top + tile, left : left + tile] += np.asarray(letter, np.float32) / 255 * 2.2
    if rng.random() < 0.4:
        x = width - round(rng.uniform(14, 26) * mm)
        attenuation[: round(rng.uniform(85, 105) * mm), x : x + max(1, round(2.5 * mm))] += 0.35
    return attenuation


def _collimate(film: Map, rng: np.random.Generator) -> Map:
    """Cover the margins outside the beam with dark shutters or bright unexposed film, or leave them as they are."""
    kind = rng.choice(3, p=[0.4, 0.35, 0.25])
    widths = rng.uniform(0.004, 0.022, 4) * (film.shape[0], film.shape[0], film.shape[1], film.shape[1])
    top, bottom, left, right = np.rint(widths).astype(int)
    if kind:
        shade = 0.0 if kind == 1 else 1.0
        film[:top], film[film.shape[0] - bottom :] = shade, shade
        film[:, :left], film[:, film.shape[1] - right :] = shade, shade
    return film
