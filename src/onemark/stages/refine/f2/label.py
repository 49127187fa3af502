"""What heatmaps are learned from: the coarse points, matched again at full resolution.

Matching again is worth about 0.01 mm. Most of the gain comes from learning to read fine crops
(docs/benchmarks/refiner.md).
"""

from __future__ import annotations

import torch

from onemark.nn.heatmaps.decode import cells_to_pixels, pixels_to_cells
from onemark.nn.training.canvases import CanvasCache, ResolutionLevel
from onemark.nn.training.exemplars import pack_rows
from onemark.nn.training.labels import Label
from onemark.stages.refine.f2.config import F2Config
from onemark.stages.refine.f2.crops import Crops
from onemark.stages.refine.f2.matching import ExemplarCrops, Matching
from onemark.stages.refine.f2.search import log_gaussian


class FineLabels:
    """Labels on the fine canvas: near the coarse point, the place most like the exemplar's landmark.

    Args:
        coarse: Coarse points on a canvas.
        matching: Compares crops with the exemplars', by the matcher's network.
        config: Options.
    """

    def __init__(self, coarse: Label, matching: Matching, config: F2Config) -> None:
        self.coarse, self.matching, self.config = coarse, matching, config
        self.known: dict[int, torch.Tensor] = {}

    def __call__(self, store: CanvasCache, index: int) -> torch.Tensor:
        """`[K, 2]` (x, y), canvas px, of a radiograph by its position in the store."""
        if index not in self.known:
            coarse, stride = self.coarse(store, index), self.matching.stride
            crops, prior = crop_around(
                store.read([index]), coarse, stride, self.config.crop, self.config.match_prior
            )
            peaks = self.matching.find(crops.views, prior)[1]
            self.known[index] = crops.outer(cells_to_pixels(peaks.xy, self.matching.stride))
        return self.known[index]


def crop_around(
    canvas: torch.Tensor, coarse: torch.Tensor, stride: int, side: int, deviation: float
) -> tuple[Crops, torch.Tensor]:
    """Cut crops around coarse points; give them with the log-prior `[K, h, w]` on their cells.

    Args:
        canvas: The fine canvas, `[1, 1, H, W]`.
        coarse: `[K, 2]` (x, y), canvas px.
        stride: Canvas px per cell.
        side: Side of the crops, canvas px.
        deviation: Standard deviation of the prior, canvas px.
    """
    crops = Crops.cut(canvas, coarse[None], side)
    cells = pixels_to_cells(crops.inner(coarse[None]), stride)
    return crops, log_gaussian(cells, (side // stride, side // stride), deviation / stride)


def remember_crops(level: ResolutionLevel, side: int) -> ExemplarCrops:
    """Cut crops of the exemplars around their landmarks, as many of each as the landmark that is shown most often has.

    They are around the middle of the canvas where a landmark is shown less often.
    """
    views, xy = [], []
    for one in level.exemplars:
        # Every landmark needs a crop to stack; `xy` stays NaN and says that this one does not count.
        centre = torch.where(one.xy.isfinite(), one.xy, level.side / 2)
        crops = Crops.cut(level.store.read([one.index]), centre[None], side)
        views.append(crops.views)
        xy.append(crops.inner(one.xy[None]))
    rows = pack_rows(torch.stack([one.xy.isfinite().all(-1) for one in level.exemplars]))
    landmarks = torch.arange(rows.shape[1])
    return ExemplarCrops(torch.stack(views)[rows, landmarks], torch.stack(xy)[rows, landmarks])
