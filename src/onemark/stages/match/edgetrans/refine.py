"""Instance refinement: a few gradient steps on the pair at hand, on the losses that trained the network."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from onemark.stages.match.edgetrans.config import EdgeTransConfig
from onemark.stages.match.edgetrans.losses import dissimilarity, landmark_weights, roughness
from onemark.stages.match.edgetrans.transform import Transform

STRIDE = 8  # px between the nodes that are moved, as coarse as the first field of the compact form


def refine_instance(
    at: Transform, source: torch.Tensor, target: torch.Tensor, xy: torch.Tensor, config: EdgeTransConfig
) -> Transform:
    """Refine registrations by `config.refine` steps of Adam on one more, coarse displacement per pair.

    Args:
        at: The network's answer for P pairs.
        source: `[P, 1, H, W]` in [0, 1].
        target: `[P, 1, H, W]`.
        xy: `[P, K, 2]` landmarks (x, y) on the sources, px; NaN where one is not visible.
        config: Options: the weights of similarity, focus and smoothness.
    """
    stride, h, w = config.compare, *at.canvas
    nodes = torch.zeros(len(source), 2, h // STRIDE, w // STRIDE, device=source.device, requires_grad=True)
    optimizer = torch.optim.Adam([nodes], lr=config.refine_rate)
    small = [F.avg_pool2d(images, stride) for images in (source, target)]
    points = torch.where(xy.isnan(), xy, at.inverse(xy.nan_to_num()))
    focus = landmark_weights(points, (h // stride, w // stride), stride, config.edge_width)
    for _ in range(config.refine):
        field = F.interpolate(nodes, at.displacement.shape[-2:], mode="bilinear", align_corners=False)
        moved = at.then(field)
        warped = moved.images(small[0], stride)
        inside = moved.images(torch.ones_like(small[0]), stride)
        loss = config.w_similarity * dissimilarity(warped, small[1], inside, focus, config.w_focus)
        loss = loss + config.w_smooth * roughness(field, at.stride, warped)
        optimizer.zero_grad()
        # Losses are means over pairs; times their number, a pair's step does not depend on how many others there are.
        (loss * len(source)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    field = F.interpolate(nodes.detach(), at.displacement.shape[-2:], mode="bilinear", align_corners=False)
    return at.then(field)
