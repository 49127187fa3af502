"""How the surroundings of predicted landmarks look, compared with those of the exemplars' landmarks.

The predicted constellation itself says how an exemplar lies on a radiograph: around each landmark, a similarity map is
fitted to the landmarks nearby. No registration is needed, so it takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.data.choice import pick_evenly
from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.imaging.letterbox import Letterbox, Size
from onemark.nn.heatmaps.decode import pixels_to_cells
from onemark.nn.registration.features import APPEARANCE, describe_appearance
from onemark.nn.registration.fields import read_at
from onemark.types import Radiograph

Table = NDArray[np.float64]

EXEMPLARS = 8  # compared with; the one most alike counts
STRIDE = 2  # canvas px per cell; strides 4 and 8 say less, also together with it
REACH = 6  # cells to each side
SPREAD = 3.0  # cells: standard deviation of what a cell counts
NEARBY = 0.25  # of the canvas' mean side: standard deviation of what a landmark counts for another one's map


@dataclass(frozen=True)
class Surroundings:
    """What exemplars look like around their landmarks.

    Attributes:
        points: `[E, K, 2]` their landmarks (x, y), canvas px; NaN where one is not visible.
        patches: `[E, K, N, C]` channels of registration at N cells around them.
    """

    points: Table
    patches: torch.Tensor

    @classmethod
    def learn(
        cls, exemplars: LandmarkTable, cohort: Cohort, canvas: Size, stretch: float
    ) -> Surroundings | None:
        """From up to 8 exemplars, evenly spread, that show most landmarks; None where there is none.

        Args:
            exemplars: What a person annotated.
            cohort: Their radiographs.
            canvas: `(H, W)` on which radiographs are compared.
            stretch: As for `Letterbox.fit`.
        """
        sets = exemplars.mostly_annotated().sets if len(exemplars) else ()
        chosen = pick_evenly(sets, EXEMPLARS)
        points, patches = [], []
        for one in chosen:
            frame, channels = _describe(cohort[one.image], canvas, stretch)
            points.append(frame.to_canvas(one.xy))
            around = _cells().expand(len(one.names), -1, -1)
            patches.append(_look(channels, points[-1], around))
        return cls(np.stack(points), torch.stack(patches)) if chosen else None

    def compare(self, radiograph: Radiograph, xy: Table, canvas: Size, stretch: float) -> Table:
        """How unlike the most similar exemplar a radiograph is around its landmarks.

        Args:
            radiograph: The radiograph.
            xy: `[K, 2]` its landmarks (x, y), original px.
            canvas: As for `learn`.
            stretch: As for `learn`.

        Returns:
            `[K]` mean squares of the channels' differences, 0 or more; NaN where no exemplar shows the landmark.
        """
        frame, channels = _describe(radiograph, canvas, stretch)
        here, weights = frame.to_canvas(xy), _weights()
        unlike = []
        for points, patches in zip(self.points, self.patches, strict=True):
            turns = torch.from_numpy(fit_nearby(points, here, NEARBY * sum(canvas) / 2)).float()
            found = _look(channels, here, _cells() @ turns.transpose(1, 2))
            miss = (found - patches).square().mean(-1) @ weights
            unlike.append(np.where(np.isfinite(points).all(1), miss.double().numpy(), np.inf))
        least = np.min(unlike, 0)
        return np.where(np.isfinite(least), least, np.nan)

    def state(self) -> Mapping[str, torch.Tensor]:
        """Tensors that `restore` needs."""
        return {"around.points": torch.from_numpy(self.points), "around.patches": self.patches}

    @classmethod
    def restore(cls, arrays: Mapping[str, Table]) -> Surroundings | None:
        """What `state` described, as arrays; None in runs of earlier versions.

        Raises:
            ValueError: they do not belong together.
        """
        if "around.points" not in arrays:
            return None
        points, patches = arrays["around.points"], torch.from_numpy(arrays["around.patches"]).float()
        belong = patches.shape == (*points.shape[:2], len(_cells()), APPEARANCE)
        if points.ndim != 3 or points.shape[2] != 2 or not len(points) or not belong:
            raise ValueError("the surroundings are not those of the exemplars' landmarks")
        return cls(points, patches)


def fit_nearby(points: Table, here: Table, spread: float) -> Table:
    """Linear parts `[K, 2, 2]` of the similarity maps that lay K points on K others, each around one of them.

    Args:
        points: `[K, 2]` (x, y); NaN where unknown.
        here: `[K, 2]` where they lie on the other radiograph.
        spread: Standard deviation of what the points around count, in the unit of `points`.
    """
    known = np.asarray(np.isfinite(points).all(1))
    points, here = np.where(known[:, None], points, 0), np.where(known[:, None], here, 0)
    weight = np.exp(-((points[:, None] - points) ** 2).sum(-1) / (2 * spread**2)) * known
    weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-12)
    p, q = points - (weight @ points)[:, None], here - (weight @ here)[:, None]
    along = (weight * (p * q).sum(-1)).sum(1)
    across = (weight * (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0])).sum(1)
    size = (weight * (p**2).sum(-1)).sum(1)
    # A point without others nearby does not say how the radiograph is turned.
    alone = size < 1
    along, across = np.where(alone, 1, along), np.where(alone, 0, across)
    matrix = np.stack([np.stack([along, -across], 1), np.stack([across, along], 1)], 1)
    return np.asarray(matrix / np.where(alone, 1, size)[:, None, None])


def _describe(radiograph: Radiograph, canvas: Size, stretch: float) -> tuple[Letterbox, torch.Tensor]:
    frame = Letterbox.fit(radiograph.size, canvas, stretch)
    return frame, describe_appearance(frame.render(radiograph.pixels)[None, None], STRIDE)


def _look(channels: torch.Tensor, points: Table, around: torch.Tensor) -> torch.Tensor:
    """Channels `[K, N, C]` at cells `[K, N, 2]` around points `[K, 2]`, canvas px."""
    centre = torch.from_numpy(pixels_to_cells(np.nan_to_num(points), STRIDE)).float()
    return read_at(channels, (centre[:, None] + around)[None])[0].permute(1, 2, 0)


def _cells() -> torch.Tensor:
    """`[N, 2]` (x, y) cells of a square patch from its middle."""
    steps = torch.arange(-REACH, REACH + 1).float()
    return torch.stack(torch.meshgrid(steps, steps, indexing="ij")[::-1], -1).flatten(0, 1)


def _weights() -> torch.Tensor:
    """`[N]` what they count, in all 1."""
    weights = torch.exp(-_cells().square().sum(1) / (2 * SPREAD**2))
    return weights / weights.sum()
