"""A picture of every radiograph with its points."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onemark.data.atomic import writing
from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.paths import safe_child
from onemark.evaluation.report.cards import pick_hue
from onemark.progress import Progress, Sink, silent
from onemark.types import LandmarkSet, Radiograph

# Names of landmarks must stay legible on small radiographs, and files of large ones small.
LEAST, MOST = 640, 1280
"""px along the long side of an overlay: smaller radiographs are enlarged, larger ones reduced."""


def write_overlays(
    folder: str | Path,
    cohort: Cohort,
    predictions: LandmarkTable,
    *,
    truth: LandmarkTable | None = None,
    progress: Sink = silent,
) -> None:
    """Write one PNG per radiograph with its points and their names, one radiograph in memory at a time.

    `a/b.jpg` becomes `a/b.png`, or `a/b.jpg.png` when two radiographs of the cohort share a stem.

    Args:
        folder: Created if missing; pictures of the same names are replaced.
        cohort: Where the radiographs are.
        predictions: Predicted landmarks, drawn as rings.
        truth: True landmarks, drawn as crosses and joined to the predictions.
        progress: Receives one event per radiograph, with a message for each that cannot be read.

    Raises:
        UserError: a picture cannot be written, or a name leads out of the folder.
    """
    points = {one.image: one for one in predictions}
    true = {} if truth is None else {one.image: one for one in truth}
    names = [name for name in cohort.names if name in points]
    files = name_overlays(names)
    for step, radiograph in enumerate(cohort.readable(names, progress), 1):
        picture = draw_overlay(radiograph, points[radiograph.name], true.get(radiograph.name))
        with writing(safe_child(folder, files[radiograph.name]), "wb") as stream:
            picture.save(stream, "PNG")
        progress(Progress("overlays", step, len(names)))


def name_overlays(names: Iterable[str]) -> dict[str, str]:
    """Map each radiograph name to the file name of its overlay."""
    short = {name: f"{name.removesuffix(PurePosixPath(name).suffix)}.png" for name in names}
    # Some file systems ignore case, so names that differ only in case would overwrite each other.
    clash = len({file.casefold() for file in short.values()}) < len(short)
    return {name: f"{name}.png" for name in short} if clash else short


def draw_overlay(
    radiograph: Radiograph, points: LandmarkSet, truth: LandmarkSet | None = None
) -> Image.Image:
    """Draw a radiograph with its points, RGB, between `LEAST` and `MOST` px along the long side."""
    grey = Image.fromarray(np.rint(np.clip(radiograph.pixels, 0, 1) * 255).astype(np.uint8))
    long = max(grey.size)
    scale = min(max(long, LEAST), MOST) / long
    size = [max(1, round(side * scale)) for side in grey.size]
    picture = grey.resize((size[0], size[1]), Image.Resampling.LANCZOS).convert("RGB")
    draw = ImageDraw.Draw(picture)
    # Pixel centres are at integers before and after scaling, hence the half pixel.
    factor = np.array(size) / np.array(grey.size)
    true = {} if truth is None else dict(zip(truth.names, truth.xy, strict=True))
    for k, (name, xy) in enumerate(zip(points.names, points.xy, strict=True)):
        at = (xy + 0.5) * factor - 0.5
        if np.isfinite(at).all():
            there = (true[name] + 0.5) * factor - 0.5 if name in true else None
            _draw_point(draw, name, at.tolist(), there, _to_rgb(pick_hue(k, len(points.names))), max(size))
    return picture


def _draw_point(
    draw: ImageDraw.ImageDraw,
    name: str,
    at: list[float],
    true: np.ndarray | None,
    colour: tuple[int, int, int],
    side: int,
) -> None:
    x, y = at
    radius = max(3.0, 0.007 * side)
    if true is not None and np.isfinite(true).all():
        tx, ty = true.tolist()
        arms = ((x, y, tx, ty), (tx - radius, ty, tx + radius, ty), (tx, ty - radius, tx, ty + radius))
        # White on black shows on bright bone and on dark background alike.
        for fill, width in (((0, 0, 0), 4), ((255, 255, 255), 2)):
            for arm in arms:
                draw.line(arm, fill=fill, width=width)
    for grow, fill in ((1.5, (0, 0, 0)), (0.0, colour)):
        r = radius + grow
        draw.ellipse([(x - r, y - r), (x + r, y + r)], outline=fill, width=2)
    draw.ellipse([(x - 1, y - 1), (x + 1, y + 1)], fill=colour)
    font = ImageFont.load_default(max(11.0, 0.016 * side))
    draw.text(
        (x + radius + 4, y), name, fill=colour, font=font, anchor="lm", stroke_width=1, stroke_fill=(0, 0, 0)
    )


def _to_rgb(degrees: int) -> tuple[int, int, int]:
    # Light, saturated colours show on black background and on bright bone.
    red, green, blue = colorsys.hls_to_rgb(degrees / 360, 0.66, 0.95)
    return math.floor(red * 255), math.floor(green * 255), math.floor(blue * 255)
