"""Joint maps of the two radiographs of a pair: encoded as one picture, or apart and then correlated.

Every call is given the backbone, which belongs to the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from onemark.stages.match.edgetrans.attention import GLOBAL_FROM, STRIDES
from onemark.stages.match.edgetrans.correlation import Match, near_match, whole_match
from onemark.stages.match.edgetrans.transform import Transform

Maps = list[torch.Tensor]


class Joint(nn.Module):
    """The published form: source and target are colours of one picture; the third, their mean, is the released code's."""

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(w, width, 1) for w in widths)

    def encode(self, backbone: nn.Module, images: torch.Tensor) -> Maps:
        """The radiographs themselves, because their maps depend on the partner."""
        return [images]

    def whole(self, backbone: nn.Module, source: Maps, target: Maps) -> tuple[Maps, Match | None]:
        """Joint maps `[P, width, h, w]` of unwarped pairs, finest first; no match."""
        return self._encode_pairs(backbone, source[0], target[0]), None

    def near(
        self, backbone: nn.Module, source: Maps, target: Maps, at: Transform, finest: int
    ) -> tuple[Maps, list[Match]]:
        """Joint maps of pairs whose source is warped first, from stride `finest` on."""
        return self._encode_pairs(backbone, at.images(source[0]), target[0])[STRIDES.index(finest) :], []

    def _encode_pairs(self, backbone: nn.Module, source: torch.Tensor, target: torch.Tensor) -> Maps:
        maps = backbone(torch.cat([source, target, (source + target) / 2], 1))
        return [p(m) for p, m in zip(self.project, maps[-len(STRIDES) :], strict=True)]


class Siamese(nn.Module):
    """The compact form: each radiograph is encoded once, and pairs are joined by warping and correlating the codes.

    Args:
        widths: Channels of the backbone's maps at strides 4...32.
        width: Channels of the joint maps.
        length: Numbers per code.
        reach: Half the window of local correlations, cells.
        temperature: Factor on cosines.
    """

    def __init__(
        self, widths: Sequence[int], width: int, length: int, reach: int, temperature: float
    ) -> None:
        super().__init__()
        self.reach, self.temperature = reach, temperature
        self.codes = nn.ModuleList(nn.Conv2d(w, length, 1) for w in widths)
        window = (2 * reach + 1) ** 2
        low = sum(s >= GLOBAL_FROM for s in STRIDES)
        self.join_whole = nn.ModuleList(_join(2 * length + 3, width) for _ in range(low))
        self.join_near = nn.ModuleList(_join(2 * length + window + 3, width) for _ in STRIDES)

    def encode(self, backbone: nn.Module, images: torch.Tensor) -> Maps:
        """Codes `[B, length, h, w]` at strides 4...32."""
        maps = backbone(images)[-len(STRIDES) :]
        return [code(m).float() for code, m in zip(self.codes, maps, strict=True)]

    def whole(self, backbone: nn.Module, source: Maps, target: Maps) -> tuple[Maps, Match | None]:
        """Joint maps of the two lowest levels by global correlation, and the finer one's matches."""
        maps, matches = [], []
        low = len(STRIDES) - len(self.join_whole)
        for join, stride, s, t in zip(
            self.join_whole, STRIDES[low:], source[low:], target[low:], strict=True
        ):
            match = whole_match(t, s, self.temperature, stride)
            matches.append(match)
            maps.append(join(torch.cat([s, t, match.move / stride, match.sure], 1)))
        return maps, matches[0]

    def near(
        self, backbone: nn.Module, source: Maps, target: Maps, at: Transform, finest: int
    ) -> tuple[Maps, list[Match]]:
        """Joint maps from stride `finest` on by local correlation with the warped source, and the matches."""
        maps, matches = [], []
        for join, stride, s, t in zip(self.join_near, STRIDES, source, target, strict=True):
            if stride < finest:
                continue
            warped = at.images(s, stride)
            match = near_match(t, warped, self.temperature, self.reach, stride)
            matches.append(match)
            cues = [match.logits / self.temperature, match.move / stride, match.sure]
            maps.append(join(torch.cat([warped, t, *cues], 1)))
        return maps, matches


def _join(inputs: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )
