"""Attention within and across the levels of a pyramid, coarse to fine (EdgeTrans, Yin et al., ECCV 2022, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from onemark.imaging.letterbox import Size
from onemark.nn.backbones.unet import conv

STRIDES = (4, 8, 16, 32)
GLOBAL_FROM = 16  # at this stride and coarser, all cells see each other and the global token
WINDOW = 4  # cells per side, at the finer levels


class Attention(nn.Module):
    """Multi-head attention with post-norm: tokens `[B, N, C]` attend to a context `[B, M, C]`."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.both, self.out = (nn.Linear(width, n * width, bias=n == 1) for n in (1, 2, 1))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """The residual sum, normalised."""
        q = self._split(self.query(x))
        k, v = (self._split(t) for t in self.both(context).chunk(2, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        out = self.out(mixed.transpose(1, 2).flatten(2))
        normed: torch.Tensor = self.norm(x + F.dropout(out, self.dropout, self.training))
        return normed

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(len(x), x.shape[1], self.heads, -1).transpose(1, 2)


class Layer(nn.Module):
    """Self-attention, cross-attention to the next-lower level where there is one, feed-forward."""

    def __init__(self, width: int, heads: int, dropout: float, cross: bool) -> None:
        super().__init__()
        self.own = Attention(width, heads, dropout)
        self.cross = Attention(width, heads, dropout) if cross else None
        self.forth = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, lower: torch.Tensor | None) -> torch.Tensor:
        """Tokens `[B, N, C]`, and those of the lower level `[B, M, C]` -> `[B, N, C]`."""
        x = self.own(x, x)
        if self.cross is not None and lower is not None:
            x = self.cross(x, lower)
        normed: torch.Tensor = self.norm(x + self.forth(x))
        return normed


class Level(nn.Module):
    """One level: learned positional encodings along x and y, then layers over all cells or over windows of 4 x 4.

    Args:
        cells: `(h, w)` of the level.
        width: Channels.
        layers: N_l.
        heads: N_h.
        dropout: Of attention and feed-forward.
        whole: Whether all cells see each other and the global token; else windows, which attend to the same area of the
            lower level.
        cross: Whether there is a lower level to attend to.
    """

    def __init__(
        self, cells: Size, width: int, layers: int, heads: int, dropout: float, whole: bool, cross: bool
    ) -> None:
        super().__init__()
        self.whole = whole
        self.rows = nn.Parameter(0.02 * torch.randn(width, cells[0], 1))
        self.columns = nn.Parameter(0.02 * torch.randn(width, 1, cells[1]))
        self.layers = nn.ModuleList(Layer(width, heads, dropout, cross) for _ in range(layers))

    def forward(
        self, m: torch.Tensor, token: torch.Tensor, lower: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Map `[B, C, h, w]`, global token `[B, 1, C]`, lower map `[B, C, h / 2, w / 2]` -> map and token, refined."""
        m = m + self.rows + self.columns
        if self.whole:
            x = torch.cat([token, m.flatten(2).transpose(1, 2)], 1)
            below = None if lower is None else torch.cat([token, lower.flatten(2).transpose(1, 2)], 1)
        else:
            x = cut_windows(m, WINDOW)
            # Half as many cells of the lower level cover the same area.
            below = None if lower is None else cut_windows(lower, WINDOW // 2)
        for layer in self.layers:
            x = layer(x, below)
        if self.whole:
            return x[:, 1:].transpose(1, 2).reshape(m.shape), x[:, :1]
        return join_windows(x, m.shape, WINDOW), token


class Convolutions(nn.Module):
    """The compact alternative at the finer levels: adds the enlarged lower map and convolves twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(width, width), conv(width, width))

    def forward(
        self, m: torch.Tensor, token: torch.Tensor, lower: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `Level`."""
        if lower is not None:
            m = m + F.interpolate(lower, m.shape[-2:], mode="bilinear", align_corners=False)
        return m + self.body(m), token


class Pyramid(nn.Module):
    """All levels, coarse to fine, with one global token on the two coarsest.

    Args:
        canvas: `(H, W)`, divisible by 32.
        width: Channels of every level.
        layers: N_l per level.
        heads: N_h.
        dropout: Of attention and feed-forward.
        windows: Whether the two finer levels attend in windows, as published; else they are convolved, for a CPU.
    """

    def __init__(
        self, canvas: Size, width: int, layers: int, heads: int, dropout: float, windows: bool
    ) -> None:
        super().__init__()
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        levels: list[nn.Module] = []
        for stride in STRIDES:
            cells, whole = (canvas[0] // stride, canvas[1] // stride), stride >= GLOBAL_FROM
            if whole or windows:
                cross = stride < STRIDES[-1]
                levels.append(Level(cells, width, layers, heads, dropout, whole, cross))
            else:
                levels.append(Convolutions(width))
        self.levels = nn.ModuleList(levels)

    def forward(self, maps: list[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Maps at strides 4...32, finest first -> the same, refined, and the token `[B, width]`.

        Args:
            maps: `[B, width, h, w]`; the finest ones may be left out where coarser ones are enough.
        """
        token, lower = self.token.expand(len(maps[0]), -1, -1), None
        refined: list[torch.Tensor] = []
        for level, m in zip(list(self.levels)[: -len(maps) - 1 : -1], maps[::-1], strict=True):
            lower, token = level(m, token, lower)
            refined.insert(0, lower)
        return refined, token[:, 0]


def cut_windows(m: torch.Tensor, side: int) -> torch.Tensor:
    """Cut a map `[B, C, h, w]` into squares of `side` cells: `[B * squares, side^2, C]`, row by row."""
    b, c, h, w = m.shape
    cut = m.view(b, c, h // side, side, w // side, side).permute(0, 2, 4, 3, 5, 1)
    return cut.reshape(-1, side * side, c)


def join_windows(x: torch.Tensor, shape: torch.Size, side: int) -> torch.Tensor:
    """The inverse of `windows`: back to a map of `shape`."""
    b, c, h, w = shape
    return x.view(b, h // side, w // side, side, side, c).permute(0, 5, 1, 3, 2, 4).reshape(shape)
