"""Normalised cross-correlation with a pyramid: the oldest way to find a landmark again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.feature import match_template
from skimage.transform import downscale_local_mean

from onemark.imaging.letterbox import Letterbox, Size
from onemark.nn.fabric import Fabric
from onemark.nn.reader import landmark_set
from onemark.nn.training.canvases import STRETCH, CanvasCache, CanvasExemplar
from onemark.nn.weights import Tensors
from onemark.options import option
from onemark.pipeline.recipe import Recipe
from onemark.stages.config import StageConfig
from onemark.stages.detect.tpl import TPL
from onemark.stages.matcher import Matcher
from onemark.types import Evidence, LandmarkSet, Radiograph

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class NCCConfig(StageConfig):
    """Options of the matcher; `area`, `framing` and `pool` come with the base class."""

    patch: int = option(
        10, "half the side of the patch around a landmark", unit="px of its level", low=2, high=64
    )
    levels: int = option(3, "levels of the pyramid; each halves the sides of the one below", low=1, high=6)
    reach: int = option(5, "how far a finer level looks around the coarser answer", unit="px", low=1, high=64)


class NCC(Matcher):
    """Finds each landmark by the patch around it on the exemplar, coarse to fine. It trains nothing."""

    Config = NCCConfig
    explains = True
    config: NCCConfig

    def __init__(self, config: NCCConfig, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        super().__init__(config, names, canvas, fabric)
        self.canvases, self.xy = torch.zeros(0, 1, *canvas), torch.zeros(0, len(names), 2)

    def remember(self, store: CanvasCache, exemplars: list[CanvasExemplar]) -> None:
        """Keep the exemplars' canvases `[M, 1, H, W]` and landmarks `[M, K, 2]`, canvas px."""
        self.canvases = store.read([one.index for one in exemplars])
        self.xy = torch.stack([one.xy for one in exemplars])

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """For each landmark the answer of the exemplar whose patch fits best."""
        frame, target = self._render(radiograph)
        found = np.array(
            [[self._search(target, m, k) for k in range(len(self.names))] for m in range(len(self.xy))]
        )
        best = torch.from_numpy(found[found[..., 2].argmax(0), np.arange(len(self.names))]).float()
        score = best[:, 2].clamp(0, 1)
        return landmark_set(
            radiograph, self.names, frame, best[:, :2], score, self.config.patch * (1 - score)
        )

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """Where the first exemplar's patch fits, at the coarsest level."""
        name = landmark or self.names[0]
        frame, target = self._render(radiograph)
        fit = self._correlate(target, 0, self.index_of(name), 2 ** (self.config.levels - 1))
        wide = torch.nn.functional.interpolate(
            torch.from_numpy(fit)[None, None], self.canvas, mode="bilinear"
        )
        return Evidence(
            radiograph.name, name, {"correlation": frame.restore(wide[0, 0].clamp(min=0).float())}
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """What to save: the exemplars."""
        return {"canvases": self.canvases, "xy": self.xy}

    def load_tensors(self, tensors: Tensors) -> None:
        """Take back what `tensors` gave."""
        self.canvases, self.xy = tensors["canvases"], tensors["xy"]

    def _render(self, radiograph: Radiograph) -> tuple[Letterbox, Picture]:
        frame = Letterbox.fit(radiograph.size, self.canvas, STRETCH[self.config.framing])
        return frame, frame.render(radiograph.pixels).numpy()

    def _correlate(self, target: Picture, m: int, k: int, step: int) -> Picture:
        """Correlation of exemplar m's patch with every place of the target, both shrunken `step` times."""
        source, half = downscale_local_mean(self.canvases[m, 0].numpy(), (step, step)), self.config.patch
        x, y = (self.xy[m, k] / step).round().int().tolist()
        patch = np.pad(source, half, mode="edge")[y : y + 2 * half + 1, x : x + 2 * half + 1]
        return match_template(downscale_local_mean(target, (step, step)), patch, pad_input=True, mode="edge")

    def _search(self, target: Picture, m: int, k: int) -> tuple[float, float, float]:
        """Place (x, y) in canvas px and score of exemplar m's landmark k; the score is -1 where it shows none."""
        if self.xy[m, k].isnan().any():
            return 0.0, 0.0, -1.0
        at, score = np.zeros(2), 0.0
        for level in reversed(range(self.config.levels)):
            fit = self._correlate(target, m, k, 2**level)
            if level < self.config.levels - 1:
                y, x = np.indices(fit.shape)
                fit = np.where(np.hypot(x - 2 * at[0], y - 2 * at[1]) <= self.config.reach, fit, -1)
            at = np.array(np.unravel_index(fit.argmax(), fit.shape))[::-1]
            score = float(fit.max())
        return float(at[0]), float(at[1]), score


RECIPES = [
    Recipe(
        "ncc", "normalised cross-correlation alone: no training at all", {"match": NCC}, shares={"match": 1.0}
    ),
    Recipe(
        "ncc-detect", "the same, and a detector trained on its pseudo-labels", {"match": NCC, "detect": TPL}
    ),
]
