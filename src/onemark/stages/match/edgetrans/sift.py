"""Affine alignment by SIFT key points and RANSAC, the ablation of Yin et al. 2022, Table 2."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.imaging.letterbox import Size
from onemark.stages.match.edgetrans.transform import Transform

LEAST_MATCHES = 6  # twice as many as an affine map needs
FARTHEST = 6.0  # px between a match and where the map puts it
TRIALS = 500  # of RANSAC

Described = tuple[NDArray[np.float64], NDArray[np.uint8]]


def align_by_sift(images: torch.Tensor, source: torch.Tensor, target: torch.Tensor, stride: int) -> Transform:
    """Align pairs of images by affine maps; by the identity where too few key points agree.

    Args:
        images: `[N, 1, H, W]` in [0, 1].
        source: `[P]` positions of the sources.
        target: `[P]` positions of the targets.
        stride: Px per cell of the (empty) displacement.
    """
    canvas: Size = (images.shape[-2], images.shape[-1])
    described = [_describe(image[0].cpu().double().numpy()) for image in images]
    pairs = zip(source.tolist(), target.tolist(), strict=True)
    maps = np.stack([_fit_pair(described[s], described[t], canvas) for s, t in pairs])
    still = Transform.identity(len(maps), canvas, stride, images.device)
    found = torch.from_numpy(maps).float().to(images.device)
    return Transform(found[:, :, :2], found[:, :, 2], still.displacement, canvas)


def _describe(image: NDArray[np.float64]) -> Described:
    from skimage.feature import SIFT

    sift = SIFT()
    try:
        sift.detect_and_extract(image)
    except RuntimeError:  # skimage raises it where there are no key points
        return np.empty((0, 2)), np.empty((0, 128), np.uint8)
    return sift.keypoints[:, ::-1].astype(np.float64), sift.descriptors


def _fit_pair(source: Described, target: Described, canvas: Size) -> NDArray[np.float64]:
    """Fit M and t about the canvas' centre, from target to source: `[2, 3]`."""
    from skimage.feature import match_descriptors
    from skimage.measure import ransac
    from skimage.transform import AffineTransform

    still = np.eye(2, 3)
    if min(len(source[0]), len(target[0])) < LEAST_MATCHES:
        return still
    pairs = match_descriptors(target[1], source[1], max_ratio=0.9, cross_check=True)
    if len(pairs) < LEAST_MATCHES:
        return still
    centre = np.array([(canvas[1] - 1) / 2, (canvas[0] - 1) / 2])
    data = target[0][pairs[:, 0]] - centre, source[0][pairs[:, 1]] - centre
    model, inliers = ransac(
        data, AffineTransform, min_samples=3, residual_threshold=FARTHEST, max_trials=TRIALS, rng=0
    )
    if inliers is None or inliers.sum() < LEAST_MATCHES:
        return still
    return np.asarray(model.params, np.float64)[:2]
