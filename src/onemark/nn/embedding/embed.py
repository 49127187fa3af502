"""Dense embeddings at five strides, and how they are compared: what the matchers share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from onemark.nn.backbones.context import Context, context_blocks
from onemark.nn.backbones.pyramid import Pyramid

Maps = list[torch.Tensor]


class Embedder(nn.Module):
    """Any pyramid network with a 1 x 1 convolution per level: `[B, 1, H, W]` -> five `[B, length, h, w]` maps.

    The maps are not normalised, because only the few vectors that are compared need it.
    """

    def __init__(self, backbone: Pyramid, length: int, context: Context = "none") -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleList(nn.Conv2d(width, length, 1) for width in backbone.widths)
        self.context = context_blocks(context, backbone.widths)

    def forward(self, x: torch.Tensor) -> Maps:
        """Embeddings, finest first."""
        levels = zip(self.heads, self.context, self.backbone(x), strict=True)
        return [head(context(m)) for head, context, m in levels]


class TwoEmbedders(Embedder):
    """The paper's two extractors E_r and E_p: this one for whole radiographs, `template` for patches."""

    def __init__(self, whole: Pyramid, patch: Pyramid, length: int, context: Context = "none") -> None:
        super().__init__(whole, length, context)
        self.template = Embedder(patch, length, context)

    def forward(self, x: torch.Tensor, template: bool = False) -> Maps:
        """Embeddings of whole radiographs or of template patches, finest first."""
        maps: Maps = self.template(x) if template else super().forward(x)
        return maps


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors `[..., length]` of length 1, float32."""
    return F.normalize(vectors.float(), dim=-1)


def rows(m: torch.Tensor) -> torch.Tensor:
    """View a map `[B, C, h, w]` as a table of its cells `[B * h * w, C]`; a channels-last map is not copied."""
    return m.permute(0, 2, 3, 1).reshape(-1, m.shape[1])


def vectors_at(m: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Bilinear vectors of unit length `[B, N, C]` of a map `[B, C, h, w]` at cells `[B, N, 2]` (x, y)."""
    b, _, h, w = m.shape
    low = cells.floor()
    part = (cells - low)[:, None]
    corners = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], device=m.device)[:, None]
    at = low[:, None] + corners
    # Beyond the map, the cells of its border count.
    x, y = at[..., 0].clamp(0, w - 1).long(), at[..., 1].clamp(0, h - 1).long()
    weight = torch.where(corners == 1, part, 1 - part).prod(-1)
    first = torch.arange(b, device=m.device)[:, None, None] * (h * w)
    near = rows(m)[(first + y * w + x).flatten()].view(b, 4, -1, m.shape[1])
    return unit((near.float() * weight[..., None]).sum(1))


def window(cells: torch.Tensor, radius: int, shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells of a square around integer cells `[B, N, 2]`: flat indices into `shape` (h, w) and a mask, `[B, N, W]`."""
    h, w = shape
    steps = torch.arange(-radius, radius + 1, device=cells.device)
    ys = (cells[..., 1, None] + steps)[..., :, None].expand(-1, -1, -1, len(steps)).flatten(2)
    xs = (cells[..., 0, None] + steps)[..., None, :].expand(-1, -1, len(steps), -1).flatten(2)
    inside = (ys >= 0) & (ys < h) & (xs >= 0) & (xs < w)
    return ys.clamp(0, h - 1) * w + xs.clamp(0, w - 1), inside


def whole_cosines(vectors: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """Cosines of unit vectors `[B, N, C]` with every cell of `[B, C, h, w]`: `[B, N, h, w]`."""
    table = rows(m).view(len(m), -1, m.shape[1]).float()
    inverse = table.norm(dim=-1).clamp(min=1e-6).reciprocal()
    # Scaling the product needs no normalised copy of the map.
    product: torch.Tensor = torch.bmm(vectors, table.transpose(1, 2)) * inverse[:, None]
    return product.view(len(m), -1, *m.shape[-2:])


def window_cosines(vectors: torch.Tensor, m: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Cosines of unit vectors `[B, N, C]` with the cells `index` `[B, N, W]` of `[B, C, h, w]`: `[B, N, W]`."""
    b, c, h, w = m.shape
    first = torch.arange(b, device=m.device)[:, None, None] * (h * w)
    near = rows(m)[(index + first).flatten()].view(*index.shape, c).float()
    inverse = near.pow(2).sum(-1).clamp(min=1e-12).rsqrt()
    return (near @ vectors[..., None])[..., 0] * inverse


def cascade(levels: list[torch.Tensor], temperature: float) -> torch.Tensor:
    """Sum the levels' logits on the finest grid given.

    This reads CC2D's product of similarity maps (Yao et al. 2021, Eq. 3) as probabilities: each level's softmax over
    cosines is one factor.

    Args:
        levels: Cosines `[B, N, h, w]` per level, finest first.
        temperature: Factor on cosines.

    Returns:
        `[B, N, h, w]` log-probabilities up to a constant, on the grid of `levels[0]`.
    """
    total = levels[-1] * temperature
    for level in reversed(levels[:-1]):
        total = F.interpolate(total, level.shape[-2:], mode="bilinear", align_corners=False)
        total = total + level * temperature
    return total


def distance_bias(
    index: torch.Tensor, width: int, target: torch.Tensor, slope: float, cap: float
) -> torch.Tensor:
    """Bias on the cosines of far cells, so that learning must push these further down (CC2D's released code).

    Args:
        index: `[B, N, W]` flat indices of cells.
        width: Cells per row of the map.
        target: `[B, N, 2]` the right cells (x, y).
        slope: Bias per cell of distance.
        cap: Greatest bias.

    Returns:
        `[B, N, W]` biases.
    """
    cells = torch.stack([index % width, index // width], -1)
    away: torch.Tensor = (cells - target[:, :, None]).norm(dim=-1)
    return (slope * away).clamp(max=cap)
