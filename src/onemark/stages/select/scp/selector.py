"""SCP: rank radiographs by how well they would serve as exemplars (Quan et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
import torch

from onemark.data.suggestion import Suggestion
from onemark.imaging.keypoints import sift_points
from onemark.nn.embedding.embed import Maps
from onemark.nn.embedding.locate import describe
from onemark.nn.training.canvases import CanvasCache
from onemark.progress import Progress, Sink, silent
from onemark.stages.select.scp.config import SCPConfig
from onemark.stages.select.scp.search import best_of_random, greedy, score
from onemark.stages.select.scp.similarity import similarities
from onemark.stages.selector import Selector
from onemark.types import UserError


class SCP(Selector):
    """Selector of SCP: each radiograph's key points are searched for in all others.

    Attributes:
        names: N radiographs that were compared.
        similar: `[P, N]`: how similar key point p is to the most similar place in radiograph n, 0...1.
    """

    Config = SCPConfig
    config: SCPConfig

    def __init__(self, config: SCPConfig, embed: Callable[[torch.Tensor], Maps]) -> None:
        super().__init__(config, embed)
        self.names: tuple[str, ...] = ()
        self.similar = torch.empty(0, 0)

    def compare(self, store: CanvasCache, progress: Sink = silent) -> Self:
        """Compare all radiographs of a store with each other; features are computed once per radiograph.

        Raises:
            UserError: fewer than two radiographs can be read, or none has key points.
            Cancelled: `progress` asked to stop.
        """
        usable = [index for index in range(len(store)) if store.usable(index)]
        if len(usable) < 2:
            raise UserError(
                f"{store.cohort.folder} has fewer than two readable radiographs: nothing to choose"
            )
        features, points = [], []
        for done, index in enumerate(usable, 1):
            canvas = store.read([index])
            maps = [m.bfloat16() for m in self.embed(canvas)]
            features.append(maps)
            points.append(describe(maps, self._keypoints(canvas).to(maps[0].device)))
            progress(Progress("select", done, 2 * len(usable)))
        vectors = [torch.cat([one[level][0] for one in points]) for level in range(len(points[0]))]
        if not len(vectors[0]):
            raise UserError(
                f"no key points in {store.cohort.folder}: the radiographs have too little contrast to be compared"
            )
        columns = []
        for maps in features:
            columns.append(similarities(vectors, maps).cpu())
            progress(Progress("select", len(usable) + len(columns), 2 * len(usable)))
        self.names = tuple(store.cohort.names[index] for index in usable)
        self.similar = torch.stack(columns, 1)
        return self

    def choose(self, number: int, generator: torch.Generator) -> Suggestion:
        """The best set of `number` radiographs, and all of them in order.

        Args:
            number: M, at least 1.
            generator: The random numbers of `search=random`, on the CPU.

        Raises:
            UserError: there are not as many radiographs.
        """
        if not 1 <= number <= len(self.names):
            raise UserError(
                f"--number must be between 1 and {len(self.names)}, the radiographs compared, not {number}"
            )
        if self.config.search == "greedy":
            best = greedy(self.similar, number)
        else:
            best = best_of_random(self.similar, number, self.config.draws, generator)
        alone = self.similar.mean(0).tolist()
        order = sorted(range(len(alone)), key=lambda n: -alone[n])
        return Suggestion(
            tuple(self.names[n] for n in best),
            score(self.similar, best),
            tuple((self.names[n], alone[n]) for n in order),
        )

    def _keypoints(self, canvas: torch.Tensor) -> torch.Tensor:
        """`[1, K, 2]` canvas px of a canvas `[1, 1, H, W]`."""
        config = self.config
        points = sift_points(canvas[0, 0].numpy(), config.keypoints, config.distance, config.border)
        return torch.from_numpy(np.asarray(points)).float()[None]
