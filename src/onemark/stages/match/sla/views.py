"""What decoders learn from and search in: one interface for two forms, `foveal` and `patches`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn

from onemark.nn.embedding.locate import Vectors
from onemark.nn.heatmaps.decode import Peaks


class Views(Protocol):
    """Draws what a step learns from, computes its loss, describes landmarks and finds them."""

    def draw(self, canvases: torch.Tensor, xy: torch.Tensor, copies: int, generator: torch.Generator) -> Any:
        """Draw what to learn from canvases `[B, 1, H, W]` with landmarks `[B, K, 2]`; the last `copies` are exemplars."""

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
        """Find landmarks in the encoder's maps of B canvases: peaks `[B, K]`, canvas px.

        Args:
            taps: The maps, finest first.
            start: `[B, K, 2]` places (x, y) to search around, canvas px; None where whole maps are searched.
            templates: Per level `[M, K, length]`, finest first.
            visible: `[M, K]` which of them count.
        """

    def levels(
        self, taps: Sequence[torch.Tensor], start: torch.Tensor | None, templates: Vectors
    ) -> list[torch.Tensor]:
        """Clipped cosine maps on the canvas for one template, finest level first, for evidence: `[K, H, W]` each."""


def mean_known(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean over K landmarks of each one's mean over views, of `[B, K]` where `known` (0 or 1); 0 where nowhere known.

    Every landmark weighs 1 / K. A decoder's gradient is then what it would be alone, up to a factor that Adam does not
    see.
    """
    each: torch.Tensor = (values * known).sum(0) / known.sum(0).clamp(min=1)
    return each.mean()


def by_landmark(templates: Vectors, count: int) -> Vectors:
    """Arrange templates `[M, K, length]` for the maps of `count` canvases: `[count K, M, length]` per level."""
    return [level.transpose(0, 1).repeat(count, 1, 1) for level in templates]
