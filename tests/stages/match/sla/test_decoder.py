"""The decoders of all landmarks as one: each must be what it would be alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from onemark.nn.backbones.context import RFB
from onemark.stages.match.sla.decoder import Decoder, Parallel, Sharing, zoom

TAPS, WIDTHS, LENGTH, K = (4, 6, 8), (5, 7), 3, 3


def decoder(adapter: int | None, landmarks: int = K, foveal: bool = True, context: bool = False) -> Decoder:
    return Decoder(TAPS, WIDTHS, LENGTH, Sharing(landmarks, adapter), context, foveal)


def maps(landmarks: int, seed: int = 0, side: int = 8) -> list[torch.Tensor]:
    """Maps `[2, K C, n, n]`: of one size as windows are."""
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(2, landmarks * c, side, side, generator=g) for c in TAPS]


def alone(together: Decoder, k: int) -> Decoder:
    """The decoder of landmark k, cut out of all landmarks' decoders."""
    one = decoder(None, 1, together.foveal, not isinstance(together.context[-1], torch.nn.Identity))
    state = together.state_dict()
    mine = {n: v[: len(v) // K * K].chunk(K)[k] if v.ndim else v for n, v in state.items()}
    one.load_state_dict(mine)
    return one


@pytest.mark.parametrize("context", [False, True])
def test_each_landmarks_decoder_is_what_it_would_be_alone(context: bool):
    torch.manual_seed(0)
    together, x = decoder(None, context=context), maps(K)
    found = together(x)
    sum(m.pow(2).sum() for m in found).backward()
    for k in range(K):
        one = alone(together, k)
        mine = one([m.chunk(K, 1)[k] for m in x])
        for a, b in zip(mine, found, strict=True):
            torch.testing.assert_close(a, b.chunk(K, 1)[k], atol=1e-5, rtol=1e-4)
        sum(m.pow(2).sum() for m in mine).backward()
        gradients = dict(together.named_parameters())
        for name, value in one.named_parameters():
            torch.testing.assert_close(
                value.grad, gradients[name].grad.chunk(K)[k], atol=1e-3, rtol=1e-3, msg=name
            )


def test_blocks_side_by_side_share_nothing():
    torch.manual_seed(0)
    wide, x = RFB(4, 3, groups=2).eval(), torch.randn(1, 8, 9, 9)
    other = x.clone()
    other[:, 4:] += 1
    first, second = (wide(v).chunk(2, 1) for v in (x, other))
    torch.testing.assert_close(first[0], second[0])
    assert not torch.allclose(first[1], second[1])
    assert wide(x).shape == (1, 6, 9, 9)


def test_an_adapter_is_a_shared_layer_beside_one_of_each_landmark():
    torch.manual_seed(0)
    layer = Parallel(lambda i, o, g: torch.nn.Conv2d(g * i, g * o, 1, groups=g, bias=False), K, 4, 5, 2)
    x = torch.randn(1, 4, 6, 6).repeat(1, K, 1, 1)
    parts = layer(x).chunk(K, 1)
    for one in parts:
        assert one.shape[1] == 7
        torch.testing.assert_close(one[:, :5], parts[0][:, :5])
        torch.testing.assert_close(one[:, :5], F.conv2d(x[:, :4], layer.shared.weight))
    assert not torch.allclose(parts[0][:, 5:], parts[1][:, 5:])


def test_without_adapters_all_landmarks_share_one_decoder():
    joint = decoder(0, foveal=False).eval()
    shared = [torch.randn(2, c, 32 // 2**n, 32 // 2**n) for n, c in enumerate(TAPS)]
    assert [m.shape[1] for m in joint(shared)] == [LENGTH] * 3
    found = joint([m.repeat(1, K, 1, 1) for m in shared])
    torch.testing.assert_close(found[0].chunk(K, 1)[2], joint(shared)[0])
    assert [m.shape[1] for m in decoder(2, foveal=False).eval()(shared)] == [K * LENGTH] * 3


def test_adapters_take_few_parameters_beside_a_decoder_each():
    def count(adapter: int | None, landmarks: int = 19) -> int:
        with torch.device("meta"):  # no memory, no initial values
            wide = Decoder((64, 128, 256), (128, 64), 16, Sharing(landmarks, adapter), context=True)
        return sum(p.numel() for p in wide.parameters())

    assert count(0) < count(4) < count(16) < count(32) < count(None)
    assert count(16) < count(None) / 5
    assert count(0) == count(None, 1)
    assert count(None) == 19 * count(None, 1)


def test_zooming_gives_the_middle_twice_as_fine():
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    ramps = torch.stack([x, y])[None]
    finer = zoom(ramps)
    assert finer.shape == ramps.shape
    torch.testing.assert_close(finer, (ramps + 0.5) / 2 - 0.5 + 4)
