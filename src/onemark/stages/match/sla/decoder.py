"""The decoders of all landmarks as one network of grouped convolutions, with shared ones in the adapter (He et al. 2025).

The weights of the landmarks are the groups, so one step trains all decoders, and the encoder reads each view once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from onemark.nn.backbones.context import RFB, RFB_LEVELS, join_groups, split_dim
from onemark.nn.backbones.vgg import upsample

Make = Callable[[int, int, int], nn.Module]


@dataclass(frozen=True)
class Sharing:
    """What K landmarks share in a decoder.

    Attributes:
        landmarks: K.
        adapter: None: nothing, one decoder for each landmark (SLA). Else a whole decoder, next to which each landmark has
            that many outputs of each layer (C-Adapter, Eq. 1-5). 0: one decoder for all (joint).
    """

    landmarks: int
    adapter: int | None = None

    def widths(self, width: int) -> tuple[int, int]:
        """Shared and own outputs of a layer of `width`."""
        return (0, width) if self.adapter is None else (width, self.adapter)

    @property
    def joint(self) -> bool:
        """Whether all landmarks share one decoder."""
        return self.adapter == 0


class Parallel(nn.Module):
    """A shared layer and one for each landmark (Eq. 1-3): `[B, K I, h, w]` -> `[B, K (S + A), h, w]`.

    Channels are ordered by landmark. The landmarks' layers are one grouped layer, so all of them run at once.

    Args:
        make: (inputs, outputs, groups) -> layer.
        landmarks: K.
        inputs: I, channels per landmark.
        shared: S, outputs of the shared layer; 0 = none.
        own: A, outputs of each landmark's own layer; 0 = none.
    """

    def __init__(self, make: Make, landmarks: int, inputs: int, shared: int, own: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, shared + own
        self.shared = make(inputs, shared, 1) if shared else None
        self.own = make(inputs, own, landmarks) if own else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs of both layers, joined landmark by landmark. Without own layers K may be any number."""
        parts, count = [], x.shape[1] // self.inputs
        if self.shared is not None:
            folded = split_dim(x, 1, (count, self.inputs)).flatten(0, 1)
            parts.append(split_dim(self.shared(folded), 0, (len(x), count)).flatten(1, 2))
        if self.own is not None:
            parts.append(self.own(x))
        return parts[0] if len(parts) == 1 else join_groups(parts, count)


class Decoder(nn.Module):
    """From an encoder's maps to K landmarks' embeddings at each level.

    Args:
        taps: Channels of the encoder's maps, finest first.
        widths: Outputs of the decoder's blocks, finest first: one fewer than taps.
        length: Numbers per embedding.
        sharing: What the landmarks share.
        context: Whether receptive field blocks come before the embeddings of the three deepest levels.
        foveal: Whether the maps are windows around one point, with as many cells on each level, so that a level sees
            half as far as the next deeper one; else whole maps.
    """

    def __init__(
        self,
        taps: Sequence[int],
        widths: Sequence[int],
        length: int,
        sharing: Sharing,
        context: bool = False,
        foveal: bool = False,
    ) -> None:
        super().__init__()
        self.sharing, self.taps, self.foveal = sharing, tuple(taps), foveal

        def layer(make: Make, inputs: int, width: int) -> Parallel:
            return Parallel(make, sharing.landmarks, inputs, *sharing.widths(width))

        self.up, channels = nn.ModuleList(), [taps[-1]]
        for tap, width in zip(reversed(taps[:-1]), reversed(widths), strict=True):
            first = layer(_conv, tap + channels[0], width)
            second = layer(_conv, first.outputs, width)
            self.up.insert(0, nn.Sequential(first, second))
            channels.insert(0, second.outputs)
        plain = max(0, len(taps) - RFB_LEVELS) if context else len(taps)
        blocks = [
            nn.Identity() if n < plain else layer(RFB, c, w)
            for n, (c, w) in enumerate(zip(channels, (*widths, taps[-1]), strict=True))
        ]
        self.context = nn.ModuleList(blocks)
        wide = [
            block.outputs if isinstance(block, Parallel) else c
            for block, c in zip(blocks, channels, strict=True)
        ]
        # The adapter shares the 1 x 1 convolutions to the embeddings.
        ends = (0, length) if sharing.adapter is None else (length, 0)
        self.heads = nn.ModuleList(Parallel(_point, sharing.landmarks, c, *ends) for c in wide)

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Maps `[B, K C, h, w]`, or `[B, C, h, w]` that all landmarks share -> embeddings `[B, K length, h, w]`.

        A joint decoder gives one embedding for all landmarks, `[B, length, h, w]`, where the maps are shared.
        """
        count = maps[-1].shape[1] // self.taps[-1]
        # Shared maps are repeated, because each landmark's group of channels convolves its own copy.
        if count < self.sharing.landmarks and not self.sharing.joint:
            maps, count = [m.repeat(1, self.sharing.landmarks, 1, 1) for m in maps], self.sharing.landmarks
        found = [maps[-1]]
        for skip, block in zip(reversed(maps[:-1]), reversed(self.up), strict=True):
            wide = zoom(found[0]) if self.foveal else upsample(found[0])
            found.insert(0, block(join_groups([skip, wide], count)))
        return [head(block(m)) for head, block, m in zip(self.heads, self.context, found, strict=True)]


def zoom(m: torch.Tensor) -> torch.Tensor:
    """Enlarge the middle half of windows `[B, C, n, n]` to `[B, C, n, n]`: the window of the next finer level.

    A cell more on each side is enlarged and cut off again, so that the border is interpolated and not repeated.
    """
    quarter = m.shape[-1] // 4
    inner = m[..., quarter - 1 : -quarter + 1, quarter - 1 : -quarter + 1]
    return F.interpolate(inner, scale_factor=2, mode="bilinear", align_corners=False)[..., 2:-2, 2:-2]


def _conv(inputs: int, outputs: int, groups: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(groups * inputs, groups * outputs, 3, padding=1, groups=groups, bias=False),
        nn.BatchNorm2d(groups * outputs),
        nn.ReLU(inplace=True),
    )


def _point(inputs: int, outputs: int, groups: int) -> nn.Module:
    return nn.Conv2d(groups * inputs, groups * outputs, 1, groups=groups)
