"""Crops, the search in them, and what is compared with what."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from onemark import UserError
from onemark.imaging.augment import Geometry, Warp
from onemark.nn.backbones.unet import UNet
from onemark.nn.device import fabric_for
from onemark.nn.embedding.embed import Embedder
from onemark.nn.reader import Reader
from onemark.stages.refine.f2 import matching
from onemark.stages.refine.f2.crops import Crops
from onemark.stages.refine.f2.matching import ExemplarCrops, Matching
from onemark.stages.refine.f2.network import DinoNet, HeatNet, MatchNet
from onemark.stages.refine.f2.search import candidates, log_gaussian, peaks_at

# --- crops -----------------------------------------------------------------------------------------------


def test_upright_crops_are_pieces_of_their_canvases():
    canvases = torch.rand(2, 1, 40, 50)
    centre = torch.tensor([[[20.0, 18.0], [30.2, 9.6]], [[25.0, 20.0], [1.0, 2.0]]])
    crops = Crops.cut(canvases, centre, 8)
    assert crops.views.shape == (4, 1, 8, 8)
    for n, (image, point) in enumerate([(0, 0), (0, 1), (1, 0)]):
        x, y = (int(v) for v in crops.corner[n])
        torch.testing.assert_close(crops.views[n], canvases[image, :, y : y + 8, x : x + 8])
        assert ((crops.inner(centre)[n] - 3.5).abs() <= 0.5).all()
        torch.testing.assert_close(crops.outer(crops.inner(centre))[n], centre[image, point])
    assert (crops.views[3, :, :1] < 1e-6).all()  # beyond the canvas
    assert (crops.views[3, :, :, :2] < 1e-6).all()
    assert (crops.views[3, :, 3:, 3:] > 0).any()


def test_points_follow_the_change_of_their_crops():
    generator = torch.Generator().manual_seed(0)
    spots = torch.tensor([[[30.0, 40.0], [70.0, 52.0], [64.0, 80.0]]])
    y, x = torch.meshgrid(torch.arange(112.0), torch.arange(96.0), indexing="ij")
    canvas = torch.stack([(-((x - a) ** 2 + (y - b) ** 2) / 8).exp() for a, b in spots[0].tolist()]).amax(0)
    warp = Warp.draw(3, (32, 32), Geometry(shift=0).times(2), generator)
    crops = Crops.cut(canvas[None, None], spots + 4, 32, warp)
    at = crops.inner(spots)
    for view, point in zip(crops.views[:, 0], at, strict=True):
        top = int(view.argmax())
        found = torch.tensor([top % 32, top // 32])
        assert (found - point).norm() < 1.2
    assert (at - Crops.cut(canvas[None, None], spots + 4, 32).inner(spots)).norm(dim=1).max() > 0.5


def test_a_map_is_laid_where_its_crop_came_from():
    crops = Crops.cut(torch.zeros(1, 1, 20, 30), torch.tensor([[[10.0, 8.0], [0.0, 19.0]]]), 8)
    canvas = torch.zeros(20, 30)
    crops.paste(torch.eye(4), canvas, 0)
    crops.paste(torch.full((4, 4), 2.0), canvas, 1)
    x, y = (int(v) for v in crops.corner[0])
    assert canvas[y : y + 2, x : x + 2].tolist() == [[1, 1], [1, 1]]
    assert canvas[y : y + 2, x + 2].tolist() == [0, 0]
    assert (canvas[16:, :4] == 2).all()  # what of it lies on the canvas
    assert canvas.count_nonzero() == 16 + 16


# --- the search ------------------------------------------------------------------------------------------


def test_the_prior_peaks_where_the_coarse_point_is():
    log_prior = log_gaussian(torch.tensor([[3.0, 5.0], [0.0, 0.0]]), (8, 10), 2.0)
    assert log_prior.shape == (2, 8, 10)
    assert log_prior[0].argmax() == 5 * 10 + 3
    assert log_prior[0, 5, 5].item() == pytest.approx(-0.5)


def test_candidates_are_separate_maxima_best_first():
    one = torch.zeros(9, 9)
    one[2, 3], one[2, 4], one[7, 1] = 5.0, 4.0, 3.0
    flat = torch.full((9, 9), -1.0)
    flat[4, 4] = 1.0
    flat[:, 0] = -2  # the rest of the plateau counts as a maximum of its own
    places = candidates(torch.stack([one, flat]), 2)
    assert places[0].tolist() == [[3, 2], [1, 7]]
    assert places[1, 0].tolist() == [4, 4]


def test_a_map_with_too_few_maxima_repeats_its_best():
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    hill = -((x - 2) ** 2) - (y - 3) ** 2
    assert candidates(hill[None], 3)[0].tolist() == [[2, 3]] * 3


def test_the_peak_of_a_chosen_place_is_sub_pixel():
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    low = 40 - ((x - 5.3) ** 2 + (y - 6.2) ** 2)
    high = 60 - ((x - 18) ** 2 + (y - 18) ** 2)
    found = peaks_at(torch.maximum(low, high)[None], torch.tensor([[5.0, 6.0]]))
    torch.testing.assert_close(found.xy, torch.tensor([[5.3, 6.2]]), atol=0.05, rtol=0)


# --- what is compared ------------------------------------------------------------------------------------


class Colours(nn.Module):
    """Descriptors that can be read: the grey value as an angle."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.cos(crops), torch.sin(crops)], 1)


def compared(views: torch.Tensor, xy: torch.Tensor) -> Matching:
    reader = Reader(Colours(), (8, 8), fabric_for("cpu"))
    return Matching(reader, 1, 400.0, ExemplarCrops(views, xy), cycles=True)


def test_a_landmark_is_found_where_it_looks_like_the_exemplar():
    views, other = torch.zeros(1, 2, 1, 16, 16), torch.zeros(2, 1, 16, 16)
    views[0, 0, 0, 5, 6], views[0, 1, 0, 9, 4] = 1.0, 0.6
    other[0, 0, 11, 3], other[1, 0, 2, 13] = 1.0, 0.6
    finder = compared(views, torch.tensor([[[6.0, 5.0], [4.0, 9.0]]]))
    logits, peaks = finder.find(other, torch.zeros(2, 16, 16))
    assert logits.shape == (2, 16, 16)
    torch.testing.assert_close(peaks.xy, torch.tensor([[3.0, 11.0], [13.0, 2.0]]), atol=0.05, rtol=0)


def test_descriptors_of_exemplars_are_kept_only_for_the_way_back():
    views, xy = torch.rand(3, 2, 1, 16, 16), torch.full((3, 2, 2), 7.0)
    reader = Reader(Colours(), (8, 8), fabric_for("cpu"))
    with_them, without = compared(views, xy), Matching(reader, 1, 400.0, ExemplarCrops(views, xy))
    assert (len(with_them.maps), len(without.maps)) == (3, 0)
    other, prior = torch.rand(2, 1, 16, 16), torch.zeros(2, 16, 16)
    assert torch.equal(with_them.find(other, prior)[1].xy, without.find(other, prior)[1].xy)


def test_of_several_exemplars_the_most_similar_visible_one_counts():
    views, other = torch.zeros(2, 1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    views[0, 0, 0, 5, 6], views[1, 0, 0, 5, 6] = 0.8, 0.3
    other[0, 0, 4, 4], other[0, 0, 10, 10] = 0.8, 0.32
    both = torch.tensor([[[6.0, 5.0]], [[6.0, 5.0]]])
    prior = log_gaussian(torch.tensor([[8.0, 8.0]]), (16, 16), 100.0)
    strong = compared(views, both).find(other, prior)[1].xy
    hidden = torch.tensor([[[math.nan, math.nan]], [[6.0, 5.0]]])
    weak = compared(views, hidden).find(other, prior)[1].xy
    torch.testing.assert_close(weak, torch.tensor([[10.0, 10.0]]), atol=0.05, rtol=0)
    torch.testing.assert_close(strong, torch.tensor([[4.0, 4.0]]), atol=0.05, rtol=0)


def test_of_several_places_the_one_counts_from_which_the_way_back_is_exact():
    """The decoy looks a little more like the landmark, but even more like another place of the exemplar."""
    views, other = torch.zeros(1, 1, 1, 24, 24), torch.zeros(1, 1, 24, 24)
    views[0, 0, 0, 12, 12], views[0, 0, 0, 3, 3] = 1.0, 1.3
    other[0, 0, 6, 6], other[0, 0, 18, 18] = 1.18, 0.8
    finder = compared(views, torch.tensor([[[12.0, 12.0]]]))
    likeliest = finder.find(other, torch.zeros(1, 24, 24))[1].xy
    there_and_back = finder.find(other, torch.zeros(1, 24, 24), top=2)[1].xy
    torch.testing.assert_close(likeliest, torch.tensor([[6.0, 6.0]]), atol=0.1, rtol=0)
    torch.testing.assert_close(there_and_back, torch.tensor([[18.0, 18.0]]), atol=0.1, rtol=0)


def test_reading_a_few_crops_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    views, other, prior = torch.rand(2, 5, 1, 16, 16), torch.rand(5, 1, 16, 16), torch.zeros(5, 16, 16)
    xy = torch.rand(2, 5, 2) * 15
    whole = compared(views, xy).find(other, prior, top=3)
    monkeypatch.setattr(matching, "AT_ONCE", 2 * 16 * 16)
    parts = compared(views, xy).find(other, prior, top=3)
    torch.testing.assert_close(parts[0], whole[0])
    torch.testing.assert_close(parts[1].xy, whole[1].xy)


# --- networks --------------------------------------------------------------------------------------------


def test_every_crop_gets_the_heatmap_of_its_own_landmark():
    torch.manual_seed(0)
    network = HeatNet(3).eval()
    crops = torch.rand(6, 1, 32, 32)
    with torch.inference_mode():
        logits = network(crops)
        every = network.head(network.backbone(crops)[0]).view(2, 3, 3, 16, 16)
    assert logits.shape == (2, 3, 16, 16)
    for k in range(3):
        torch.testing.assert_close(logits[:, k], every[:, k, k], atol=1e-5, rtol=1e-4)


def test_the_product_of_descriptors_is_the_mean_of_the_levels_cosines():
    torch.manual_seed(0)
    network = MatchNet(8).eval()
    with torch.inference_mode():
        a, b = (network(torch.rand(1, 1, 64, 64))[0, :, 10, 12] for _ in range(2))
    levels = [F.cosine_similarity(p, q, dim=0) for p, q in zip(a.split(8), b.split(8), strict=True)]
    torch.testing.assert_close(a @ b, torch.stack(levels).mean())
    assert a.norm().item() == pytest.approx(1, abs=1e-5)


def test_descriptors_are_a_compact_matchers_or_none():
    torch.manual_seed(0)
    embedder = Embedder(UNet(), 16)
    network = MatchNet.of(embedder.state_dict())
    assert all(
        torch.equal(value, embedder.state_dict()[key]) for key, value in network.embedder.state_dict().items()
    )
    with_context = Embedder(UNet(), 16, "rfb").state_dict()
    for wrong in ({}, {"heads.0.weight": torch.zeros(16, 32, 1, 1)}, with_context):
        with pytest.raises(UserError, match="this matcher has no compact network"):
            MatchNet.of(wrong)


def test_dinos_decoder_learns_and_its_keys_do_not():
    torch.manual_seed(0)
    network = DinoNet()
    maps = network(torch.rand(2, 1, 32, 32))
    assert maps.shape == (2, 256, 32, 32)
    torch.testing.assert_close(maps.norm(dim=1), torch.ones(2, 32, 32), atol=1e-4, rtol=0)
    maps[:, 0].sum().backward()
    assert all(p.grad is None for p in network.keys.parameters())
    assert all(p.grad is not None for p in network.decoder.parameters())
