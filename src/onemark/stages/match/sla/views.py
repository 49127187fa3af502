"""What decoders learn from and look into: two forms with the same methods, `foveal` and `patches`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn

from onemark.nn.embedding.locate import Vectors
from onemark.nn.heatmaps.decode import Peaks


class Views(Protocol):
    """Draws what a step learns from, gives its loss, describes landmarks and finds them."""

    def draw(self, canvases: torch.Tensor, xy: torch.Tensor, copies: int, generator: torch.Generator) -> Any:
        """What is learned from canvases `[B, 1, H, W]` with landmarks `[B, K, 2]`, the last `copies` exemplars'."""

    def loss(self, module: nn.Module, drawn: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss to descend, and numbers to show."""

    def describe(self, canvas: torch.Tensor, xy: torch.Tensor) -> Vectors:
        """Unit vectors `[1, K, length]` per level of landmarks `[K, 2]` of a canvas `[1, 1, H, W]`."""

    def find(
        self,
        taps: Sequence[torch.Tensor],
        start: torch.Tensor | None,
        templates: Vectors,
        visible: torch.Tensor,
    ) -> Peaks:
        """Where landmarks lie in the encoder's maps of B canvases: `[B, K]`, canvas px.

        Args:
            taps: The maps.
            start: `[B, K, 2]` where they are first looked for; None only where whole maps are looked into.
            templates: Per level `[M, K, length]`.
            visible: `[M, K]` which of them count.
        """

    def levels(
        self, taps: Sequence[torch.Tensor], start: torch.Tensor | None, templates: Vectors
    ) -> list[torch.Tensor]:
        """Clipped cosine maps on the canvas for one template, finest level first, for evidence: `[K, H, W]` each."""


def mean_known(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean over all K landmarks of the mean over views, of `[B, K]` where `known` (0 or 1); 0 where nowhere known.

    Every landmark weighs 1 / K, so a decoder's gradient does not depend on those that are trained beside it.
    """
    each: torch.Tensor = (values * known).sum(0) / known.sum(0).clamp(min=1)
    return each.mean()


def by_landmark(templates: Vectors, count: int) -> Vectors:
    """Templates `[M, K, length]` for the maps of `count` canvases: `[count K, M, length]` per level."""
    return [level.transpose(0, 1).repeat(count, 1, 1) for level in templates]
