"""Targets of heatmaps, and the peaks that fit together."""

from __future__ import annotations

import torch

from onemark.nn.heatmaps.heatmap import gaussians, on_map


def test_targets_are_gaussians_of_mass_one_between_the_cells():
    cells = torch.tensor([[[5.25, 7.75], [11.0, 2.0]]])
    target = gaussians(cells, (20, 16), 1.2)
    assert target.shape == (1, 2, 20, 16)
    torch.testing.assert_close(target.sum((2, 3)), torch.ones(1, 2))
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(16.0), indexing="ij")
    centre = torch.stack([(target * x).sum((2, 3)), (target * y).sum((2, 3))], -1)
    torch.testing.assert_close(centre, cells, atol=0.15, rtol=0)  # the border cuts a little off the second
    torch.testing.assert_close(
        (target[0, 0] * (x - 5.25) ** 2).sum().sqrt(), torch.tensor(1.2), atol=0.02, rtol=0
    )


def test_only_what_lies_on_the_map_is_known():
    xy = torch.tensor([[0.0, 0.0], [9.0, 4.0], [9.1, 4.0], [3.0, -0.1], [torch.nan, 2.0]])
    assert on_map(xy, (5, 10)).tolist() == [True, True, False, False, False]
