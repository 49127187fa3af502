"""Phantom radiographs by number, in memory or as a folder of PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from onemark.phantom.anatomy import LANDMARKS, REFERENCE
from onemark.phantom.exposure import expose
from onemark.phantom.pose import draw_pose
from onemark.types import LandmarkSet, Radiograph, UserError

if TYPE_CHECKING:
    from onemark.data.landmarks.table import LandmarkTable

SIZE = (320, 256)


def phantom_name(index: int) -> str:
    """Return the file name of phantom `index`, such as `phantom-001.png`."""
    return f"phantom-{index:03d}.png"


def phantom_radiograph(
    index: int, *, seed: int = 0, size: tuple[int, int] = SIZE
) -> tuple[Radiograph, LandmarkSet]:
    """Render one lateral head radiograph and its landmarks; the same arguments give the same pixels.

    Args:
        index: Number of the subject, 0 or more.
        seed: Seed of the cohort.
        size: `(H, W)` in pixels.

    Returns:
        The radiograph, with its spacing, and its landmarks `LANDMARKS`. They are exact, because the map that
        renders the anatomy also carries them.

    Raises:
        UserError: the size is below 64 pixels or the index is negative.
    """
    if index < 0 or min(size) < 64:
        raise UserError(
            f"phantom {index} of size {size}: use an index of 0 or more and a size of at least 64 x 64"
        )
    # A generator for each subject: its pixels do not depend on which others are drawn.
    rng = np.random.default_rng((seed, index))
    pose = draw_pose(rng, size)
    name = phantom_name(index)
    xy = pose.to_image(np.array([REFERENCE[landmark] for landmark in LANDMARKS])).astype(np.float64)
    pixels = expose(pose, size, rng)
    radiograph = Radiograph(name, pixels, (pose.spacing, pose.spacing))
    return radiograph, LandmarkSet(name, LANDMARKS, xy)


def write_phantom_cohort(
    folder: str | Path, count: int = 24, *, seed: int = 0, size: tuple[int, int] = SIZE
) -> LandmarkTable:
    """Write a cohort of phantoms as 8-bit PNG files `phantom-001.png`, ... and return the truth.

    Args:
        folder: Created if missing; files of the same names are replaced.
        count: Number of radiographs.
        seed: Seed of the cohort.
        size: `(H, W)` in pixels.

    Raises:
        UserError: the count is below 1, or the folder cannot be written.
    """
    from onemark.data.atomic import writing
    from onemark.data.landmarks.table import LandmarkTable

    if count < 1:
        raise UserError(f"a cohort of {count} phantoms: ask for at least 1")
    truth = []
    for index in range(1, count + 1):
        radiograph, landmarks = phantom_radiograph(index, seed=seed, size=size)
        assert radiograph.spacing is not None
        # The resolution tag lets readers of the PNG find the pixel spacing.
        dpi = 25.4 / radiograph.spacing[0]
        with writing(Path(folder) / radiograph.name, "wb") as file:
            Image.fromarray(np.rint(radiograph.pixels * 255).astype(np.uint8)).save(
                file, "PNG", dpi=(dpi, dpi)
            )
        truth.append(landmarks)
    return LandmarkTable.from_sets(truth)
