"""Windows of three levels around points, and what is found in them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from onemark.nn.backbones.unet import STRIDES
from onemark.nn.heatmaps.decode import cells_to_pixels
from onemark.stages.match.sla.windows import SIDE, Fovea, by_point, cross_entropy, peaks, vectors_in

CANVAS = (160, 128)


def ramps() -> list[torch.Tensor]:
    """Per level `[1, 2, h, w]`: the canvas x and y of every cell."""
    found = []
    for stride in STRIDES[:3]:
        shape = [torch.arange(n // stride, dtype=torch.float32) for n in CANVAS]
        y, x = torch.meshgrid(*shape, indexing="ij")
        found.append(cells_to_pixels(torch.stack([x, y])[None], stride))
    return found


def smooth(length: int, seed: int = 0) -> list[torch.Tensor]:
    """Random embeddings that change slowly, `[2, C, h, w]` per level."""
    g = torch.Generator().manual_seed(seed)
    maps = []
    for stride in STRIDES[:3]:
        shape = [n // stride for n in CANVAS]
        coarse = torch.randn(2, length, *(n // 2 + 2 for n in shape), generator=g)
        maps.append(F.interpolate(coarse, shape, mode="bicubic", align_corners=True))
    return maps


def test_windows_show_what_lies_around_their_points():
    xy = torch.tensor([[[60.0, 80.0], [3.0, 150.0]]])
    fovea = Fovea.around(xy, ramps())
    for level, (window, stride) in enumerate(zip(fovea.cut(ramps()), STRIDES, strict=False)):
        assert window.shape == (1, 4, SIDE, SIDE)
        cells, inside = fovea.cells(level)
        expected = cells_to_pixels(cells.float(), stride) * inside[..., None]
        seen = window.view(1, 2, 2, SIDE * SIDE).transpose(2, 3)
        torch.testing.assert_close(seen, expected)
        assert ((fovea.inner(xy, level) - (SIDE - 1) / 2).abs() <= 4).all()
        assert inside[0, 0].all()
        assert not inside[0, 1].all()
    assert fovea.holds(xy).all()
    assert not fovea.holds(xy + 20).any()
    assert not fovea.holds(torch.tensor([[[60.0, 80.0], [-1.0, 150.0]]]))[0, 1]


def found_in(radius: int, finest: int, off: float = 7.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points, and where their own vectors are found in windows that lie off them."""
    maps = smooth(16)
    g = torch.Generator().manual_seed(1)
    xy = 30 + torch.rand(2, 9, 2, generator=g) * torch.tensor([60.0, 90.0])
    near = Fovea.around(xy, maps)
    vectors = vectors_in(by_point(near.cut(maps), 16), near, xy)
    fovea = Fovea.around(xy + off, maps)
    found = peaks(vectors, by_point(fovea.cut(maps), 16), fovea, 20.0, radius, finest)
    assert found.xy.shape == (2, 9, 1, 2)
    return xy, found.xy[:, :, 0]


def test_points_are_found_again_between_the_cells():
    xy, found = found_in(3, 0)
    assert (found - xy).norm(dim=-1).mean() < 0.65  # cells are 2 px wide: their centres alone miss by 0.77
    xy, cells = found_in(0, 0)
    torch.testing.assert_close(cells % 2, torch.full_like(cells, 0.5))


def test_a_coarser_level_sees_farther():
    xy, found = found_in(3, 1, off=24.0)
    assert (found - xy).norm(dim=-1).median() < 1.5
    xy, found = found_in(3, 0, off=24.0)
    assert (found - xy).norm(dim=-1).median() > 5


def test_the_loss_is_least_at_the_right_place():
    maps = smooth(16)
    xy = torch.tensor([[[60.0, 80.0]], [[40.0, 99.5]]])
    fovea = Fovea.around(xy, maps)
    windows = by_point(fovea.cut(maps), 16)
    vectors = vectors_in(windows, fovea, xy)
    right = cross_entropy(vectors, windows, fovea, xy, 10.0)
    for shift in (-6.0, 6.0):
        assert (cross_entropy(vectors, windows, fovea, xy + shift, 10.0) > right + 1).all()


def test_the_loss_is_equation_2():
    maps, xy = smooth(8), torch.tensor([[[60.5, 80.5]], [[2.5, 30.5]]])  # cells' centres at stride 2
    fovea = Fovea.around(xy, maps[:1])
    windows = by_point(fovea.cut(maps[:1]), 8)
    vectors = [F.normalize(torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(3)), dim=-1)]
    found = cross_entropy(vectors, windows, fovea, xy, 10.0)
    for b in range(2):
        cells, inside = fovea.cells(0)
        x, y = cells[b, 0][inside[b, 0]].unbind(-1)
        cosines = F.cosine_similarity(vectors[0][b].T, maps[0][b][:, y, x], dim=0) * 10
        right = ((x == xy[b, 0, 0] // 2) & (y == xy[b, 0, 1] // 2)).nonzero().item()
        torch.testing.assert_close(found[b, 0], -cosines.log_softmax(0)[right], atol=1e-4, rtol=1e-4)
